"""Free disk, before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builder.errors import HostError
from builder.host.disk import Demand, check_disk, check_writable

if TYPE_CHECKING:
    from pathlib import Path


def test_demands_on_one_disk_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    check_disk(
        [Demand(purpose="a", folder=tmp_path / "not" / "there", size=60), Demand(purpose="b", folder=tmp_path, size=40)]
    )
    with pytest.raises(HostError, match="a and b need about"):
        check_disk([Demand(purpose="a", folder=tmp_path, size=60), Demand(purpose="b", folder=tmp_path, size=41)])


def test_what_can_be_written_into_is_found_out_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        check_writable(tmp_path / "file" / "b")
