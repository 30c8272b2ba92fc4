"""A machine that has what is on PATH, and nothing else."""

from __future__ import annotations

import pytest

from builder.host import limits


@pytest.fixture(autouse=True)
def _only_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools outside of PATH are not there, whatever this machine has."""
    import shutil

    monkeypatch.setattr("builder.doctor.examine.find_tool", shutil.which)
    monkeypatch.setattr("builder.store.jail.find_tool", shutil.which)
    monkeypatch.setattr("builder.store.jail.find_grouping", lambda: limits._Systemd(is_root=True))
    monkeypatch.setattr("os.geteuid", lambda: 0)  # a plain user's buildah would be asked what it may
