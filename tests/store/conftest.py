"""What a compile leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.results import leave_result

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def left(tmp_path: Path) -> Path:
    return leave_result(tmp_path / "out")
