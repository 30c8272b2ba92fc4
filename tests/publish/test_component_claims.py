"""What statements about a component image say must be true of it: each is broken by exactly its thing."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import LABELS, component_entries, make_component_evidence, read_component_image

from builder.errors import FormatError
from builder.image.labels import COMPONENT_LABEL, KEY_LABEL, SOURCE_LABEL
from builder.image.layout import LayerEntry
from builder.publish.attest.component_statements import (
    ComponentFacts,
    make_component_provenance,
    make_component_sbom,
    make_component_test_result,
)
from builder.publish.component_claims import check_provenance, check_sbom, check_tests, is_component

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.image.contents import ImageContents

_LABELS = {**LABELS, COMPONENT_LABEL: "plugin-0.1.0/x86_64", KEY_LABEL: "k" * 64, SOURCE_LABEL: "s" * 64}
_METADATA = LayerEntry(path="opt/x/Demo-1.0.dist-info/METADATA", content=b"x")


@pytest.fixture
def image(tmp_path: Path) -> ImageContents:
    return read_component_image(tmp_path / "image", [*component_entries(), _METADATA], _LABELS)


def _facts(image: ImageContents) -> ComponentFacts:
    return ComponentFacts(
        evidence=make_component_evidence(), repository="quay.test/org/plugin", digest=image.digest, name="plugin",
        version="0.1.0", arch="amd64", vendor="V", description="D", containerfile="c", target="", base=(), build=(),
        builder="https://ci.test", builder_version="1",
    )  # fmt: skip


def test_an_image_says_that_it_is_a_components(image: ImageContents, tmp_path: Path) -> None:
    assert is_component(image)
    assert not is_component(read_component_image(tmp_path / "other", component_entries()))


def test_what_is_true_passes(image: ImageContents) -> None:
    facts = _facts(image)
    assert check_provenance(make_component_provenance(facts), image, "linux/amd64") == (
        "component plugin 0.1.0, built by https://ci.test"
    )
    assert check_provenance(make_component_provenance(facts), image, "")
    assert check_sbom(make_component_sbom(facts), image) == "1 Python packages are what it lists"
    tests = make_component_test_result(facts)
    assert check_tests(tests["result"], tests["passedTests"], tests["failedTests"], without=()) == (
        "passed contract, self-test"
    )


def _set(*path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


_EXTERNAL, _INTERNAL = ("buildDefinition", "externalParameters"), ("buildDefinition", "internalParameters")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("buildDefinition", "buildType", to="urn:x"), "build type 'urn:x'"),
        (_set(*_EXTERNAL, "component", to="other"), "component 'other'"),
        (_set(*_EXTERNAL, "version", to="9"), "version '9'"),
        (_set(*_EXTERNAL, "arch", to="arm64"), "architecture 'arm64'"),
        (_set(*_INTERNAL, "key", to="other"), "key 'other'"),
        (_set("buildDefinition", "resolvedDependencies", to=[]), "source ''"),
        (_set("buildDefinition", "resolvedDependencies", to="x"), "source ''"),
        (_set("buildDefinition", "resolvedDependencies", to=[5, None]), "source ''"),
        (_set("buildDefinition", "resolvedDependencies", to=[{"name": "source", "digest": 5}]), "digest is missing"),
        (_set("buildDefinition", to=None), "buildDefinition is missing"),
        (_set(*_EXTERNAL, to=[]), "externalParameters is missing"),
        (_set(*_EXTERNAL, "component", to=None), "component 'None'"),
        (_set("runDetails", to={}), "builder is missing"),
    ],
)
def test_provenance_of_something_else_is_found(
    image: ImageContents, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    predicate = copy.deepcopy(make_component_provenance(_facts(image)))
    change(predicate)
    with pytest.raises(FormatError, match=words):
        check_provenance(predicate, image, "linux/amd64")


@pytest.mark.parametrize("label", ["name", "version", KEY_LABEL, SOURCE_LABEL])
def test_an_image_that_says_something_else_is_found(image: ImageContents, label: str) -> None:
    settings = {**image.config["config"], "Labels": {**_LABELS, label: "other"}}
    with pytest.raises(FormatError, match="the image says 'other'"):
        check_provenance(
            make_component_provenance(_facts(image)), replace(image, config={**image.config, "config": settings}), ""
        )


@pytest.mark.parametrize("platform", ["linux/arm64", "linux/arm64/v8"])
def test_the_platform_of_a_list_is_compared(image: ImageContents, platform: str) -> None:
    with pytest.raises(FormatError, match="platform 'amd64', the image says 'arm64'"):
        check_provenance(make_component_provenance(_facts(image)), image, platform)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "of demo it lists 1.0, and the image has nothing"),
        ([LayerEntry(path="x/demo-2.0.dist-info/METADATA", content=b"x")], "and the image has 2.0"),
        ([LayerEntry(path="x/demo-1.0.dist-info/METADATA", link="y")], "and the image has nothing"),
        ([LayerEntry(path="x/demo-1.0.dist-info/RECORD", content=b"x")], "and the image has nothing"),
        ([LayerEntry(path="x/not_demo-1.0.dist-info/METADATA", content=b"x")], "and the image has nothing"),
    ],
)
def test_a_package_that_is_listed_and_not_there_is_found(tmp_path: Path, entries: list[LayerEntry], words: str) -> None:
    image = read_component_image(tmp_path, [*component_entries(), *entries], _LABELS)
    with pytest.raises(FormatError, match=words):
        check_sbom(make_component_sbom(_facts(image)), image)


@pytest.mark.parametrize(
    "change",
    [
        lambda bom: bom["metadata"]["component"]["hashes"].clear(),
        lambda bom: bom["metadata"]["component"]["hashes"][0].update(content="0" * 64),
        lambda bom: bom["metadata"].clear(),
    ],
)
def test_a_bill_of_another_image_is_found(image: ImageContents, change: Callable[[Any], None]) -> None:
    bom = json.loads(json.dumps(make_component_sbom(_facts(image))))
    change(bom)
    with pytest.raises(FormatError, match="it is of another image"):
        check_sbom(bom, image)


@pytest.mark.parametrize(
    "bom", [{"components": 5}, {"metadata": []}, {"components": [{"purl": 5}]}, {"components": [None]}]
)
def test_a_bill_of_other_kinds_is_none(image: ImageContents, bom: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        check_sbom(bom, image)


def test_what_a_base_brings_need_not_be_listed(image: ImageContents) -> None:
    facts = _facts(image)
    nothing = make_component_sbom(replace(facts, evidence=replace(facts.evidence, wheels=())))
    assert check_sbom(nothing, image) == "0 Python packages are what it lists"


_BOTH = ["contract", "self-test"]


@pytest.mark.parametrize(
    ("result", "passed", "failed", "without", "words"),
    [
        ("FAILED", _BOTH, [], (), "ended with 'FAILED'"),
        (None, _BOTH, [], (), "ended with None"),
        ("PASSED", _BOTH, ["x"], (), "ended with 'PASSED'"),
        ("WARNED", ["contract"], [], (), "did not pass self-test; it passed contract"),
        ("PASSED", [], [], ("self-test",), "did not pass contract; it passed nothing"),
        ("PASSED", ["fit"], [], (), "did not pass contract, self-test"),
    ],
)
def test_tests_that_were_not_passed_are_found(
    result: str | None, passed: list[str], failed: list[str], without: tuple[str, ...], words: str
) -> None:
    with pytest.raises(FormatError, match=words):
        check_tests(result, passed, failed, without=without)


def test_a_self_test_may_be_waived() -> None:
    assert check_tests("WARNED", ["contract"], [], without=("self-test",)) == "passed contract"
