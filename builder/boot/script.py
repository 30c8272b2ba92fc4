"""What a boot test does, step by step: a list for the host, and the same as shell lines for the guest. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.config.model import BootTest, BootTimeouts, ParameterSet

MODULE_FOLDER = "kmodsmith/modules"
UNSIGNED_FOLDER = "kmodsmith/unsigned"
STRANGER_FOLDER = "kmodsmith/stranger"
IN_TREE_FOLDER = "kmodsmith/in-tree"
TEST_FOLDER = "kmodsmith/test"
TEST_NAME = "run"
DEFAULTS = "defaults"
# After this part of a step's time the guest prints who waits for what.
_PATIENCE = 0.7


class StepKind(StrEnum):
    LOAD_IN_TREE = "load-in-tree"
    REFUSE_UNSIGNED = "refuse-unsigned"
    REFUSE_STRANGER = "refuse-stranger"
    LOAD = "load"
    REFUSE_PARAMETERS = "refuse-parameters"
    SMOKE_TEST = "smoke-test"
    UNLOAD = "unload"
    REPEAT = "repeat"
    LEFTOVERS = "leftovers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: ``number`` counts from 1, ``subject`` is what it is about, ``timeout_s`` what the host waits."""

    number: int
    kind: StepKind
    subject: str
    timeout_s: float
    parameters: str = ""
    repeats: int = 0

    def __str__(self) -> str:
        return " ".join(word for word in (self.kind, self.subject, self.parameters) if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The steps, the two files that the guest's first process reads, and how many reports it makes at most."""

    steps: tuple[Step, ...]
    prepare: str
    body: str

    @property
    def most_reports(self) -> int:
        # Facts and the end; what a step says in one report each; two for every hundred rounds, see init.sh.
        return 40 + sum(10 + 2 * (step.repeats // 100) for step in self.steps)


def make_script(
    modules: Sequence[str], settings: BootTest, *, in_tree: Sequence[str] = (), is_enforced: bool, has_test: bool
) -> Script:
    """Write the script of a boot test.

    Args:
        modules: names of the driver's modules in the order in which they are loaded.
        settings: the driver's ``boot`` of versions.yaml.
        in_tree: names of the kernel's own modules that are loaded before, in order.
        is_enforced: whether the kernel refuses modules without a trusted signature.
        has_test: whether there is a smoke test.
    """
    writer = _Writer(settings.timeouts)
    for name in in_tree:
        writer.load(name, IN_TREE_FOLDER, StepKind.LOAD_IN_TREE)
    prepare = writer.take()
    if is_enforced:
        for name in modules:
            writer.refuse(name, UNSIGNED_FOLDER, StepKind.REFUSE_UNSIGNED)
            writer.refuse(name, STRANGER_FOLDER, StepKind.REFUSE_STRANGER)
    writer.try_set(modules, None, has_test=has_test)
    if settings.repeat > 1:
        writer.repeat(modules, settings.repeat)
    writer.look_for_leftovers(DEFAULTS)
    for parameters in settings.parameters:
        writer.try_set(modules, parameters, has_test=has_test)
    if settings.parameters:
        writer.look_for_leftovers("parameters")
    return Script(steps=tuple(writer.steps), prepare=prepare, body=writer.take())


class _Writer:
    """Collects steps and their shell lines."""

    def __init__(self, timeouts: BootTimeouts) -> None:
        self._timeouts = timeouts
        self._lines: list[str] = []
        self.steps: list[Step] = []

    def take(self) -> str:
        lines, self._lines = self._lines, []
        return "".join(f"{line}\n" for line in lines)

    def load(self, name: str, folder: str, kind: StepKind, parameters: str = "") -> None:
        wanted = "refused" if kind is StepKind.REFUSE_PARAMETERS else "taken"
        words = ["load", wanted, f"/{folder}/{name}.ko", *([parameters] if parameters else [])]
        self._add(kind, name, self._timeouts.load, words, parameters=parameters)

    def refuse(self, name: str, folder: str, kind: StepKind) -> None:
        self._add(kind, name, self._timeouts.load, ["refuse", f"/{folder}/{name}.ko"])

    def try_set(self, modules: Sequence[str], parameters: ParameterSet | None, *, has_test: bool) -> None:
        """Load with a set of parameters, test, unload; stop at a refusal that is wanted."""
        given = parameters.modules if parameters else {}
        loaded = []
        for name in modules:
            if parameters and parameters.refused and name in given:
                self.load(name, MODULE_FOLDER, StepKind.REFUSE_PARAMETERS, given[name])
                break
            self.load(name, MODULE_FOLDER, StepKind.LOAD, given.get(name, ""))
            loaded.append(name)
        else:
            if has_test:
                set_name = parameters.name if parameters else DEFAULTS
                program = f"/{TEST_FOLDER}/{TEST_NAME}"
                self._add(StepKind.SMOKE_TEST, set_name, self._timeouts.smoke_test, ["smoke", program])
        for name in reversed(loaded):
            self._add(StepKind.UNLOAD, name, self._timeouts.unload, ["unload", name])

    def repeat(self, modules: Sequence[str], times: int) -> None:
        loads = " && ".join(f"insmod /{MODULE_FOLDER}/{name}.ko" for name in modules)
        unloads = " && ".join(f"rmmod {name}" for name in reversed(modules))
        self._lines += [f"load_all() {{ {loads}; }}", f"unload_all() {{ {unloads}; }}"]
        patience = (self._timeouts.load + self._timeouts.unload) * len(modules) + times * len(modules)
        self._add(StepKind.REPEAT, f"{times} times", patience, ["repeat", str(times)], repeats=times)

    def look_for_leftovers(self, subject: str) -> None:
        # Taking stock of a guest takes software emulation 0.2 s, so it is not done after every set.
        self._add(StepKind.LEFTOVERS, subject, self._timeouts.unload, ["leftovers"])

    def _add(
        self,
        kind: StepKind,
        subject: str,
        timeout_s: float,
        words: Sequence[str],
        *,
        parameters: str = "",
        repeats: int = 0,
    ) -> None:
        number = len(self.steps) + 1
        self.steps.append(
            Step(
                number=number,
                kind=kind,
                subject=subject,
                timeout_s=timeout_s,
                parameters=parameters,
                repeats=repeats,
            )
        )
        function, *arguments = words
        patience = max(1, round(timeout_s * _PATIENCE))
        self._lines.append(shlex.join([function, str(number), str(patience), *arguments]))
