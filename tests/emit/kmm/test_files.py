"""Files for KMM: golden, by the CRD schemas of every version and flavour, and by our own lint."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.kmm_facts import EVERYTHING, KERNELS, kmm_facts
from fakes.plugin_facts import plugin_facts
from fakes.schemas import SchemaViolation, validate

from builder.emit.kmm.files import emit_kmm
from builder.emit.kmm.mapping import image_of
from builder.emit.kmm.rules import find_problems
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.errors import UsageError
from builder.kernel import parse_kernel_version

if TYPE_CHECKING:
    from builder.emit.deviceplugin.files import PluginFacts

_HERE = Path(__file__).parents[2]


def _objects(files: dict[str, str]) -> list[dict[str, Any]]:
    texts = [content for name, content in files.items() if name.endswith(".yaml")]
    return [item for text in texts for item in yaml.safe_load_all(text)]


@pytest.mark.parametrize("flavour", list(Flavour))
@pytest.mark.parametrize("version", list(KmmVersion))
@pytest.mark.parametrize("plugin", [None, plugin_facts(managed_by="kmm")], ids=["alone", "with a plugin"])
@pytest.mark.parametrize("kmm", [{}, EVERYTHING], ids=["plain", "everything"])
def test_the_crds_of_every_version_and_flavour_take_it(
    version: KmmVersion, flavour: Flavour, kmm: dict[str, Any], plugin: PluginFacts | None
) -> None:
    data = json.loads((_HERE / "data" / "kmm" / f"{version}.json").read_text())
    kinds = {
        kind: data["openshift"]["kinds"][kind] if entry == "openshift" else entry
        for kind, entry in data[flavour.value]["kinds"].items()
    }
    seen = set()
    for item in _objects(emit_kmm(replace(kmm_facts(kmm), plugin=plugin), version, flavour)):
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
    data = json.loads((_HERE / "data" / "kmm" / "2.6.json").read_text())
    module = next(
        item for item in _objects(emit_kmm(kmm_facts(), KmmVersion.V2_6, Flavour.OPENSHIFT)) if item["kind"] == "Module"
    )
    del module["spec"]["moduleLoader"]["container"]["kernelMappings"][0]["containerImage"]
    with pytest.raises(SchemaViolation):
        validate(module, data["openshift"]["kinds"]["Module"]["schema"])
    module["spec"]["moduleLoader"]["container"]["kernelMappings"] = []
    module["spec"]["unknown"] = 1
    with pytest.raises(SchemaViolation):
        validate(module, data["openshift"]["kinds"]["Module"]["schema"])


@pytest.mark.parametrize(("name", "kmm"), [("kmm-plain", {}), ("kmm-everything", EVERYTHING)])
@pytest.mark.parametrize("flavour", list(Flavour))
def test_golden(name: str, kmm: dict[str, Any], flavour: Flavour) -> None:
    files = emit_kmm(kmm_facts(kmm), KmmVersion.V2_6, flavour)
    text = "".join(f"==> {file} <==\n{content}" for file, content in files.items())
    golden = _HERE / "golden" / f"{name}-{flavour}.txt"
    assert text == golden.read_text(), f"write it anew on purpose: {golden}"


def test_every_kernel_gets_its_own_image_by_digest() -> None:
    facts = kmm_facts(EVERYTHING)
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
    files = emit_kmm(kmm_facts(EVERYTHING), KmmVersion.V2_6, Flavour.OPENSHIFT)
    secrets = [item for item in _objects(files) if item["kind"] == "Secret"]
    assert [{*item["stringData"]} for item in secrets] == [{".dockerconfigjson"}, {"key"}, {"cert"}]
    assert not any(value for item in secrets for value in item["stringData"].values())


def test_only_openshift_has_its_rights() -> None:
    kinds = {flavour: {item["kind"] for item in _objects(emit_kmm(kmm_facts(), KmmVersion.V2_6, flavour)) if "kind" in item} for flavour in Flavour}  # fmt: skip
    assert {"Role", "RoleBinding"} <= kinds[Flavour.OPENSHIFT]
    assert not {"Role", "RoleBinding"} & kinds[Flavour.UPSTREAM]


def test_2_4_knows_no_globs() -> None:
    container = _module(emit_kmm(kmm_facts(EVERYTHING), KmmVersion.V2_4, Flavour.OPENSHIFT))["spec"]["moduleLoader"][
        "container"
    ]
    files = container["kernelMappings"][-1]["sign"]["filesToSign"]
    assert all("${KERNEL_FULL_VERSION}" in file and "*" not in file for file in files)


def test_what_kmm_would_refuse_is_not_written() -> None:
    with pytest.raises(UsageError, match="name and namespace have"):
        emit_kmm(kmm_facts({"namespace": "n" * 39}), KmmVersion.V2_6, Flavour.OPENSHIFT)


def test_the_index_is_for_programs() -> None:
    index = json.loads(emit_kmm(kmm_facts(), KmmVersion.V2_6, Flavour.OPENSHIFT)["images.json"])
    assert list(index["kernels"]) == sorted(index["kernels"], key=lambda raw: parse_kernel_version(raw).sort_key)
    assert index["kernels"][KERNELS[0]]["image"].endswith("1" * 64)


def test_texts_that_other_readers_take_for_something_else_are_quoted() -> None:
    files = emit_kmm(kmm_facts({"selector": {"a": "y", "b": "1e3", "c": "0o17", "d": "4.20", "e": "true"}}), KmmVersion.V2_6, Flavour.UPSTREAM)  # fmt: skip
    selector = files["40-module.yaml"].partition("selector:")[2].partition("moduleLoader")[0]
    assert re.findall(r"\w: (\S+)", selector) == ["'y'", "'1e3'", "'0o17'", "'4.20'", "'true'"]


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("version", KmmVersion)
def test_a_registry_without_tls_is_told_to_kmm(version: KmmVersion, flavour: Flavour) -> None:
    facts = replace(kmm_facts(), registry_tls={"insecure": True})
    assert _module(emit_kmm(facts, version, flavour))["spec"]["moduleLoader"]["container"]["registryTLS"] == {
        "insecure": True
    }
    assert "registryTLS" not in _module(emit_kmm(kmm_facts(), version, flavour))["spec"]["moduleLoader"]["container"]


@pytest.mark.parametrize("flavour", Flavour)
def test_a_plugin_that_kmm_runs_is_in_the_module_and_may_be_privileged(flavour: Flavour) -> None:
    facts = replace(kmm_facts(), plugin=plugin_facts(managed_by="kmm"))
    files = emit_kmm(facts, KmmVersion.V2_6, flavour)
    plugin = _module(files)["spec"]["devicePlugin"]
    access = list(yaml.safe_load_all(files["10-access.yaml"]))
    accounts = [item["metadata"]["name"] for item in access if item["kind"] == "ServiceAccount"]
    assert accounts == ["drv-module-loader", plugin["serviceAccountName"]]
    bound = [item["name"] for item in access[-1].get("subjects", ())]
    assert bound == (accounts if flavour is Flavour.OPENSHIFT else [])
    images = yaml.safe_load(files["imageset-config.yaml"])["mirror"]["additionalImages"]
    assert images[-1] == {"name": plugin["container"]["image"]}, "a disconnected site needs it, too"
    alone = emit_kmm(kmm_facts(), KmmVersion.V2_6, flavour)
    assert "devicePlugin" not in _module(alone)["spec"]
