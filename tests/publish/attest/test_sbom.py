"""The bill of materials of an image, by its own schema."""

from __future__ import annotations

import json
from dataclasses import replace

from cyclonedx.schema import SchemaVersion
from fakes.cell_facts import DIGEST, FACTS
from fakes.schemas import JsonStrictValidator

from builder.evidence.records import ModuleRecord
from builder.publish.attest.sbom import make_sbom
from builder.sources.provider import BuildInput


def test_the_bill_of_materials_is_one_by_its_own_schema() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(make_sbom(FACTS))) is None


def test_that_schema_refuses_what_it_should() -> None:
    """The negative of the test above; also of addresses, whose check is made late."""
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    bom = make_sbom(FACTS)
    assert validator.validate_str(json.dumps(bom | {"unknown": 1})) is not None
    assert validator.validate_str(json.dumps(bom | {"externalReferences": [{"type": "vcs", "url": "a/b"}]})) is None
    assert validator.validate_str(json.dumps(bom | {"externalReferences": [{"type": "vcs", "url": "a b"}]})) is not None


def test_it_names_what_is_in_the_image_and_what_was_there_at_the_build() -> None:
    bom = make_sbom(FACTS)
    parts = {part["name"]: part for part in bom["components"]}
    assert parts.keys() == {"a.ko", "b-c.ko", "firmware/drv/fw.bin", "gcc", "libc"}
    assert parts["a.ko"]["type"] == "device-driver"
    assert parts["a.ko"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert parts["a.ko"]["licenses"] == [{"license": {"name": "GPL"}}]
    assert "licenses" not in parts["b-c.ko"], "what a module does not say is not guessed"
    assert parts["firmware/drv/fw.bin"]["type"] == "firmware"
    assert (parts["gcc"]["scope"], parts["libc"]["scope"]) == ("excluded", "required"), "what is in the image counts"
    assert bom["metadata"]["component"]["hashes"][0]["content"] == DIGEST.removeprefix("sha256:")


def test_a_module_depends_on_those_of_the_image_that_it_names() -> None:
    """Also where it is written with the other of the two dashes; what the kernel has is no part of the image."""
    evidence = FACTS.evidence
    more = (
        ModuleRecord(name="d.ko.xz", sha256="d" * 64, size=1, depends=("b_c", "usbcore")),
        ModuleRecord(name="e.ko", sha256="e" * 64, size=1, depends=("b-c",)),
    )
    bom = make_sbom(replace(FACTS, evidence=replace(evidence, modules=(*evidence.modules, *more))))
    needed = {item["ref"]: item.get("dependsOn", []) for item in bom["dependencies"]}
    assert needed["module:b-c.ko"] == ["module:a.ko"]
    assert needed["module:d.ko.xz"] == needed["module:e.ko"] == ["module:b-c.ko"]
    assert "module:d.ko.xz" in needed["image"]


def test_equal_facts_give_an_equal_one_and_another_image_another() -> None:
    assert make_sbom(FACTS) == make_sbom(replace(FACTS))
    other = make_sbom(replace(FACTS, digest=f"sha256:{'2' * 64}"))
    assert other["serialNumber"] != make_sbom(FACTS)["serialNumber"]


def test_build_packages_are_told_and_are_no_part_of_the_image() -> None:
    header = BuildInput(
        name="libxtables-dev", version="1", uri="http://deb/x.deb", sha256="7" * 64, purl="pkg:deb/debian/x@1"
    )
    bom = make_sbom(replace(FACTS, packages=(header,)))
    (component,) = [item for item in bom["components"] if item["name"] == "libxtables-dev"]
    assert component["scope"] == "excluded"
    assert {"name": "kmodsmith:role", "value": "build-package"} in component["properties"]
    image = next(item for item in bom["dependencies"] if item["ref"] == "image")
    assert component["bom-ref"] not in image["dependsOn"]
