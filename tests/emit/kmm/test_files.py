"""Files for KMM: golden, by the CRD schemas of every version and flavour, and by our own lint."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.schemas import validate

from builder.config.model import Driver
from builder.emit.kmm.files import KmmFacts, ReleaseKernel, emit_kmm
from builder.emit.kmm.mapping import image_of
from builder.emit.kmm.rules import find_problems
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.errors import UsageError
from builder.kernel import parse_kernel_version
from builder.publish.result import PublishedCell

_HERE = Path(__file__).parents[2]


_KERNELS = (
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


_KMM = {
    "selector": {"feature.node.kubernetes.io/drv": "true"},
    "parameters": ("debug=1",),
    "tolerations": ({"key": "dedicated", "operator": "Exists"},),
    "in_tree_modules_to_remove": ("old_drv",),
    "pull_secret": "drv-pull",
    "ordered_upgrade": True,
    "loading_order": ("drv_core", "drv"),
    "in_cluster_build": {"source": "https://example.test/drv.tar.gz", "source_sha256": "e" * 64, "sign": True},
}


def _facts(kmm: dict[str, Any] | None = None, **more: Any) -> KmmFacts:
    driver = Driver(**(_DRIVER | {"kmm": kmm or {}} | more))
    kernels = [parse_kernel_version(raw) for raw in _KERNELS]
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


def _objects(files: dict[str, str]) -> list[dict[str, Any]]:
    texts = [content for name, content in files.items() if name.endswith(".yaml")]
    return [item for text in texts for item in yaml.safe_load_all(text)]


@pytest.mark.parametrize("flavour", list(Flavour))
@pytest.mark.parametrize("version", list(KmmVersion))
@pytest.mark.parametrize("kmm", [{}, _KMM], ids=["plain", "everything"])
def test_the_crds_of_every_version_and_flavour_take_it(
    version: KmmVersion, flavour: Flavour, kmm: dict[str, Any]
) -> None:
    data = json.loads((_HERE / "data" / "kmm" / f"{version}.json").read_text())
    kinds = {
        kind: data["openshift"]["kinds"][kind] if entry == "openshift" else entry
        for kind, entry in data[flavour.value]["kinds"].items()
    }
    seen = set()
    for item in _objects(emit_kmm(_facts(kmm), version, flavour)):
        if "kmm.sigs" in item["apiVersion"]:
            entry = kinds[item["kind"]]
            assert item["apiVersion"] == entry["apiVersion"]
            assert ("namespace" in item["metadata"]) == (entry["scope"] == "Namespaced")
            validate(item, entry["schema"])
            seen.add(item["kind"])
        assert not [problem for problem in find_problems(item, version, flavour) if problem.severity == "error"]
    assert seen == {"Module", "PreflightValidationOCP" if flavour == "openshift" else "PreflightValidation"}


def test_a_schema_refuses_what_it_should() -> None:
    """The negative of the test above."""
    import jsonschema  # its formats take two seconds, which every collection would wait for

    data = json.loads((_HERE / "data" / "kmm" / "2.6.json").read_text())
    module = next(
        item for item in _objects(emit_kmm(_facts(), KmmVersion.V2_6, Flavour.OPENSHIFT)) if item["kind"] == "Module"
    )
    del module["spec"]["moduleLoader"]["container"]["kernelMappings"][0]["containerImage"]
    with pytest.raises(jsonschema.ValidationError):
        validate(module, data["openshift"]["kinds"]["Module"]["schema"])
    module["spec"]["moduleLoader"]["container"]["kernelMappings"] = []
    module["spec"]["unknown"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(module, data["openshift"]["kinds"]["Module"]["schema"])


@pytest.mark.parametrize(("name", "kmm"), [("kmm-plain", {}), ("kmm-everything", _KMM)])
@pytest.mark.parametrize("flavour", list(Flavour))
def test_golden(name: str, kmm: dict[str, Any], flavour: Flavour) -> None:
    files = emit_kmm(_facts(kmm), KmmVersion.V2_6, flavour)
    text = "".join(f"==> {file} <==\n{content}" for file, content in files.items())
    golden = _HERE / "golden" / f"{name}-{flavour}.txt"
    assert text == golden.read_text(), f"write it anew on purpose: {golden}"


def test_every_kernel_gets_its_own_image_by_digest() -> None:
    facts = _facts(_KMM)
    module = _module(emit_kmm(facts, KmmVersion.V2_7, Flavour.OPENSHIFT))
    container = module["spec"]["moduleLoader"]["container"]
    for cell in facts.cells:
        image = image_of(container, cell.kernel.raw, name="drv", namespace="drv")
        assert image == f"{cell.repository}@{cell.digest}"
    built = image_of(container, "5.14.0-427.200.1.el9_4.x86_64+rt", name="drv", namespace="drv")
    assert built == "quay.test/org/drv:1.4.0-5.14.0-427.200.1.el9_4.x86_64_rt-in-cluster"
    assert image_of(container, "5.14.0-999.1.el9_9.x86_64", name="drv", namespace="drv") is None


def _module(files: dict[str, str]) -> dict[str, Any]:
    return next(item for item in _objects(files) if item["kind"] == "Module")


def test_secrets_are_skeletons() -> None:
    files = emit_kmm(_facts(_KMM), KmmVersion.V2_6, Flavour.OPENSHIFT)
    secrets = [item for item in _objects(files) if item["kind"] == "Secret"]
    assert [{*item["stringData"]} for item in secrets] == [{".dockerconfigjson"}, {"key"}, {"cert"}]
    assert not any(value for item in secrets for value in item["stringData"].values())


def test_only_openshift_has_its_rights() -> None:
    kinds = {flavour: {item["kind"] for item in _objects(emit_kmm(_facts(), KmmVersion.V2_6, flavour)) if "kind" in item} for flavour in Flavour}  # fmt: skip
    assert {"Role", "RoleBinding"} <= kinds[Flavour.OPENSHIFT]
    assert not {"Role", "RoleBinding"} & kinds[Flavour.UPSTREAM]


def test_2_4_knows_no_globs() -> None:
    container = _module(emit_kmm(_facts(_KMM), KmmVersion.V2_4, Flavour.OPENSHIFT))["spec"]["moduleLoader"]["container"]
    files = container["kernelMappings"][-1]["sign"]["filesToSign"]
    assert all("${KERNEL_FULL_VERSION}" in file and "*" not in file for file in files)


def test_what_kmm_would_refuse_is_not_written() -> None:
    with pytest.raises(UsageError, match="name and namespace have"):
        emit_kmm(_facts({"namespace": "n" * 39}), KmmVersion.V2_6, Flavour.OPENSHIFT)


def test_the_index_is_for_programs() -> None:
    index = json.loads(emit_kmm(_facts(), KmmVersion.V2_6, Flavour.OPENSHIFT)["images.json"])
    assert list(index["kernels"]) == sorted(index["kernels"], key=lambda raw: parse_kernel_version(raw).sort_key)
    assert index["kernels"][_KERNELS[0]]["image"].endswith("1" * 64)


def test_texts_that_other_readers_take_for_something_else_are_quoted() -> None:
    files = emit_kmm(_facts({"selector": {"a": "y", "b": "1e3", "c": "0o17", "d": "4.20", "e": "true"}}), KmmVersion.V2_6, Flavour.UPSTREAM)  # fmt: skip
    selector = files["40-module.yaml"].partition("selector:")[2].partition("moduleLoader")[0]
    assert re.findall(r"\w: (\S+)", selector) == ["'y'", "'1e3'", "'0o17'", "'4.20'", "'true'"]


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("version", KmmVersion)
def test_a_registry_without_tls_is_told_to_kmm(version: KmmVersion, flavour: Flavour) -> None:
    facts = replace(_facts(), registry_tls={"insecure": True})
    assert _module(emit_kmm(facts, version, flavour))["spec"]["moduleLoader"]["container"]["registryTLS"] == {
        "insecure": True
    }
    assert "registryTLS" not in _module(emit_kmm(_facts(), version, flavour))["spec"]["moduleLoader"]["container"]
