"""Finds what a kernel complains about in its log: panics, oopses, warnings, lock and memory misuse, hung tasks. Pure.

Patterns: the kernel's own messages (kernel/panic.c, arch/*/mm/fault.c, arch/*/kernel/traps.c, lib/bug.c,
kernel/locking/lockdep.c, mm/kasan/report.c, lib/ubsan.c, mm/slub.c, kernel/hung_task.c, kernel/watchdog.c,
kernel/rcu/tree_stall.h), as of 4.18 to 6.12.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_LINES = 200
_MOST_CHARS = 300


class SplatKind(StrEnum):
    PANIC = "kernel-panic"
    OOPS = "kernel-oops"
    LOCKS = "lock-misuse"
    MEMORY = "memory-misuse"
    HUNG = "task-hung"
    WARNING = "kernel-warning"
    TRACE = "call-trace"


# In this order: what is a warning by its first word may be something more telling.
_PATTERNS = (
    (SplatKind.PANIC, re.compile(r"Kernel panic - not syncing")),
    (
        SplatKind.LOCKS,
        re.compile(
            r"WARNING: (possible (circular|recursive|irq lock)|inconsistent lock|suspicious RCU|bad unlock|Nested lock"
            r"|lock held|held lock|HARDIRQ|SOFTIRQ)|INFO: trying to register non-static key|DEBUG_LOCKS_WARN_ON"
            r"|BUG: (sleeping function called|scheduling while atomic|Invalid wait context|spinlock|rwlock"
            r"|workqueue leaked)"
        ),
    ),
    (
        SplatKind.MEMORY,
        re.compile(
            r"BUG: (KASAN|KFENCE|KMSAN|KCSAN)|^UBSAN: |^(list_add|list_del) corruption|^refcount_t: "
            r"|^BUG .* \((Not t|T)ainted|Objects remaining in \S+|^usercopy: Kernel memory|detected buffer overflow"
            r"|^BUG: Bad page|kmemleak: \d+ new suspected"
        ),
    ),
    (
        SplatKind.HUNG,
        re.compile(
            r"INFO: task .+ blocked for more than|rcu: INFO: .* stall|INFO: rcu_.* stall|soft lockup|hard LOCKUP"
            r"|workqueue lockup"
        ),
    ),
    (
        SplatKind.OOPS,
        re.compile(
            # x86 names what it died of, arm64 what it could not handle; a program that crashes is the program's matter.
            r"^BUG: (kernel NULL pointer|unable to handle|(\S+ )?stack guard page)|^kernel BUG at |^Oops: "
            r"|^general protection fault|^[a-z0-9 ()-]+: [0-9a-f]{4} \[#\d+\]|^Unable to handle kernel"
            r"|^Internal error: |^unhandled page fault|^(Insufficient stack space|kernel stack overflow)"
        ),
    ),
    (
        SplatKind.WARNING,
        re.compile(r"^WARNING: |^BUG: |^sysfs: cannot create duplicate|^(kobject: )?kobject_add_internal failed"),
    ),
    (SplatKind.TRACE, re.compile(r"^Call [Tt]race:")),
)
# What sysrq-w prints of a task before its trace ("state:" since 5.9).
_TASK = re.compile(r"^task:\S+\s+state:|^\S+\s+[RSDTtZXIKWP]\s+(0x)?[0-9a-f]+\s+\d+\s+\d+\s+")
_WORKER = "Workqueue: "
_END = re.compile(r"---\[ end (trace|Kernel panic)")
_PLACE = re.compile(r"^(?:RIP: [0-9a-f]+:|pc : )(\S+(?: \[\S+\])?)|^WARNING: .* at (\S+:\d+) ")
_LINE_BELOW = 2
# A function of a module in a list of callers; question marks are guesses of the unwinder.
_CALLER = re.compile(r"^ (\S+\+0x[0-9a-f]+/0x[0-9a-f]+ \[\w+\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Splat:
    """One complaint: its first line, and the function it came from where the kernel says."""

    kind: SplatKind
    headline: str
    place: str = ""


def find_splats(lines: Iterable[str]) -> list[Splat]:
    """Return the complaints of a piece of kernel log, in order; a trace belongs to the complaint above it.

    Traces of tasks that the kernel was asked for are none; everything else counts, also after it was asked.
    """
    found: list[_Open] = []
    current: _Open | None = None
    for line in _without_answers(lines):
        if current is not None and (_END.search(line) or current.lines >= _MOST_LINES):
            current = None
            continue
        kind = _kind_of(line)
        if current is not None:
            current.take(line)
        if kind is None or (current is not None and (kind is SplatKind.TRACE or not current.yields_to(kind))):
            continue
        current = _Open(kind, line)
        current.take(line)
        found.append(current)
    return [item.close() for item in found]


def _without_answers(lines: Iterable[str]) -> Iterator[str]:
    is_asked = False
    above = ""
    for line in lines:
        is_asked = is_asked or line.startswith("sysrq: ")
        if not (is_asked and _TASK.search(above) and _kind_of(line) is SplatKind.TRACE):
            yield line
        # Of a kernel thread that works for others, this line stands between its own and its trace.
        above = above if line.startswith(_WORKER) else line


def _kind_of(line: str) -> SplatKind | None:
    return next((kind for kind, pattern in _PATTERNS if pattern.search(line)), None)


class _Open:
    """A complaint whose lines are still coming."""

    def __init__(self, kind: SplatKind, headline: str) -> None:
        self.kind = kind
        self.headline = headline
        self.lines = 0
        self._place = ""
        self._caller = ""

    def take(self, line: str) -> None:
        self.lines += 1
        if match := _PLACE.search(line):
            self._place = self._place or match[1] or match[2]
        elif match := _CALLER.match(line):
            self._caller = self._caller or match[1]

    def yields_to(self, kind: SplatKind) -> bool:
        """Whether a line of another kind is a new complaint: an "Oops:" line belongs to the "BUG:" above it."""
        if self.headline.startswith("refcount_t: ") and self.lines == _LINE_BELOW:
            return kind is not SplatKind.WARNING  # which only says where: lib/refcount.c, refcount_warn_saturate()
        return kind is not self.kind or kind is SplatKind.WARNING

    def close(self) -> Splat:
        # A bug in a helper of the kernel is the fault of the module that called it.
        place = self._caller if self._caller and "[" not in self._place else self._place
        return Splat(kind=self.kind, headline=self.headline[:_MOST_CHARS], place=place)
