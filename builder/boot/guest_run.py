"""Runs a guest that is ready to start, with KVM, from a snapshot of its firmware or from reset, and reads its console.

A guest that does not come up says nothing about the modules in it: it is started in a more cautious way, and what was
tried in vain is remembered.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.boot.acceleration import EMULATION, KVM, Choice, GuestKind
from builder.boot.console import FaultKind, Transcript
from builder.boot.machine import ASK_WHERE, make_command
from builder.boot.monitor import Attended, open_monitor
from builder.boot.script import HOT_PLUGS, StepKind
from builder.boot.snapshot import Attempt
from builder.boot.verdict import Ending
from builder.errors import CellError, FailureClass, FormatError
from builder.host.run import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from builder.boot.acceleration import Acceleration
    from builder.boot.machine import Guest
    from builder.boot.script import Script, Step
    from builder.boot.snapshot import Snapshots
    from builder.config.model.boot import BootTest
    from builder.kernel import KernelVersion

SECURE, PLAIN = "secure", "plain"
_MOST_CONSOLE_BYTES = 16 * 1024**2
_ANSWER_TIMEOUT_S = 2.0
# As securityfs shows it: the level that counts is in brackets.
_LOCKED_DOWN = re.compile(r"\[(integrity|confidentiality)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedGuest:
    """A guest that is ready to start."""

    kernel: KernelVersion
    settings: BootTest
    log_file: Path
    guest: Guest
    script: Script
    words: Sequence[str]
    not_loaded: Mapping[str, str]
    notes: Sequence[str]
    loads: Sequence[str]
    """Everything that is loaded, in order."""
    mode: str
    enrolled: str
    signed_by: str


@dataclass(slots=True)
class GuestRun:
    """What came of a guest: everything it said, how it ended, and when it came up (seconds after its start)."""

    transcript: Transcript
    ending: Ending = Ending.DIED
    explanation: str = ""
    started_s: float = 0.0
    came_up_s: float | None = None
    from_snapshot: bool = False
    printed: int = 0
    pending: bytes = field(default=b"")


class GuestRunner:
    """Chooses how guests run, and learns from each; safe to use from several threads."""

    def __init__(self, acceleration: Acceleration, snapshots: Snapshots | None) -> None:
        self._acceleration = acceleration
        self._snapshots = snapshots

    def run(self, prepared: PreparedGuest) -> tuple[GuestRun, str]:
        """Run a guest; returns what came of it, and with what it ran (kvm, tcg).

        With KVM, one that does not come up is started again in software emulation.

        Raises:
            HostError: KVM was asked for, and does not work.
            CellError: of class infrastructure: the guest did not come up as it should.
        """
        kind = _kind_of(prepared.guest)
        choice = self._acceleration.choose(kind)
        try:
            if choice.name == KVM:
                outcome, choice = self._judge_kvm(kind, _run_once(prepared, choice), prepared)
            else:
                outcome = self._emulate(prepared, choice)
        finally:
            self._acceleration.forget(kind)
        _check_came_up(outcome, prepared)
        _check_devices(outcome, prepared)
        return outcome, choice.name

    def _judge_kvm(self, kind: GuestKind, outcome: GuestRun, prepared: PreparedGuest) -> tuple[GuestRun, Choice]:
        """Tell what a guest with KVM says about KVM; it is blamed only for a guest that comes up without it.

        Raises:
            HostError: KVM was asked for, and the guest did not come up.
        """
        if outcome.transcript.has_started:
            self._acceleration.confirm(kind)
            return outcome, Choice(name=KVM)
        self._acceleration.demand(kind, f"the guest {outcome.explanation}")
        emulated = Choice(name=EMULATION)
        again = self._emulate(prepared, emulated)
        if again.transcript.has_started:
            self._acceleration.distrust(kind, f"the guest {outcome.explanation}")
        return again, emulated

    def _emulate(self, prepared: PreparedGuest, choice: Choice) -> GuestRun:
        """Run a guest, from a snapshot of its firmware if there is one; that is blamed if it comes up without only."""
        if self._snapshots is None:
            return _run_once(prepared, choice)
        with self._snapshots.attempt(prepared.guest) as attempt:
            outcome = _run_once(prepared, choice, attempt)
        if not attempt.is_plain and not _has_come_up(outcome, prepared):
            again = _run_once(prepared, choice)
            if _has_come_up(again, prepared):
                self._snapshots.distrust(attempt)
            return again
        return outcome


def _kind_of(guest: Guest) -> GuestKind:
    return GuestKind(
        arch=guest.arch,
        is_secure=guest.firmware is not None,
        needs_smm=guest.firmware is not None and guest.firmware.needs_smm,
    )


def _run_once(prepared: PreparedGuest, choice: Choice, attempt: Attempt | None = None) -> GuestRun:
    outcome = GuestRun(Transcript(prepared.words))
    prepared.log_file.parent.mkdir(parents=True, exist_ok=True)
    is_monitored = any(step.kind in HOT_PLUGS for step in prepared.script.steps)
    with prepared.log_file.open("wb") as log, open_monitor(is_wanted=is_monitored) as monitor:
        attempt = attempt or Attempt()
        command = make_command(
            prepared.guest, choice.name, monitor=monitor.theirs if monitor else None, start=attempt.start
        )
        outcome.from_snapshot = attempt.resumed is not None
        with follow(command) as machine:
            attempt.begin(machine.pid)
            log.write(f"+ {command}\n".encode())
            outcome.started_s = time.monotonic()
            try:
                guest = Attended(machine, monitor)
                _watch(guest, outcome, prepared.script, prepared.settings, log.write, silence_s=choice.silence_s)
            except FormatError as error:
                raise infrastructure_error("no-hot-plug", error.message, prepared.log_file) from None
            _check_pace(guest, outcome.transcript, prepared.script)
            if outcome.ending is Ending.DIED:
                outcome.explanation = machine.explain_end()
    return outcome


def _watch(
    machine: Attended,
    outcome: GuestRun,
    script: Script,
    settings: BootTest,
    write: Callable[[bytes], object],
    *,
    silence_s: float | None,
) -> None:
    """Read the console until the test is finished, a step takes too long, or the machine ends.

    Raises:
        FormatError: QEMU does not take a device away or give it back as it is told.
    """
    steps = {step.number: step for step in script.steps}
    transcript = outcome.transcript
    patience_s: float = settings.timeouts.boot
    deadline = outcome.started_s + patience_s
    step: int | None = None
    while not transcript.has_finished:
        left_s = deadline - time.monotonic()
        is_watched = silence_s is not None and not transcript.has_started
        data = machine.read(min(left_s, silence_s or 0.0) if is_watched else left_s)
        if data is None:
            outcome.ending = Ending.TIMED_OUT
            if is_watched:
                outcome.explanation = f"said nothing for {silence_s:g} s"
                return
            machine.check_done()
            outcome.explanation = f"was not done after {patience_s:g} s"
            _ask_where(machine, outcome, write)
            return
        _feed(outcome, data, write)
        if not data:
            outcome.ending = Ending.DIED
            return
        if outcome.printed > _MOST_CONSOLE_BYTES:
            outcome.ending = Ending.FLOODED
            outcome.explanation = f"printed more than {_MOST_CONSOLE_BYTES} bytes"
            return
        if transcript.has_started and outcome.came_up_s is None:
            outcome.came_up_s = time.monotonic() - outcome.started_s
        if transcript.has_started and transcript.current != step:
            if step in steps:
                machine.end(steps[step])
            step = transcript.current
            # Between steps the guest itself works: it takes stock before the first one.
            begun = steps.get(step or 0)
            patience_s = begun.timeout_s if begun else settings.timeouts.boot
            deadline = time.monotonic() + patience_s
            if begun is not None:
                machine.begin(begun)
    outcome.ending = Ending.FINISHED
    outcome.explanation = "said that it was through"


def _check_pace(machine: Attended, transcript: Transcript, script: Script) -> None:
    """Take down which steps a guest reported as done that were not: what QEMU says of them, no guest can forge."""
    for step in script.steps:
        log = transcript.steps.get(step.number)
        if log is not None and log.code is not None and machine.is_ahead(step):
            transcript.fault(FaultKind.ORDER, f"{step} was reported as done before QEMU had done its part")


def _ask_where(machine: Attended, outcome: GuestRun, write: Callable[[bytes], object]) -> None:
    """Make a guest that hangs say where, and take down what it says."""
    outcome.transcript.interrogate()
    machine.write(ASK_WHERE)
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while (data := machine.read(deadline - time.monotonic())) and outcome.printed < _MOST_CONSOLE_BYTES:
        _feed(outcome, data, write)


def _feed(outcome: GuestRun, data: bytes, write: Callable[[bytes], object]) -> None:
    """Take down what the console printed; nothing means that it has ended, so that its last line is whole."""
    write(data)
    outcome.printed += len(data)
    *lines, outcome.pending = (outcome.pending + (data or b"\n")).split(b"\n")
    for line in lines:
        outcome.transcript.feed(line.decode(errors="replace"))


def _check_came_up(outcome: GuestRun, prepared: PreparedGuest) -> None:
    """Refuse to judge modules by a guest that did not come up as it should.

    Raises:
        CellError: of class infrastructure.
    """
    transcript = outcome.transcript
    if not transcript.has_started:
        said = f"; its last words: {transcript.last_lines[-1]}" if transcript.last_lines else "; it said nothing"
        raise infrastructure_error(
            "kernel-did-not-start",
            f"the guest with kernel {prepared.kernel} {outcome.explanation}{said}",
            prepared.log_file,
        )
    release = transcript.facts.get("release", "")
    if release != prepared.kernel.raw:
        raise infrastructure_error(
            "wrong-kernel", f"the guest runs {release}, not {prepared.kernel}", prepared.log_file
        )
    if prepared.mode == SECURE and not _LOCKED_DOWN.search(transcript.facts.get("lockdown", "")):
        raise infrastructure_error(
            "not-locked-down", "the guest's kernel is not locked down, despite Secure Boot", prepared.log_file
        )


_CONTROL_STEPS = {
    StepKind.FIND_DEVICE: ("no-device", "does not find"),
    StepKind.TRY_UNPLUG: ("no-hot-plug", "does not let go of"),
    StepKind.TRY_PLUG: ("no-hot-plug", "does not find again"),
}


def _check_devices(outcome: GuestRun, prepared: PreparedGuest) -> None:
    """Refuse to judge a driver by a device that the guest does not handle before anything of the driver is loaded.

    Raises:
        CellError: of class infrastructure.
    """
    if step := _find_stuck_control(outcome, prepared):
        code, what = _CONTROL_STEPS[step.kind]
        sentence = f"the guest with kernel {prepared.kernel} {what} {step.subject}, before the driver is loaded"
        hint = "; boot.hot_plug: false leaves devices where they are" if step.kind in HOT_PLUGS else ""
        raise infrastructure_error(code, f"{sentence}: it {outcome.explanation}{hint}", prepared.log_file)


def _find_stuck_control(outcome: GuestRun, prepared: PreparedGuest) -> Step | None:
    for step in prepared.script.steps:
        log = outcome.transcript.steps.get(step.number)
        if step.kind in _CONTROL_STEPS and log is not None and log.code is None:
            return step
    return None


def _has_come_up(outcome: GuestRun, prepared: PreparedGuest) -> bool:
    return outcome.transcript.has_started and _find_stuck_control(outcome, prepared) is None


def infrastructure_error(code: str, sentence: str, log_file: Path) -> CellError:
    """Return that nothing is known of modules, whose guest, or would-be guest, has its console in a file."""
    hint = f"the console is in {log_file}; nothing is known about the modules"
    return CellError(FailureClass.INFRASTRUCTURE, code, sentence, hint=hint)
