"""How a guest is run when there is a snapshot of its firmware, and what becomes of one that is no good."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.consoles import WORDS

from builder.boot import snapshot as snapshot_module
from builder.boot.acceleration import Acceleration
from builder.boot.devices import claim_devices
from builder.boot.guest_run import GuestRunner, PreparedGuest
from builder.boot.machine import Firmware, Guest
from builder.boot.script import StepKind, make_script
from builder.boot.snapshot import Snapshots
from builder.config.model.boot import BootTest
from builder.digest import sha256_of
from builder.errors import CellError
from builder.kernel import Arch, parse_kernel_version

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

_KERNEL = parse_kernel_version("6.12.5+deb12-amd64")
_LOCKED = "fact lockdown none [integrity] confidentiality"


def _print(*reports: str) -> str:
    return "".join(f"echo '[ 1.0] kmodsmith {word} {line}'\n" for word, line in zip(WORDS, reports, strict=False))


_GOOD = _print("start", f"fact release {_KERNEL}", _LOCKED, "finish")


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedGuest:
    snapshot_module._version_of.cache_clear()
    snapshot_module._digest_of.cache_clear()
    firmware = tmp_path / "fd"
    firmware.write_bytes(b"x")
    settings = BootTest()
    settings = settings.model_copy(update={"timeouts": settings.timeouts.model_copy(update={"boot": 0.4})})
    monkeypatch.setattr("builder.boot.guest_run._ANSWER_TIMEOUT_S", 0.1)
    return PreparedGuest(
        kernel=_KERNEL, settings=settings, log_file=tmp_path / "logs" / "boot.log",
        guest=Guest(
            arch=Arch.X86_64, vmlinuz=tmp_path / "k", initramfs=tmp_path / "i", memory_mib=512, cpus=1, arguments=[],
            firmware=Firmware(code=firmware, variables=firmware, needs_smm=True), variables=firmware,
        ),
        script=make_script((), settings, in_tree=(), claims=(), is_enforced=True, has_test=False),
        words=WORDS, not_loaded={}, notes=[], loads=[], mode="secure", enrolled="db", signed_by="throwaway",
    )  # fmt: skip


@pytest.fixture
def snapshots(tmp_path: Path, prepared: PreparedGuest, fake_tools: FakeTools) -> Snapshots:
    """A folder with a snapshot for the guest."""
    fake_tools.add("qemu-system-x86_64", _GOOD)
    found = Snapshots(tmp_path / "firmware")
    with found.attempt(prepared.guest) as attempt:
        assert attempt.kind is not None
        digest = sha256_of(b"state").removeprefix("sha256:")
        attempt.kind.notes.write_text(json.dumps({"point": 3, "digest": digest}))
        attempt.kind.snapshot.write_bytes(b"state")
    return found


def _runner(snapshots: Snapshots) -> GuestRunner:
    return GuestRunner(Acceleration("tcg"), snapshots)


def _starts(tools: FakeTools) -> list[str]:
    calls = [" ".join(call) for call in tools.calls("qemu-system-x86_64") if "--version" not in call]
    return ["snapshot" if "-incoming" in call else "taking" if "-mon" in call else "reset" for call in calls]


def test_a_guest_starts_from_a_snapshot(prepared: PreparedGuest, snapshots: Snapshots, fake_tools: FakeTools) -> None:
    outcome, acceleration = _runner(snapshots).run(prepared)
    assert (outcome.from_snapshot, acceleration) == (True, "tcg")
    assert _starts(fake_tools) == ["snapshot"]
    assert prepared.log_file.read_text().startswith("+ qemu-system-x86_64")


@pytest.mark.parametrize("how", ["echo 'load of migration failed' >&2; exit 1", "sleep 8", "exit 0", "kill -9 $$"])
def test_a_guest_that_comes_up_from_reset_only_removes_the_snapshot(
    prepared: PreparedGuest, snapshots: Snapshots, fake_tools: FakeTools, how: str, tmp_path: Path
) -> None:
    fake_tools.add("qemu-system-x86_64", f'case "$*" in *-incoming*) {how} ;; esac\n{_GOOD}')
    outcome, _ = _runner(snapshots).run(prepared)
    assert not outcome.from_snapshot
    assert _starts(fake_tools) == ["snapshot", "reset"]
    assert list((tmp_path / "firmware").glob("*.snapshot")) == []


def test_a_guest_that_comes_up_in_no_way_says_nothing_of_the_snapshot(
    prepared: PreparedGuest, snapshots: Snapshots, fake_tools: FakeTools, tmp_path: Path
) -> None:
    fake_tools.add("qemu-system-x86_64", "echo '[ 0.1] Kernel panic - not syncing: VFS'; exit 0")
    with pytest.raises(CellError, match="Kernel panic") as caught:
        _runner(snapshots).run(prepared)
    assert caught.value.failure.code == "kernel-did-not-start"
    assert _starts(fake_tools) == ["snapshot", "reset"]
    assert len(list((tmp_path / "firmware").glob("*.snapshot"))) == 1


def test_a_guest_that_does_not_come_up_while_its_snapshot_is_taken_starts_again(
    prepared: PreparedGuest, snapshots: Snapshots, fake_tools: FakeTools, tmp_path: Path
) -> None:
    (file,) = (tmp_path / "firmware").glob("*.snapshot")
    file.unlink()
    fake_tools.add("qemu-system-x86_64", f'case "$*" in *snapshot,mode=control*) exit 1 ;; esac\n{_GOOD}')
    for _ in range(3):
        _runner(Snapshots(tmp_path / "firmware")).run(prepared)
    # Twice it was in vain, so it is not tried again.
    assert _starts(fake_tools) == ["taking", "reset", "taking", "reset", "reset"]


def test_a_qemu_that_cannot_be_listened_to_runs_guests_all_the_same(
    prepared: PreparedGuest, fake_tools: FakeTools, tmp_path: Path
) -> None:
    fake_tools.add("qemu-system-x86_64", f'case "$*" in *-trace*) echo "no such option" >&2; exit 1 ;; esac\n{_GOOD}')
    for _ in range(3):
        _runner(Snapshots(tmp_path / "firmware")).run(prepared)
    calls = [call for call in fake_tools.calls("qemu-system-x86_64") if "--version" not in call]
    assert ["-trace" in call for call in calls] == [True, False, True, False, False]


def test_a_device_that_only_a_guest_from_a_snapshot_does_not_find_is_not_the_drivers_fault(
    prepared: PreparedGuest, snapshots: Snapshots, fake_tools: FakeTools, tmp_path: Path
) -> None:
    claims = claim_devices(("edu",), {"demo": ["pci:v00001234d000011E8sv*sd*bc*sc*i*"]})
    script = make_script((), prepared.settings, in_tree=(), claims=claims, is_enforced=True, has_test=False)
    assert script.steps[0].kind is StepKind.FIND_DEVICE
    steps = [line for step in script.steps for line in (f"begin {step.number}", f"end {step.number} 0")]
    before = ("start", f"fact release {_KERNEL}", _LOCKED)
    answer = """echo '{"QMP": {}}'; """
    stuck = _print(*before, "begin 1") + "exit 0"
    fake_tools.add(
        "qemu-system-x86_64", f'{answer} case "$*" in *-incoming*)\n{stuck} ;; esac\n' + _print(*before, *steps[:2])
    )
    guest = replace(prepared, script=replace(script, steps=script.steps[:1]))
    outcome, _ = _runner(snapshots).run(guest)
    assert not outcome.from_snapshot
    assert _starts(fake_tools) == ["snapshot", "reset"]


def test_without_snapshots_guests_start_from_reset(
    prepared: PreparedGuest, snapshots: Snapshots, fake_tools: FakeTools
) -> None:
    outcome, _ = GuestRunner(Acceleration("tcg"), None).run(prepared)
    assert not outcome.from_snapshot
    assert snapshots is not None
    assert _starts(fake_tools) == ["reset"]
