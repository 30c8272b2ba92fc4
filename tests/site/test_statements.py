"""Statements as people read them."""

from __future__ import annotations

from dataclasses import replace

from fakes.cell_facts import FACTS

from builder.publish.attest.statements import make_statements
from builder.site.statements import Dependency, tell_statements

_TOLD = tell_statements(make_statements(FACTS))


def test_provenance_says_who_built_what_of_what() -> None:
    facts = dict(_TOLD.facts)
    assert facts["built by"] == "urn:kmodsmith:builder:local"
    assert (facts["run"], facts["finished"]) == ("20261123T000000Z-1", "2026-11-23T00:00:00Z")
    assert (facts["driver"], facts["command"], facts["key"]) == ("drv", "make", "k" * 64)
    assert _TOLD.dependencies[0] == Dependency(
        name="source", role="source", uri="urn:kmodsmith:source:drv@1.0.0", digest=f"kmodsmithTree:{'s' * 64}"
    )
    assert [(item.name, item.role) for item in _TOLD.dependencies[2:]] == [
        ("gcc", "toolkit"),
        ("libc", "toolkit"),
        ("libc", "base"),
    ]


def test_of_an_image_that_was_proven_again_no_run_is_told() -> None:
    told = tell_statements(make_statements(replace(FACTS, evidence=replace(FACTS.evidence, derived=True))))
    facts = dict(told.facts)
    assert facts["run"].startswith("not known")
    assert "finished" not in facts


def test_what_is_in_the_image_is_told_apart_from_what_was_at_its_build() -> None:
    assert {(part.name, part.kind) for part in _TOLD.inside} == {
        ("a.ko", "device-driver"), ("b-c.ko", "device-driver"), ("firmware/drv/fw.bin", "firmware"), ("libc", "base"),
    }  # fmt: skip
    assert [(part.name, part.kind, part.version) for part in _TOLD.at_build] == [("gcc", "toolkit", "12")]
    module = next(part for part in _TOLD.parts if part.name == "a.ko")
    assert (module.license, module.sha256) == ("GPL", "a" * 64)
    assert next(part for part in _TOLD.parts if part.name == "libc").where == "pkg:deb/debian/libc@2?arch=amd64"


def test_tests_are_told_with_the_kernels_own_words() -> None:
    assert [test.name for test in _TOLD.tests] == ["fit", "module-signature", "boot"]
    assert dict(_TOLD.tests[2].facts)["refusals"] == "Key was rejected by service"
    plain = tell_statements(make_statements(replace(FACTS, boot=None)))
    assert [test.name for test in plain.tests] == ["fit", "module-signature"]


def test_the_files_are_the_statements_themselves() -> None:
    assert set(_TOLD.files) == {"provenance", "sbom", "tests"}
    assert _TOLD.files["sbom"].encode() == make_statements(FACTS)["https://cyclonedx.org/bom"] + b"\n"
