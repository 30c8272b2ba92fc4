"""Runs that are killed at every step, and runs side by side on one store, with the real buildah."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.buildah.test_build import _names, _newest, _survivors

if TYPE_CHECKING:
    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]


def _start(machine: Machine, project: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "builder", "-v", "--project", str(project), "build", *arguments]
    return subprocess.Popen(
        command, env=machine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _kill_after(process: subprocess.Popen[str], steps: int) -> bool:
    """Kill a run after so many commands began or ended; returns whether it was still running by then."""
    assert process.stderr is not None
    said = (line for line in process.stderr if line.startswith("+ ") or " ended with exit code" in line)
    was_running = len(list(itertools.islice(said, steps))) == steps
    if was_running:
        process.send_signal(signal.SIGKILL)
    process.stderr.close()
    process.wait(60)
    return was_running


def test_kill_9_between_any_two_commands(machine: Machine, project: Path) -> None:
    """Each run is killed one step later than the one before; whatever is left, nothing is believed that is not proven."""
    kernel = _newest(project, "6.1")
    # Another source than that of other tests, so that nothing of it is in the store.
    (project / "kernel-module" / "killed.h").write_text("\n")
    for steps in itertools.count(1):
        if not _kill_after(_start(machine, project, "--kernel", kernel, "--locked"), steps):
            break
        assert steps < 100
    assert steps > 8, "it was killed in the middle of something"
    code, report = machine.build(project, "--kernel", kernel)
    assert (code, report["counts"]) == (0, {"skipped": 1})
    (cell,) = report["cells"]
    images = {
        name: image for image in json.loads(machine.buildah("images", "--json")) for name in image.get("names") or []
    }
    assert images[cell["image"]]["id"] == images[f"localhost/kmodsmith/cell:{cell['key']}"]["id"]
    lines = (project / ".kmodsmith" / "journal.jsonl").read_text().splitlines()
    evidence = [json.loads(line) for line in lines if '"type":"cell"' in line][-1]
    assert (evidence["outcome"], evidence["stored"]) == ("built", images[cell["image"]]["digest"])
    machine.build(project, "--kernel", kernel, "--force")  # one that uses the store puts it in order
    assert not _survivors(machine)
    assert not [name for name in _names(machine) if "kmodsmith/stage" in name or "kmodsmith-import" in name]
    assert json.loads(machine.buildah("containers", "--json") or "[]") in ([], None)


def test_two_runs_with_homes_of_their_own_on_one_store(machine: Machine, project: Path, tmp_path: Path) -> None:
    """They build the same cells from the same inputs: neither removes what the other works in, or names its image."""
    (project / "kernel-module" / "twice.h").write_text("\n")
    other = tmp_path / "other"
    shutil.copytree(project, other, ignore=shutil.ignore_patterns(".kmodsmith"))
    home = tmp_path / "home"
    home.mkdir()
    kernels = ("--kernel", _newest(project, "6.1"), "--kernel", _newest(project, "6.12"))
    elsewhere = machine.with_environment({"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")})
    # What is fetched can be shared; what is locked must not depend on it.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    (home / "cache" / "kmodsmith").mkdir(parents=True)
    (home / "cache" / "kmodsmith" / "packages").symlink_to(cache / "kmodsmith" / "packages")
    runs = [_start(machine, project, *kernels, "--force"), _start(elsewhere, other, *kernels, "--force")]
    said = [run.communicate(timeout=280)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert not any("left behind by a run" in text for text in said)
    images = {
        name: image for image in json.loads(machine.buildah("images", "--json")) for name in image.get("names") or []
    }
    for folder in (project, other):
        lines = (folder / ".kmodsmith" / "journal.jsonl").read_text().splitlines()
        cells = [json.loads(line) for line in lines if '"type":"cell"' in line]
        assert len(cells) == 2
        assert {cell["stored"] for cell in cells} == {images[cell["image"]]["digest"] for cell in cells}
