"""What a boot test does, step by step: a list for the host, and the same as shell lines for the guest. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.boot.devices import Claim
    from builder.boot.load_order import Load
    from builder.config.model.boot import BootTest, BootTimeouts, ExpectedLoad, ParameterSet

MODULE_FOLDER = "kmodsmith/modules"
UNSIGNED_FOLDER = "kmodsmith/unsigned"
STRANGER_FOLDER = "kmodsmith/stranger"
IN_TREE_FOLDER = "kmodsmith/in-tree"
TEST_FOLDER = "kmodsmith/test"
TEST_NAME = "run"
DEFAULTS = "defaults"
# After this part of a step's time the guest prints who waits for what.
_PATIENCE = 0.7
_LOOK_AROUND_S = 30.0
# A port whose button is pressed blinks for five seconds (drivers/pci/hotplug/pciehp_ctrl.c), and emulation is slow.
_TAKE_AWAY_S = 30.0


class StepKind(StrEnum):
    LOAD_IN_TREE = "load-in-tree"
    LOAD_SOFT = "load-soft-dependency"
    """A module of the kernel that is only a soft dependency: whether it can be loaded is not the driver's matter."""
    REFUSE_UNSIGNED = "refuse-unsigned"
    REFUSE_STRANGER = "refuse-stranger"
    LOAD = "load"
    LOAD_WITHOUT_HARDWARE = "load-without-hardware"
    """A module whose hardware no guest has: it must answer with the error that versions.yaml names."""
    REFUSE_PARAMETERS = "refuse-parameters"
    SMOKE_TEST = "smoke-test"
    UNLOAD = "unload"
    REPEAT = "repeat"
    LEFTOVERS = "leftovers"
    FIND_DEVICE = "find-device"
    """Before anything of the driver's is loaded, as the two that follow: what fails there is not the driver's fault."""
    TRY_UNPLUG = "try-unplug-device"
    TRY_PLUG = "try-plug-device"
    BOUND = "devices-bound"
    UNPLUG = "unplug-device"
    PLUG = "plug-device"
    UNBOUND = "devices-unbound"


UNPLUGS = frozenset({StepKind.TRY_UNPLUG, StepKind.UNPLUG})
HOT_PLUGS = UNPLUGS | {StepKind.TRY_PLUG, StepKind.PLUG}
"""Steps that are the host's as well: it takes a device away, or gives it back."""
# What the guest waits for, as ``init.sh`` spells it.
_AWAITED = {
    StepKind.FIND_DEVICE: "there", StepKind.TRY_UNPLUG: "gone", StepKind.TRY_PLUG: "there", StepKind.BOUND: "bound",
    StepKind.UNPLUG: "gone", StepKind.PLUG: "bound", StepKind.UNBOUND: "unbound",
}  # fmt: skip


# What may come of loading a module without ending the test, as ``init.sh`` spells it.
_WANTED = {
    StepKind.LOAD_SOFT: "either",
    StepKind.LOAD_WITHOUT_HARDWARE: "refused",
    StepKind.REFUSE_PARAMETERS: "refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: ``number`` counts from 1, ``subject`` is what it is about, ``timeout_s`` what the host waits."""

    number: int
    kind: StepKind
    subject: str
    timeout_s: float
    parameters: str = ""
    repeats: int = 0
    expected: str = ""
    """Name of the error that loading must end with."""
    claims: tuple[Claim, ...] = ()
    """The devices that it is about, each with the modules that are for it."""

    def __str__(self) -> str:
        return " ".join(word for word in (self.kind, self.subject, self.parameters) if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModule:
    """A module of the driver, those of the driver that it cannot do without, and parameters of the image's files."""

    name: str
    depends: tuple[str, ...] = ()
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The steps, the two files that the guest's first process reads, and how many reports it makes at most."""

    steps: tuple[Step, ...]
    prepare: str
    body: str
    not_exercised: tuple[str, ...] = ()
    """What is not tested by the wish of versions.yaml, and why: a sentence for each."""

    @property
    def most_reports(self) -> int:
        # Facts and the end; what a step says in one report each; two for every hundred rounds, see init.sh.
        return 40 + sum(10 + 2 * (step.repeats // 100) for step in self.steps)


def make_script(
    modules: Sequence[OwnModule],
    settings: BootTest,
    *,
    in_tree: Sequence[Load] = (),
    claims: Sequence[Claim] = (),
    is_enforced: bool,
    has_test: bool,
) -> Script:
    """Write the script of a boot test.

    Args:
        modules: the driver's modules in the order in which they are loaded.
        settings: the driver's ``boot`` of versions.yaml.
        in_tree: the kernel's own modules that are loaded before, in order.
        claims: the guest's devices, each with the driver's modules that are for it.
        is_enforced: whether the kernel refuses modules without a trusted signature.
        has_test: whether there is a smoke test.
    """
    writer = _Writer(settings.timeouts)
    for load in in_tree:
        kind = StepKind.LOAD_IN_TREE if load.is_required else StepKind.LOAD_SOFT
        writer.load(load.name, IN_TREE_FOLDER, kind, load.options)
    claimed = [claim for claim in claims if claim.modules]
    for claim in claimed:
        # A device that was plugged in has other addresses than one that the firmware found, so that comes first, too.
        kinds = [StepKind.FIND_DEVICE, *([StepKind.TRY_UNPLUG, StepKind.TRY_PLUG] if settings.hot_plug else [])]
        for kind in kinds:
            writer.wait_for(kind, claim.device.name, [claim])
    prepare = writer.take()
    if is_enforced:
        for module in modules:
            writer.refuse(module.name, UNSIGNED_FOLDER, StepKind.REFUSE_UNSIGNED)
            writer.refuse(module.name, STRANGER_FOLDER, StepKind.REFUSE_STRANGER)
    default = next((item for item in settings.parameters if item.default), None)
    first = _plan_set(modules, default, settings.load)
    writer.try_set(first, claimed, has_test=has_test, hot_plug=settings.hot_plug)
    if settings.repeat > 1 and first.loaded:
        writer.repeat(first.loaded, settings.repeat)
    writer.look_for_leftovers(DEFAULTS)
    others = [item for item in settings.parameters if item is not default]
    for parameters in others:
        writer.try_set(_plan_set(modules, parameters, settings.load), claimed, has_test=has_test)
    if others:
        writer.look_for_leftovers("parameters")
    notes = [*first.not_exercised, *_unused(claims)]
    if has_test and not first.loaded:
        notes.append("the smoke test: not exercised: no module is loaded")
    return Script(steps=tuple(writer.steps), prepare=prepare, body=writer.take(), not_exercised=tuple(notes))


def _unused(claims: Sequence[Claim]) -> Iterator[str]:
    for claim in claims:
        if not claim.modules:
            yield f"{claim.device}: not exercised: no module of the driver names it in a table (MODULE_DEVICE_TABLE)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A module and its parameters; ``kind`` is what is to come of it, ``expected`` the error where it is one."""

    name: str
    kind: StepKind
    arguments: str
    expected: str = ""


@dataclass(slots=True, kw_only=True)
class _PlannedSet:
    """What is loaded with a set of parameters, in order, and what is not."""

    name: str
    attempts: list[_Attempt] = field(default_factory=list)
    not_exercised: list[str] = field(default_factory=list)
    is_cut_short: bool = False

    @property
    def loaded(self) -> list[_Attempt]:
        return [attempt for attempt in self.attempts if attempt.kind is StepKind.LOAD]

    def keep_loaded(self, claimed: Sequence[Claim]) -> list[Claim]:
        """Return the claims of modules that are loaded; of others, nothing binds to the device."""
        names = {attempt.name for attempt in self.loaded}
        kept = (replace(claim, modules=tuple(name for name in claim.modules if name in names)) for claim in claimed)
        return [claim for claim in kept if claim.modules]


def _plan_set(
    modules: Sequence[OwnModule], parameters: ParameterSet | None, expected: Mapping[str, ExpectedLoad]
) -> _PlannedSet:
    """Say what becomes of each module with a set of parameters.

    Whoever gives a module parameters wants it to be loaded with them, hardware or not.
    """
    given = parameters.modules if parameters else {}
    planned = _PlannedSet(name=parameters.name if parameters else DEFAULTS)
    absent: dict[str, str] = {}
    for module in modules:
        text = given.get(module.name, "")
        arguments = " ".join(filter(None, [module.options, text]))
        entry = expected.get(module.name)
        needed = next((name for name in module.depends if name in absent), "")
        if needed:
            absent[module.name] = f"not exercised: it needs {needed}, which is not loaded"
            planned.not_exercised.append(f"{module.name}: {absent[module.name]}")
        elif entry and not text:
            absent[module.name] = entry.because
            sentence = f"not exercised: no hardware: its init must answer {entry.expect}: {entry.because}"
            planned.not_exercised.append(f"{module.name}: {sentence}")
            planned.attempts.append(
                _Attempt(
                    name=module.name, kind=StepKind.LOAD_WITHOUT_HARDWARE, arguments=arguments, expected=entry.expect
                )
            )
        else:
            is_refused = bool(parameters and parameters.refused and text)
            kind = StepKind.REFUSE_PARAMETERS if is_refused else StepKind.LOAD
            planned.attempts.append(_Attempt(name=module.name, kind=kind, arguments=arguments))
            if is_refused:
                planned.is_cut_short = True
                break
    return planned


class _Writer:
    """Collects steps and their shell lines."""

    def __init__(self, timeouts: BootTimeouts) -> None:
        self._timeouts = timeouts
        self._lines: list[str] = []
        self.steps: list[Step] = []

    def take(self) -> str:
        lines, self._lines = self._lines, []
        return "".join(f"{line}\n" for line in lines)

    def load(self, name: str, folder: str, kind: StepKind, arguments: str = "", *, expected: str = "") -> None:
        wanted = _WANTED.get(kind, "taken")
        words = ["load", wanted, f"/{folder}/{name}.ko", *([arguments] if arguments else [])]
        self._add(kind, name, self._timeouts.load, words, parameters=arguments, expected=expected)

    def refuse(self, name: str, folder: str, kind: StepKind) -> None:
        self._add(kind, name, self._timeouts.load, ["refuse", f"/{folder}/{name}.ko"])

    def try_set(
        self, planned: _PlannedSet, claimed: Sequence[Claim], *, has_test: bool, hot_plug: bool = False
    ) -> None:
        """Load with a set of parameters, test what was loaded, unload; stop at a refusal that is wanted.

        With ``hot_plug``, the devices are taken away and given back, and what was loaded is tested again.
        """
        for attempt in planned.attempts:
            self.load(attempt.name, MODULE_FOLDER, attempt.kind, attempt.arguments, expected=attempt.expected)
        bound = [] if planned.is_cut_short else planned.keep_loaded(claimed)
        has_test = has_test and bool(planned.loaded) and not planned.is_cut_short
        if bound:
            self.wait_for(StepKind.BOUND, planned.name, bound)
        if has_test:
            self._test(planned.name)
        if bound and hot_plug:
            for claim in bound:
                self.wait_for(StepKind.UNPLUG, claim.device.name, [claim])
                self.wait_for(StepKind.PLUG, claim.device.name, [claim])
            if has_test:
                self._test(f"{planned.name} after hot-plug")
        for attempt in reversed(planned.loaded):
            self._add(StepKind.UNLOAD, attempt.name, self._timeouts.unload, ["unload", attempt.name])
        if bound:
            self.wait_for(StepKind.UNBOUND, planned.name, bound)

    def _test(self, subject: str) -> None:
        program = f"/{TEST_FOLDER}/{TEST_NAME}"
        self._add(StepKind.SMOKE_TEST, subject, self._timeouts.smoke_test, ["smoke", program])

    def wait_for(self, kind: StepKind, subject: str, claims: Sequence[Claim]) -> None:
        timeout_s = self._timeouts.load if kind in {StepKind.BOUND, StepKind.PLUG} else self._timeouts.unload
        words = ["devices", _AWAITED[kind], *(claim.device.id for claim in claims)]
        self._add(kind, subject, max(timeout_s, _TAKE_AWAY_S), words, claims=tuple(claims))

    def repeat(self, loaded: Sequence[_Attempt], times: int) -> None:
        loads = " && ".join(
            shlex.join(["insmod", f"/{MODULE_FOLDER}/{item.name}.ko", *filter(None, [item.arguments])])
            for item in loaded
        )
        unloads = " && ".join(shlex.join(["rmmod", item.name]) for item in reversed(loaded))
        self._lines += [f"load_all() {{ {loads}; }}", f"unload_all() {{ {unloads}; }}"]
        patience = (self._timeouts.load + self._timeouts.unload) * len(loaded) + times * len(loaded)
        self._add(StepKind.REPEAT, f"{times} times", patience, ["repeat", str(times)], repeats=times)

    def look_for_leftovers(self, subject: str) -> None:
        # Taking stock of a guest takes software emulation 0.2 s, so it is not done after every set.
        # Ours, not the driver's: on a busy machine that emulates, looking through /proc and /sys takes its time.
        self._add(StepKind.LEFTOVERS, subject, max(self._timeouts.unload, _LOOK_AROUND_S), ["leftovers"])

    def _add(
        self,
        kind: StepKind,
        subject: str,
        timeout_s: float,
        words: Sequence[str],
        *,
        parameters: str = "",
        repeats: int = 0,
        expected: str = "",
        claims: tuple[Claim, ...] = (),
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
                expected=expected,
                claims=claims,
            )
        )
        function, *arguments = words
        patience = max(1, round(timeout_s * _PATIENCE))
        self._lines.append(shlex.join([function, str(number), str(patience), *arguments]))
