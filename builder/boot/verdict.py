"""Judges a boot test from what its console said. So every verdict can be tested from a recorded console. Pure."""

from __future__ import annotations

import errno
import operator
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from builder.boot.console import FaultKind
from builder.boot.script import StepKind
from builder.boot.splats import SplatKind, find_splats
from builder.config.regexp import compile_regexp
from builder.errors import CellError, FailureClass

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from builder.boot.console import StepLog, Transcript
    from builder.boot.devices import GuestDevice
    from builder.boot.script import Step
    from builder.config.model.boot import AllowedMessage


class BootCheck(StrEnum):
    """What a boot test can find, by the code of its failure; the first one in this order is the cause of a cell's."""

    KERNEL_PANIC = SplatKind.PANIC.value
    KERNEL_OOPS = SplatKind.OOPS.value
    LOCK_MISUSE = SplatKind.LOCKS.value
    MEMORY_MISUSE = SplatKind.MEMORY.value
    REPORT_OUT_OF_ORDER = FaultKind.ORDER.value
    OUTPUT_LOST = FaultKind.LOST.value
    LOAD_HUNG = "load-hung"
    SMOKE_TEST_HUNG = "smoke-test-hung"
    UNLOAD_HUNG = "unload-hung"
    DEVICE_NOT_REMOVED = "device-not-removed"
    TASK_HUNG = SplatKind.HUNG.value
    KERNEL_WARNING = SplatKind.WARNING.value
    CALL_TRACE = SplatKind.TRACE.value
    SYMBOL_MISSING = "symbol-missing-at-load"
    SIGNATURE_REFUSED = "signature-refused"
    LOAD_REFUSED = "load-refused"
    LOAD_ACCEPTED = "load-accepted"
    MODULE_NOT_LOADED = "module-not-loaded"
    UNSIGNED_ACCEPTED = "unsigned-accepted"
    STRANGER_ACCEPTED = "stranger-accepted"
    WRONG_REFUSAL = "wrong-refusal"
    PARAMETERS_ACCEPTED = "parameters-accepted"
    DEVICE_NOT_BOUND = "device-not-bound"
    GUEST_CHANGED = "guest-changed"
    SMOKE_TEST_FAILED = "smoke-test-failed"
    UNLOAD_REFUSED = "unload-refused"
    DEVICE_STILL_BOUND = "device-still-bound"
    REPEAT_FAILED = "repeat-failed"
    DEVICE_NODE_LEFT = "device-node-left"
    SYSFS_ENTRY_LEFT = "sysfs-entry-left"
    REGISTRATION_LEFT = "registration-left"
    MEMORY_LEFT = "memory-left"
    TAINT = "taint"
    GUEST_ENDED = "guest-ended"
    CONSOLE_FLOODED = "console-flooded"


class Ending(StrEnum):
    """How a guest came to its end; all but the first cut the test short."""

    FINISHED = "finished"
    TIMED_OUT = "timed-out"
    DIED = "died"
    FLOODED = "flooded"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootProblem:
    """One thing that went wrong. ``step`` is in words, ``place`` a function where the kernel names one."""

    check: BootCheck
    step: str
    sentence: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.step}: {self.sentence}{f' ({self.place})' if self.place else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The problems, those that the driver's allow list names, and the kernel's reasons for what it had to refuse.

    ``notes`` are no faults: what was not exercised, and facts that a reader of the result should know.
    """

    problems: tuple[BootProblem, ...]
    allowed: tuple[BootProblem, ...]
    refusals: tuple[str, ...]
    notes: tuple[str, ...] = ()


# Bits of /proc/sys/kernel/tainted (Documentation/admin-guide/tainted-kernels.rst; those from 27 on are RHEL's), with
# their letters.
_TAINTS = {
    0: ("P", "a proprietary module was loaded"), 1: ("F", "a module was loaded by force"),
    2: ("S", "the processor or system is out of specification"), 3: ("R", "a module was unloaded by force"),
    4: ("M", "a machine check"), 5: ("B", "a bad page, or memory misuse"), 6: ("U", "a program asked for it"),
    7: ("D", "the kernel died: an oops or BUG"), 8: ("A", "an ACPI table was overridden"), 9: ("W", "a warning"),
    10: ("C", "a staging driver was loaded"), 11: ("I", "a workaround for firmware"),
    12: ("O", "an out-of-tree module was loaded"), 13: ("E", "an unsigned module was loaded"),
    14: ("L", "a soft lockup"), 15: ("K", "a live patch"), 16: ("X", "the distribution's own"),
    17: ("T", "randomized structures"), 18: ("N", "a test of the kernel ran"), 19: ("J", "a program used fwctl"),
    27: ("a", "a partner's module"), 28: ("h", "hardware that is not supported"), 29: ("t", "a technology preview"),
    30: ("p", "a module that the vendor did not sign"), 31: ("u", "user namespaces of no privilege"),
}  # fmt: skip
# What every vendor's module is: out of tree, not signed by who built the kernel (kernel/module/main.c,
# check_modinfo() and load_module()).
_EXPECTED_TAINTS = {12, 13}
# What those are whose licence is none of the GPL's (set_license() there, include/linux/license.h).
_PROPRIETARY_TAINT = 0
# Which complaints explain a bit: without one of them, what the kernel took note of was not seen on the console.
_EXPLAINED = {
    5: {BootCheck.MEMORY_MISUSE},
    7: {BootCheck.KERNEL_OOPS, BootCheck.KERNEL_PANIC, BootCheck.MEMORY_MISUSE},
    9: {BootCheck.KERNEL_WARNING, BootCheck.LOCK_MISUSE, BootCheck.MEMORY_MISUSE},
    14: {BootCheck.TASK_HUNG},
}
_UNKNOWN_SYMBOL = re.compile(r"(\w+): (?:Unknown symbol \S+ \(err -?\d+\)|disagrees about version of symbol \S+)")
_KEY_ERRORS = {errno.EKEYREJECTED, errno.ENOKEY, errno.EPERM}
_REFUSAL = re.compile(r"Loading of .* is rejected|[Ll]ockdown: .*module|module verification failed")
_ALWAYS_SAID = re.compile(r"taint(s|ing) kernel")
_HANGS = {
    StepKind.SMOKE_TEST: BootCheck.SMOKE_TEST_HUNG,
    StepKind.UNLOAD: BootCheck.UNLOAD_HUNG,
    StepKind.LEFTOVERS: BootCheck.UNLOAD_HUNG,
    StepKind.UNPLUG: BootCheck.DEVICE_NOT_REMOVED,
    StepKind.UNBOUND: BootCheck.UNLOAD_HUNG,
}
_LEFT = {
    "device-node": BootCheck.DEVICE_NODE_LEFT,
    "sysfs-entry": BootCheck.SYSFS_ENTRY_LEFT,
    "memory": BootCheck.MEMORY_LEFT,
    "slab-alias": BootCheck.MEMORY_LEFT,
}
# "slab-alias :0000128 12 13 my_cache": of a cache that is shared, more names are in use than before.
_ALIASES = re.compile(r"slab-alias (?P<cache>\S+) (?P<before>\d{1,9}) (?P<now>\d{1,9})(?P<names>.{0,300})")
# Caches of the allocator come and go; a page for every round does not.
_KIB_PER_ROUND = 4
_ENOUGH_ROUNDS = 10
_KILLED = 128 + 9
# What ``list_devices`` of init.sh tells.
_DEVICE_LINE = re.compile(
    r"(?P<address>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (?P<id>[0-9a-f]{4}:[0-9a-f]{4})"
    r" (?P<module>[^ ]{1,64}) (?P<driver>.{1,100})"
)


class _Binding(NamedTuple):
    """A device of a guest; module and driver are "-" where there is none."""

    address: str
    module: str
    driver: str


def judge_boot(
    transcript: Transcript,
    steps: Sequence[Step],
    ending: Ending,
    *,
    allow: Sequence[AllowedMessage] = (),
    not_loaded: Mapping[str, str] = MappingProxyType({}),
    notes: Sequence[str] = (),
    proprietary: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    """Judge a guest that came up.

    Args:
        transcript: all that it said.
        steps: what it was to do.
        ending: how it ended.
        allow: messages that the driver's entry in versions.yaml excuses.
        not_loaded: modules of the image that no step loads, by path, and why.
        notes: what is known before, such as what cannot be exercised.
        proprietary: licences, by module, that are not compatible with the GPL; they taint the kernel by law.
    """
    expected = _EXPECTED_TAINTS | ({_PROPRIETARY_TAINT} if proprietary else set())
    found = list(_problems(transcript, steps, ending, expected))
    found += [
        BootProblem(check=BootCheck.MODULE_NOT_LOADED, step=path, sentence=text) for path, text in not_loaded.items()
    ]
    patterns = [compile_regexp(item.pattern) for item in allow]
    allowed = {problem for problem in found if any(pattern.search(str(problem)) for pattern in patterns)}
    order = list(BootCheck)
    problems = sorted((item for item in found if item not in allowed), key=lambda item: order.index(item.check))
    # Silence proves nothing: whatever is excused, a pass is a report of every step.
    if not problems and (missing := _first_undone(transcript, steps)) is not None:
        sentence = f"the test ended before it was done ({ending})"
        problems = [_problem(BootCheck.GUEST_ENDED, missing, sentence)]
    return Verdict(
        problems=tuple(problems),
        allowed=tuple(problem for problem in found if problem in allowed),
        refusals=tuple(_refusals(transcript, steps)),
        notes=(
            *notes,
            *_soft_failures(transcript, steps),
            *dict.fromkeys(_device_notes(transcript, steps)),
            *_expected_taints(transcript, proprietary),
        ),
    )


def raise_problems(problems: Sequence[BootProblem]) -> None:
    """Fail a cell because of its boot test.

    Raises:
        CellError: of class boot; the hint counts what else was found.
    """
    if not problems:
        return
    first, *others = problems
    raise CellError(
        FailureClass.BOOT,
        first.check,
        f"{first.step}: {first.sentence}",
        location=first.place or first.step,
        detail=f"{first.step}: {first.sentence}",
        hint=f"{len(others)} more: {'; '.join(map(str, others[:5]))}" if others else None,
    )


def _problems(
    transcript: Transcript, steps: Sequence[Step], ending: Ending, expected: Container[int]
) -> Iterator[BootProblem]:
    """Yield what is wrong, that which explains a taint before the taint."""
    found = list(_seen(transcript, steps, ending))
    yield from found
    yield from _judge_taint(transcript, {problem.check for problem in found}, expected)


def _seen(transcript: Transcript, steps: Sequence[Step], ending: Ending) -> Iterator[BootProblem]:
    for step in steps:
        log = transcript.steps.get(step.number)
        if log is None:
            break
        splats = _complaints(log.kernel, str(step))
        yield from splats
        yield from _judge_step(step, log, transcript, ending, has_splat=bool(splats))
    yield from _complaints(transcript.between, "between steps")
    for fault in transcript.faults:
        yield BootProblem(check=BootCheck(fault.kind.value), step="the console", sentence=fault.sentence)
    if ending is Ending.FLOODED:
        yield BootProblem(
            check=BootCheck.CONSOLE_FLOODED, step="the console", sentence="more was printed than a boot test should"
        )


def _complaints(lines: Sequence[str], step: str) -> list[BootProblem]:
    return [
        BootProblem(check=BootCheck(splat.kind.value), step=step, sentence=splat.headline, place=splat.place)
        for splat in find_splats(lines)
    ]


def _first_undone(transcript: Transcript, steps: Sequence[Step]) -> Step | None:
    """Return the first step that never came to an end; None where all did and the guest said that it was through."""
    undone = (step for step in steps if (log := transcript.steps.get(step.number)) is None or log.code is None)
    return next(undone, None if transcript.has_finished else steps[-1])


def _judge_step(
    step: Step, log: StepLog, transcript: Transcript, ending: Ending, *, has_splat: bool
) -> Iterator[BootProblem]:
    if log.code is None:
        yield from _judge_cut_short(step, log, ending, has_splat=has_splat)
        return
    is_killed = has_splat and log.code == _KILLED
    match step.kind:
        case StepKind.LOAD | StepKind.LOAD_IN_TREE if log.code and not is_killed:
            yield _refused_load(step, log)
        case StepKind.REFUSE_PARAMETERS if log.code == 0:
            sentence = "the module was loaded with parameters that it must refuse"
            yield _problem(BootCheck.PARAMETERS_ACCEPTED, step, sentence)
        case StepKind.UNLOAD if log.code and not is_killed:
            yield _problem(BootCheck.UNLOAD_REFUSED, step, _said(log))
        case StepKind.BOUND | StepKind.PLUG:
            yield from _judge_bound(step, log, transcript)
        case StepKind.LEFTOVERS:
            yield from (_judge_left(step, line) for line in log.left if line not in _KEPT_BY_THE_KERNEL)
        case kind if judge := _JUDGES.get(kind):
            yield from judge(step, log)


# What the kernel makes at the first use and keeps as long as its own module is loaded: drivers/scsi/scsi_lib.c,
# scsi_init_sense_cache(), for the first host.
_KEPT_BY_THE_KERNEL = frozenset({"sysfs-entry /sys/kernel/slab/scsi_sense_cache"})


def _judge_left(step: Step, line: str) -> BootProblem:
    kind, _, what = line.partition(" ")
    check = _LEFT.get(kind, BootCheck.REGISTRATION_LEFT)
    if merged := _ALIASES.fullmatch(line):
        names = merged["names"].strip() or "one that was merged"
        counts = f"{merged['before']} other names before, {merged['now']} after"
        return _problem(check, step, f"a cache is not given back: {names} (with {merged['cache']}: {counts})")
    return _problem(check, step, f"{what} is still there after unloading")


def _bindings(log: StepLog, device: GuestDevice) -> list[_Binding]:
    """Return the devices of a kind that a guest found."""
    found = filter(None, map(_DEVICE_LINE.fullmatch, log.devices))
    return [_Binding(match["address"], match["module"], match["driver"]) for match in found if match["id"] == device.id]


def _judge_bound(step: Step, log: StepLog, transcript: Transcript) -> Iterator[BootProblem]:
    for claim in step.claims:
        bindings = _bindings(log, claim.device)
        if any(item.module in claim.modules for item in bindings):
            continue
        names = " and ".join(claim.modules)
        sentence = f"{claim.device} is bound to no driver, and the table of {names} names it"
        place = bindings[0].address if bindings else ""
        if not bindings:
            sentence = f"{claim.device} is not there any more, so {names} cannot bind to it"
        elif (other := bindings[0]).driver != "-":
            sentence = f"{claim.device} is bound to {other.driver}, which is not of {names}"
        own = [f"{word} " for word in ("probe", *claim.modules)]
        lines = (line for item in transcript.steps.values() for line in item.kernel if place and place in line)
        told = [line for line in lines if any(word in line for word in own)]
        last = f"; the last words about it: {told[-1]}" if told else ""
        yield _problem(BootCheck.DEVICE_NOT_BOUND, step, f"{sentence}{last}")


def _judge_unbound(step: Step, log: StepLog) -> Iterator[BootProblem]:
    for claim in step.claims:
        for item in _bindings(log, claim.device):
            if item.driver != "-" and item.module in {"-", *claim.modules}:
                sentence = f"{claim.device} is still bound to {item.driver}, whose module is gone"
                yield _problem(BootCheck.DEVICE_STILL_BOUND, step, sentence)


def _device_notes(transcript: Transcript, steps: Sequence[Step]) -> Iterator[str]:
    """Yield what was bound, and what was taken away and bound again."""
    for step in steps:
        log = transcript.steps.get(step.number)
        if log is None or log.code is None or step.kind not in {StepKind.BOUND, StepKind.PLUG}:
            continue
        for claim in step.claims:
            for item in _bindings(log, claim.device):
                if item.module in claim.modules:
                    again = "plugged in again and bound" if step.kind is StepKind.PLUG else "bound"
                    yield f"{again} {claim.device} at {item.address}: driver {item.driver} of {item.module}"


def _judge_smoke_test(step: Step, log: StepLog) -> Iterator[BootProblem]:
    if log.is_changed:
        yield _problem(BootCheck.GUEST_CHANGED, step, "the test changed what later steps rest on")
    if log.code:
        first = next((line for line in log.said if "FAIL" in line), log.said[-1] if log.said else "it said nothing")
        yield _problem(BootCheck.SMOKE_TEST_FAILED, step, f"ended with exit code {log.code}: {first}")


def _judge_cut_short(step: Step, log: StepLog, ending: Ending, *, has_splat: bool) -> Iterator[BootProblem]:
    if ending is Ending.TIMED_OUT:
        check = _HANGS.get(step.kind, BootCheck.LOAD_HUNG)
        lines = [*log.kernel, *log.answers]
        waiting = next((match[1] for line in lines if (match := _OUR_CALLER.search(line))), "")
        yield _problem(check, step, f"not done after {step.timeout_s:g} s", place=waiting)
    elif ending is Ending.DIED and not has_splat:
        yield _problem(BootCheck.GUEST_ENDED, step, "the machine ended without a word of its kernel")


# In what sysrq-w and stall detectors print: "bad_init+0x10/0x20 [bad]".
_OUR_CALLER = re.compile(r"(\w+\+0x[0-9a-f]+/0x[0-9a-f]+ \[\w+\])")


def _judge_without_hardware(step: Step, log: StepLog) -> Iterator[BootProblem]:
    """Judge a module that must answer with a certain error: any other end, and any other cause, is a fault."""
    if not log.code:
        sentence = f"the module was loaded, and versions.yaml says that it answers {step.expected} here"
        yield _problem(BootCheck.LOAD_ACCEPTED, step, sentence)
        return
    refused = _refused_load(step, log)
    if _errno(log.code) == step.expected and refused.check is BootCheck.LOAD_REFUSED:
        return
    sentence = f"{refused.sentence}; versions.yaml says that it answers {step.expected} here"
    yield replace(refused, sentence=sentence)


def _refused_load(step: Step, log: StepLog) -> BootProblem:
    code = log.code or 0
    if unknown := [match[0] for line in log.kernel if (match := _UNKNOWN_SYMBOL.search(line))]:
        return _problem(BootCheck.SYMBOL_MISSING, step, unknown[0])
    reasons = [line for line in log.kernel if _REFUSAL.search(line)]
    if code == errno.EKEYREJECTED or (code in _KEY_ERRORS and reasons):
        return _problem(BootCheck.SIGNATURE_REFUSED, step, reasons[0] if reasons else _errno(code))
    told = [line for line in log.kernel if not _ALWAYS_SAID.search(line)]
    last = f"; its last words: {told[-1]}" if told else ""
    return _problem(BootCheck.LOAD_REFUSED, step, f"the kernel answers {_errno(code)}{last}")


def _judge_refusal(step: Step, log: StepLog) -> Iterator[BootProblem]:
    is_unsigned = step.kind is StepKind.REFUSE_UNSIGNED
    what = "an unsigned copy" if is_unsigned else "a copy signed by a key that nobody enrolled"
    if log.code == 0:
        check = BootCheck.UNSIGNED_ACCEPTED if is_unsigned else BootCheck.STRANGER_ACCEPTED
        yield _problem(check, step, f"{what} was loaded")
    elif log.code not in _KEY_ERRORS:
        yield _problem(BootCheck.WRONG_REFUSAL, step, f"{what} was refused with {_errno(log.code or 0)}")


def _judge_repeat(step: Step, log: StepLog) -> Iterator[BootProblem]:
    if log.code:
        yield _problem(BootCheck.REPEAT_FAILED, step, "; ".join(log.said))
    rounds = step.repeats - 2
    if log.grown_kib is not None and rounds >= _ENOUGH_ROUNDS and log.grown_kib >= rounds * _KIB_PER_ROUND:
        yield _problem(BootCheck.MEMORY_LEFT, step, f"the kernel needs {log.grown_kib} KiB more after {rounds} rounds")


_JUDGES = {
    StepKind.LOAD_WITHOUT_HARDWARE: _judge_without_hardware,
    StepKind.REFUSE_UNSIGNED: _judge_refusal,
    StepKind.REFUSE_STRANGER: _judge_refusal,
    StepKind.SMOKE_TEST: _judge_smoke_test,
    StepKind.UNBOUND: _judge_unbound,
    StepKind.REPEAT: _judge_repeat,
}


def _judge_taint(
    transcript: Transcript, explained_by: Container[BootCheck], expected: Container[int]
) -> Iterator[BootProblem]:
    """Yield a problem for every new bit that nobody expects and no complaint explains."""
    before = transcript.facts.get("taint-before", "")
    if not re.fullmatch(r"\d{1,20}", before) or not transcript.taints:
        if transcript.has_finished:
            yield BootProblem(check=BootCheck.TAINT, step="the kernel", sentence="did not say whether it is tainted")
        return
    new = reduce(operator.or_, transcript.taints) & ~int(before)
    for bit in range(new.bit_length()):
        if new >> bit & 1 and bit not in expected and not any(item in explained_by for item in _EXPLAINED.get(bit, ())):
            letter, meaning = _TAINTS.get(bit, ("?", f"bit {bit}"))
            unseen = ", of which the console says nothing" if bit in _EXPLAINED else ""
            yield BootProblem(
                check=BootCheck.TAINT, step="the kernel", sentence=f"is tainted {letter}: {meaning}{unseen}"
            )


def _soft_failures(transcript: Transcript, steps: Sequence[Step]) -> Iterator[str]:
    """Yield the soft dependencies that were refused; modprobe goes on without them, too."""
    for step in steps:
        log = transcript.steps.get(step.number)
        if log is not None and log.code and step.kind is StepKind.LOAD_SOFT:
            yield f"{step}: {_errno(log.code)}, which stops nothing: it is a soft dependency"


def _expected_taints(transcript: Transcript, proprietary: Mapping[str, str]) -> Iterator[str]:
    """Yield the taints that follow from what the driver is, with the licences that one of them follows from."""
    before = transcript.facts.get("taint-before", "")
    if not re.fullmatch(r"\d{1,20}", before):
        return
    new = reduce(operator.or_, transcript.taints, 0) & ~int(before)
    licences = "; ".join(f"the licence of {name} is {text!r}" for name, text in sorted(proprietary.items()))
    for bit in sorted({_PROPRIETARY_TAINT, *_EXPECTED_TAINTS} if proprietary else _EXPECTED_TAINTS):
        if new >> bit & 1:
            letter, meaning = _TAINTS[bit]
            yield f"the kernel is tainted {letter}: {meaning}{f' ({licences})' if bit == _PROPRIETARY_TAINT else ''}"


def _refusals(transcript: Transcript, steps: Sequence[Step]) -> Iterator[str]:
    """Yield the kernel's own words for each copy that it refused."""
    for step in steps:
        log = transcript.steps.get(step.number)
        if log is not None and log.code and step.kind in {StepKind.REFUSE_UNSIGNED, StepKind.REFUSE_STRANGER}:
            reason = next((line for line in log.kernel if _REFUSAL.search(line)), "no word in the log")
            yield f"{step}: {_errno(log.code)}: {reason}"


def _problem(check: BootCheck, step: Step, sentence: str, *, place: str = "") -> BootProblem:
    return BootProblem(check=check, step=str(step), sentence=sentence, place=place)


def _said(log: StepLog) -> str:
    return log.said[-1] if log.said else "no word about it"


def _errno(code: int) -> str:
    return errno.errorcode.get(code, f"exit code {code}")
