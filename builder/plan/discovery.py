"""Verb discover: asks the kernel sources, writes the lock, and tells what changed and which cells that adds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from builder.config.problem_codes import ProblemCode
from builder.errors import (
    CommandError,
    FailureClass,
    FormatError,
    HostError,
    KmodsmithError,
    LockFileError,
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
    UsageError,
)
from builder.evidence.blame import describe_os_error, machine_fault
from builder.host.locks import hold_lock_file, hold_project
from builder.host.progress import no_progress
from builder.plan.decide import Action
from builder.plan.known import OF_KERNELS, KnownProblems, describe_known
from builder.plan.matrix import Selector, make_matrix
from builder.plan.planning import plan_project
from builder.sources.change import Change
from builder.sources.doubt import summarize
from builder.sources.lock import Lock
from builder.sources.lock_file import write_lock
from builder.sources.provider import DiscoverOptions, Question
from builder.sources.table import PROVIDERS
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.config.model.config import Config
    from builder.host.progress import Progress
    from builder.plan.matrix import Cell
    from builder.plan.project import Project
    from builder.sources.doubt import Doubt
    from builder.sources.lock import LockedSource, SourceProblem
    from builder.sources.provider import Answer

_PLAIN = DiscoverOptions()


@dataclass(slots=True)
class Discovery:
    """What came of asking the kernel sources; the lock is written."""

    changes: list[Change] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    """Cells, of all groups, that the new lock adds and that would be built."""
    refused: dict[str, str] = field(default_factory=dict)
    """Cells that it adds and that cannot be built, with the reason that their plan gives."""
    problems: list[str] = field(default_factory=list)
    """What could not be read; for all of it the lock keeps what it had."""
    known: list[str] = field(default_factory=list)
    """What versions.yaml acknowledges of that, as known problems."""
    complaints: list[str] = field(default_factory=list)
    """Entries of known problems that fit nothing, or have expired."""
    failures: list[KmodsmithError] = field(default_factory=list)
    """Why sources failed as a whole; part of ``problems``, too."""
    releases_read: int = 0
    bytes_read: int = 0

    @property
    def bytes_per_release(self) -> int:
        return self.bytes_read // max(1, self.releases_read)


def discover_project(
    project: Project,
    sources: Sequence[str] = (),
    *,
    options: DiscoverOptions = _PLAIN,
    progress: Progress = no_progress,
) -> Discovery:
    """Ask kernel sources and write versions.lock.yaml, in one step at the end.

    A source that fails, by whatever, keeps what the lock has of it, marked with the problem, and is reported; the
    others are brought up to date.

    Args:
        project: its versions.yaml says what to ask; its lock is what is known.
        sources: names of the sources to ask; empty: all.
        options: what to read again, and what to believe.
        progress: told how many releases are read, of how many.

    Raises:
        UsageError: there is no such source.
        BusyError: another run is at work in this project, or writes its lock.
    """
    check_sources(project.config, sources)
    with hold_project(project.work_dir), hold_lock_file(project.lock_file):
        # What was read before may have been written anew since.
        return _discover(project.reread(), sources, options, progress)


def _discover(project: Project, sources: Sequence[str], options: DiscoverOptions, progress: Progress) -> Discovery:
    lock = project.lock if project.lock_file.exists() else Lock()
    found = {name: source for name, source in lock.sources.items() if name in project.config.sources}
    discovery = Discovery()
    acknowledged = KnownProblems(entries=project.config.known_problems, today=datetime.now(UTC).date())
    for name in sorted(lock.sources.keys() - found.keys()):
        detail = f"versions.yaml no longer names it; gone with it: {count(len(lock.sources[name].kernels), 'kernel')}"
        discovery.changes.append(Change(kind="source gone", subject=name, detail=detail))
    options = replace(options, ask_for_toolkits=options.ask_for_toolkits or _lacks_toolkits(project))
    has_failed = False
    for name in sources or project.config.sources:
        known = lock.sources.get(name)
        try:
            answer = _ask(project, name, known, options=options, progress=progress)
        except Exception as error:  # noqa: BLE001 - each source has its own outcome, whatever ends it
            has_failed = True
            problem = _fail(name, error, discovery, acknowledged)
            if known is not None:
                found[name] = known.model_copy(update={"problem": problem})
        else:
            found[name] = answer.locked
            _take(name, answer, discovery, acknowledged)
    if not sources and not has_failed:  # else what an entry fits may be where nobody looked
        discovery.complaints += acknowledged.complaints(set(ProblemCode) - OF_KERNELS)
    new = Lock(sources=found)
    if new != lock or not project.lock_file.exists():
        write_lock(new, project.lock_file)
    _judge_cells(project.reread(), _added_cells(project.config, lock, new), discovery)
    return discovery


def _lacks_toolkits(project: Project) -> bool:
    """Tell whether the last build of a cell failed for its toolkit: it may be gone, and a release bring another."""
    failures = (evidence.failure for evidence in project.journal.cells.values())
    return any(failure and failure.failure_class is FailureClass.TOOLKIT for failure in failures)


def check_sources(config: Config, names: Sequence[str]) -> None:
    """Refuse a source that versions.yaml does not name.

    Raises:
        UsageError: there is no such source.
    """
    for unknown in set(names) - config.sources.keys():
        raise UsageError(
            f"there is no source {unknown!r} in versions.yaml", hint=f"there are {', '.join(config.sources)}"
        )


# What ended the reading of a source, as the lock words it; the first that fits counts.
_PROBLEMS: tuple[tuple[type[KmodsmithError], SourceProblem], ...] = (
    (SourceUnreachableError, "unreachable"),
    (SourceRefusedError, "unreachable"),
    (SourceError, "malformed"),
    (FormatError, "malformed"),
    (HostError, "host"),
    (CommandError, "host"),
)


def _judge(error: Exception) -> tuple[SourceProblem, KmodsmithError]:
    """Return the kind of what ended a source, and an error that people can read."""
    for kind, problem in _PROBLEMS:
        if isinstance(error, kind):
            return problem, error
    if isinstance(error, KmodsmithError):
        return "malformed", SourceError(error.message, hint=error.hint)
    if isinstance(error, OSError) and machine_fault(error):
        return "host", HostError(describe_os_error(error), hint="look at the cache folder, its rights and its disk")
    return "defect", KmodsmithError(f"defect in kmodsmith: {type(error).__name__}: {error}", hint="please report it")


def _ask(
    project: Project,
    name: str,
    known: LockedSource | None,
    *,
    options: DiscoverOptions,
    progress: Progress,
) -> Answer:
    settings = project.config.sources[name]
    provider = PROVIDERS[settings.provider]
    return provider.discover(
        Question(
            name=name,
            settings=settings,
            # versions.yaml may name another provider than when the lock was written: that answer is no previous one.
            previous=known if isinstance(known, provider.locked) else None,
            options=options,
            now=datetime.now(UTC),
            workplace=project.workplace,
            progress=progress,
            build_packages=frozenset(
                tuple(sorted(driver.build_packages)) for driver in project.config.drivers if driver.build_packages
            ),
            image_packages=frozenset(project.config.image_packages),
        )
    )


def _take(name: str, answer: Answer, discovery: Discovery, acknowledged: KnownProblems) -> None:
    """Add what a source answered to what is told; of known problems, each entry's own."""
    news: list[Doubt] = []
    known: dict[str, list[Doubt]] = {}
    for doubt in answer.doubts:
        entry = acknowledged.find(doubt.code, doubt.subject) if doubt.code else None
        (known.setdefault(describe_known(entry), []) if entry else news).append(doubt)
    discovery.changes += answer.changes
    discovery.problems += [f"source {name}: {line}" for line in summarize(news)]
    for words, doubts in known.items():
        discovery.known += [f"source {name}: {line}; {words}" for line in summarize(doubts)]
    discovery.releases_read += answer.releases_read
    discovery.bytes_read += answer.bytes_read


def _fail(name: str, error: Exception, discovery: Discovery, acknowledged: KnownProblems) -> SourceProblem:
    """Tell why a source failed as a whole, and return the kind of it."""
    problem, failure = _judge(error)
    hint = f" ({failure.hint})" if failure.hint else ""
    code = f" [{problem}]" if problem in set(ProblemCode) else ""
    line = f"source {name}: {failure.message}{hint}{code}"
    if entry := acknowledged.find(problem, name):
        discovery.known.append(f"{line}; {describe_known(entry)}")
    else:
        discovery.problems.append(line)
        discovery.failures.append(failure)
    return problem


def _added_cells(config: Config, old: Lock, new: Lock) -> dict[str, list[Cell]]:
    """Return the cells that a lock adds, by the first group that has them."""
    seen = {cell for group in config.groups for cell in _cells(config, old, group)}
    added: dict[str, list[Cell]] = {}
    for group in config.groups:
        fresh = [cell for cell in _cells(config, new, group) if cell not in seen]
        if fresh:
            added[group] = fresh
            seen.update(fresh)
    return added


def _cells(config: Config, lock: Lock, group: str) -> tuple[Cell, ...]:
    try:
        return make_matrix(config, lock, Selector(group=group)).cells
    except (LockFileError, UsageError):  # the group's source is not in the lock yet, or nothing of it matches
        return ()


def _judge_cells(project: Project, added: Mapping[str, Sequence[Cell]], discovery: Discovery) -> None:
    """Tell of new cells what the plan of their group says: what it refuses is not there to be built."""
    for group, cells in added.items():
        selector = Selector(group=group, kernels=tuple(dict.fromkeys(cell.kernel.raw for cell in cells)))
        try:
            decisions = plan_project(project, selector).plan.decisions
        except KmodsmithError as error:  # the lock is written; what is wrong besides, the next plan tells, too
            discovery.refused |= {cell.id: f"group {group!r} cannot be planned: {error.message}" for cell in cells}
            continue
        added_here = frozenset(cells)  # versions.yaml may say something else by now, and want others, or none of them
        for decision in (item for item in decisions if item.cell in added_here):
            if decision.action in {Action.BUILD, Action.ASSEMBLE}:
                discovery.cells.append(decision.cell.id)
            elif decision.action in {Action.REFUSE, Action.FAIL}:
                discovery.refused[decision.cell.id] = decision.explanation
            elif decision.action is Action.EXCLUDE and not decision.is_left_out_for_good:
                discovery.known.append(f"{decision.cell.id} cannot be built: {decision.explanation}")


def complain(discovery: Discovery) -> KmodsmithError | None:
    """Return what ends a run whose sources did not all answer; None where all did."""
    if not discovery.problems:
        return None
    lines = "\n".join(f"  {problem}" for problem in discovery.problems)
    error = SourceError(
        f"not everything could be read, or is believed; for the rest, the lock keeps what it had:\n{lines}",
        hint="run it again later: what was read is kept and is not asked for again; what is no news, 'known_problems' "
        "of versions.yaml can acknowledge by its code",
    )
    codes = {failure.exit_code for failure in discovery.failures}
    if len(codes) == 1 and len(discovery.failures) == len(discovery.problems):  # a machine that lacks apt is no source
        error.exit_code = codes.pop()
    return error
