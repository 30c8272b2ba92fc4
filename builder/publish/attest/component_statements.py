"""What is attested of a component image, in the same predicates as a cell's: how it was built, of what, what it passed.

All of it is made of evidence: the same evidence gives the same bytes. Pure.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import ComponentScope
from cyclonedx.model.contact import OrganizationalEntity

from builder.publish.attest.sbom import NAMESPACE, describe_image, describe_input, render, unique
from builder.publish.attest.statements import (
    describe_commit,
    describe_dependency,
    describe_run,
    describe_trees,
    state,
)
from builder.sources.provider import BuildInput

if TYPE_CHECKING:
    from builder.evidence.records import ComponentEvidence, WheelRecord

COMPONENT_BUILD_TYPE = "urn:kmodsmith:docs/provenance.md:component:1"
"""What the parameters mean: that page of the documentation says it."""
CONTRACT_TEST, SELF_TEST = "contract", "self-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFacts:
    """A component image's evidence with what versions.yaml and the lock say of it.

    ``base`` is what its base image is made of, ``build`` what the image was that its stage ``build`` ran in.
    """

    evidence: ComponentEvidence
    repository: str
    digest: str
    name: str
    version: str
    arch: str
    vendor: str
    description: str
    containerfile: str
    target: str
    base: tuple[BuildInput, ...]
    build: tuple[BuildInput, ...]
    builder: str
    builder_version: str
    builder_image: tuple[BuildInput, ...] = ()


def make_component_statements(facts: ComponentFacts) -> dict[str, bytes]:
    """Return a component image's statements by predicate type."""
    provenance, sbom = make_component_provenance(facts), make_component_sbom(facts)
    return state(facts.repository, facts.digest, provenance, sbom=sbom, tests=make_component_test_result(facts))


def make_component_provenance(facts: ComponentFacts) -> dict[str, Any]:
    """Return SLSA provenance: what was asked for, everything that went in, and who built it when."""
    evidence, inputs = facts.evidence, facts.evidence.inputs
    return {
        "buildDefinition": {
            "buildType": COMPONENT_BUILD_TYPE,
            "externalParameters": {
                "component": facts.name,
                "version": facts.version,
                "arch": facts.arch,
                "recipe": {"containerfile": facts.containerfile, "target": facts.target},
            },
            "internalParameters": {
                "key": evidence.key,
                "baseId": inputs.get("base", ""),
                "buildId": inputs.get("build", ""),
                "recipeDigest": inputs.get("recipe", ""),
                "format": inputs.get("format", ""),
                **({"derived": "yes"} if evidence.derived else {}),
            },
            "resolvedDependencies": [
                *describe_trees(f"{facts.name}@{facts.version}", inputs),
                *map(describe_commit, evidence.commits),
                *(describe_dependency(item, "base") for item in facts.base),
                *(describe_dependency(item, "build") for item in facts.build),
                *(describe_dependency(_describe_wheel(item), "python-package") for item in evidence.wheels),
            ],
        },
        "runDetails": describe_run(evidence, facts.builder, facts.builder_version, facts.builder_image),
    }


def _describe_wheel(wheel: WheelRecord) -> BuildInput:
    purl = f"pkg:pypi/{wheel.name}@{wheel.version}"
    return BuildInput(
        name=wheel.name, uri=f"{purl}?file_name={wheel.file}", sha256=wheel.sha256, version=wheel.version, purl=purl
    )


def make_component_sbom(facts: ComponentFacts) -> dict[str, Any]:
    """Return the bill of materials; equal facts give an equal one."""
    evidence = facts.evidence
    said = {"component": evidence.component, "component:key": evidence.key, "source": evidence.inputs.get("source", "")}
    image = describe_image(
        facts.repository, facts.digest, arch=facts.arch, version=facts.version, about=facts.description, said=said
    )
    inside = [describe_input(item, "base", ComponentScope.REQUIRED) for item in facts.base]
    inside += [
        describe_input(_describe_wheel(item), "python-package", ComponentScope.REQUIRED) for item in evidence.wheels
    ]
    outside = [describe_input(item, "build", ComponentScope.EXCLUDED) for item in facts.build]
    bom = Bom(serial_number=uuid.uuid5(NAMESPACE, facts.digest), components=unique([*inside, *outside]))
    bom.metadata.component = image
    bom.metadata.timestamp = datetime.fromisoformat(evidence.finished)
    bom.metadata.supplier = OrganizationalEntity(name=facts.vendor)
    bom.register_dependency(image, inside)
    return render(bom)


def make_component_test_result(facts: ComponentFacts) -> dict[str, Any]:
    """Return what an image passed; a self-test that was not run is warned of, and says why."""
    tested = facts.evidence.self_test
    tests: dict[str, dict[str, Any]] = {CONTRACT_TEST: {"arch": facts.arch}}
    warned = []
    if tested is not None and tested.outcome == "passed":
        tests[SELF_TEST] = {"command": list(tested.command), "by": tested.by, "seconds": tested.seconds}
    elif tested is not None:
        warned = [SELF_TEST]
        tests[SELF_TEST] = {"notRun": tested.why}
    return {
        "result": "WARNED" if warned else "PASSED",
        "configuration": [{"name": name, "annotations": annotations} for name, annotations in tests.items()],
        "passedTests": [name for name in tests if name not in warned],
        "warnedTests": warned,
        "failedTests": [],
    }
