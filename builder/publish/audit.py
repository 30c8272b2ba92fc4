"""Verb audit: what registries have, compared with what was published."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from builder.errors import FormatError, SourceError
from builder.host.progress import no_progress
from builder.plan.planning import NO_BOOTS, plan_project
from builder.publish.attest.bundle import SIGNATURE_PREDICATE
from builder.publish.attest.statements import CELL_PREDICATES
from builder.publish.cells import find_shared_names, name_cells
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL
from builder.publish.signatory import bundles_of
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.evidence.journal import Journal
    from builder.host.progress import Progress
    from builder.plan.matrix import Selector
    from builder.plan.project import Project
    from builder.publish.reading import RegistryReader
    from builder.publish.result import SharedName

_AUDITS_AT_ONCE = 16


class Drift(StrEnum):
    """What is wrong with a tag."""

    NONE = "none"
    MISSING = "missing"
    """It should be there, and is not."""
    DIFFERENT = "different"
    """It stands for another image than was published, or for one of other inputs."""
    EXTRA = "extra"
    """No cell has this name, and no journal knows that it was written."""
    UNSIGNED = "unsigned"
    """It is not signed by the key of versions.yaml, or lacks an attestation."""
    WAITING = "waiting"
    """A tag of several architectures, whose images are not all there yet."""
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


def audit_project(project: Project, selector: Selector, *, progress: Progress = no_progress) -> list[Audit]:
    """Compare every tag that the selected cells should have with what their registries have; changes nothing.

    What this project's journal recorded is compared by digest; what another machine published, by the cell's key that
    the image carries. Where versions.yaml names a signer, each tag's signature is verified; that its attestations are
    there is looked at, and ``verify`` looks into them.
    """
    planned = plan_project(project, selector, boot=NO_BOOTS)
    wanted = [item for item in planned.plan.decisions if item.key]
    names = name_cells(project, selector)
    tags = [
        _Tag(name=name, cell=item.cell.id, key=item.key, predicates=CELL_PREDICATES)
        for item in wanted
        for name in names[item.cell.id].own
    ]
    shared = find_shared_names(project, selector, NO_BOOTS, names, wanted)
    tags += [
        _Tag(name=item.name, cell="", key=item.key, predicates=(SIGNATURE_PREDICATE,), shared=item) for item in shared
    ]
    tags = [tag for tag in tags if not tag.name.startswith(LOCAL)]
    with open_reader(project) as reader:
        auditor = _Auditor(journal=project.journal, reader=reader)
        found = []
        with ThreadPoolExecutor(max_workers=_AUDITS_AT_ONCE, thread_name_prefix="audit") as pool:
            for number, audit in enumerate(pool.map(auditor.audit, tags), start=1):
                found.append(audit)
                progress(number, len(tags))
        return [*found, *auditor.find_extra({tag.name for tag in tags})]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tag:
    """A tag that should be there, the key of what it should be made of, and the statements that it should have.

    ``shared``: what a tag of several architectures is made of.
    """

    name: str
    cell: str
    key: str
    predicates: Sequence[str]
    shared: SharedName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Auditor:
    """Compares tags."""

    journal: Journal
    reader: RegistryReader

    def audit(self, tag: _Tag) -> Audit:
        recorded = self.journal.published.get(tag.name)
        audit = Audit(name=tag.name, cell=tag.cell, drift=Drift.NONE, recorded=recorded.digest if recorded else "")
        try:
            drift, found, why = self._compare(tag, audit.recorded)
        except (SourceError, FormatError) as error:
            return replace(audit, drift=Drift.UNKNOWN, why=error.message)
        return replace(audit, drift=drift, found=found, why=why)

    def _compare(self, tag: _Tag, recorded: str) -> tuple[Drift, str, str]:
        """Return what is wrong with a tag, the digest that it stands for, and a sentence."""
        standing = self.reader.standing(parse_pullspec(tag.name))
        waits = self._why_waiting(tag.shared, is_there=standing is not None) if tag.shared else ""
        if waits and (standing is None or standing.digest != recorded):
            return Drift.WAITING, standing.digest if standing else "", waits
        if standing is None:
            return Drift.MISSING, "", "it was published" if recorded else "it was never published from here"
        if recorded and standing.digest != recorded:
            return Drift.DIFFERENT, standing.digest, "it was published with another digest"
        if standing.is_list != (tag.shared is not None):
            why = f"it stands for {'a list of images' if standing.is_list else 'one image'}"
            return Drift.DIFFERENT, standing.digest, why
        if standing.key != tag.key and tag.key:
            why = "it was made from other inputs than versions.yaml, the sources and the lock name now"
            return Drift.DIFFERENT, standing.digest, why
        if self.reader.keys and (why := self._why_unsigned(tag, standing.digest)):
            return Drift.UNSIGNED, standing.digest, why
        return Drift.NONE, standing.digest, ""

    def _why_waiting(self, shared: SharedName, *, is_there: bool) -> str:
        """Say for which images a list has to wait; empty if for none."""
        if shared.refused:
            known = "it is there, and whether it is whole is not known here" if is_there else "it waits"
            return f"{known}: {'; '.join(shared.refused)}"
        if is_there:
            return ""
        missing = []
        for decision, names in shared.members:
            found = self.reader.standing(parse_pullspec(names.own[0]))
            if found is None or found.key != decision.key:
                missing.append(names.own[0])
        return f"it waits for {', '.join(missing)}" if missing else ""

    def _why_unsigned(self, tag: _Tag, digest: str) -> str:
        name = parse_pullspec(tag.name)
        if not self.reader.is_signed(name, digest):
            return "it has no signature of the key in versions.yaml for this name"
        referrers = self.reader.attachments.referrers(name.at(digest))
        lacking = [kind for kind in tag.predicates if not bundles_of(referrers, kind)]
        return f"it has no statement {', '.join(lacking)}" if lacking else ""

    def find_extra(self, known: set[str]) -> list[Audit]:
        """Return tags of the same repositories that nobody here knows."""
        found = []
        for repository in sorted({name.rpartition(":")[0] for name in known}):
            place = parse_pullspec(f"{repository}:latest")
            try:
                tags = self.reader.tags.list_tags(place)
            except SourceError as error:
                found.append(Audit(name=repository, cell="", drift=Drift.UNKNOWN, why=error.message))
                continue
            names = {f"{repository}:{tag}" for tag in tags} - known - self.journal.published.keys()
            found += [
                Audit(name=name, cell="", drift=Drift.EXTRA, why="no selected cell has this name")
                for name in sorted(names)
                if not name.rpartition(":")[2].startswith("sha256-")  # signatures and attestations of images
            ]
        return found
