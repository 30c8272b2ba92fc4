"""What files for KMM are made from."""

from __future__ import annotations

from typing import Any

from builder.config.model.driver import Driver
from builder.emit.kmm.files import KmmFacts, ReleaseKernel
from builder.kernel import parse_kernel_version
from builder.publish.result import PublishedCell

KERNELS = (
    "5.14.0-427.68.1.el9_4.x86_64",
    "5.14.0-427.68.1.el9_4.x86_64+rt",
    "5.14.0-427.100.1.el9_4.x86_64",
    "5.14.0-570.12.1.el9_6.aarch64+64k",
)


_DRIVER: dict[str, Any] = {
    "name": "drv",
    "version": "1.4.0",
    "source": "src",
    "modules": ("drv_core", "drv"),
    "firmware": ("fw/a.bin",),
    "image": "quay.test/org/drv",
    "vendor": "Example",
    "summary": "A driver",
    "description": "A driver",
    "maintainer": "Example",
}


EVERYTHING = {
    "selector": {"feature.node.kubernetes.io/drv": "true"},
    "parameters": ("debug=1",),
    "tolerations": ({"key": "dedicated", "operator": "Exists"},),
    "in_tree_modules_to_remove": ("old_drv",),
    "pull_secret": "drv-pull",
    "ordered_upgrade": True,
    "loading_order": ("drv_core", "drv"),
    "in_cluster_build": {"source": "https://example.test/drv.tar.gz", "source_sha256": "e" * 64, "sign": True},
}


def kmm_facts(kmm: dict[str, Any] | None = None, **more: Any) -> KmmFacts:
    driver = Driver(**(_DRIVER | {"kmm": kmm or {}} | more))
    kernels = [parse_kernel_version(raw) for raw in KERNELS]
    cells = [
        PublishedCell(kernel=kernel, repository="quay.test/org/drv", digest=f"sha256:{str(number) * 64}", tags=(f"1.4.0-{kernel.tag}",))
        for number, kernel in enumerate(kernels, start=1)
    ]  # fmt: skip
    toolkit = f"quay.test/dtk@sha256:{'d' * 64}"
    releases = [ReleaseKernel(release="4.18.30-x86_64", kernel=kernel, toolkit=toolkit) for kernel in kernels[:2]]
    return KmmFacts(
        driver=driver,
        modules=("drv_core", "drv"),
        cells=cells[::-1],
        releases=releases,
        containerfile="ARG DTK_AUTO\nFROM ${DTK_AUTO}\n",
        build_arguments={"BUILD_COMMAND": "make modules", "MODULES": "drv_core drv"},
    )
