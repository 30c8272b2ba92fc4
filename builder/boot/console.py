"""Reads the serial console of a guest: the kernel's log, and in it the reports of ``init.sh``. Pure.

Reports go through the kernel's log (``/dev/kmsg``, Documentation/ABI/testing/dev-kmsg), so they are whole lines
in their true place among the kernel's own. A line is a report only if it carries the word made up for this boot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# "[    1.234567] text", with "[ T12]" or "[ C0]" behind the time where the kernel names the caller.
_RECORD = re.compile(r"\[\s*(\d+\.\d+)\](?:\[\s*[TC]\d+\])? ?(.*)")
_CONTROL = re.compile(r"\x1b\[[0-9;=]{0,16}[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST_KEPT_LINES = 50_000


@dataclass(slots=True)
class StepLog:
    """What is known of one step: guest times in seconds since boot, what it said, what the kernel said meanwhile."""

    began: float
    ended: float | None = None
    code: int | None = None
    said: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    kernel: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """What the kernel said because it was asked who waits for what; no complaint of its own."""
    grown_kib: int | None = None


class Transcript:
    """The console so far; ``feed`` takes it line by line."""

    def __init__(self, nonce: str) -> None:
        self._prefix = f"kmodsmith {nonce} "
        self._current: int | None = None
        self._kept = 0
        self._is_asked = False
        self.has_started = False
        self.has_finished = False
        self.facts: dict[str, str] = {}
        self.steps: dict[int, StepLog] = {}
        self.before: list[str] = []
        """Kernel messages before the first step."""
        self.between: list[str] = []
        """Kernel messages after the first step that fall into none."""
        self.last_lines: list[str] = []

    @property
    def current(self) -> int | None:
        """Number of the step that runs now."""
        return self._current

    def interrogate(self) -> None:
        """Say that from now on the kernel is made to answer."""
        self._is_asked = True

    def feed(self, line: str) -> bool:
        """Take one line; returns whether it was a report."""
        text = _CONTROL.sub("", line).rstrip()
        if not text:
            return False
        match = _RECORD.match(text)
        if match and match[2].startswith(self._prefix):
            self._report(float(match[1]), match[2].removeprefix(self._prefix))
            return True
        self.last_lines = [*self.last_lines[-9:], text]
        if match:
            self._kernel(match[2])
        return False

    def _kernel(self, text: str) -> None:
        self._kept += 1
        if self._kept > _MOST_KEPT_LINES:
            return
        if text.startswith("sysrq: "):
            self._is_asked = True
        if self._current is not None:
            log = self.steps[self._current]
            (log.answers if self._is_asked else log.kernel).append(text)
        else:
            (self.between if self.steps else self.before).append(text)

    def _report(self, time: float, text: str) -> None:
        word, _, rest = text.partition(" ")
        match word:
            case "start":
                self.has_started = True
            case "finish":
                self.has_finished = True
                self._current = None
            case "fact":
                name, _, value = rest.partition(" ")
                self.facts[name.rstrip(":")] = value.strip()
            case "begin" if rest.isdecimal():
                self._current = int(rest)
                self._is_asked = False
                self.steps[self._current] = StepLog(began=time)
            case "end":
                self._end(time, rest)
            case "said" | "left" if self._current is not None:
                log = self.steps[self._current]
                (log.said if word == "said" else log.left).append(rest)
            case "grown":
                number, _, kib = rest.partition(" ")
                if number.isdecimal() and int(number) in self.steps and kib.lstrip("-").isdecimal():
                    self.steps[int(number)].grown_kib = int(kib)

    def _end(self, time: float, text: str) -> None:
        number, _, code = text.partition(" ")
        log = self.steps.get(int(number)) if number.isdecimal() else None
        if log is not None and code.isdecimal():
            log.ended, log.code = time, int(code)
            self._current = None
