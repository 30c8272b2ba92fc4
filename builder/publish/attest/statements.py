"""What is attested of a cell's image: how it was built, what is in it, and which tests it passed.

Predicates: SLSA provenance v1 (slsa.dev/spec/v1.0/provenance), in-toto test result v0.1, CycloneDX 1.6. All are made of
evidence: the same evidence gives the same bytes. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.publish.attest.bundle import SIGNATURE_PREDICATE, make_statement
from builder.publish.attest.sbom import SBOM_PREDICATE, make_sbom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.drivers.commit import SourceCommit
    from builder.evidence.records import ImageEvidence
    from builder.publish.attest.facts import CellFacts
    from builder.sources.provider import BuildInput

PROVENANCE_PREDICATE = "https://slsa.dev/provenance/v1"
TEST_PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
BUILD_TYPE = "urn:kmodsmith:docs/provenance.md:cell:2"
"""What the parameters mean: that page of the documentation, whose place on the web may change, says it."""
BUILD_TYPES = (BUILD_TYPE, "urn:kmodsmith:build:cell:1")
"""Those of images that were published before, too."""
FIT_TEST, SIGNATURE_TEST, BOOT_TEST = "fit", "module-signature", "boot"
CELL_PREDICATES = (SIGNATURE_PREDICATE, PROVENANCE_PREDICATE, SBOM_PREDICATE, TEST_PREDICATE)
"""What every published cell has, in this order."""


def make_statements(facts: CellFacts) -> dict[str, bytes]:
    """Return a cell's statements by predicate type."""
    return state(
        facts.repository, facts.digest, make_provenance(facts), sbom=make_sbom(facts), tests=make_test_result(facts)
    )


def state(
    repository: str, digest: str, provenance: dict[str, Any], *, sbom: dict[str, Any], tests: dict[str, Any]
) -> dict[str, bytes]:
    """Return statements about an image by predicate type: all that ``CELL_PREDICATES`` names."""
    predicates: dict[str, dict[str, Any]] = {
        SIGNATURE_PREDICATE: {},
        PROVENANCE_PREDICATE: provenance,
        SBOM_PREDICATE: sbom,
        TEST_PREDICATE: tests,
    }
    return {kind: make_statement(repository, digest, kind, predicate) for kind, predicate in predicates.items()}


def make_provenance(facts: CellFacts) -> dict[str, Any]:
    """Return SLSA provenance: what was asked for, everything that went in, and who built it when."""
    evidence, inputs = facts.evidence, facts.evidence.inputs
    external = {
        "driver": evidence.driver,
        "version": facts.driver_version,
        "kernel": evidence.kernel,
        "arch": facts.arch,
        "compress": inputs.get("compress", "none"),
        **({"compiledFor": inputs["compiled_for"]} if inputs.get("compiled_for") else {}),
        "recipe": dict(facts.recipe),
    }
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": external,
            "internalParameters": {
                "cellKey": evidence.key,
                "toolkitId": inputs.get("toolkit", ""),
                "baseId": inputs.get("base", ""),
                "recipeDigest": inputs.get("recipe", ""),
                "moduleSigners": inputs.get("signers", ""),
                "format": inputs.get("format", ""),
                **({"derived": "yes"} if evidence.derived else {}),
            },
            "resolvedDependencies": [
                *describe_trees(f"{evidence.driver}@{facts.driver_version}", inputs),
                *map(describe_commit, evidence.commits),
                *(describe_dependency(item, "toolkit") for item in facts.toolkit),
                *(describe_dependency(item, "build-package") for item in facts.packages),
                *(describe_dependency(item, "base") for item in facts.base),
            ],
        },
        "runDetails": describe_run(evidence, facts.builder, facts.builder_version, facts.builder_image),
    }


def describe_trees(named: str, inputs: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return source and Containerfile as resolved dependencies; ``named`` is what they are of, and its version."""
    known = (("source", "kmodsmithTree"), ("containerfile", "sha256"))
    return [
        {"name": name, "uri": f"urn:kmodsmith:{name}:{named}", "digest": {algorithm: digest}}
        for name, algorithm in known
        if (digest := inputs.get(name, ""))
    ]


def describe_run(
    evidence: ImageEvidence, builder: str, version: str, image: Sequence[BuildInput] = ()
) -> dict[str, Any]:
    """Return who built an image and when; of one whose evidence was lost, nobody knows which run it was."""
    started = {"startedOn": evidence.started} if evidence.started else {}
    known = {"invocationId": evidence.run, **started, "finishedOn": evidence.finished}
    ran_in = [{"name": item.name, "uri": item.uri, "digest": {"sha256": item.sha256}} for item in image]
    depends = {"builderDependencies": ran_in} if ran_in else {}
    return {
        "builder": {"id": builder, "version": {"kmodsmith": version}, **depends},
        "metadata": {} if evidence.derived else known,
    }


def describe_commit(commit: SourceCommit) -> dict[str, Any]:
    """Return a commit as a resolved dependency."""
    uri = {"uri": commit.repository} if commit.repository else {}
    path = {"path": commit.path} if commit.path else {}
    annotations = {"role": commit.name, **path, "dirty": str(commit.dirty)}
    return {"name": f"{commit.name}-commit", **uri, "digest": {"gitCommit": commit.commit}, "annotations": annotations}


def describe_dependency(item: BuildInput, role: str) -> dict[str, Any]:
    """Return a package or an image as a resolved dependency; ``role`` says what it was for."""
    return {"name": item.name, "uri": item.uri, "digest": {"sha256": item.sha256}, "annotations": {"role": role}}


def make_test_result(facts: CellFacts) -> dict[str, Any]:
    """Return the tests that an image passed; only what passed is ever published."""
    evidence, boot = facts.evidence, facts.boot
    tests: dict[str, dict[str, Any]] = {
        FIT_TEST: {
            "kernel": evidence.kernel,
            "modules": len(evidence.modules),
            "symbols": sum(module.imports for module in evidence.modules),
            "vermagic": sorted({module.vermagic for module in evidence.modules}),
        }
    }
    if evidence.signers:
        tests[SIGNATURE_TEST] = {"signers": list(evidence.signers)}
    if boot is not None:
        tests[BOOT_TEST] = {
            "kernel": evidence.kernel,
            "mode": boot.mode,
            "acceleration": boot.acceleration,
            "firmware": "snapshot" if boot.from_snapshot else "reset",
            "enrolled": boot.enrolled,
            "signedBy": boot.signed_by,
            "refusals": list(boot.refusals),
            "allowed": list(boot.allowed),
            "notes": list(boot.notes),
            "seconds": boot.seconds,
            "finished": boot.finished,
        }
    return {
        "result": "PASSED",
        "configuration": [{"name": name, "annotations": annotations} for name, annotations in tests.items()],
        "passedTests": list(tests),
        "warnedTests": [],
        "failedTests": [],
    }
