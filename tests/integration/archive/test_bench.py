"""The benchmark is run by hand: what breaks its start would be found by the next who wants to quote a figure."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from integration.conftest import ROOT

pytestmark = pytest.mark.archive


def test_it_starts_as_nox_starts_it() -> None:
    told = (ROOT / "noxfile.py").read_text()
    assert '"-m", "bench.bench", *session.posargs, external=True, env=environment' in told
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    command = [sys.executable, "-m", "bench.bench", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nox -s bench -- --cold" in done.stdout
