"""Verb audit: what registries have, compared with what was published."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from builder.errors import FormatError, SourceError
from builder.host.progress import no_progress
from builder.plan.planning import NO_BOOTS, plan_project
from builder.publish.attachments import OccupiedError
from builder.publish.attest.attached import attached_kinds
from builder.publish.attester import bundles_of
from builder.publish.cells import find_lists, make_publishable, name_cells
from builder.publish.index_document import INDEX_TAG, is_index_tag
from builder.publish.index_place import IndexInTheWayError, IndexReader
from builder.publish.publishable import Publishable, PublishableList
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from builder.evidence.journal import Journal
    from builder.host.progress import Progress
    from builder.plan.matrix import Cell, Selector
    from builder.plan.project import Project
    from builder.publish.index_document import DriverIndex
    from builder.publish.reading import RegistryReader

_AUDITS_AT_ONCE = 16


class TagState(StrEnum):
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
    drift: TagState
    recorded: str = ""
    found: str = ""
    why: str = ""
    is_known: bool = False
    """It waits for nothing but what versions.yaml acknowledges."""

    @property
    def is_drift(self) -> bool:
        """Whether it is not as it should be, and nobody acknowledged that."""
        return self.drift is not TagState.NONE and not self.is_known


def audit_project(project: Project, selector: Selector, *, progress: Progress = no_progress) -> list[Audit]:
    """Compare every tag that the selected cells should have with what their registries have; changes nothing.

    What this project's journal recorded is compared by digest; what another machine published, by the cell's key that
    the image carries. Where versions.yaml names a signer, each tag's signature is verified; that its attestations are
    there is looked at, and ``verify`` looks into them.
    """
    planned = plan_project(project, selector, boot=NO_BOOTS)
    wanted = [item for item in planned.plan.decisions if item.key]
    names = name_cells(project, selector)
    items = [make_publishable(project, decision, names[decision.cell.id]) for decision in wanted]
    lists = find_lists(project, selector, NO_BOOTS, names, wanted)
    tags = [tag for tag in list_tags(items, lists) if not tag.name.startswith(LOCAL)]
    with open_reader(project) as reader:
        auditor = Auditor(journal=project.journal, reader=reader)
        found = []
        with ThreadPoolExecutor(max_workers=_AUDITS_AT_ONCE, thread_name_prefix="audit") as pool:
            for number, audit in enumerate(pool.map(auditor.audit, tags), start=1):
                found.append(audit)
                progress(number, len(tags))
        right = {item.cell: item.found for item in found if item.cell and item.drift is TagState.NONE}
        cells = {item.cell: right[item.cell.id] for item in wanted if item.cell.id in right}
        indexes = [
            auditor.audit_index(driver.name, f"{driver.image_name}:{INDEX_TAG}", own)
            for driver in (project.config.drivers if reader.keys else ())
            if (own := {cell: digest for cell, digest in cells.items() if cell.driver == driver.name})
        ]
        return [*found, *indexes, *auditor.find_extra({tag.name for tag in tags})]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTag:
    """A tag that should be there, and the image or list that it should stand for."""

    name: str
    of: Publishable | PublishableList


def list_tags(items: Iterable[Publishable], lists: Iterable[PublishableList]) -> list[WantedTag]:
    return [
        *(WantedTag(name=name, of=item) for item in items for name in item.names.own),
        *(WantedTag(name=item.name, of=item) for item in lists),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Compares tags with what registries have."""

    journal: Journal
    reader: RegistryReader

    def audit(self, tag: WantedTag) -> Audit:
        recorded = self.journal.published.get(tag.name)
        cell = tag.of.title if isinstance(tag.of, Publishable) else ""
        audit = Audit(name=tag.name, cell=cell, drift=TagState.NONE, recorded=recorded.digest if recorded else "")
        try:
            drift, found, why = self._compare(tag, audit.recorded)
        except (SourceError, FormatError) as error:
            return replace(audit, drift=TagState.UNKNOWN, why=error.message)
        is_known = drift is TagState.WAITING and isinstance(tag.of, PublishableList) and tag.of.is_known_to_wait
        return replace(audit, drift=drift, found=found, why=why, is_known=is_known)

    def audit_index(self, driver: str, name: str, cells: Mapping[Cell, str]) -> Audit:
        """Look whether a driver's index has the images of cells, by digest."""
        audit = Audit(name=name, cell=f"{driver}/{INDEX_TAG}", drift=TagState.NONE)
        place = parse_pullspec(name)
        try:
            found = IndexReader(self.reader.registry, self.reader.tags, self.reader.keys, driver).read(place)
        except IndexInTheWayError as error:
            return replace(audit, drift=TagState.UNSIGNED, found=error.digest, why=error.message)
        except (SourceError, FormatError) as error:
            return replace(audit, drift=TagState.UNKNOWN, why=error.message)
        if found is None:
            return replace(audit, drift=TagState.MISSING, why="operators find no index: 'nox -s publish' writes it")
        audit = replace(audit, found=found.digest)
        lacking = [cell for cell, digest in cells.items() if not _has(found.index, cell, digest)]
        if lacking:
            why = (
                f"{len(lacking)} of {len(cells)} published cells are not in it, such as {lacking[0].id}: "
                "'nox -s publish' adds them"
            )
            return replace(audit, drift=TagState.DIFFERENT, why=why)
        return audit

    def _compare(self, tag: WantedTag, recorded: str) -> tuple[TagState, str, str]:
        """Return what is wrong with a tag, the digest that it stands for, and a sentence."""
        there = self.reader.read_tag(parse_pullspec(tag.name))
        is_list = isinstance(tag.of, PublishableList)
        waits = self._why_waiting(tag.of, is_there=there is not None) if isinstance(tag.of, PublishableList) else ""
        if waits and (there is None or there.digest != recorded):
            return TagState.WAITING, there.digest if there else "", waits
        if there is None:
            return TagState.MISSING, "", "it was published" if recorded else "it was never published from here"
        if recorded and there.digest != recorded:
            return TagState.DIFFERENT, there.digest, "it was published with another digest"
        if there.is_list != is_list:
            return (
                TagState.DIFFERENT,
                there.digest,
                f"it stands for {'a list of images' if there.is_list else 'one image'}",
            )
        if there.key != tag.of.key and tag.of.key:
            why = "it was made from other inputs than versions.yaml, the sources and the lock name now"
            return TagState.DIFFERENT, there.digest, why
        if self.reader.keys and (why := self._why_unsigned(tag, there.digest)):
            return TagState.UNSIGNED, there.digest, why
        return TagState.NONE, there.digest, ""

    def _why_waiting(self, wanted: PublishableList, *, is_there: bool) -> str:
        """Say for which images a list has to wait; empty if for none."""
        if wanted.refused:
            known = "it is there, and whether it is whole is not known here" if is_there else "it waits"
            return f"{known}: {'; '.join(wanted.refused)}"
        if is_there:
            return ""
        missing = []
        for member in wanted.members:
            own = member.names.own[0]
            found = self.reader.read_tag(parse_pullspec(own))
            if found is None or found.key != member.key:
                missing.append(own)
        return f"it waits for {', '.join(missing)}" if missing else ""

    def _why_unsigned(self, tag: WantedTag, digest: str) -> str:
        try:
            return self._why_not_stated(tag, digest)
        except OccupiedError as error:  # an answer: no engine finds there what it looks for
            return error.message

    def _why_not_stated(self, tag: WantedTag, digest: str) -> str:
        name = parse_pullspec(tag.name)
        if not self.reader.is_signed(name, digest):
            return "it has no signature of the key in versions.yaml for this name"
        referrers = self.reader.attachments.referrers(name.at(digest))
        lacking = [kind for kind in tag.of.predicates if not bundles_of(referrers, kind)]
        if lacking:
            return f"it has no statement {', '.join(lacking)}"
        wanted = attached_kinds(tag.of.predicates)
        there = {item.kind for item in self.reader.attachments.attestations(name.at(digest))} if wanted else set()
        lacking = [kind for kind in wanted if kind not in there]
        return f"policy controllers find no statement {', '.join(lacking)}: 'nox -s publish' adds it" if lacking else ""

    def find_extra(self, known: set[str]) -> list[Audit]:
        """Return tags of the same repositories that nobody here knows."""
        found = []
        for repository in sorted({name.rpartition(":")[0] for name in known}):
            place = parse_pullspec(f"{repository}:latest")
            try:
                tags = self.reader.tags.list_tags(place)
            except SourceError as error:
                found.append(Audit(name=repository, cell="", drift=TagState.UNKNOWN, why=error.message))
                continue
            names = {f"{repository}:{tag}" for tag in tags} - known - self.journal.published.keys()
            found += [
                Audit(name=name, cell="", drift=TagState.EXTRA, why="no selected cell has this name")
                for name in sorted(names)
                if not name.rpartition(":")[2].startswith("sha256-")  # signatures and attestations of images
                if not (self.reader.keys and is_index_tag(name.rpartition(":")[2]))
            ]
        return found


def _has(index: DriverIndex, cell: Cell, digest: str) -> bool:
    """Tell whether an index has a cell's image; of several groups', it has one."""
    there = index.images.get((cell.driver_version, cell.kernel.raw))
    return there is not None and (bool(cell.suffix) or there.image.endswith(f"@{digest}"))
