"""What is attested of a cell: only what its evidence says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from fakes.cell_facts import DIGEST, FACTS

from builder.drivers.commit import Dirty, SourceCommit
from builder.publish.attest.statements import (
    BUILD_TYPE,
    BUILD_TYPES,
    CELL_PREDICATES,
    make_provenance,
    make_statements,
    make_test_result,
)
from builder.sources.provider import BuildInput

_EVIDENCE = FACTS.evidence


def test_the_same_evidence_gives_the_same_statements_about_the_image() -> None:
    statements = make_statements(FACTS)
    assert statements == make_statements(replace(FACTS))
    assert tuple(statements) == CELL_PREDICATES
    for kind, content in statements.items():
        data = json.loads(content)
        subject = {"name": "quay.test/org/drv", "digest": {"sha256": DIGEST.removeprefix("sha256:")}}
        assert (data["predicateType"], data["subject"]) == (kind, [subject])


def test_provenance_names_everything_that_went_in() -> None:
    provenance = make_provenance(FACTS)
    definition = provenance["buildDefinition"]
    assert definition["externalParameters"] == {
        "driver": "drv", "version": "1.0.0", "kernel": "6.1.0-9-amd64", "arch": "amd64", "compress": "none",
        "recipe": {"command": "make"},
    }  # fmt: skip
    assert (definition["internalParameters"]["cellKey"], definition["internalParameters"]["toolkitId"]) == ("k" * 64, "t" * 64)  # fmt: skip
    assert [(item["name"], *item["digest"].items()) for item in definition["resolvedDependencies"]] == [
        ("source", ("kmodsmithTree", "s" * 64)), ("containerfile", ("sha256", "c" * 64)), ("gcc", ("sha256", "9" * 64)),
        ("libc", ("sha256", "8" * 64)), ("libc", ("sha256", "8" * 64)),
    ]  # fmt: skip
    assert [item["annotations"]["role"] for item in definition["resolvedDependencies"][2:]] == ["toolkit", "toolkit", "base"]  # fmt: skip
    header = BuildInput(name="libxtables-dev", version="1", uri="http://deb/x.deb", sha256="7" * 64)
    wanted = make_provenance(replace(FACTS, packages=(header,)))["buildDefinition"]["resolvedDependencies"]
    assert [item["digest"]["sha256"] for item in wanted if item.get("annotations", {}).get("role") == "build-package"] == ["7" * 64]  # fmt: skip
    assert provenance["runDetails"] == {
        "builder": {"id": "urn:kmodsmith:builder:local", "version": {"kmodsmith": "0"}},
        "metadata": {"invocationId": "20261123T000000Z-1", "finishedOn": "2026-11-23T00:00:00Z"},
    }


def test_the_image_that_kmodsmith_ran_in_is_a_dependency_of_the_builder() -> None:
    image = BuildInput(name="builder", uri="docker://quay.test/b@sha256:6", sha256="6" * 64)
    builder = make_provenance(replace(FACTS, builder_image=(image,)))["runDetails"]["builder"]
    wanted = {"name": "builder", "uri": "docker://quay.test/b@sha256:6", "digest": {"sha256": "6" * 64}}
    assert builder["builderDependencies"] == [wanted]


def test_of_an_image_whose_evidence_was_lost_nobody_says_which_run_built_it() -> None:
    provenance = make_provenance(replace(FACTS, evidence=replace(_EVIDENCE, derived=True)))
    assert provenance["runDetails"]["metadata"] == {}
    assert provenance["buildDefinition"]["internalParameters"]["derived"] == "yes"


def test_modules_that_were_compiled_for_another_kernel_say_so() -> None:
    inputs = {**_EVIDENCE.inputs, "compiled_for": "6.1.0-8-amd64"}
    provenance = make_provenance(replace(FACTS, evidence=replace(_EVIDENCE, inputs=inputs)))
    assert provenance["buildDefinition"]["externalParameters"]["compiledFor"] == "6.1.0-8-amd64"


def test_only_tests_that_were_passed_are_named() -> None:
    result = make_test_result(FACTS)
    assert result["passedTests"] == ["fit", "module-signature", "boot"]
    fit, signature, boot = (item["annotations"] for item in result["configuration"])
    assert (fit["modules"], fit["symbols"], "6.1.0-9-amd64 SMP" in fit["vermagic"]) == (2, 3, True)
    assert signature == {"signers": ["5" * 64]}
    assert (boot["mode"], boot["signedBy"], boot["refusals"]) == ("secure", "signers", ["Key was rejected by service"])
    assert boot["firmware"] == "reset"
    assert FACTS.boot is not None
    from_snapshot = make_test_result(replace(FACTS, boot=replace(FACTS.boot, from_snapshot=True)))
    assert from_snapshot["configuration"][-1]["annotations"]["firmware"] == "snapshot"
    bare = make_test_result(replace(FACTS, boot=None, evidence=replace(_EVIDENCE, signers=())))
    assert bare["passedTests"] == [item["name"] for item in bare["configuration"]] == ["fit"]


_COMMITS = (
    SourceCommit(
        name="source", commit="1" * 40, dirty=Dirty.YES, repository="git+https://git.test/org/drv.git", path="driver"
    ),
    SourceCommit(name="project", commit="2" * 64, dirty=Dirty.UNKNOWN),
)


def test_provenance_names_the_commits_and_whether_files_differ() -> None:
    facts = replace(FACTS, evidence=replace(_EVIDENCE, commits=_COMMITS, started="2026-11-22T23:59:00Z"))
    provenance = make_provenance(facts)
    named = provenance["buildDefinition"]["resolvedDependencies"]
    assert [item for item in named if item["name"].endswith("-commit")] == [
        {
            "name": "source-commit", "uri": "git+https://git.test/org/drv.git", "digest": {"gitCommit": "1" * 40},
            "annotations": {"role": "source", "path": "driver", "dirty": "yes"},
        },
        {
            "name": "project-commit", "digest": {"gitCommit": "2" * 64},
            "annotations": {"role": "project", "dirty": "unknown"},
        },
    ]  # fmt: skip
    assert provenance["runDetails"]["metadata"] == {
        "invocationId": _EVIDENCE.run, "startedOn": "2026-11-22T23:59:00Z", "finishedOn": _EVIDENCE.finished,
    }  # fmt: skip


def test_of_an_image_whose_evidence_was_lost_no_time_is_told() -> None:
    facts = replace(FACTS, evidence=replace(_EVIDENCE, derived=True, started="2026-11-22T23:59:00Z"))
    assert make_provenance(facts)["runDetails"]["metadata"] == {}


def test_the_type_of_a_build_leads_to_a_page_that_explains_it() -> None:
    page = BUILD_TYPE.split(":")[2]
    text = (Path(__file__).parent.parent.parent.parent / page).read_text()
    said = make_provenance(replace(FACTS, evidence=replace(_EVIDENCE, commits=_COMMITS, started="s")))
    assert said["buildDefinition"]["buildType"] == BUILD_TYPE
    words = [*BUILD_TYPES, *said["buildDefinition"], *said["runDetails"], *said["runDetails"]["metadata"]]
    words += [*said["buildDefinition"]["externalParameters"], *said["buildDefinition"]["internalParameters"]]
    words += [word for item in said["buildDefinition"]["resolvedDependencies"][:3] for word in item["digest"]]
    assert [word for word in words if word not in text] == []
