"""Chooses between KVM and software emulation for each guest.

``/dev/kvm`` can be there and not work: without what Secure Boot needs (SMM), or so that guests hang without a word, as
under some hypervisors. So a guest of a few instructions must answer first, and the first real guest of its kind is
watched closely while others wait for it. What did not work is told once, and remembered for this very machine.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.boot.machine import emulator_of, machine_of
from builder.digest import content_id
from builder.errors import FormatError, HostError
from builder.foreign import read_json
from builder.host.locks import alone
from builder.host.places import open_regular
from builder.host.run import Command, run
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

KVM, EMULATION = "kvm", "tcg"
_KVM = Path("/dev/kvm")
_CPUINFO = Path("/proc/cpuinfo")
_PROBE_TIMEOUT_S = 5.0
# A kernel that comes up with KVM says something every second; one that hangs says nothing any more.
_SILENCE_S = 10.0
_LARGEST_MEMORY = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestKind:
    """What decides whether KVM can run a guest: its architecture, and whether Secure Boot needs SMM of it."""

    arch: Arch
    is_secure: bool
    needs_smm: bool = False

    @property
    def name(self) -> str:
        return f"{self.arch} {'with' if self.is_secure else 'without'} Secure Boot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``name`` is for QEMU. ``silence_s`` is how long the guest may say nothing before it is up; None: as it likes."""

    name: str
    silence_s: float | None = None


_EMULATED = Choice(name=EMULATION)


class Acceleration:
    """What a run knows of KVM; safe to use from several threads.

    Args:
        wish: ``auto``; ``kvm`` fails rather than do without; ``tcg`` never touches KVM.
        memory: file where failures are remembered; None remembers nothing.
        say: hears of a failure, once a machine.
        host: architecture of this machine.
    """

    def __init__(
        self,
        wish: str = "auto",
        *,
        memory: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
        host: str | None = None,
    ) -> None:
        self._wish = wish
        self._memory = memory
        self._say = say
        self._host = host or os.uname().machine
        self._changed = threading.Condition()
        self._problems: dict[GuestKind, str] = {}
        """Why KVM is not used for a kind of guest; empty where one came up."""
        self._trials: set[GuestKind] = set()

    def choose(self, kind: GuestKind) -> Choice:
        """Return how to run a guest; what came of one with KVM is told by ``confirm``, ``distrust`` or ``forget``.

        The first one with KVM keeps others of its kind waiting until then.

        Raises:
            HostError: KVM was asked for and cannot run this kind of guest.
        """
        if self._wish == EMULATION:
            return _EMULATED
        if kind.arch != self._host:
            return self._without(kind, f"this machine is {self._host}")
        with self._changed:
            self._changed.wait_for(lambda: kind not in self._trials)
            if kind not in self._problems:
                if problem := self._remembered(kind) or probe(kind):
                    self._problems[kind] = problem
                else:
                    self._trials.add(kind)
                    return Choice(name=KVM, silence_s=_SILENCE_S)
            problem = self._problems[kind]
        return self._without(kind, problem) if problem else Choice(name=KVM)

    def check(self, kind: GuestKind) -> None:
        """Look for KVM before anything else is done, where it was asked for.

        Raises:
            HostError: it does not answer.
        """
        if self._wish == KVM and (problem := self.look(kind)):
            self.demand(kind, problem)

    def look(self, kind: GuestKind) -> str:
        """Return why KVM would not be used for a kind of guest; empty where it would be tried."""
        if kind.arch != self._host:
            return f"this machine is {self._host}"
        return self._remembered(kind) or probe(kind)

    def confirm(self, kind: GuestKind) -> None:
        """Say that a guest came up with KVM."""
        self._decide(kind, "")
        if self._wish == KVM:
            self._remember(kind, "")

    def distrust(self, kind: GuestKind, problem: str) -> None:
        """Say that a guest did not come up with KVM, and did without."""
        with self._changed:
            was_told = any(self._problems.values())
        if self._decide(kind, problem):
            was_told = self._remember(kind, problem) or was_told
            kept = f", remembered in {self._memory}; --accel kvm tries it again" if self._memory else ""
            sentence = f"KVM does not work here for {kind.name} ({problem}): software emulation from now on{kept}"
            # Once a machine: each kind of guest, each run and each of several at once finds out the same.
            if not was_told:
                self._say(sentence)
            else:
                _log.info("%s", sentence)

    def forget(self, kind: GuestKind) -> None:
        """Say that nothing was learned: the guest came up in no way, or was not run."""
        with self._changed:
            self._trials.discard(kind)
            self._changed.notify_all()

    def demand(self, kind: GuestKind, problem: str) -> None:
        """Fail where KVM was asked for, and at once from now on.

        Raises:
            HostError: it was.
        """
        if self._wish == KVM:
            self._decide(kind, problem)
            raise HostError(
                f"KVM was asked for, and does not work here for guests of {kind.name}: {problem}",
                hint="--accel auto uses software emulation then",
            )

    def _decide(self, kind: GuestKind, problem: str) -> bool:
        """Take note of what a guest showed; returns whether that is news."""
        with self._changed:
            is_news = not self._problems.get(kind)
            self._problems[kind] = problem
            self._trials.discard(kind)
            self._changed.notify_all()
        return is_news

    def _without(self, kind: GuestKind, problem: str) -> Choice:
        self.demand(kind, problem)
        return _EMULATED

    def _remembered(self, kind: GuestKind) -> str:
        if self._wish == KVM or self._memory is None or not os.access(_KVM, os.R_OK | os.W_OK):
            return ""
        problem = self._read().get(kind.name)
        return f"{problem} (remembered in {self._memory})" if problem else ""

    def _read(self) -> dict[str, str]:
        """Return what is remembered of this very machine, by kind of guest."""
        if self._memory is None or not self._memory.is_file():
            return {}
        with contextlib.suppress(OSError, FormatError, AttributeError):
            with open_regular(self._memory, most=_LARGEST_MEMORY) as stream:
                data = read_json(stream.read(_LARGEST_MEMORY), "it")
            if data.get("machine") == identify_machine(self._host):
                return {name: text for name, text in data.get("problems", {}).items() if isinstance(text, str)}
        return {}

    def _remember(self, kind: GuestKind, problem: str) -> bool:
        """Write down what a guest showed; returns whether a problem of this machine was known before."""
        if self._memory is None or (not problem and kind.name not in self._read()):
            return False
        with alone(self._memory):
            known = self._read()
            problems = {name: text for name, text in (known | {kind.name: problem}).items() if text}
            told = {"machine": identify_machine(self._host), "problems": problems}
            temporary = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
            temporary.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
            temporary.replace(self._memory)
        return bool(known)


def identify_machine(host: str) -> str:
    """Return a digest of what KVM's behaviour depends on: processor, running kernel, QEMU."""
    named = re.search(r"^(?:model name|CPU part)\s*: *(.*)$", _CPUINFO.read_text(errors="replace"), re.MULTILINE)
    system = os.uname()
    qemu = run(Command(argv=(emulator_of(Arch(host)), "--version"), timeout_s=_PROBE_TIMEOUT_S)).stdout
    return content_id("machine", named[1] if named else "", system.release, system.version, qemu)


def probe(kind: GuestKind) -> str:
    """Start a guest of a few instructions with the host's processor; returns why it did not say what it should.

    x86: the reset vector writes to the debug exit port (QEMU ends with 2 * 21 + 1). aarch64: PSCI SYSTEM_OFF.
    """
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return f"{_KVM} is missing or not this user's to open"
    answer, suffix = (43, "bios") if kind.arch is Arch.X86_64 else (0, "kernel")
    code = _X86_PROBE if kind.arch is Arch.X86_64 else _AARCH64_PROBE
    extra = ("-device", "isa-debug-exit,iobase=0xf4,iosize=1") if kind.arch is Arch.X86_64 else ()
    handle = os.memfd_create("probe", 0)
    try:
        os.write(handle, code)
        argv = (
            emulator_of(kind.arch), "-nodefaults", "-no-user-config", "-machine",
            machine_of(kind.arch, KVM, needs_smm=kind.needs_smm), "-cpu", "host", "-display", "none", *extra,
            f"-{suffix}", f"/proc/{os.getpid()}/fd/{handle}",
        )  # fmt: skip
        outcome = run(Command(argv=argv, timeout_s=_PROBE_TIMEOUT_S))
    finally:
        os.close(handle)
    if outcome.exit_code == answer and not outcome.timed_out:
        return ""
    printed = outcome.stderr.strip().splitlines()
    return printed[-1][:200] if printed else f"a small guest {outcome.explain()}"


# mov al, 21; out 0xf4, al; hlt - at the reset vector, 16 bytes before the end.
_X86_PROBE = b"\xf4" * (64 * 1024 - 16) + bytes.fromhex("b015e6f4f4") + b"\xf4" * 11
# movz w0, #8; movk w0, #0x8400, lsl #16; hvc #0; b .
_AARCH64_PROBE = struct.pack("<IIII", 0x52800100, 0x72B08000, 0xD4000002, 0x14000000)
