"""The index of each driver: what its registry has, signed, for clusters that believe nothing else.

It says what there is and not what a run did: every published cell of the driver that is known, of all versions. What an
earlier index has stays in it, unless versions.yaml leaves it out or the registry says that it is gone; either is told.
docs/index.md is for users.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from builder.errors import FormatError, SourceError, UsageError
from builder.evidence.journal import make_run_id, time_stamp
from builder.evidence.records import PublishEvidence, boot_strength
from builder.host.locks import hold_project
from builder.kernel import parse_kernel_version
from builder.plan.decide import Reason
from builder.plan.matrix import Selector
from builder.plan.planning import NO_BOOTS, plan_project
from builder.publish.attachments import Attachments, OccupiedError
from builder.publish.attest.statements import BOOT_TEST, PROVENANCE_PREDICATE, SIGNATURE_TEST, TEST_PREDICATE
from builder.publish.attester import read_attached, read_bundled
from builder.publish.cells import name_cells
from builder.publish.index_document import INDEX_TAG, DriverIndex, IndexedCell
from builder.publish.index_place import IndexInTheWayError, IndexReader, IndexWriter
from builder.publish.published import find_published
from builder.publish.reading import RegistryReader
from builder.publish.result import LOCAL, PublishedCell, PublishResult, PublishStatus
from builder.pullspec import parse_pullspec
from builder.registry.access import open_registries
from builder.registry.tags import Tags
from builder.registry.writer import Uploader
from builder.signing.image_key import open_image_signer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from builder.config.model.driver import Driver
    from builder.kernel import KernelVersion
    from builder.plan.decide import Decision
    from builder.plan.project import Project
    from builder.publish.cells import Force
    from builder.publish.publishable import ImageNames
    from builder.pullspec import Pullspec
    from builder.sources.release import Release

_AT_ONCE = 16
_PUBLISHED = frozenset({PublishStatus.PUBLISHED, PublishStatus.THERE, PublishStatus.COMPLETED})
_MOST_TOLD = 20
_Key = tuple[str, str]
"""Version of a driver, and kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What versions.yaml says of a driver's cells: those that may be published, and those left out."""

    cells: Mapping[_Key, Sequence[tuple[Decision, ImageNames]]] = field(default_factory=dict)
    left_out: Mapping[_Key, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Found:
    """An image by digest, and the kernel that it is for."""

    image: Pullspec
    kernel: KernelVersion


def publish_indexes(project: Project, results: Sequence[PublishResult], force: Force) -> list[PublishResult]:
    """Bring the index of each driver up to date of which cells are published; tells why there is none where that is so.

    Args:
        project: its versions.yaml, lock and journal.
        results: how the publishing of its cells ended.
        force: which indexes may replace what is in their way, as ``DRIVER/index``.

    Raises:
        SignerError: the key that signs images cannot be used.
        BusyError: another run works in this project.
    """
    if project.config.publish.signer is None:
        why = "images are not signed, so there is no index: operators believe a signed one only; name a publish.signer"
        published = _with_cells(project, results, _PUBLISHED)
        return [replace(_begin(driver), status=PublishStatus.LEFT_OUT, why=why) for driver in published]
    drivers = _with_cells(project, results, _PUBLISHED | {PublishStatus.LEFT_OUT})
    if not drivers:
        return []
    registry = open_registries(project.config.registry, project.file.parent, project.cache_dir).registry
    with closing(registry), open_image_signer(project.config) as signer, hold_project(project.work_dir):
        if signer is None:  # nobody comes here
            return []
        tags = Tags(registry.transport)
        reader = RegistryReader(
            registry=registry, tags=tags, attachments=Attachments(registry, tags), keys=[signer.key]
        )
        uploader = Uploader(registry.transport)
        found = []
        for driver in drivers:
            writer = IndexWriter(registry, uploader, signer, driver.name, lambda: datetime.now(UTC))
            is_forced = bool(force.of(f"{driver.name}/{INDEX_TAG}"))
            found.append(_Publishing(project, reader, writer, driver).publish(is_forced=is_forced, reason=force.reason))
        return [result for result in found if result is not None]


def _with_cells(
    project: Project, results: Sequence[PublishResult], statuses: Collection[PublishStatus]
) -> list[Driver]:
    """Return the drivers that have a cell that ended so, and a name in a registry."""
    names = {result.title for result in results if result.status in statuses and result.kernel}
    return [
        driver
        for driver in project.config.drivers
        if not driver.image_name.startswith(LOCAL)
        if any(name.startswith(f"{driver.name}-{driver.version}/") for name in names)
    ]


def _begin(driver: Driver) -> PublishResult:
    name = f"{driver.image_name}:{INDEX_TAG}"
    return PublishResult(title=f"{driver.name}/{INDEX_TAG}", names=(name,), status=PublishStatus.THERE)


class _Publishing:
    """One driver's index in one run."""

    def __init__(self, project: Project, reader: RegistryReader, writer: IndexWriter, driver: Driver) -> None:
        self._project, self._reader, self._writer, self._driver = project, reader, writer, driver
        self._told: dict[str, None] = {}
        self._described: dict[Pullspec, IndexedCell | None] = {}
        self._claimed: dict[_Key, Pullspec] = {}

    def publish(self, *, is_forced: bool, reason: str) -> PublishResult | None:
        """Bring the index up to date; None where there is none, and nothing that would be in it."""
        result = _begin(self._driver)
        place = parse_pullspec(result.names[0])
        try:
            wanted = read_wanted(self._project, self._driver.name)
            found = self._find_cells(wanted)
            releases = dict(list_releases(self._project))
            if is_forced:
                self._claimed = self._read_claims(place)

            def extend(earlier: DriverIndex | None) -> DriverIndex:
                return self._extend(earlier, found, releases, wanted)

            written = self._writer.write(place, extend, force=is_forced)
            if written is None:
                return None
        except IndexInTheWayError as error:
            why = f"{error.message}; it may be somebody's, so nothing is written over it"
            return replace(result, status=PublishStatus.CONFLICT, digest=error.digest, why=why)
        except OccupiedError as error:
            return replace(result, status=PublishStatus.BLOCKED, why=error.message)
        except (SourceError, FormatError, UsageError) as error:
            hint = f" ({error.hint})" if error.hint else ""
            return replace(result, status=PublishStatus.UNKNOWN, why=f"{error.message}{hint}")
        own = str(place.at(written.index.tag))
        if written.is_new:
            self._record(result, own, written.digest, reason if is_forced else "")
        status = PublishStatus.PUBLISHED if written.is_new else PublishStatus.THERE
        shown = [*self._told][:_MOST_TOLD]
        why = "; ".join(shown) + (f"; and {len(self._told) - len(shown)} more" if len(self._told) > len(shown) else "")
        return replace(result, status=status, digest=written.digest, names=(*result.names, own), why=why)

    def _record(self, result: PublishResult, name: str, digest: str, reason: str) -> None:
        self._project.journal.record_publish(
            PublishEvidence(
                cell=result.title, key="", name=name, digest=digest, run=make_run_id(), finished=time_stamp(),
                reason=reason,
            )
        )  # fmt: skip

    def _find_cells(self, wanted: _Wanted) -> dict[_Key, _Found]:
        """Return the images of all cells that may be published: of each, the first group's that has one."""
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="index") as pool:
            found = pool.map(self._find_cell, wanted.cells.values())
            return {key: item for key, item in zip(wanted.cells, found, strict=True) if item is not None}

    def _find_cell(self, ways: Sequence[tuple[Decision, ImageNames]]) -> _Found | None:
        for decision, names in ways:
            published = find_published(self._reader, decision, names)
            if isinstance(published, PublishedCell):
                return _Found(parse_pullspec(names.own[0]).at(published.digest), decision.cell.kernel)
        return None

    def _describe(self, found: _Found) -> IndexedCell | None:
        """Return what is said of an image in signed statements; None, and that is told, where nothing is."""
        tests = read_stated(self._reader, found.image, TEST_PREDICATE)
        if tests is None:
            self._told[f"{found.image} has no signed statement of its tests, so it is not in the index"] = None
            return None
        proven, signers = read_proof(tests)
        return IndexedCell(image=str(found.image), arch=found.kernel.arch.oci, proven=proven, signed_by=signers)

    def _describe_new(self, found: Mapping[_Key, _Found], known: Mapping[_Key, IndexedCell]) -> dict[_Key, IndexedCell]:
        """Return the images that an index does not have yet; each is looked into once in a run."""
        new = {key: item for key, item in found.items() if key not in known or known[key].image != str(item.image)}
        asked = [item for item in new.values() if item.image not in self._described]
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="index") as pool:
            self._described |= dict(zip([item.image for item in asked], pool.map(self._describe, asked), strict=True))
        return {key: cell for key, item in new.items() if (cell := self._described[item.image]) is not None}

    def _find_recorded(self, wanted: _Wanted, known: Mapping[_Key, IndexedCell]) -> dict[_Key, _Found]:
        """Return what this project's journal knows of, and versions.yaml does not have any more: of other versions."""
        names = {name for ways in wanted.cells.values() for _, own in ways for name in own.all}
        listed = {cell.image.rpartition("@")[2] for cell in known.values()}
        title = f"{self._driver.name}-"
        places = [
            (parse_pullspec(name), evidence.digest)
            for name, evidence in sorted(self._project.journal.published.items())
            if evidence.cell.startswith(title) and "/" in evidence.cell and evidence.digest not in listed
            if name not in names and name.startswith(f"{self._driver.image_name}:")
        ]
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="index") as pool:
            found = pool.map(lambda item: self._find_named(*item), places)
            return {key: item for key, item in filter(None, found) if key not in wanted.cells}

    def _read_claims(self, place: Pullspec) -> dict[_Key, Pullspec]:
        """Return the images that the index in the way names in this repository; what the key signed proves each."""
        reader = IndexReader(self._reader.registry, self._reader.tags, self._reader.keys, self._driver.name)
        found = reader.read_claims(place)
        own = f"{place.host}/{place.repository}@"
        images = found.images.items() if found else ()
        return {key: parse_pullspec(cell.image) for key, cell in images if cell.image.startswith(own)}

    def _find_claimed(self, known: Mapping[_Key, object]) -> dict[_Key, _Found]:
        """Return which of the claimed images the key has signed as what they are claimed to be; of others, tell it."""
        asked = {key: image for key, image in self._claimed.items() if key not in known}
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="index") as pool:
            found = dict(zip(asked, pool.map(self._find_stated, asked.values()), strict=True))
        proved = {key: item[1] for key, item in found.items() if item is not None and item[0] == key}
        for version, kernel in sorted(asked.keys() - proved.keys()):
            why = "the key of publish.signer has not signed what its image is"
            self._told[f"{kernel} of version {version} leaves the index: {why}"] = None
        return proved

    def _find_named(self, place: Pullspec, digest: str) -> tuple[_Key, _Found] | None:
        """Return the cell that an image is of; None where the name is another's now."""
        if self._reader.tags.resolve(place) != digest or not self._reader.is_signed(place, digest):
            return None
        return self._find_stated(place.at(digest))

    def _find_stated(self, image: Pullspec) -> tuple[_Key, _Found] | None:
        """Return the cell that an image's provenance says it is of, as the key signed it."""
        try:
            stated = read_stated(self._reader, image, PROVENANCE_PREDICATE) or {}
        except OccupiedError:
            return None
        definition = stated.get("buildDefinition")
        said = definition.get("externalParameters") if isinstance(definition, dict) else None
        if not isinstance(said, dict) or said.get("driver") != self._driver.name:
            return None
        kernel, version = said.get("kernel"), said.get("version")
        if not isinstance(kernel, str) or not isinstance(version, str):
            return None
        return (version, kernel), _Found(image, parse_kernel_version(kernel))

    def _extend(
        self,
        earlier: DriverIndex | None,
        found: Mapping[_Key, _Found],
        releases: Mapping[str, tuple[str, ...]],
        wanted: _Wanted,
    ) -> DriverIndex:
        images = dict(earlier.images) if earlier else {}
        other = self._find_recorded(wanted, images)
        other |= self._find_claimed({**images, **other, **found})
        images |= self._describe_new(other | dict(found), images)
        for key, why in self._find_leaving(images, found, wanted).items():
            if earlier and key in earlier.images:
                self._told[f"{key[1]} of version {key[0]} leaves the index: {why}"] = None
            del images[key]
        known = dict(earlier.releases) if earlier else {}
        for release in sorted(set(list_doubtful(self._project)) & known.keys()):
            self._told[f"release {release} leaves the index: which kernels it runs is not known any more"] = None
            del known[release]
        now = datetime.now(UTC)
        return DriverIndex(driver=self._driver.name, made=now, images=images, releases=known | dict(releases))

    def _find_leaving(
        self, images: Mapping[_Key, IndexedCell], found: Mapping[_Key, _Found], wanted: _Wanted
    ) -> dict[_Key, str]:
        """Return which images do not stay, and why: nobody wants them, or they are gone."""
        leaving = {key: why for key, why in wanted.left_out.items() if key in images}
        unseen = [key for key in images if key not in found and key not in leaving]
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="index") as pool:
            there = pool.map(lambda key: self._reader.tags.resolve(parse_pullspec(images[key].image)), unseen)
            gone = [key for key, digest in zip(unseen, there, strict=True) if digest is None]
        return leaving | dict.fromkeys(gone, "the registry says that it does not have its image any more")


def read_wanted(project: Project, driver: str) -> _Wanted:
    """Return the cells of a driver in all groups; of one that several have, those whose tags end with nothing first.

    Raises:
        UsageError: two cells of a group would share a tag.
    """
    cells: dict[_Key, list[tuple[Decision, ImageNames]]] = {}
    left_out: dict[_Key, str] = {}
    kept: set[_Key] = set()
    for group in sorted(project.config.groups, key=lambda name: (project.config.groups[name].tag_suffix, name)):
        selector = Selector(group=group, drivers=(driver,))
        names = name_cells(project, selector)
        for decision in plan_project(project, selector, boot=NO_BOOTS).plan.decisions:
            key = (decision.cell.driver_version, decision.cell.kernel.raw)
            if decision.is_left_out_for_good or decision.reason is Reason.KNOWN_BAD:
                left_out[key] = decision.explanation
                continue
            kept.add(key)
            if decision.key:
                cells.setdefault(key, []).append((decision, names[decision.cell.id]))
    return _Wanted(cells=cells, left_out={key: why for key, why in left_out.items() if key not in kept})


def _known_releases(project: Project) -> Iterator[Release]:
    sources = {group.source for group in project.config.groups.values()}
    for name in sorted(sources & project.lock.sources.keys()):
        yield from project.lock.sources[name].list_releases()


def list_releases(project: Project) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield releases, as ``version-arch``, with all kernels that their nodes run.

    One of which not all is known is none of them: an operator takes for safe what it finds here.
    """
    for release in _known_releases(project):
        if _is_whole(release):
            kernels = {kernel.raw for stream in release.streams for kernel in stream.runs}
            yield f"{release.version}-{release.arch}", tuple(sorted(kernels))


def list_doubtful(project: Project) -> Iterator[str]:
    """Yield the releases of which it is not known which kernels their nodes run."""
    for release in _known_releases(project):
        if not _is_whole(release):
            yield f"{release.version}-{release.arch}"


def _is_whole(release: Release) -> bool:
    return bool(release.streams) and all(stream.runs for stream in release.streams) and not release.disputed


def read_stated(reader: RegistryReader, image: Pullspec, kind: str) -> Mapping[str, Any] | None:
    """Return what the key states about an image, of a kind; None where it states nothing.

    Raises:
        SourceError: refused, or no answer.
    """
    attachments = reader.attachments
    bundled = read_bundled(attachments, image, attachments.referrers(image), reader.keys).get(kind)
    if bundled:
        return bundled[0].statement.predicate
    signed = read_attached(attachments, image, attachments.attestations(image), kind, reader.keys).signed
    return signed[0].statement.predicate if signed else None


def read_proof(tests: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return what signed tests proved, as an index has it, and who signed the modules."""
    said = dict(_annotations(tests.get("configuration")))
    boot = said.get(BOOT_TEST)
    proven = boot_strength(boot.get("mode"), boot.get("signedBy")) if boot is not None else "fit"
    signers = said.get(SIGNATURE_TEST, {}).get("signers")
    return proven, tuple(item for item in signers if isinstance(item, str)) if isinstance(signers, list) else ()


def _annotations(configuration: object) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for item in configuration if isinstance(configuration, list) else []:
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            notes = item.get("annotations")
            yield item["name"], notes if isinstance(notes, dict) else {}
