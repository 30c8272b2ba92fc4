"""Consoles of guests, as a kernel and ``init.sh`` would print them."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from builder.boot.console import Transcript
from builder.boot.devices import claim_devices
from builder.boot.load_order import Load
from builder.boot.script import OwnModule, Script, make_script
from builder.boot.verdict import Ending, Verdict, judge_boot
from builder.config.model.boot import BootTest

if TYPE_CHECKING:
    from builder.config.model.boot import AllowedMessage


WORDS = [f"{number:016x}" for number in range(1000)]


def plan_script(
    *modules: str, secure: bool = False, test: bool = False, in_tree: tuple[str, ...] = (), **more: object
) -> Script:
    settings = BootTest.model_validate({"timeouts": {"load": 6, "unload": 6, "smoke_test": 6}, **more})
    own = [OwnModule(name=name) for name in modules]
    loads = [Load(name=name) for name in in_tree]
    return make_script(own, settings, in_tree=loads, is_enforced=secure, has_test=test)


def read_console(lines: list[str]) -> Transcript:
    transcript = Transcript(WORDS)
    for line in lines:
        transcript.feed(line)
    return transcript


EDU_ALIAS = "pci:v00001234d000011E8sv*sd*bc*sc*i*"
EDU_THERE, EDU_BOUND = "device 0000:01:00.0 1234:11e8 - -", "device 0000:01:00.0 1234:11e8 nic nic"


def plan_devices(*modules: str, devices: tuple[str, ...] = ("edu",), table: str = "nic", **more: object) -> Script:
    """Return the script of modules of which one names the edu device in its table."""
    settings = BootTest.model_validate({"devices": devices, "timeouts": {"load": 6, "unload": 6}, **more})
    claims = claim_devices(devices, {name: [EDU_ALIAS] if name == table else [] for name in modules})
    own = [OwnModule(name=name) for name in modules]
    return make_script(own, settings, claims=claims, is_enforced=False, has_test=True)


class PretendedGuest:
    """A console to be, with everything in order; a test changes one thing."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.codes = {
            step.number: 129 if step.kind.startswith("refuse-un") or step.kind.startswith("refuse-st") else 0
            for step in script.steps
        }
        for step in script.steps:
            if step.kind == "refuse-parameters":
                self.codes[step.number] = 22
        self.kernel: dict[int, list[str]] = {}
        self.hidden: dict[int, list[str]] = {}
        """What the kernel's buffer has and the console does not."""
        self.reports: dict[int, list[str]] = {}
        for step in script.steps:
            if step.claims:
                gone = step.kind in {"try-unplug-device", "unplug-device"}
                found = EDU_BOUND if step.kind in {"devices-bound", "plug-device"} else EDU_THERE
                self.reports[step.number] = [] if gone else [found]
        self.between: list[str] = []
        self.taint = "12288"
        self.stops_in: int | None = None

    def step(self, text: str) -> int:
        return next(step.number for step in self.script.steps if text in str(step))

    def lines(self) -> list[str]:
        self._words = iter(WORDS)
        self._buffer: list[str] = []
        said = ["start", "fact release 6.12.5+deb12-amd64", "fact taint-before 0"]
        lines = [self._report(text) for text in said]
        lines += self._account()
        for step in self.script.steps:
            lines.append(self._report(f"begin {step.number}"))
            lines += [self._record(line) for line in self.kernel.get(step.number, [])]
            self._buffer += self.hidden.get(step.number, [])
            if step.number == self.stops_in:
                return lines
            lines += [self._report(line) for line in self.reports.get(step.number, [])]
            lines.append(self._report(f"end {step.number} {self.codes[step.number]}"))
            lines += [self._record(line) for line in self.between]
        return [*lines, *self._account(), self._report("finish")]

    def judge(self, ending: Ending = Ending.FINISHED, allow: tuple[AllowedMessage, ...] = ()) -> Verdict:
        return judge_boot(read_console(self.lines()), self.script.steps, ending, allow=allow)

    def _account(self) -> list[str]:
        mark = self._report("mark")
        squeezed = (re.sub(r"\s", "", text) for text in self._buffer[:-1])
        sum_ = hashlib.sha256("".join(f"2000000 {text[:300]}\n" for text in squeezed if text).encode())
        counted = len(self._buffer) - 1
        self._buffer = []
        return [mark, self._report(f"log {self.taint} {counted} {sum_.hexdigest()} -")]

    def _report(self, text: str) -> str:
        return self._record(f"kmodsmith {next(self._words)} {text}") + "\r"

    def _record(self, text: str) -> str:
        self._buffer.append(text)
        return f"[    2.000000] {text}"


def report_lines(*texts: str) -> list[str]:
    return [f"[    1.000000] kmodsmith {word} {text}" for word, text in zip(WORDS, texts, strict=False)]
