"""What a component image must keep to: each thing that is missing or wrong is found under its own code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import LABELS, component_entries, read_component_image
from fakes.samples import make_program

from builder.components.contract import check_component
from builder.image.layout import LayerEntry
from builder.image.overlay import Ambiguity
from builder.kernel import Arch
from builder.kmod.finding import Check, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.image.contents import ImageContents

_GOOD = component_entries()
_TEST = ("/bin/plugin", "self-test")
_SECRET = b"machine x login y password z"


def _findings(
    image: ImageContents, *, labels: dict[str, str] | None = None, test: Sequence[str] = _TEST, arch: Arch = Arch.X86_64
) -> list[Finding]:
    return check_component(image, arch, labels=LABELS if labels is None else labels, self_test=test)


def _codes(image: ImageContents, **options: Any) -> set[str]:
    return {finding.check for finding in _findings(image, **options)}


def test_a_good_image_passes(tmp_path: Path) -> None:
    assert _codes(read_component_image(tmp_path / "a", _GOOD)) == set()
    assert _codes(read_component_image(tmp_path / "b", _GOOD), test=()) == set()
    arm = read_component_image(tmp_path / "c", component_entries("arm64"), arch="arm64")
    assert _codes(arm, arch=Arch.AARCH64) == set()
    assert Check.WRONG_ARCHITECTURE in _codes(arm)


def _and(*entries: LayerEntry) -> list[LayerEntry]:
    return [*_GOOD, *entries]


@pytest.mark.parametrize(
    ("check", "entries"),
    [
        (Check.TOOL_MISSING, [entry for entry in _GOOD if entry.path != "bin/plugin"]),
        (Check.TOOL_MISSING, [entry for entry in _GOOD if entry.path != "bin/sh"]),
        (Check.TOOL_CANNOT_RUN, [*_GOOD[:1], LayerEntry(path="bin/plugin", content=make_program(183), mode=0o755), *_GOOD[2:]]),
        (Check.TOOL_CANNOT_RUN, [*_GOOD[:1], LayerEntry(path="bin/plugin", content=b"#!/bin/python\n", mode=0o755), *_GOOD[2:]]),
        (Check.LICENSES_FOLDER_EMPTY, _GOOD[:-1]),
        (Check.WRONG_MACHINE, _and(LayerEntry(path="a/fast.so", content=make_program(183)))),
        (Check.WRONG_MACHINE, _and(LayerEntry(path="a/fast.so.1.2", content=make_program(183), mode=0o644))),
        (Check.SECRET_IN_LAYER, _and(LayerEntry(path="root/.netrc", content=_SECRET))),
        (Check.PROHIBITED_PACKAGE, _and(LayerEntry(path="var/lib/dpkg/status", content=b"Package: linux-image-6.1\nStatus: install ok installed\n"))),
    ],
)  # fmt: skip
def test_each_broken_image_has_its_code(check: Check, entries: list[LayerEntry], tmp_path: Path) -> None:
    assert _codes(read_component_image(tmp_path, entries)) == {check}


@pytest.mark.parametrize(
    "entry",
    [
        LayerEntry(path="a/fast.so", link="/elsewhere.so"),
        LayerEntry(path="a/fast.so", content=b"INPUT(libc.so.6)\n"),  # a linker script
        LayerEntry(path="a/fast.so", content=b""),
        LayerEntry(path="a/some.so.conf", content=b"text"),
        LayerEntry(path="a/module.o", content=make_program(183)),
    ],
)
def test_what_is_no_shared_object_is_of_no_machine(entry: LayerEntry, tmp_path: Path) -> None:
    assert _codes(read_component_image(tmp_path, _and(entry))) == set()


@pytest.mark.parametrize("label", sorted(LABELS))
def test_a_label_that_certification_demands_is_missing(label: str, tmp_path: Path) -> None:
    labels = {name: value for name, value in LABELS.items() if name != label}
    image = read_component_image(tmp_path, _GOOD, labels)
    assert _codes(image, labels={}) == {Check.LABEL_MISSING}
    assert _codes(image) == {Check.LABEL_MISSING, Check.WRONG_LABEL}


def test_a_label_of_a_base_image_that_is_still_there_is_wrong(tmp_path: Path) -> None:
    (finding,) = _findings(read_component_image(tmp_path, _GOOD, {**LABELS, "version": "9.4"}))
    assert (finding.check, finding.subject) == (Check.WRONG_LABEL, "version")
    assert finding.sentence == "it says '9.4', and should say '0.1.0'"
    (finding,) = _findings(read_component_image(tmp_path / "b", _GOOD), labels={**LABELS, "io.x": "y"})
    assert finding.subject == "io.x"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"Entrypoint": ["/bin/plugin"], "Cmd": ["absent"]}, set()),
        ({"Entrypoint": ["plugin"]}, set()),
        ({"Entrypoint": ["absent"]}, {Check.TOOL_MISSING}),
        ({"Entrypoint": ["/licenses/LICENSE"]}, {Check.TOOL_MISSING}),
        ({"Entrypoint": [], "Cmd": ["absent"]}, {Check.TOOL_MISSING}),
        ({"Entrypoint": None, "Cmd": None}, set()),
        ({"Entrypoint": [5], "Cmd": "absent"}, set()),
        ({"Entrypoint": {"0": "x"}, "Cmd": []}, set()),
    ],
)
def test_what_containers_start_is_there(settings: dict[str, object], found: set[Check], tmp_path: Path) -> None:
    image = read_component_image(tmp_path, _GOOD)
    kept = {name: value for name, value in image.config["config"].items() if name not in {"Entrypoint", "Cmd"}}
    assert _codes(replace(image, config={**image.config, "config": {**kept, **settings}})) == found


def test_the_program_of_the_self_test_is_there(tmp_path: Path) -> None:
    (finding,) = _findings(read_component_image(tmp_path, _GOOD), test=("python3.11", "-m", "x"))
    assert (finding.check, finding.subject) == (Check.TOOL_MISSING, "python3.11")
    assert finding.sentence == "self_test starts it, and there is no such program in /bin"


def test_a_secret_in_settings_is_found(tmp_path: Path) -> None:
    image = read_component_image(tmp_path, _GOOD)
    settings = {**image.config["config"], "Env": ["PATH=/bin", "DB_PASSWORD=sesame"]}
    assert _codes(replace(image, config={**image.config, "config": settings})) == {Check.SECRET_IN_SETTINGS}


def test_files_of_which_not_every_engine_sees_the_same_are_found(tmp_path: Path) -> None:
    image = read_component_image(tmp_path, _GOOD)
    assert _codes(replace(image, ambiguities=(Ambiguity("bin/x", "why"),))) == {Check.LAYERS_AMBIGUOUS}
