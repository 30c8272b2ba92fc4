"""What is attested of a cell: only what its evidence says."""

from __future__ import annotations

import json
from dataclasses import replace

from fakes.cell_facts import DIGEST, FACTS

from builder.publish.attest.statements import CELL_PREDICATES, make_provenance, make_statements, make_test_result

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
    assert provenance["runDetails"] == {
        "builder": {"id": "urn:kmodsmith:builder:local", "version": {"kmodsmith": "0"}},
        "metadata": {"invocationId": "20261123T000000Z-1", "finishedOn": "2026-11-23T00:00:00Z"},
    }


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
    bare = make_test_result(replace(FACTS, boot=None, evidence=replace(_EVIDENCE, signers=())))
    assert bare["passedTests"] == [item["name"] for item in bare["configuration"]] == ["fit"]
