from __future__ import annotations

import pytest

from builder.errors import UsageError
from builder.kernel import Arch, Variant, parse_kernel_version


@pytest.mark.parametrize(
    ("raw", "arch", "variant", "series", "tag"),
    [
        (
            "5.14.0-427.68.1.el9_4.x86_64",
            "x86_64",
            "standard",
            "5.14.0-el9_4",
            "5.14.0-427.68.1.el9_4.x86_64",
        ),
        (
            "5.14.0-427.68.1.el9_4.x86_64+rt",
            "x86_64",
            "rt",
            "5.14.0-el9_4",
            "5.14.0-427.68.1.el9_4.x86_64_rt",
        ),
        (
            "5.14.0-284.41.1.el9_2.aarch64+64k",
            "aarch64",
            "64k",
            "5.14.0-el9_2",
            "5.14.0-284.41.1.el9_2.aarch64_64k",
        ),
        ("5.14.0-284.28.1.rt14.313.el9_2.x86_64", "x86_64", "rt", "5.14.0-el9_2", None),
        ("4.18.0-372.41.1.rt7.198.el8_6.x86_64", "x86_64", "rt", "4.18.0-el8_6", None),
        ("4.18.0-193.24.1.el8_2.dt1.x86_64", "x86_64", "standard", "4.18.0-el8_2", None),
        ("6.12.0-219.el10.x86_64", "x86_64", "standard", "6.12.0-el10", None),
        ("6.12.0-211.47.1.el10_2.s390x", "s390x", "standard", "6.12.0-el10_2", None),
        ("6.1.0-56-amd64", "x86_64", "standard", "6.1", None),
        ("6.1.0-56-rt-amd64", "x86_64", "rt", "6.1", None),
        ("6.12.117+deb12-cloud-arm64", "aarch64", "cloud", "6.12", "6.12.117_deb12-cloud-arm64"),
    ],
)
def test_reads_kernel_versions(raw: str, arch: str, variant: str, series: str, tag: str | None) -> None:
    kernel = parse_kernel_version(raw)
    assert (kernel.arch, kernel.variant, kernel.series) == (Arch(arch), Variant(variant), series)
    assert kernel.tag == (tag or raw)
    assert str(kernel) == raw


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "package kernel-rt-core is not installed",
        "true",
        "5.14.0-427.el9_4",
        "6.1.0-56-mips",
        "6.1.0-56-amd64\n",
        "../6.1.0-56-amd64",
    ],
)
def test_refuses_what_is_no_kernel_version(raw: str) -> None:
    with pytest.raises(UsageError, match="is not a kernel version"):
        parse_kernel_version(raw)


def test_orders_naturally_and_native_arch_first() -> None:
    raws = ["6.12.5+deb12-arm64", "6.1.0-10-amd64", "6.12.5+deb12-amd64", "6.1.0-9-amd64"]
    kernels = sorted((parse_kernel_version(raw) for raw in raws), key=lambda kernel: kernel.sort_key)
    assert [kernel.raw for kernel in kernels] == [
        "6.1.0-9-amd64",
        "6.1.0-10-amd64",
        "6.12.5+deb12-amd64",
        "6.12.5+deb12-arm64",
    ]


def test_kernels_are_equal_by_their_string_alone() -> None:
    assert len({parse_kernel_version("6.1.0-9-amd64"), parse_kernel_version("6.1.0-9-amd64")}) == 1


@pytest.mark.parametrize(
    "raw", ["6.1.0-" + "9" * 5000 + "-amd64", "6.1.0-\u0669-amd64", "5.14.0-" + "1." * 40 + "el9.x86_64"]
)
def test_what_uname_cannot_say(raw: str) -> None:
    with pytest.raises(UsageError, match="is not a kernel version"):
        parse_kernel_version(raw)


@pytest.mark.parametrize(
    ("raw", "noarch"),
    [
        ("5.14.0-427.68.1.el9_4.x86_64+rt", "5.14.0-427.68.1.el9_4+rt"),
        ("5.14.0-427.68.1.el9_4.aarch64", "5.14.0-427.68.1.el9_4"),
        ("6.1.0-56-cloud-amd64", "6.1.0-56-cloud"),
    ],
)
def test_without_its_architecture(raw: str, noarch: str) -> None:
    assert parse_kernel_version(raw).noarch == noarch
