"""A machine with a KVM, and a guest that passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.consoles import PretendedGuest, plan_script

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/kvm that anybody may open, on a machine of which we know the processor; returns where that is written."""
    device, processors = tmp_path / "kvm", tmp_path / "cpuinfo"
    device.touch()
    processors.write_text("processor: 0\nmodel name\t: Fast One\n")
    monkeypatch.setattr("builder.boot.acceleration._KVM", device)
    monkeypatch.setattr("builder.boot.acceleration._CPUINFO", processors)
    monkeypatch.setattr("builder.boot.acceleration._PROBE_TIMEOUT_S", 0.3)
    return processors


@pytest.fixture
def guest() -> PretendedGuest:
    sets = (
        {"name": "limits", "modules": {"char": "max=9"}},
        {"name": "nonsense", "modules": {"char": "max=-1"}, "refused": True},
    )
    return PretendedGuest(
        plan_script("core", "char", secure=True, test=True, in_tree=("crc_itu_t",), repeat=20, parameters=sets)
    )
