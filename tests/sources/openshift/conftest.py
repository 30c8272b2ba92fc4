from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.openshift_lab import Lab

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.host.http._PAUSE_S", 0.0)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
