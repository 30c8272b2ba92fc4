"""Reads what the site tells of: plan, lock, journal, and what lies beside them. Asks no registry and no source."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from builder import __version__
from builder.errors import FormatError, KmodsmithError, LockFileError, UsageError, printable
from builder.evidence.records import BootEvidence, CellEvidence, CellOutcome, PublishEvidence
from builder.foreign import read_json
from builder.host.places import open_inside
from builder.kernel import parse_kernel_version
from builder.plan.matrix import Selector, make_matrix
from builder.plan.planning import plan_project
from builder.plan.quoting import quote_groups
from builder.site.cells import NOTHING, OnRecord, describe_decided, describe_earlier, describe_undecided
from builder.site.facts import CellDocuments, CellState, CellStep, Missing, SiteDriver, SiteFacts
from builder.site.symbols import read_changes, read_lineages
from builder.sources.listing import View, list_kernels, list_notes, list_releases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from builder.plan.project import Project
    from builder.plan.quote import Quote
    from builder.site.facts import SiteCell
    from builder.site.statements import Told

# Of a log: its beginning names commands and first errors, its end the last ones.
_MOST_LOG = 64 * 1024**2
_HEAD, _TAIL = 192 * 1024, 64 * 1024
_LARGEST_REPORT = 4 * 1024**2
_MOST_STEPS = 500


@dataclass(slots=True)
class _Records:
    """The journal, oldest first, and by cell as it is now."""

    builds: list[CellEvidence] = field(default_factory=list)
    boots: list[BootEvidence] = field(default_factory=list)
    publishes: list[PublishEvidence] = field(default_factory=list)
    by_cell: dict[str, OnRecord] = field(default_factory=dict)

    def of(self, cell: str) -> OnRecord:
        return self.by_cell.get(cell, NOTHING)


def read_facts(project: Project, groups: Sequence[str], *, made: datetime) -> SiteFacts:
    """Return what is known now.

    What cannot be read is told as missing, and the rest is there.

    Args:
        project: its versions.yaml, lock, journal and container store.
        groups: of versions.yaml; empty: all.
        made: the moment that the facts are of (UTC).

    Raises:
        ConfigError: versions.yaml has mistakes.
        UsageError: there is no such group.
    """
    config = project.config
    if unknown := [name for name in groups if name not in config.groups]:
        names = ", ".join(config.groups)
        raise UsageError(f"there is no group {unknown[0]!r} in versions.yaml", hint=f"there are: {names}")
    records = _read_records(project)
    missing: list[Missing] = []
    if not records.builds:
        why = f"{project.work_dir} has no journal of a build" if not records.publishes else "No cell was built here"
        missing.append(Missing(what="builds", why=why, command="nox -s build"))
    elif not records.publishes:
        missing.append(
            Missing(what="published images", why="Nothing was published from here", command="nox -s publish")
        )
    facts = SiteFacts(
        made=made,
        builder_version=__version__,
        image_key=printable(config.publish.signer.public_key.rpartition("/")[2]) if config.publish.signer else "",
        drivers=tuple(
            SiteDriver(name=driver.name, version=driver.version, vendor=driver.vendor, summary=driver.summary)
            for driver in config.drivers
        ),
        components=tuple(item for _, item in sorted(project.journal.components.items())),
        builds=tuple(records.builds),
        boots=tuple(records.boots),
        publishes=tuple(records.publishes),
    )
    try:
        lock = project.lock
    except LockFileError as error:
        missing.insert(0, Missing(what="kernels and releases", why=error.message, command="nox -s discover"))
        return replace(facts, cells=_find_earlier(records, {}, error.message), missing=tuple(missing))
    cells = _read_cells(project, groups or tuple(config.groups), records, missing)
    found = replace(
        facts,
        kernels=tuple(list_kernels(lock, View())),
        releases=tuple(list_releases(lock, View())),
        cells=tuple(cells.values()),
        missing=tuple(missing),
        notes=tuple(printable(note) for note in list_notes(lock, View())),
        quotes=tuple(_read_quotes(project, groups or tuple(config.groups))),
        lineages=read_lineages(project, tuple(cells.values())),
    )
    changes = read_changes(project, found, lambda cell: read_documents(project.work_dir, cell).build_log)
    return replace(found, changes=changes)


def _read_quotes(project: Project, groups: Sequence[str]) -> Iterator[Quote]:
    for group in groups:
        with contextlib.suppress(KmodsmithError):  # why it cannot be planned is told already
            yield from quote_groups(project, [group])


def _read_records(project: Project) -> _Records:
    journal, found = project.journal, _Records()
    for item in journal.records():
        match item:
            case CellEvidence():
                found.builds.append(item)
            case BootEvidence():
                found.boots.append(item)
            case PublishEvidence():
                found.publishes.append(item)
    published: dict[str, list[PublishEvidence]] = {}
    for entry in journal.published.values():
        published.setdefault(entry.cell, []).append(entry)
    for cell in {*journal.cells, *published}:
        found.by_cell[cell] = OnRecord(
            evidence=journal.cells.get(cell), boot=journal.boots.get(cell), published=tuple(published.get(cell, ()))
        )
    return found


def _read_cells(
    project: Project, groups: Sequence[str], records: _Records, missing: list[Missing]
) -> dict[str, SiteCell]:
    """Return the cells of groups, each once, and what is on record where a group could not be planned."""
    cells: dict[str, SiteCell] = {}
    doubt = ""
    for group in groups:
        try:
            for cell in _plan_group(project, group, records):
                cells.setdefault(cell.id, cell)
        except KmodsmithError as error:
            doubt = f"whether it is up to date is not known: {error.message}"
            missing.append(
                Missing(what=f"plan of group {group}", why=error.message, command=f"nox -s plan -- --group {group}")
            )
            for cell in _list_group(project, group, records, doubt):
                cells.setdefault(cell.id, cell)
    if doubt:
        cells |= {cell.id: cell for cell in _find_earlier(records, cells, doubt)}
    return cells


def _plan_group(project: Project, group: str, records: _Records) -> list[SiteCell]:
    planned = plan_project(project, Selector(group=group))
    cells = [describe_decided(item, records.of(item.cell.id)) for item in planned.plan.decisions]
    return [replace(cell, until=_find_last_day(project, cell)) for cell in cells]


def _find_last_day(project: Project, cell: SiteCell) -> str:
    if cell.state is not CellState.KNOWN_BAD:
        return ""
    entries = project.config.known_bad
    fitting = (
        item for item in entries if fnmatchcase(cell.driver, item.driver) and fnmatchcase(cell.kernel, item.kernel)
    )
    return next((str(item.expires) for item in fitting), "")


def _list_group(project: Project, group: str, records: _Records, why: str) -> Iterator[SiteCell]:
    """Yield the cells of a group that could not be planned; nothing where not even that is known."""
    try:
        matrix = make_matrix(project.config, project.lock, Selector(group=group))
    except KmodsmithError:
        return
    for cell in matrix.cells:
        yield describe_undecided(cell, records.of(cell.id), why)


def _find_earlier(records: _Records, known: dict[str, SiteCell], why: str) -> tuple[SiteCell, ...]:
    found = (describe_earlier(record, why) for name, record in sorted(records.by_cell.items()) if name not in known)
    return tuple(cell for cell in found if cell is not None)


def read_documents(work_dir: Path, cell: SiteCell) -> CellDocuments:
    """Return what lies beside a cell's evidence; what cannot be read is not there.

    Names in a journal, which a checkout can bring, lead nowhere out of the work folder.
    """
    evidence, boot = cell.evidence, cell.boot
    report = _read_report(work_dir, boot.log) if boot else {}
    build_log = ""
    if evidence and not (boot and evidence.log == boot.log):
        build_log = _read_log(work_dir, evidence.log)
    elif evidence and evidence.outcome is CellOutcome.FAILED:  # its last word is that of the boot test
        build_log = _read_log(work_dir, f"cells/{cell.id}/build.log")
    return CellDocuments(
        build_log=build_log,
        boot_log=_read_log(work_dir, boot.log) if boot else "",
        boot_steps=tuple(_read_steps(report.get("steps"))),
        boot_facts=_read_words(report.get("facts")),
        boot_problems=tuple(_read_problems(report.get("verdict"))),
    )


def read_statements(project: Project, cell: SiteCell) -> Told | None:
    """Return what is, or will be, attested of a cell's image; None where it is not proven, or not as things are now."""
    evidence, boot = cell.evidence, cell.boot
    if CellStep.PROVEN not in cell.steps or evidence is None or not evidence.digest or not cell.source:
        return None
    # Bills of materials take long to import, and a site without a proven cell needs none.
    from builder.publish.attest.statements import make_statements  # noqa: PLC0415
    from builder.publish.cells import describe_facts  # noqa: PLC0415
    from builder.site.statements import tell_statements  # noqa: PLC0415

    try:
        kernel = parse_kernel_version(cell.kernel)
        facts = describe_facts(
            project, evidence, source=cell.source, arch=kernel.arch, digest=evidence.digest,
            compile_kernel=parse_kernel_version(evidence.inputs.get("compiled_for") or cell.kernel),
            boot=boot if boot and boot.passed and boot.digest == evidence.digest else None,
            repository=cell.image.rpartition(":")[0],
        )  # fmt: skip
        return tell_statements(make_statements(facts))
    except (KmodsmithError, KeyError, ValueError):  # a journal that somebody changed, or a lock that moved on
        return None


def _read_log(work_dir: Path, name: str) -> str:
    if not name:
        return ""
    try:
        with open_inside(work_dir, name, most=_MOST_LOG) as stream:
            head = stream.read(_HEAD)
            rest = stream.read()
    except (FormatError, OSError):
        return ""
    if len(rest) > _TAIL:
        cut = f"\n[... {len(rest) - _TAIL} bytes are left out here ...]\n".encode()
        rest = cut + rest[-_TAIL:]
    return printable((head + rest).decode(errors="replace").replace("\r\n", "\n"))


def _read_report(work_dir: Path, log: str) -> dict[str, Any]:
    name = f"{log.removesuffix('.log')}.json"
    try:
        with open_inside(work_dir, name, most=_LARGEST_REPORT) as stream:
            return read_json(stream.read(), "it")
    except (FormatError, OSError):
        return {}


def _read_steps(steps: object) -> Iterator[tuple[str, int | None, float | None]]:
    for item in steps[:_MOST_STEPS] if isinstance(steps, list) else ():
        if isinstance(item, dict) and isinstance(item.get("step"), str):
            code, seconds = item.get("code"), item.get("seconds")
            yield (
                printable(item["step"][:400]),
                code if isinstance(code, int) else None,
                float(seconds) if isinstance(seconds, int | float) else None,
            )


def _read_words(facts: object) -> dict[str, str]:
    words = facts.items() if isinstance(facts, dict) else ()
    return {printable(name): printable(value) for name, value in words if isinstance(value, str)}


def _read_problems(verdict: object) -> Iterator[str]:
    problems = verdict.get("problems") if isinstance(verdict, dict) else None
    for item in problems[:_MOST_STEPS] if isinstance(problems, list) else ():
        if isinstance(item, dict):
            yield printable(": ".join(str(item.get(name)) for name in ("check", "step", "sentence") if item.get(name)))
