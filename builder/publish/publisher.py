"""Stage publish: an image out of the container store into its registry: by digest, verified there, signed, tags last.

A final tag is written once (design, rule 8). What a registry does not answer is unknown: then nothing is written. A
publish that is killed leaves blobs without a name, which the next one finds and uses.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.digest import sha256_of
from builder.errors import CellError, FailureClass, FormatError, SourceError
from builder.evidence.journal import time_stamp
from builder.evidence.records import PublishEvidence
from builder.host.once import Once
from builder.host.run import check_stop
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_INDEX, make_descriptor, make_index
from builder.publish.attachments import OccupiedError
from builder.publish.attest.bundle import SIGNATURE_PREDICATE, make_statement
from builder.publish.equality import find_difference
from builder.publish.export import export_stored
from builder.publish.publishable import Statements
from builder.publish.reading import TaggedImage, read_tag
from builder.publish.result import PublishResult, PublishStatus
from builder.pullspec import parse_pullspec
from builder.registry.manifest import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from builder.evidence.journal import Journal
    from builder.publish.attester import Attester
    from builder.publish.export import ExportedImage
    from builder.publish.publishable import Publishable, PublishableList
    from builder.pullspec import Pullspec
    from builder.registry.reader import Registry
    from builder.registry.writer import Uploader

_LARGEST_KEPT = 16 * 1024**3


def _conflict(message: str) -> CellError:
    """Final tags are written once (design, rule 8)."""
    return CellError(FailureClass.PUBLISH, "tag-conflict", message)


def _unsigned(message: str) -> CellError:
    return CellError(FailureClass.PUBLISH, "unsigned", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishTools:
    """What one run publishes with.

    Args:
        registry: reads.
        uploader: writes.
        journal: records what was published.
        attester: signs; None where images are published unsigned.
        scratch: folder for exports.
        run_id: of this run.
    """

    registry: Registry
    uploader: Uploader
    journal: Journal
    attester: Attester | None
    scratch: Path
    run_id: str


def _say_of_base(error: SourceError, digest: str) -> SourceError:
    """Return the same, saying what was asked for and why."""
    return type(error)(f"layer {digest} of the base image cannot be had: {error.message}", hint=error.hint)


class Publisher:
    """Publishes images and lists of them in one run; safe to use from several threads."""

    def __init__(self, tools: PublishTools) -> None:
        self._tools = tools
        self._once = Once()

    def publish(self, item: Publishable, *, force: str = "") -> PublishResult:
        """Publish an image under its own names, signed for all its names; look for one that is not here.

        Args:
            item: the image.
            force: why tags that stand for other images are to be moved; empty: they are not.
        """
        status = PublishStatus.THERE if item.digest else PublishStatus.NOT_BUILT
        result = PublishResult(title=item.title, names=item.names.own, status=status, digest=item.digest, why=item.why)
        return _tell(result, lambda: self._publish(item, result, force) if item.digest else self._find(item, result))

    def publish_list(self, wanted: PublishableList, *, force: str = "") -> PublishResult:
        """Publish a list of images under the name that they share; each must be published under its own before."""
        result = PublishResult(title=wanted.title, names=(wanted.name,), status=PublishStatus.THERE)
        return _tell(result, lambda: self._publish_list(wanted, result, force))

    def _find(self, item: Publishable, result: PublishResult) -> PublishResult:
        """Look whether another machine published an image that is not here, from the same inputs."""
        try:
            found = [self._read_tag(parse_pullspec(name)) for name in item.names.own]
        except (SourceError, FormatError) as error:
            why = f"{item.why}; whether another machine published it is not known: {error.message}"
            return replace(result, why=why)
        if not all(image and image.key == item.key and not image.is_list for image in found) or not found[0]:
            return result
        attached = self._require_signatures(item, found[0])
        status = PublishStatus.COMPLETED if attached else PublishStatus.THERE
        return replace(result, status=status, digest=found[0].digest, attached=attached, why="")

    def _publish(self, item: Publishable, result: PublishResult, force: str) -> PublishResult:
        there = {name: self._read_tag(name) for name in map(parse_pullspec, item.names.own)}
        others = {name: found for name, found in there.items() if found is not None and found.digest != item.digest}
        for name, found in others.items():
            if not force and found.key != item.key:
                raise _conflict(
                    f"{name} stands for {found.digest}, which was made of other inputs, and this image is "
                    f"{item.digest}: final tags are never moved; give it a new version"
                )
        if others and not force:
            return self._adopt(item, result, there)
        images = [found for found in there.values() if found is not None]
        if not force and len(images) == len(there):
            return self._complete(item, result, images[0].content)
        with self._export(item) as exported:
            image = exported.packed
            result = self._upload(item, exported, result)
        attached = self._attest(item, image.manifest)
        for name, tagged in there.items():
            if tagged is None or (force and name in others):
                self._tag(name, image.manifest, image.media_type, replaced=bool(force))
                replaced = others[name].digest if name in others else ""
                self._record(result, item.key, str(name), image.digest, replaced=replaced, reason=force)
        return replace(result, status=PublishStatus.PUBLISHED, attached=attached)

    @contextmanager
    def _export(self, item: Publishable) -> Iterator[ExportedImage]:
        """Give an image out of the store, in a folder that is removed then."""
        with tempfile.TemporaryDirectory(dir=self._tools.scratch, prefix="publish-") as folder:
            exported = export_stored(item.stored_as, Path(folder, "image"), item.packing)
            if (digest := exported.packed.digest) != item.digest:
                raise FormatError(f"{item.stored_as} is {digest} in the store, not {item.digest}")
            yield exported

    def _complete(self, item: Publishable, result: PublishResult, manifest: bytes) -> PublishResult:
        """Add what an image lacks whose names all stand for it already."""
        attached = self._attest(item, manifest)
        if not self._tools.journal.is_published(item.digest):
            self._record(result, item.key, item.names.own[0], item.digest)
        return replace(result, status=PublishStatus.COMPLETED if attached else PublishStatus.THERE, attached=attached)

    def _adopt(
        self, item: Publishable, result: PublishResult, there: Mapping[Pullspec, TaggedImage | None]
    ) -> PublishResult:
        """Take another machine's image of the same inputs for ours; names that it does not have yet get it, too."""
        found = [image for image in there.values() if image is not None]
        if len({image.digest for image in found}) > 1:
            digests = ", ".join(sorted({image.digest for image in found}))
            raise _conflict(f"the names of {item.title} stand for different images: {digests}")
        image = found[0]
        if image.is_list:
            raise _conflict(f"the names of {item.title} stand for a list of images, {image.digest}")
        attached = self._require_signatures(item, image)
        result = replace(result, digest=image.digest, attached=attached)
        missing = [name for name, tagged in there.items() if tagged is None]
        for name in missing:
            self._tag(name, image.content, image.media_type, replaced=False)
            self._record(result, item.key, str(name), image.digest)
        if missing:
            return replace(result, status=PublishStatus.PUBLISHED)
        return replace(result, status=PublishStatus.COMPLETED if attached else PublishStatus.THERE)

    def _publish_list(self, wanted: PublishableList, result: PublishResult, force: str) -> PublishResult:
        entries, missing = self._describe_members(wanted)
        if missing:
            why = f"it waits for all of its images, because lists are final, too: {'; '.join(missing)}"
            is_known = wanted.is_known_to_wait and len(missing) == len(wanted.refused)
            return replace(result, status=PublishStatus.WAITING, why=why, is_known=is_known)
        place = parse_pullspec(wanted.name)
        index = make_index(entries, {KEY_LABEL: wanted.key})
        digest = sha256_of(index)
        result = replace(result, digest=digest)
        there = self._read_tag(place)
        if there is not None and there.digest != digest and not force:
            why = f"{place} stands for {there.digest}, and this list of images is {digest}"
            return replace(result, status=PublishStatus.CONFLICT, why=why)
        self._tools.uploader.send_manifest(place.at(digest), index, OCI_INDEX)
        attached = self._attest_list(wanted, place.at(digest), index)
        if there is not None and there.digest == digest:
            status = PublishStatus.COMPLETED if attached else PublishStatus.THERE
            return replace(result, status=status, attached=attached)
        self._tag(place, index, OCI_INDEX, replaced=bool(force))
        replaced = there.digest if there else ""
        self._record(result, wanted.key, wanted.name, digest, replaced=replaced, reason=force)
        return replace(result, status=PublishStatus.PUBLISHED, attached=attached)

    def _describe_members(self, wanted: PublishableList) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the entries of a list by architecture, and for whom it has to wait."""
        missing = list(wanted.refused)
        entries = []
        for member in wanted.members:
            entry = self._describe_member(member) if member.key else ""
            if isinstance(entry, str):
                missing += [entry] if entry else []
            else:
                entries.append(entry)
        return sorted(entries, key=lambda entry: str(entry["platform"]["architecture"])), missing

    def _describe_member(self, item: Publishable) -> dict[str, Any] | str:
        """Return the entry of an image in a list, or why the list has to wait for it.

        It is checked as an image that is adopted: whoever may write a tag must not get our signature by it.
        """
        own = item.names.own[0]
        found = self._read_tag(parse_pullspec(own))
        if found is None or found.key != item.key:
            return f"{own} is {'not published' if found is None else 'of other inputs'} yet"
        if found.is_list:
            raise _conflict(f"{own} stands for a list of images, and an image is wanted there")
        recorded = self._tools.journal.published.get(own)
        is_other = recorded is not None and recorded.key == item.key and recorded.digest != found.digest
        if recorded is not None and is_other and self._tools.attester is None:
            raise _conflict(f"{own} was published as {recorded.digest}, and stands for {found.digest} now")
        self._require_signatures(item, found)
        platform = {"os": "linux", "architecture": item.arch}
        return make_descriptor(found.media_type, found.digest, len(found.content)) | {"platform": platform}

    def _read_tag(self, name: Pullspec) -> TaggedImage | None:
        return read_tag(self._tools.registry, self._tools.uploader.tags, name)

    def _attest(self, item: Publishable, manifest: bytes) -> int:
        """Sign an image for all its names, and attach its statements."""
        if self._tools.attester is None:
            return 0
        image = item.names.image(sha256_of(manifest))
        state = partial(item.state, image.reference)
        return self._tools.attester.complete(image, manifest, item.names.all, item.predicates, state)

    def _attest_list(self, wanted: PublishableList, image: Pullspec, index: bytes) -> int:
        if self._tools.attester is None:
            return 0

        def state() -> Statements:
            repository = f"{image.host}/{image.repository}"
            statement = make_statement(repository, image.reference, SIGNATURE_PREDICATE, {})
            return Statements(by_kind={SIGNATURE_PREDICATE: statement}, made=time_stamp())

        return self._tools.attester.complete(image, index, [wanted.name], wanted.predicates, state)

    def _require_signatures(self, item: Publishable, found: TaggedImage) -> int:
        """Have an image that another machine made signed; returns how many signatures and statements it got.

        Its proof is not known here, so it must have them, if only in one form; or hold the very files of the image
        that is here: then what is known of the one is true of the other.
        """
        attester = self._tools.attester
        if attester is None:
            return 0
        image = item.names.image(found.digest)
        lack = attester.find_lack(image, item.names.all, item.predicates)
        if lack.unproven and (why := self._find_difference(item, image)):
            lacks = f"lacks {', '.join(lack.unproven)}"
            raise _unsigned(f"{image} was made from the inputs of {item.title} by another machine, and {lacks}; {why}")
        return attester.add(image, found.content, lack, partial(item.state, found.digest))

    def _find_difference(self, item: Publishable, image: Pullspec) -> str:
        """Say why an image cannot be taken for the one that is here, and what to do; empty where it can."""
        if not item.digest:
            return "there is none here that it could equal: publish on that machine, or build it here and publish again"
        with self._export(item) as exported:
            why = find_difference(self._tools.registry, image, exported)
        return f"{why}, so what is known here is not known of it: publish on that machine" if why else ""

    def _upload(self, item: Publishable, exported: ExportedImage, result: PublishResult) -> PublishResult:
        """Bring blobs and manifest into a repository, and look whether they are there."""
        uploader, image = self._tools.uploader, exported.packed
        name = item.names.image(image.digest)
        sent = blobs = 0
        for digest in image.blobs:
            bring = partial(self._bring, name, digest, exported, item.base)
            if size := self._once.get((name.host, name.repository, digest), bring):
                sent, blobs = sent + size, blobs + 1
        uploader.send_manifest(name, image.manifest, image.media_type)
        if uploader.tags.resolve(name) != image.digest:
            raise SourceError(f"{name}: the registry took the manifest, and does not have it")
        for digest in image.blobs:
            if not uploader.tags.has_blob(name, digest):
                self._once.forget((name.host, name.repository, digest))
                raise SourceError(f"{name}: the registry took blob {digest}, and does not have it")
        return replace(result, bytes_sent=result.bytes_sent + sent, blobs_sent=result.blobs_sent + blobs)

    def _bring(self, name: Pullspec, digest: str, exported: ExportedImage, base: str) -> int:
        """Have a repository have a blob; returns how many bytes were sent for it."""
        uploader = self._tools.uploader
        if uploader.tags.has_blob(name, digest):
            return 0
        size = exported.packed.kept.get(digest)
        if size is None:
            file = exported.file(digest)
        elif uploader.mount_blob(name, digest, origin := parse_pullspec(base)):
            return 0
        else:
            file = exported.folder / f"{digest.removeprefix('sha256:')}.kept"
            try:
                self._tools.registry.save_blob(origin, Descriptor(digest, size), file, largest=_LARGEST_KEPT)
            except SourceError as error:
                raise _say_of_base(error, digest) from None
        uploader.upload_blob(name, digest, file)
        return file.stat().st_size

    def _tag(self, name: Pullspec, manifest: bytes, media_type: str, *, replaced: bool) -> None:
        """Give an image a final name, unless somebody else did in the meantime, or the run was interrupted."""
        check_stop()
        digest = sha256_of(manifest)
        there = self._tools.uploader.tags.resolve(name)
        if there not in {None, digest} and not replaced:
            raise _conflict(f"{name} was given to {there} a moment ago, and this image is {digest}")
        self._tools.uploader.send_manifest(name, manifest, media_type)
        if (now := self._tools.uploader.tags.resolve(name)) != digest:
            raise SourceError(f"{name} stands for {now} after it was written")

    def _record(
        self, result: PublishResult, key: str, name: str, digest: str, *, replaced: str = "", reason: str = ""
    ) -> None:
        self._tools.journal.record_publish(
            PublishEvidence(
                cell=result.title, key=key, name=name, digest=digest, run=self._tools.run_id,
                finished=time_stamp(), bytes_sent=result.bytes_sent,
                replaced=replaced, reason=reason,
            )
        )  # fmt: skip


def _tell(result: PublishResult, work: Callable[[], PublishResult]) -> PublishResult:
    """Return what came of work; its errors become the result's own."""
    try:
        return work()
    except CellError as error:
        status = PublishStatus.UNSIGNED if error.failure.code == "unsigned" else PublishStatus.CONFLICT
        return replace(result, status=status, why=error.message)
    except OccupiedError as error:
        return replace(result, status=PublishStatus.BLOCKED, why=error.message)
    except (SourceError, FormatError) as error:
        hint = f" ({error.hint})" if error.hint else ""
        return replace(result, status=PublishStatus.UNKNOWN, why=f"{error.message}{hint}")
