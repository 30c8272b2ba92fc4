"""Files for NFD: golden, by NFD's own schema, with the label of the Module, and with nothing of a stranger's in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.kmm_facts import EVERYTHING, kmm_facts
from fakes.nfd_facts import LABEL, PCI_ALIASES, STRANGE_ALIASES, USB_ALIASES, nfd_facts
from fakes.schemas import SchemaViolation, validate

from builder.boot.devices import DEVICES
from builder.config.load import load_config
from builder.config.yamlfile import read_documents
from builder.emit.kmm.files import emit_kmm
from builder.emit.kmm.lint import lint
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.emit.nfd.files import EXAMPLE_FILE, RULE_FILE, emit_nfd, labels_of

_HERE = Path(__file__).parents[2]
_ROOT = _HERE.parent
_CASES = {
    "devices": nfd_facts(*PCI_ALIASES, *USB_ALIASES, *STRANGE_ALIASES),
    "no-device": nfd_facts("char-major-10-130", *STRANGE_ALIASES, kmm={}),
}


def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_HERE / "data" / "nfd" / "0.17.3.json").read_text())["kinds"]
    return found


def _rule(*aliases: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(emit_nfd(nfd_facts(*aliases, **more), Flavour.UPSTREAM).files[RULE_FILE])
    return found


@pytest.mark.parametrize("flavour", list(Flavour))
@pytest.mark.parametrize("name", list(_CASES))
def test_golden(name: str, flavour: Flavour) -> None:
    files = emit_nfd(_CASES[name], flavour).files
    text = "".join(f"==> {file} <==\n{content}" for file, content in files.items())
    golden = _HERE / "golden" / f"nfd-{name}-{flavour}.txt"
    assert text == golden.read_text(), f"write it anew on purpose: {golden}"


@pytest.mark.parametrize("flavour", list(Flavour))
@pytest.mark.parametrize("name", list(_CASES))
def test_the_schema_of_nfd_takes_it(name: str, flavour: Flavour) -> None:
    schemas, seen = _schemas(), set()
    for content in emit_nfd(_CASES[name], flavour).files.values():
        item = yaml.safe_load(content)
        entry = schemas[item["kind"]]
        assert item["apiVersion"] == entry["apiVersion"]
        # OpenShift's operator has the kind in namespaces, upstream for the whole cluster.
        is_in_namespace = entry["scope"] == "Namespaced" or flavour is Flavour.OPENSHIFT
        assert ("namespace" in item["metadata"]) == is_in_namespace
        validate(item, entry["schema"])
        seen.add(item["kind"])
    assert seen == {"NodeFeatureRule"} | ({"NodeFeature"} if name == "no-device" else set())


@pytest.mark.parametrize("change", ["unknown", "op", "name"])
def test_a_schema_refuses_what_it_should(change: str) -> None:
    """The negative of the test above."""
    rule = _rule(*PCI_ALIASES)
    entry = rule["spec"]["rules"][0]
    if change == "unknown":
        entry["match"] = []
    elif change == "op":
        entry["matchAny"][0]["matchFeatures"][0]["matchExpressions"]["vendor"]["op"] = "Is"
    else:
        del entry["name"]
    with pytest.raises(SchemaViolation):
        validate(rule, _schemas()["NodeFeatureRule"]["schema"])


def test_every_reader_of_yaml_takes_it(tmp_path: Path) -> None:
    """No anchors: our own reader, and what people copy from, know none."""
    for number, (facts, flavour) in enumerate((facts, flavour) for facts in _CASES.values() for flavour in Flavour):
        for name, content in emit_nfd(facts, flavour).files.items():
            assert len(_read(tmp_path / f"{number}-{name}", content)) == 1


def test_values_stay_text() -> None:
    """``0300`` and ``1e10`` are numbers to a reader of YAML, if nobody quotes them."""
    rule = _rule("pci:v00000300d00001E10sv*sd*bc00sc10i*")
    (term,) = rule["spec"]["rules"][0]["matchAny"][0]["matchFeatures"]
    assert term["matchExpressions"] == {
        "device": {"op": "In", "value": ["1e10"]},
        "class": {"op": "In", "value": ["0010"]},
        "vendor": {"op": "In", "value": ["0300"]},
    }
    text = emit_nfd(nfd_facts("pci:v00000308d00001E10sv*sd*bc00sc10i*"), Flavour.UPSTREAM).files[RULE_FILE]
    assert all(f"'{word}'" in text for word in ("1e10", "0308", "0010")), "Go takes 0308 for a number, Python does not"


@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        ({LABEL: "true"}, {LABEL: "true"}),
        (
            {"feature.node.kubernetes.io/gpu": "fast", "kubernetes.io/os": "linux"},
            {"feature.node.kubernetes.io/gpu": "fast"},
        ),
        ({"acme.feature.node.kubernetes.io/gpu": ""}, {"acme.feature.node.kubernetes.io/gpu": ""}),
        ({"feature.node.kubernetes.io/gpu": "a", LABEL: "b"}, {"feature.node.kubernetes.io/gpu": "a", LABEL: "b"}),
        # Not ours to make: NFD's own, the cluster's, and one that only looks like NFD's.
        ({"feature.node.kubernetes.io/pci-0300_10de.present": "true"}, {LABEL: "true"}),
        ({"feature.node.kubernetes.io/kernel-version.full": "6.1"}, {LABEL: "true"}),
        ({"node-role.kubernetes.io/worker": ""}, {LABEL: "true"}),
        ({"xfeature.node.kubernetes.io/gpu": "true"}, {LABEL: "true"}),
        ({"gpu": "true"}, {LABEL: "true"}),
    ],
)
@pytest.mark.parametrize("aliases", [PCI_ALIASES, ()], ids=["device", "none"])
def test_the_label_is_the_one_that_the_module_selects_by(
    selector: dict[str, str], labels: dict[str, str], aliases: tuple[str, ...]
) -> None:
    facts = nfd_facts(*aliases, kmm={"selector": selector})
    assert labels_of(facts.driver) == labels
    assert _rule(*aliases, kmm={"selector": selector})["spec"]["rules"][0]["labels"] == labels
    told = any("does not select by" in sentence for sentence in emit_nfd(facts, Flavour.UPSTREAM).told)
    assert told == (not labels.items() <= selector.items())


def test_a_driver_that_is_called_like_a_label_of_nfds_can_follow_the_advice() -> None:
    """Its own label, taken over into the selector as it is told to: then there is nothing to tell any more."""
    label = "feature.node.kubernetes.io/usb-thing"
    for selector, is_told in (({"gpu": "true"}, True), ({label: "true"}, False)):
        facts = nfd_facts(*PCI_ALIASES, kmm={"selector": selector})
        facts = replace(facts, driver=facts.driver.model_copy(update={"name": "usb-thing"}))
        assert labels_of(facts.driver) == {label: "true"}
        told = emit_nfd(facts, Flavour.UPSTREAM).told
        assert any("does not select by" in sentence for sentence in told) == is_told


def test_lint_finds_the_same_word_in_both_and_sees_where_it_is_not(tmp_path: Path) -> None:
    for change, wanted in (("", set()), ("changed", {"label"})):
        files = {**emit_kmm(kmm_facts(EVERYTHING), KmmVersion.V2_6, Flavour.OPENSHIFT)}
        files["rule.yaml"] = (
            emit_nfd(nfd_facts(*PCI_ALIASES), Flavour.OPENSHIFT)
            .files[RULE_FILE]
            .replace(f"{LABEL}:", f"{LABEL}{change}:")
        )
        documents = [
            document
            for name in ("40-module.yaml", "rule.yaml")
            for document in _read(tmp_path / f"{change}{name}", files[name])
        ]
        found = {finding.code for finding in lint(documents, KmmVersion.V2_6, Flavour.OPENSHIFT).findings}
        assert found & {"label"} == wanted


def _read(file: Path, content: str) -> list[Any]:
    file.write_text(content)
    return list(read_documents(file))


def test_a_driver_without_a_device_waits_for_the_administrator() -> None:
    emitted = emit_nfd(_CASES["no-device"], Flavour.OPENSHIFT)
    rule, example = (yaml.safe_load(emitted.files[name]) for name in (RULE_FILE, EXAMPLE_FILE))
    (term,) = rule["spec"]["rules"][0]["matchFeatures"]
    assert (term["feature"], term["matchExpressions"]) == ("local.feature", {"drv": {"op": "In", "value": ["true"]}})
    assert example["spec"]["features"]["attributes"]["local.feature"]["elements"] == {"drv": "true"}
    assert any("the administrator's word" in sentence for sentence in emitted.told)
    assert "administrator's word" in emitted.files[RULE_FILE].partition("apiVersion")[0]


def test_kernels_are_told_as_nfd_tells_them() -> None:
    rules = {rule["name"]: rule for rule in _rule(*PCI_ALIASES)["spec"]["rules"]}
    (term,) = rules["drv: a kernel with an image"]["matchFeatures"]
    assert "5.14.0-427.68.1.el9_4.x86_64_rt" in term["matchExpressions"]["full"]["value"]
    assert rules["drv: a kernel with an image"]["labels"] == {f"{LABEL}-kernel": "published"}


def test_what_a_stranger_wrote_is_no_line_of_its_own() -> None:
    emitted = emit_nfd(
        nfd_facts("pci:x\n- hostile: true\n", "usb:\x85y\u2028z", "x" * 99 + "\r:", *PCI_ALIASES), Flavour.UPSTREAM
    )
    head, _, _ = emitted.files[RULE_FILE].partition("apiVersion")
    assert all(line.startswith("#") for line in head.splitlines())
    assert head.isascii()
    assert len(emitted.told) == 3
    assert all(sentence.isprintable() for sentence in emitted.told)


def test_a_flood_of_strange_aliases_fills_no_page() -> None:
    emitted = emit_nfd(nfd_facts(*(f"pci:{number}" for number in range(1000)), *PCI_ALIASES), Flavour.UPSTREAM)
    assert len(emitted.told) == 21
    assert "980 more" in emitted.told[-1]


def test_the_samples_table_becomes_a_rule_for_the_device_that_its_boot_test_gets() -> None:
    """From the table in C to the label: what NFD looks for is what the guest of the sample's boot test has."""
    ids = re.findall(r"PCI_DEVICE\(0x(\w+), 0x(\w+)\)", (_ROOT / "kernel-module" / "ptemplate_edu.c").read_text())
    ((vendor, device),) = ids
    drivers = load_config(_ROOT / "versions.yaml", today=date(2026, 1, 1)).drivers
    for sample in [item for item in drivers if item.name == "ptemplate"]:  # which a fork has replaced
        assert [DEVICES[name].id for name in sample.boot.devices] == [f"{vendor}:{device}"]
    alias = f"pci:v0000{vendor.upper()}d0000{device.upper()}sv*sd*bc*sc*i*"
    (found,) = _rule(alias)["spec"]["rules"][0]["matchAny"]
    (feature,) = found["matchFeatures"]
    assert feature["feature"] == "pci.device"
    assert {name: item["value"] for name, item in feature["matchExpressions"].items()} == {
        "vendor": [vendor],
        "device": [device],
    }
