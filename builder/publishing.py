"""Verbs publish and audit: what is built into registries, and what registries have compared with what they should."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from builder.errors import FormatError, SourceError, UsageError
from builder.locks import hold_project
from builder.matrix import matches_any
from builder.plan import Action
from builder.progress import no_progress
from builder.publish import KEY_LABEL, Publisher, PublishResult, PublishStatus
from builder.pullspec import parse_pullspec
from builder.sources.payload import parse_labels
from builder.workflow import BootOptions, plan_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.matrix import Selector
    from builder.plan import Decision
    from builder.progress import Progress
    from builder.project import Project
    from builder.registry import Registry
    from builder.upload import Uploader
    from builder.workflow import Planned

LOCAL = "localhost/"
_AT_ONCE = 4
_AUDITS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Force:
    """Which cells may move final tags, and why; the reason is recorded."""

    cells: tuple[str, ...] = ()
    reason: str = ""

    def of(self, cell: str) -> str:
        return self.reason if matches_any(cell, self.cells) else ""


class Drift(StrEnum):
    """What is wrong with a tag."""

    NONE = "none"
    MISSING = "missing"
    """It should be there, and is not."""
    DIFFERENT = "different"
    """It stands for another image than was published, or for one of other inputs."""
    EXTRA = "extra"
    """No cell has this name, and no journal knows that it was written."""
    UNKNOWN = "unknown"
    """The registry refused or gave no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One tag: what was recorded when it was written, and what it stands for now."""

    name: str
    cell: str
    drift: Drift
    recorded: str = ""
    found: str = ""
    why: str = ""


_NO_FORCE = Force()


def publish_project(
    project: Project,
    selector: Selector,
    *,
    force: Force = _NO_FORCE,
    progress: Progress = no_progress,
) -> list[PublishResult]:
    """Publish every selected cell whose image is up to date; what is published already is left alone.

    Raises:
        UsageError: a cell is to be forced without a reason.
        BusyError: another run works in this project.
    """
    if force.cells and not force.reason.strip():
        raise UsageError("moving a final tag needs a reason", hint="say --reason 'why'; it is recorded")
    # What passed its boot test has passed it, also where every build boots everything again.
    policy = project.config.build.boot
    boot = BootOptions(when="changed" if policy == "always" else policy)
    planned = plan_project(project, selector, boot=boot)
    names = project.image_names([decision.cell for decision in planned.plan.decisions])
    ready, results = [], {}
    for decision in planned.plan.decisions:
        if blocked := _why_not(decision, names[decision.cell.id]):
            results[decision.cell.id] = blocked
        else:
            ready.append(decision)
    if ready:
        results |= _publish_ready(project, planned, ready, names, force=force, progress=progress)
    return [results[decision.cell.id] for decision in planned.plan.decisions]


def _why_not(decision: Decision, names: tuple[str, ...]) -> PublishResult | None:
    def blocked(status: PublishStatus, why: str) -> PublishResult:
        cell = decision.cell
        return PublishResult(cell=cell.id, kernel=cell.kernel.raw, names=names, status=status, why=why)

    if decision.action is Action.EXCLUDE:
        return blocked(PublishStatus.LEFT_OUT, decision.explanation)
    if names[0].startswith(LOCAL):
        return blocked(PublishStatus.LOCAL, "give its driver an 'image' in a registry, in versions.yaml")
    if decision.action is not Action.SKIP:
        return blocked(PublishStatus.NOT_BUILT, f"{decision.explanation}: run 'nox -s build' with the same selection")
    return None


def _publish_ready(
    project: Project,
    planned: Planned,
    ready: Sequence[Decision],
    names: dict[str, tuple[str, ...]],
    *,
    force: Force,
    progress: Progress,
) -> dict[str, PublishResult]:
    from builder.pull import open_registries  # noqa: PLC0415 - httpx takes long to import
    from builder.upload import Uploader  # noqa: PLC0415

    results = {}
    registry = open_registries(project.config.registry, project.file.parent, project.cache_dir).registry
    with hold_project(project.work_dir), closing(registry):
        for leftover in project.work_dir.glob("publish-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
        publisher = Publisher(registry, Uploader(registry), project.journal, scratch=project.work_dir, run_id=run_id)

        def publish(decision: Decision) -> PublishResult:
            cell = decision.cell.id
            digest = planned.images[decision.key_image].digest
            return publisher.publish(decision, names[cell], digest, force=force.of(cell))

        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="publish") as pool:
            for number, result in enumerate(pool.map(publish, ready), start=1):
                results[result.cell] = result
                progress(number, len(ready))
    return results


def audit_project(project: Project, selector: Selector) -> list[Audit]:
    """Compare every tag that the selected cells should have with what their registries have; changes nothing.

    What this project's journal recorded is compared by digest; what another machine published, by the cell's key that
    the image carries.
    """
    from builder.pull import open_registries  # noqa: PLC0415 - httpx takes long to import
    from builder.upload import Uploader  # noqa: PLC0415

    planned = plan_project(project, selector, boot=BootOptions(when="never"))
    wanted = [item for item in planned.plan.decisions if item.key]
    names = project.image_names([decision.cell for decision in wanted])
    pairs = [(name, item) for item in wanted for name in names[item.cell.id] if not name.startswith(LOCAL)]
    registry = open_registries(project.config.registry, project.file.parent, project.cache_dir).registry
    with closing(registry):
        uploader = Uploader(registry)
        with ThreadPoolExecutor(max_workers=_AUDITS_AT_ONCE, thread_name_prefix="audit") as pool:
            found = list(pool.map(lambda pair: _audit_one(project, registry, uploader, *pair), pairs))
        return [*found, *_find_extra(project, uploader, {name for name, _ in pairs})]


def _audit_one(project: Project, registry: Registry, uploader: Uploader, name: str, decision: Decision) -> Audit:
    recorded = project.journal.published.get(name)
    expected = recorded.digest if recorded else ""
    pullspec = parse_pullspec(name)
    cell = decision.cell.id
    try:
        found = uploader.resolve(pullspec)
        if found is None:
            why = "it was published" if recorded else "it was never published from here"
            return Audit(name=name, cell=cell, drift=Drift.MISSING, recorded=expected, why=why)
        if expected and found != expected:
            why = "it was published with another digest"
            return Audit(name=name, cell=cell, drift=Drift.DIFFERENT, recorded=expected, found=found, why=why)
        manifest = registry.manifest(pullspec.at(found))
        labels = parse_labels(registry.blob(pullspec, manifest.config))[0] if manifest.config else {}
    except (SourceError, FormatError) as error:
        return Audit(name=name, cell=cell, drift=Drift.UNKNOWN, recorded=expected, why=error.message)
    if labels.get(KEY_LABEL) != decision.key:
        why = "it was made from other inputs than versions.yaml, the sources and the lock name now"
        return Audit(name=name, cell=cell, drift=Drift.DIFFERENT, recorded=expected, found=found, why=why)
    return Audit(name=name, cell=cell, drift=Drift.NONE, recorded=expected, found=found)


def _find_extra(project: Project, uploader: Uploader, known: set[str]) -> list[Audit]:
    """Return tags of the same repositories that nobody here knows."""
    found = []
    for repository in sorted({name.rpartition(":")[0] for name in known}):
        place = parse_pullspec(f"{repository}:latest")
        try:
            tags = uploader.list_tags(place)
        except SourceError as error:
            found.append(Audit(name=repository, cell="", drift=Drift.UNKNOWN, why=error.message))
            continue
        names = {f"{repository}:{tag}" for tag in tags} - known - project.journal.published.keys()
        found += [
            Audit(name=name, cell="", drift=Drift.EXTRA, why="no selected cell has this name")
            for name in sorted(names)
            if not name.rpartition(":")[2].startswith("sha256-")  # signatures and attestations of images
        ]
    return found
