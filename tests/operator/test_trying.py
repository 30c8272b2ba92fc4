"""A container tries the devices that it was given, and no others."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from kmod_operator import __main__ as program
from kmod_operator.devices.model import Description, Device, DeviceNode, Health
from kmod_operator.devices.ptemplate import PtemplateDevices
from kmod_operator.devices.trying import TryError, try_devices


class _Source:
    """Two devices of the node."""

    def __init__(self, *ids: str) -> None:
        self._ids = ids

    def discover(self) -> list[Device]:
        return [Device(id=name) for name in self._ids]

    def check(self, _: Device) -> Health:
        return Health(well=True)

    def describe(self, device: Device) -> Description:
        return Description(nodes=(DeviceNode(path=f"/dev/{device.id}"),))


class _Tried(_Source):
    def __init__(self, *ids: str, error: Exception | None = None) -> None:
        super().__init__(*ids)
        self.tried: list[str] = []
        self._error = error

    def try_out(self, device: Device) -> None:
        self.tried.append(device.id)
        if self._error:
            raise self._error


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of devices: plain files that say they are character devices, because to make one takes privilege."""
    (tmp_path / "dev").mkdir()
    real = os.stat

    def told(path: Any, **more: Any) -> Any:
        found = real(path, **more)
        if str(path).startswith(str(tmp_path / "dev/")) and Path(path).suffix != ".txt":
            values = list(found)
            values[0] = stat.S_IFCHR | 0o600
            return os.stat_result(values)
        return found

    monkeypatch.setattr(os, "stat", told)
    return tmp_path / "dev"


def test_what_was_given_is_tried_and_nothing_else(tmp_path: Path, dev: Path) -> None:
    (dev / "b").write_text("")
    source = _Tried("a", "b")
    assert try_devices(source, tmp_path) == ["b"]
    assert source.tried == ["b"]


def test_without_a_method_of_its_own_files_are_opened(tmp_path: Path, dev: Path) -> None:
    (dev / "a").write_text("")
    assert try_devices(_Source("a"), tmp_path) == ["a"]
    (dev / "a").chmod(0)
    if os.geteuid():
        with pytest.raises(TryError, match="a does not work: .*Permission"):
            try_devices(_Source("a"), tmp_path)


def test_a_container_that_was_given_none_has_not_tried_one(tmp_path: Path, dev: Path) -> None:
    (dev / "c.txt").write_text("a file, and no device")
    with pytest.raises(TryError, match="none of the 2 devices of this node was given"):
        try_devices(_Source("a", "c.txt"), tmp_path)


@pytest.mark.parametrize(
    ("error", "words"),
    [(OSError("no answer"), "a does not work: no answer"), (KeyError(), "a does not work: KeyError")],
)
def test_what_does_not_work_is_a_sentence(tmp_path: Path, dev: Path, error: Exception, words: str) -> None:
    (dev / "a").write_text("")
    with pytest.raises(TryError, match=words):
        try_devices(_Tried("a", error=error), tmp_path)


def _sample(root: Path) -> PtemplateDevices:
    (root / "sys/class/ptemplate/ptemplate-0").mkdir(parents=True)
    return PtemplateDevices(root)


def test_the_sample_gives_back_what_was_written(tmp_path: Path, dev: Path) -> None:
    source = _sample(tmp_path)
    (dev / "ptemplate-0").write_text("")
    assert try_devices(source, tmp_path) == ["ptemplate-0"]
    (dev / "ptemplate-0").unlink()
    (dev / "ptemplate-0").symlink_to("/dev/null")
    with pytest.raises(TryError, match="ptemplate-0 does not work: it gives back b''"):
        try_devices(source, tmp_path)


def test_the_program_says_it_by_its_exit_code(
    tmp_path: Path, dev: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _sample(tmp_path)
    monkeypatch.setenv("KMOD_ROOT", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["kmod_operator", "try-devices"])
    assert program.main() == 1
    (dev / "ptemplate-0").write_text("")
    assert program.main() == 0
    monkeypatch.setenv("KMOD_SOURCE", "nothing")
    assert program.main() == 2
    told = capsys.readouterr().err
    assert "none of the 1 devices of this node was given to this container" in told
    assert "ptemplate-0: tried, and well" in told
    assert "'nothing' is not of the form" in told
