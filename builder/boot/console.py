"""Reads the serial console of a guest: the kernel's log, and in it the reports of ``init.sh``. Pure.

Reports go through the kernel's log (``/dev/kmsg``, Documentation/ABI/testing/dev-kmsg), so they are whole lines
in their true place among the kernel's own. A line is a report only if it carries the next of the words that were made
up for this boot. Each word is good for one report: whoever reads it in the log has read it too late, and a report that
is lost leaves a gap. Now and then the guest says what the kernel's own buffer held, which tells what the console lost.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# "[    1.234567] text", with "[ T12]" or "[ C0]" behind the time where the kernel names the caller.
_RECORD = re.compile(r"\[\s*(\d{1,9})\.(\d{1,9})\](?:\[\s*[TC]\d+\])? ?(.*)")
_CONTROL = re.compile(r"\x1b\[[0-9;=]{0,16}[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REPORT = re.compile(r"kmodsmith ([0-9a-f]{16}) (.*)")
# kernel/printk/printk.c: what the kernel itself says of messages that the console never got.
_DROPPED = re.compile(r"\*\* (\d{1,9}) printk messages dropped")
_NOT_COMPARED = re.compile(r"[^!-~]|\\")
_MOST_COMPARED_CHARS = 300
_MOST_KEPT_LINES = 200_000
# Reports of many lines share a word.
_LONG_REPORTS = {"said", "asked", "left", "device", "changed"}
_NUMBER = re.compile(r"\d{1,9}")
_TAINT = re.compile(r"\d{1,20}")
_SIGNED_NUMBER = re.compile(r"-?\d{1,12}")


class FaultKind(StrEnum):
    """What can be wrong with a console itself; the values are codes of failures (see ``verdict.BootCheck``)."""

    LOST = "output-lost"
    ORDER = "report-out-of-order"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a console does not say all, or says it in a way in which no guest reports."""

    kind: FaultKind
    sentence: str


@dataclass(slots=True)
class StepLog:
    """What is known of one step: guest times in seconds since boot, what it said, what the kernel said meanwhile."""

    began: float
    ended: float | None = None
    code: int | None = None
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Names and aliases of modules that the kernel asked for meanwhile (``request_module()``)."""
    left: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    """A line for each device that was looked for and found: ADDRESS VENDOR:DEVICE MODULE DRIVER."""
    is_changed: bool = False
    """Whether what later steps rest on was changed meanwhile."""
    kernel: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """What the kernel said after the host made it say where it is; no complaint of its own."""
    grown_kib: int | None = None


class _Account:
    """The lines of the console since the guest's last account, summed up as ``init.sh`` sums up the kernel's buffer."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.lines = 0
        self._sum = hashlib.sha256()

    def take(self, record: re.Match[str]) -> None:
        if text := _NOT_COMPARED.sub("", record[3]):
            self.lines += 1
            time = int(record[1]) * 1_000_000 + int(record[2])
            self._sum.update(f"{time} {text[:_MOST_COMPARED_CHARS]}\n".encode())

    def close(self) -> tuple[int, str]:
        """Return the number of lines and their sum, and begin anew."""
        closed = self.lines, self._sum.hexdigest()
        self._start()
        return closed


class Transcript:
    """The console so far; ``feed`` takes it line by line. ``words`` are those of the reports, in their order."""

    def __init__(self, words: Sequence[str]) -> None:
        self._places = {word: place for place, word in enumerate(words)}
        self._spent = 0
        self._long_report: tuple[int, str] = (-1, "")
        self._current: int | None = None
        self._kept = 0
        self._is_asked = False
        self._account = _Account()
        self._closed: tuple[int, str] | None = None
        self._accounts = 0
        self.has_started = False
        self.has_finished = False
        self.facts: dict[str, str] = {}
        self.taints: list[int] = []
        """The kernel's taint at every account."""
        self.steps: dict[int, StepLog] = {}
        self.before: list[str] = []
        """Kernel messages before the first step."""
        self.between: list[str] = []
        """Kernel messages after the first step that fall into none."""
        self.last_lines: list[str] = []
        self.faults: dict[Fault, None] = {}
        """In the order in which they were noticed, each once."""

    @property
    def current(self) -> int | None:
        """Number of the step that runs now."""
        return self._current

    def interrogate(self) -> None:
        """Say that from now on the kernel is made to answer by the host."""
        self._is_asked = True

    def feed(self, line: str) -> bool:
        """Take one line; returns whether it was a report."""
        text = _CONTROL.sub("", line).rstrip()
        if dropped := _DROPPED.search(text):
            self.fault(FaultKind.LOST, f"the kernel dropped {dropped[1]} messages before the console printed them")
        if not text:
            return False
        match = _RECORD.match(text)
        if match:
            report = _REPORT.fullmatch(match[3])
            place = self._places.get(report[1]) if report else None
            # As the kernel has it: what controls a terminal is dropped for people only. A mark ends an account.
            if not (report and report[2] == "mark" and place is not None and place >= self._spent):
                self._account.take(_RECORD.match(line) or match)
            if report and place is not None:
                self._take_report(float(f"{match[1]}.{match[2]}"), place, report[2])
                return True
        self.last_lines = [*self.last_lines[-9:], text]
        if match:
            self._kernel(match[3])
        return False

    def fault(self, kind: FaultKind, sentence: str) -> None:
        """Take down what is wrong with what was said."""
        self.faults[Fault(kind, sentence)] = None

    def _kernel(self, text: str) -> None:
        self._kept += 1
        if self._kept > _MOST_KEPT_LINES:
            self.fault(FaultKind.LOST, f"the kernel said more than the {_MOST_KEPT_LINES} lines that are kept")
            return
        if self._current is not None:
            log = self.steps[self._current]
            (log.answers if self._is_asked else log.kernel).append(text)
        else:
            (self.between if self.steps else self.before).append(text)

    def _take_report(self, time: float, place: int, text: str) -> None:
        word, _, rest = text.partition(" ")
        if place < self._spent and (place, word) == self._long_report:
            pass
        elif place < self._spent:
            self.fault(FaultKind.ORDER, f'"{word}" was reported with a word that was spent')
            return
        elif place > self._spent:
            self.fault(FaultKind.LOST, f'{place - self._spent} reports before "{text[:40]}" did not arrive')
        self._spent = max(self._spent, place + 1)
        self._long_report = (place, word) if word in _LONG_REPORTS else (-1, "")
        self._report(time, word, rest)

    def _report(self, time: float, word: str, rest: str) -> None:
        match word:
            case "start":
                self.has_started = True
            case "finish":
                if self._current is not None:
                    self.fault(FaultKind.ORDER, f"the end was reported while step {self._current} ran")
                self.has_finished = True
                self._current = None
            case "fact":
                name, _, value = rest.partition(" ")
                self.facts[name.rstrip(":")] = value.strip()
            case "begin" if _NUMBER.fullmatch(rest):
                self._begin(time, int(rest))
            case "end":
                self._end(time, rest)
            case "mark":
                self._mark()
            case "log":
                self._compare(rest)
            case _ if self._current is not None:
                self._add(self.steps[self._current], word, rest)

    def _begin(self, time: float, number: int) -> None:
        if self._current is not None or number in self.steps or number != len(self.steps) + 1:
            self.fault(FaultKind.ORDER, f"step {number} began out of its order")
            return
        self._current = number
        self.steps[number] = StepLog(began=time)

    def _end(self, time: float, text: str) -> None:
        number, _, code = text.partition(" ")
        if number != str(self._current) or self._current is None or not _NUMBER.fullmatch(code):
            self.fault(FaultKind.ORDER, f"step {number[:10]} ended, which did not run")
            return
        log = self.steps[self._current]
        log.ended, log.code = time, int(code)
        self._current = None

    def _add(self, log: StepLog, word: str, rest: str) -> None:
        number, _, kib = rest.partition(" ")
        match word:
            case "said":
                log.said.append(rest)
            case "asked":
                log.asked.append(rest)
            case "left":
                log.left.append(rest)
            case "device":
                log.devices.append(rest)
            case "changed":
                log.is_changed = True
            case "grown" if number == str(self._current) and _SIGNED_NUMBER.fullmatch(kib):
                log.grown_kib = int(kib)

    def _mark(self) -> None:
        self._closed = self._account.close()

    def _compare(self, text: str) -> None:
        """Compare an account ("TAINT [LINES] SUM -") with the console; the first one only says where to begin."""
        lines, sum_ = self._closed or (0, "")
        self._closed = None
        self._accounts += 1
        taint, counted, expected = [*text.split(" "), "", "", ""][:3]
        if _TAINT.fullmatch(taint):
            self.taints.append(int(taint))
        if not _NUMBER.fullmatch(counted):
            self.fault(FaultKind.LOST, "the kernel's buffer was overwritten before it could be compared")
        elif self._accounts > 1 and expected != sum_:
            sentence = f"the console has {lines} lines where the kernel's buffer had {int(counted)}"
            self.fault(FaultKind.LOST, sentence if lines != int(counted) else f"{sentence}, and not the same ones")
