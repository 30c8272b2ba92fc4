"""Mistakes in bundles of operators, verdict by verdict: ours, and those of operator-framework/api, by which Red Hat certifies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.operator_bundles import MUTATIONS, change, good_bundle, write_bundle
from programs import find_go

from builder.emit.kmm.version import Flavour
from builder.host.locks import alone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Judge = Callable[[Sequence[Path]], list[set[tuple[str, str]]]]

pytestmark = pytest.mark.preflight

_SOURCES = Path(__file__).parents[1] / "engines" / "operator-bundles"
_ICON = ("Warning", "csv.Spec.Icon not specified")


@pytest.fixture(scope="module")
def judge() -> Judge:
    """Build the engine once for each state of its sources; returns what tells level and words of findings."""
    state = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(_SOURCES.iterdir()))).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodsmith" / "test-engines"
    program = cache / f"operator-bundles-{state}" / "operator-bundles"
    with alone(program.parent):
        if not program.is_file():
            sources = program.parent.with_name(f".operator-bundles.{os.getpid()}")
            shutil.copytree(_SOURCES, sources)
            environment = os.environ | {"GOFLAGS": "-trimpath", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
            argv = [
                "nice",
                find_go(),
                "build",
                "-gcflags=all=-N -l -dwarf=false",
                "-ldflags=-s -w",
                "-o",
                program.name,
                ".",
            ]
            done = subprocess.run(argv, cwd=sources, env=environment, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            sources.rename(program.parent)

    def ask(folders: Sequence[Path]) -> list[set[tuple[str, str]]]:
        argv = [str(program), *map(str, folders)]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        answers = [json.loads(line)["findings"] for line in done.stdout.splitlines()]
        # Behind the name of the ClusterServiceVersion, which a mistake may be in.
        return [{(one["level"], one["detail"].partition(") ")[2] or one["detail"]) for one in said} for said in answers]

    return ask


@pytest.mark.parametrize("flavour", list(Flavour))
def test_our_own_bundle_lacks_an_icon_and_nothing_else(flavour: Flavour, judge: Judge, tmp_path: Path) -> None:
    assert judge([write_bundle(tmp_path, good_bundle(flavour))]) == [{_ICON}]


def test_what_they_tell_of_each_mistake_is_known(judge: Judge, tmp_path: Path) -> None:
    """What they refuse is an error of ours as well; of what they pass over ours tells more."""
    good = good_bundle()
    folders = [
        write_bundle(tmp_path / str(number), change(good, one.file, one.path, one.value))
        for number, one in enumerate(MUTATIONS)
    ]
    different = {}
    for one, said in zip(MUTATIONS, judge(folders), strict=True):
        levels = {level for level, _ in said - {_ICON}}
        found = "Error" if "Error" in levels else "Warning" if levels else ""
        if found != one.theirs:
            different[one.id] = (one.theirs, sorted(said - {_ICON}))
    assert different == {}
    assert [one.id for one in MUTATIONS if one.theirs == "Error" and not one.is_error] == []
    assert sum(one.theirs == "" for one in MUTATIONS) > 40, "what only ours tells"
