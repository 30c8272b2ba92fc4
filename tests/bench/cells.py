"""What a cell costs besides its compile, where kmodsmith writes the final image and where buildah makes it.

Both build the sample driver, one cell after another, in one run. In the second, the last stage of the Containerfile has a
name, which changes nothing of what it makes; kmodsmith does not know that stage, so buildah is asked. Seconds are those of
processors, of all processes: other work on the machine does not count. Processes and threads are counted by a PID
namespace of its own, in which each takes a number (pid_namespaces(7)); those of a run that finds all done are taken off.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.template import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).parents[2]
_KNOWN = "FROM ${BASE_IMAGE}\n"
_UNKNOWN = "FROM ${BASE_IMAGE} AS final\n"
_COUNTED = ("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", """"$@" && sh -c 'echo $$ >&2'""", "count")
_BESIDES = ("assemble", "verify", "store")


def measure_cells(build: Callable[..., dict[str, Any]], kernel_glob: str, rounds: int) -> dict[str, Any]:
    """Return figures by who makes the final image; ``build`` is the benchmark's own."""
    with tempfile.TemporaryDirectory(prefix="kmodsmith-cells-") as scratch:
        projects = {
            "by_kmodsmith": _make_project(Path(scratch, "known"), _KNOWN),
            "by_buildah": _make_project(Path(scratch, "unknown"), _UNKNOWN),
        }
        for project in projects.values():
            build("--kernel", kernel_glob, project=project)  # toolkits and facts, once and for all
        measured: dict[str, list[dict[str, float]]] = {name: [] for name in projects}
        for _ in range(rounds):
            for name, project in projects.items():
                measured[name].append(_measure(build, kernel_glob, project))
    return {name: _median(figures) for name, figures in measured.items()}


def _make_project(folder: Path, last_stage: str) -> Path:
    folder.mkdir()
    for name in ("kernel-module", "driver-container"):
        shutil.copytree(_ROOT / name, folder / name)
    shutil.copy(_ROOT / "versions.lock.yaml", folder)
    file = folder / "driver-container" / "Containerfile"
    text = file.read_text()
    assert text.count(_KNOWN) == 1
    file.write_text(text.replace(_KNOWN, last_stage))
    (folder / "versions.yaml").write_text(yaml.safe_dump(read_settings(_ROOT / "versions.yaml")))
    return folder


def _measure(build: Callable[..., dict[str, Any]], kernel_glob: str, project: Path) -> dict[str, float]:
    idle = _run(build, "--kernel", kernel_glob, project=project)
    busy = _run(build, "--kernel", kernel_glob, "--force", "--jobs", "1", project=project)
    cells = busy["report"]["cells"]
    assert {cell["status"] for cell in cells} == {"built"}
    besides = [sum(cell["cpu"].get(stage, 0.0) for stage in _BESIDES) for cell in cells]
    return {
        "cells": len(cells),
        "cpu_s": (busy["cpu_s"] - idle["cpu_s"]) / len(cells),
        "compile_cpu_s": statistics.median(cell["cpu"]["compile"] for cell in cells),
        "assemble_verify_store_cpu_s": statistics.median(besides),
        "processes_and_threads": (busy["tasks"] - idle["tasks"]) / len(cells),
    }


def _run(build: Callable[..., dict[str, Any]], *arguments: str, project: Path) -> dict[str, Any]:
    with tempfile.TemporaryFile("w+") as errors:
        report = build(*arguments, project=project, prefix=_COUNTED, errors=errors)
        errors.seek(0)
        return {"report": report, "cpu_s": report["cpu_s"], "tasks": int(errors.read().split()[-1])}


def _median(figures: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(figure[name] for figure in figures), 3) for name in figures[0]}
