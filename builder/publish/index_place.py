"""Where a driver's index is in a registry: one artefact for each that was made, and the tag that moves to the newest.

``index-TIME`` is written once; ``index`` is the one tag that moves, and only forward. They are written in this order,
and read again: of two runs at once, the one that looks last sees what both wrote, and unites them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.errors import FormatError, SourceError, SourceUnreachableError
from builder.host.run import check_stop
from builder.image.manifests import EMPTY
from builder.publish.attachments import WRONG
from builder.publish.index_document import (
    INDEX_MEDIA_TYPE,
    INDEX_TAG,
    DriverIndex,
    find_envelope,
    make_manifest,
    open_index,
    read_claims,
    sign_index,
    time_of_tag,
    unite,
)
from builder.registry.manifest import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from builder.pullspec import Pullspec
    from builder.registry.reader import Registry
    from builder.registry.tags import Tags
    from builder.registry.writer import Uploader
    from builder.signing.image_key import OpenImageSigner
    from builder.signing.public_key import PublicKey

_log = logging.getLogger(__name__)
_TRIES = 8
_MOST_OTHERS = 16
_AHEAD = timedelta(days=1)
_SECOND = timedelta(seconds=1)
# Five times in the 35 days after which the alert KmodIndexOld (emit/monitoring) calls people.
_RENEWED_AFTER = timedelta(days=7)


class IndexInTheWayError(FormatError):
    """The tag stands for something that is not written over; ``digest`` is what."""

    def __init__(self, message: str, digest: str) -> None:
        super().__init__(message)
        self.digest = digest


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedIndex:
    """An index that was verified, and what its tag stands for: digest and manifest, and the signed bytes."""

    index: DriverIndex
    digest: str
    manifest: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenIndex:
    """What a driver's index is in the end; ``is_new``: something was written."""

    index: DriverIndex
    digest: str
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What there is: what ``index`` stands for, whatever it is; its index; others that it may not have in it."""

    digest: str
    tagged: TaggedIndex | None
    others: tuple[TaggedIndex, ...]
    problem: str = ""


class IndexReader:
    """Reads the indexes of a driver; ``place`` is its repository with any tag."""

    def __init__(self, registry: Registry, tags: Tags, keys: Sequence[PublicKey], driver: str) -> None:
        self._registry, self._tags, self._keys, self._driver = registry, tags, keys, driver

    def read(self, name: Pullspec) -> TaggedIndex | None:
        """Return the index that a tag stands for; None only if the registry says that there is no such tag.

        Raises:
            SourceError: refused, or no answer.
            IndexInTheWayError: what is there is no index of this driver that one of the keys signed.
        """
        manifest = self._tags.read_manifest(name)
        if manifest is None:
            return None
        digest = sha256_of(manifest)
        try:
            entry = find_envelope(manifest)
            envelope = self._registry.blob(name, Descriptor(entry.digest, entry.size))
            index = open_index(envelope, self._keys)
        except WRONG as error:
            raise IndexInTheWayError(f"{name} stands for {digest}: {error.message}", digest) from None
        if index.driver != self._driver:
            why = f"{name} stands for {digest}: it is the index of driver {index.driver}, and not of {self._driver}"
            raise IndexInTheWayError(why, digest)
        return TaggedIndex(index=index, digest=digest, manifest=manifest, envelope=envelope)

    def read_claims(self, name: Pullspec) -> DriverIndex | None:
        """Return what an index says that nobody verified; None where there is none. Raises SourceError: no answer."""
        manifest = self._tags.read_manifest(name)
        if manifest is None:
            return None
        try:
            entry = find_envelope(manifest)
            found = read_claims(self._registry.blob(name, Descriptor(entry.digest, entry.size)))
        except WRONG:
            return None
        return found if found.driver == self._driver else None

    def list_own(self, place: Pullspec) -> dict[str, datetime]:
        """Return the tags that stand for one index each, and when it was made."""
        tags = self._tags.list_tags(place)
        return {tag: made for tag in tags if (made := time_of_tag(tag)) is not None}


class IndexWriter:
    """Writes the index of a driver.

    Args:
        registry: reads.
        uploader: writes.
        signer: whose index it is.
        driver: whose.
        now: time of day.
    """

    def __init__(
        self, registry: Registry, uploader: Uploader, signer: OpenImageSigner, driver: str, now: Callable[[], datetime]
    ) -> None:
        self._registry, self._uploader, self._signer, self._now = registry, uploader, signer, now
        self._reader = IndexReader(registry, uploader.tags, [signer.key], driver)
        self._driver = driver
        self._seen: set[str] = set()

    def write(
        self, place: Pullspec, extend: Callable[[DriverIndex | None], DriverIndex], *, force: bool = False
    ) -> WrittenIndex | None:
        """Bring the index to what ``extend`` makes of the one that is there; nothing is written where it says the same.

        It is made anew when it is a week old, whatever it says: a registry that gives old ones would else be like a
        vendor who has nothing new. None: there is no index, and no image that would be in one.

        Args:
            place: the driver's repository with any tag.
            extend: gets what is known, returns what should be; called again when others wrote meanwhile.
            force: what is in the way of the tag ``index`` is replaced.

        Raises:
            SourceError: refused, or no answer: what was written stays, and the next run goes on with it.
            IndexInTheWayError: the tag stands for something that is not written over.
            SignerError: the key does not sign.
        """
        name = place.at(INDEX_TAG)
        is_new = False
        for attempt in range(_TRIES):
            standing = self._look(name)
            if standing.problem and not force:
                raise IndexInTheWayError(standing.problem, standing.digest)
            known = [*([standing.tagged] if standing.tagged else []), *standing.others]
            earlier = unite(item.index for item in known)
            wanted = extend(earlier)
            if earlier is None and not wanted.images:
                return None
            newest = max(known, key=lambda item: item.index.made, default=None)
            if newest is None or not self._will_do(newest.index, wanted):
                newest = self._make(name, wanted, earlier)
                is_new = True
            if standing.digest != newest.digest:
                if not self._move(name, newest, standing.digest):
                    self._registry.transport.pause(attempt)
                    continue
                is_new = True
            if self._is_settled(name, newest, is_new=is_new):
                return WrittenIndex(index=newest.index, digest=newest.digest, is_new=is_new)
        raise SourceUnreachableError(f"{name}: others write it all the time", hint="publish again when they are done")

    def _look(self, name: Pullspec) -> _Standing:
        content_problem, digest, tagged = "", "", None
        try:
            tagged = self._reader.read(name)
            digest = tagged.digest if tagged else ""
        except IndexInTheWayError as error:
            digest, content_problem = error.digest, error.message
        if tagged and self._is_ahead(tagged.index):
            content_problem = (
                f"{name} was made on {tagged.index.made:%Y-%m-%d %H:%M} UTC, which is more than a day from now, and no "
                "operator believes it: the clock of who made it was wrong, or that of this machine is"
            )
        since = tagged.index.made if tagged else None
        return _Standing(
            digest=digest, tagged=tagged, others=tuple(self._read_others(name, since)), problem=content_problem
        )

    def _read_others(self, name: Pullspec, since: datetime | None) -> list[TaggedIndex]:
        """Return indexes that are newer than the one of the tag, or came while this run was at work.

        The first are left by a run that was killed before it moved the tag, or their tag was moved back; the second are
        those of a run beside this one. What the key did not sign is passed over, and so is an index under a later tag
        than its own: anybody who may write can leave them.
        """
        found = []
        own = self._reader.list_own(name)
        new = own.keys() - self._seen if self._seen else set()
        latest = self._now() + _AHEAD
        meant = [tag for tag, made in own.items() if (since is None or made > since or tag in new) and made <= latest]
        self._seen |= own.keys()
        for tag in sorted(meant, reverse=True)[:_MOST_OTHERS]:
            try:
                item = self._reader.read(name.at(tag))
            except IndexInTheWayError as error:
                _log.debug("%s is passed over: %s", tag, error.message)
                continue
            if item is not None and item.index.tag == tag and not self._is_ahead(item.index):
                found.append(item)
        return found

    def _is_settled(self, name: Pullspec, item: TaggedIndex, *, is_new: bool) -> bool:
        """Tell whether nobody wrote beside this run: both tags are ours still, and it saw all indexes that are there.

        Who writes does so before it looks here, so of two runs at once one sees the other at least.
        """
        tags = self._uploader.tags
        if is_new and not all(tags.resolve(name.at(tag)) == item.digest for tag in (INDEX_TAG, item.index.tag)):
            self._seen.discard(item.index.tag)
            return False
        return not self._reader.list_own(name).keys() - self._seen

    def _is_ahead(self, index: DriverIndex) -> bool:
        return index.made - self._now() > _AHEAD

    def _will_do(self, index: DriverIndex, wanted: DriverIndex) -> bool:
        """Tell whether an index says what is wanted, at a time that is believed, and is not so old that people ask."""
        is_fresh = self._now() - index.made <= _RENEWED_AFTER
        return index.says_what(wanted) and is_fresh and not self._is_ahead(index)

    def _make(self, name: Pullspec, wanted: DriverIndex, earlier: DriverIndex | None) -> TaggedIndex:
        """Write an index under a tag of its own, which nobody has yet; a later second is its time, if need be."""
        made = self._now().replace(microsecond=0)
        if earlier is not None and not self._is_ahead(earlier):
            made = max(made, earlier.made + _SECOND)
        for _ in range(_TRIES):
            index = replace(wanted, made=made)
            own = name.at(index.tag)
            self._seen.add(index.tag)
            if self._uploader.tags.resolve(own) is None:
                item = self._send(own, index)
                check_stop()
                self._uploader.send_manifest(own, item.manifest, INDEX_MEDIA_TYPE)
                if self._uploader.tags.resolve(own) == item.digest:
                    return item
            self._seen.discard(index.tag)
            made += _SECOND
        raise SourceUnreachableError(
            f"{name}: others write an index every second", hint="publish again when they are done"
        )

    def _send(self, own: Pullspec, index: DriverIndex) -> TaggedIndex:
        """Bring the blobs and, by its digest, the manifest of an index into the repository."""
        envelope = sign_index(index, self._signer.sign)
        manifest = make_manifest(index, envelope)
        digest = sha256_of(manifest)
        for content in (EMPTY, envelope):
            self._uploader.send_content(own, content)
            self._registry.remember(content)
        self._uploader.send_manifest(own.at(digest), manifest, INDEX_MEDIA_TYPE)
        return TaggedIndex(index=index, digest=digest, manifest=manifest, envelope=envelope)

    def _move(self, name: Pullspec, item: TaggedIndex, before: str) -> bool:
        """Move the tag, unless somebody else did meanwhile; returns whether it stands for the index now."""
        check_stop()
        if (self._uploader.tags.resolve(name) or "") != before:
            return False
        is_taken = True
        try:
            self._uploader.send_manifest(name, item.manifest, INDEX_MEDIA_TYPE, once=True)
        except SourceUnreachableError as error:  # it may have been written all the same
            _log.debug("%s: no answer to moving it: %s", name, error.message)
            is_taken = False
        now = self._uploader.tags.resolve(name)
        if now is None and is_taken:
            raise SourceError(f"{name}: the registry took the manifest, and does not have it")
        return now == item.digest
