"""What is attested of a component image: made of evidence alone, and equal for equal evidence."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from fakes.components import WHEEL, make_component_evidence

from builder.drivers.commit import Dirty, SourceCommit
from builder.evidence.records import SelfTest
from builder.publish.attest.component_statements import (
    COMPONENT_BUILD_TYPE,
    ComponentFacts,
    make_component_provenance,
    make_component_sbom,
    make_component_statements,
    make_component_test_result,
)
from builder.publish.attest.statements import CELL_PREDICATES
from builder.sources.provider import BuildInput

_DIGEST = f"sha256:{'1' * 64}"
_DEB = BuildInput(
    name="python3.11", uri="http://archive.test/p.deb", sha256="a" * 64, version="3.11.2",
    purl="pkg:deb/debian/python3.11@3.11.2",
)  # fmt: skip
_GCC = replace(_DEB, name="gcc", uri="http://archive.test/g.deb", sha256="b" * 64, purl="pkg:deb/debian/gcc@12")
FACTS = ComponentFacts(
    evidence=make_component_evidence(), repository="quay.test/org/plugin", digest=_DIGEST, name="plugin",
    version="0.1.0", arch="amd64", vendor="V", description="D", containerfile="plugin/Containerfile", target="image",
    base=(_DEB,), build=(_GCC,), builder="https://ci.test", builder_version="1.0",
)  # fmt: skip


def test_statements_are_of_the_kinds_that_cells_have_and_of_the_image() -> None:
    statements = make_component_statements(FACTS)
    assert set(statements) == set(CELL_PREDICATES)
    for kind, text in statements.items():
        data = json.loads(text)
        assert data["predicateType"] == kind
        assert data["subject"][0]["digest"] == {"sha256": "1" * 64}
    assert make_component_statements(FACTS) == statements


def test_provenance_names_everything_that_went_in() -> None:
    provenance = make_component_provenance(FACTS)
    definition = provenance["buildDefinition"]
    assert definition["buildType"] == COMPONENT_BUILD_TYPE
    assert definition["externalParameters"] == {
        "component": "plugin", "version": "0.1.0", "arch": "amd64",
        "recipe": {"containerfile": "plugin/Containerfile", "target": "image"},
    }  # fmt: skip
    assert definition["internalParameters"]["key"] == "k" * 64
    named = {item["name"]: item for item in definition["resolvedDependencies"]}
    assert named.keys() == {"source", "containerfile", "python3.11", "gcc", "demo"}
    assert named["source"]["digest"] == {"kmodsmithTree": "s" * 64}
    assert named["demo"]["uri"] == "pkg:pypi/demo@1.0?file_name=demo-1.0-py3-none-any.whl"
    assert named["demo"]["digest"] == {"sha256": WHEEL.sha256}
    assert provenance["runDetails"]["metadata"] == {
        "invocationId": "run-1", "startedOn": "2026-11-23T00:00:00Z", "finishedOn": "2026-11-23T00:01:00Z",
    }  # fmt: skip


def test_a_commit_is_named_and_what_is_not_known_is_left_out() -> None:
    commit = SourceCommit(name="source", commit="c" * 40, dirty=Dirty.NO)
    evidence = replace(FACTS.evidence, commits=(commit,), inputs={}, started="")
    provenance = make_component_provenance(replace(FACTS, evidence=evidence))
    dependencies = provenance["buildDefinition"]["resolvedDependencies"]
    assert any(item["digest"].get("gitCommit") == "c" * 40 for item in dependencies)
    assert "source" not in {item.get("name") for item in dependencies if "kmodsmithTree" in item["digest"]}
    assert "startedOn" not in provenance["runDetails"]["metadata"]


def test_of_an_image_that_was_proven_later_no_run_is_claimed() -> None:
    provenance = make_component_provenance(replace(FACTS, evidence=replace(FACTS.evidence, derived=True)))
    assert provenance["runDetails"]["metadata"] == {}
    assert provenance["buildDefinition"]["internalParameters"]["derived"] == "yes"


def _components(sbom: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["purl"]: (item["scope"], item["hashes"][0]["content"]) for item in sbom["components"]}


def test_the_bill_of_materials_is_valid_and_tells_what_is_inside() -> None:
    sbom = make_component_sbom(FACTS)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sbom)) is None
    assert _components(sbom) == {
        _DEB.purl: ("required", "a" * 64), _GCC.purl: ("excluded", "b" * 64),
        "pkg:pypi/demo@1.0": ("required", "d" * 64),
    }  # fmt: skip
    image = sbom["metadata"]["component"]
    assert (image["name"], image["version"]) == ("quay.test/org/plugin", "0.1.0")
    assert {item["name"]: item["value"] for item in image["properties"]}["kmodsmith:component"] == "plugin-0.1.0/x86_64"
    assert sbom == make_component_sbom(FACTS)
    assert sbom["serialNumber"] != make_component_sbom(replace(FACTS, digest=f"sha256:{'2' * 64}"))["serialNumber"]


def test_a_package_of_base_and_build_is_inside_once() -> None:
    assert _components(make_component_sbom(replace(FACTS, build=(_DEB, _GCC))))[_DEB.purl][0] == "required"


@pytest.mark.parametrize(
    ("tested", "result", "passed", "warned"),
    [
        (FACTS.evidence.self_test, "PASSED", ["contract", "self-test"], []),
        (SelfTest(outcome="not-run", why="no emulator"), "WARNED", ["contract"], ["self-test"]),
        (None, "PASSED", ["contract"], []),
    ],
)
def test_a_test_that_was_not_run_is_not_claimed(
    tested: SelfTest | None, result: str, passed: list[str], warned: list[str]
) -> None:
    predicate = make_component_test_result(replace(FACTS, evidence=replace(FACTS.evidence, self_test=tested)))
    assert (predicate["result"], predicate["passedTests"], predicate["warnedTests"]) == (result, passed, warned)
    assert predicate["failedTests"] == []
    if warned:
        assert predicate["configuration"][1]["annotations"] == {"notRun": "no emulator"}
