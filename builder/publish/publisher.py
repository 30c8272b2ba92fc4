"""Stage publish: an image out of the container store into its registry: by digest, verified there, signed, tags last.

A final tag is written once (design, rule 8). What a registry does not answer is unknown: then nothing is written. A
publish that is killed leaves blobs without a name, which the next one finds and uses.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.digest import sha256_of
from builder.errors import CellError, FailureClass, FormatError, SourceError
from builder.evidence.records import PublishEvidence
from builder.foreign import read_json
from builder.host.once import Once
from builder.host.run import check_stop
from builder.image.contents import export_image
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST, make_descriptor, make_index
from builder.publish.attest.bundle import SIGNATURE_PREDICATE, make_statement
from builder.publish.attest.statements import CELL_PREDICATES, make_statements
from builder.publish.reading import Standing, read_standing
from builder.publish.result import CellNames, PublishResult, PublishStatus, SharedName
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from builder.evidence.journal import Journal
    from builder.plan.decide import Decision
    from builder.publish.attest.facts import CellFacts
    from builder.publish.signatory import Signatory
    from builder.pullspec import Pullspec
    from builder.registry.reader import Registry
    from builder.registry.writer import Uploader


def _conflict(message: str) -> CellError:
    """Final tags are written once (design, rule 8)."""
    return CellError(FailureClass.PUBLISH, "tag-conflict", message)


def _unsigned(message: str) -> CellError:
    return CellError(FailureClass.PUBLISH, "unsigned", message)


class Publisher:
    """Publishes cells of one run; safe to use from several threads.

    Args:
        registry: reads.
        uploader: writes.
        journal: records what was published.
        signatory: signs; None where images are published unsigned.
        scratch: folder for exports.
        run_id: of this run.
    """

    def __init__(
        self,
        registry: Registry,
        uploader: Uploader,
        journal: Journal,
        *,
        signatory: Signatory | None,
        scratch: Path,
        run_id: str,
    ) -> None:
        self._registry = registry
        self._uploader = uploader
        self._journal = journal
        self._signatory = signatory
        self._scratch = scratch
        self._run_id = run_id
        self._once = Once()

    def publish(
        self, decision: Decision, names: CellNames, digest: str, facts: Callable[[], CellFacts], *, force: str = ""
    ) -> PublishResult:
        """Publish an image of the store under its own names, signed for all its names.

        Args:
            decision: the cell; its image must be up to date.
            names: full names with tags.
            digest: of the image in the store.
            facts: gives what is attested of it; called if need be.
            force: why tags that stand for other images are to be moved; empty: they are not.
        """
        result = PublishResult(
            cell=decision.cell.id, kernel=decision.cell.kernel.raw, names=names.own,
            status=PublishStatus.THERE, digest=digest,
        )  # fmt: skip
        return _tell(result, lambda: self._publish(decision, result, names, facts, force))

    def find(self, decision: Decision, names: CellNames, why: str) -> PublishResult:
        """Look whether a cell that is not built here was published by another machine, from the same inputs."""
        result = PublishResult(
            cell=decision.cell.id, kernel=decision.cell.kernel.raw, names=names.own,
            status=PublishStatus.NOT_BUILT, why=why,
        )  # fmt: skip

        def look() -> PublishResult:
            try:
                found = [self._standing(parse_pullspec(name)) for name in names.own]
            except (SourceError, FormatError) as error:
                return replace(result, why=f"{why}; whether another machine published it is not known: {error.message}")
            if not all(item and item.key == decision.key and not item.is_list for item in found) or not found[0]:
                return result
            self._require_signatures(decision, names, found[0].digest)
            return replace(result, status=PublishStatus.THERE, digest=found[0].digest, why="")

        return _tell(result, look)

    def publish_shared(self, shared: SharedName, *, force: str = "") -> PublishResult:
        """Publish a list of images under the name that they share; each must be published under its own before."""
        first = shared.members[0][0].cell
        result = PublishResult(
            cell=f"{first.driver}-{first.driver_version}", kernel="", names=(shared.name,), status=PublishStatus.THERE
        )
        return _tell(result, lambda: self._publish_shared(shared, result, force))

    def _publish(
        self,
        decision: Decision,
        result: PublishResult,
        names: CellNames,
        facts: Callable[[], CellFacts],
        force: str,
    ) -> PublishResult:
        pullspecs = [parse_pullspec(name) for name in names.own]
        standing = {name: self._standing(name) for name in pullspecs}
        others = {
            name: found for name, found in standing.items() if found is not None and found.digest != result.digest
        }
        for name, found in others.items():
            if not force and found.key != decision.key:
                raise _conflict(
                    f"{name} stands for {found.digest}, and this image is {result.digest}: final tags are never moved; "
                    "give the driver a new version, or say --force with a reason"
                )
        if others and not force:
            return self._adopt(decision, names, result, standing)
        first = standing[pullspecs[0]]
        if not force and first is not None and all(standing.values()):
            attached = self._attest(names, result.digest, first.content, facts)
            if not self._journal.is_published(result.digest):
                self._record(result, decision.key, str(pullspecs[0]), result.digest)
            status = PublishStatus.COMPLETED if attached else PublishStatus.THERE
            return replace(result, status=status, attached=attached)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="publish-") as folder:
            image = _read_export(decision.key_image, Path(folder, "image"))
            if image.digest != result.digest:
                raise FormatError(f"{decision.key_image} is {image.digest} in the store, not {result.digest}")
            result = self._upload(names.image(image.digest), image, result)
        attached = self._attest(names, image.digest, image.manifest, facts)
        for name in pullspecs:
            if standing[name] is None or (force and name in others):
                self._tag(name, image.manifest, image.media_type, replaced=bool(force))
                replaced = others[name].digest if name in others else ""
                self._record(result, decision.key, str(name), image.digest, replaced=replaced, reason=force)
        return replace(result, status=PublishStatus.PUBLISHED, attached=attached)

    def _adopt(
        self,
        decision: Decision,
        names: CellNames,
        result: PublishResult,
        standing: Mapping[Pullspec, Standing | None],
    ) -> PublishResult:
        """Take another machine's image of the same inputs for ours; names that it does not have yet get it, too."""
        found = [item for item in standing.values() if item is not None]
        if len({item.digest for item in found}) > 1:
            digests = ", ".join(sorted({item.digest for item in found}))
            raise _conflict(f"the names of {decision.cell.id} stand for different images: {digests}")
        image = found[0]
        if image.is_list:
            raise _conflict(f"the names of {decision.cell.id} stand for a list of images, {image.digest}")
        self._require_signatures(decision, names, image.digest)
        result = replace(result, digest=image.digest)
        missing = [name for name, item in standing.items() if item is None]
        for name in missing:
            self._tag(name, image.content, image.media_type, replaced=False)
            self._record(result, decision.key, str(name), image.digest)
        return replace(result, status=PublishStatus.PUBLISHED if missing else PublishStatus.THERE)

    def _publish_shared(self, shared: SharedName, result: PublishResult, force: str) -> PublishResult:
        place = parse_pullspec(shared.name)
        missing = list(shared.refused)
        entries = []
        for decision, names in shared.members:
            entry = self._describe_member(decision, names) if decision.key else ""
            if isinstance(entry, str):
                missing += [entry] if entry else []
            else:
                entries.append(entry)
        if missing:
            why = f"it waits for all of its images, because lists are final, too: {'; '.join(missing)}"
            return replace(result, status=PublishStatus.WAITING, why=why)
        entries.sort(key=lambda entry: str(entry["platform"]["architecture"]))
        index = make_index(entries, {KEY_LABEL: shared.key})
        digest = sha256_of(index)
        result = replace(result, digest=digest)
        standing = self._standing(place)
        if standing is not None and standing.digest != digest and not force:
            raise _conflict(f"{place} stands for {standing.digest}, and this list of images is {digest}")
        self._uploader.send_manifest(place.at(digest), index, OCI_INDEX)
        attached = self._attest_list(place.at(digest), shared.name, index)
        if standing is not None and standing.digest == digest:
            status = PublishStatus.COMPLETED if attached else PublishStatus.THERE
            return replace(result, status=status, attached=attached)
        self._tag(place, index, OCI_INDEX, replaced=bool(force))
        replaced = standing.digest if standing else ""
        self._record(result, shared.key, shared.name, digest, replaced=replaced, reason=force)
        return replace(result, status=PublishStatus.PUBLISHED, attached=attached)

    def _standing(self, name: Pullspec) -> Standing | None:
        return read_standing(self._registry, self._uploader.tags, name)

    def _attest(self, names: CellNames, digest: str, manifest: bytes, facts: Callable[[], CellFacts]) -> int:
        """Sign an image for all its names, and attach its statements."""
        if self._signatory is None:
            return 0

        def make() -> tuple[Mapping[str, object], Mapping[str, bytes], str]:
            known = facts()
            subject = make_descriptor(_media_type(manifest), digest, len(manifest))
            return subject, make_statements(known), known.evidence.finished

        return self._signatory.complete(names.image(digest), names.all, CELL_PREDICATES, make)

    def _attest_list(self, image: Pullspec, identity: str, index: bytes) -> int:
        if self._signatory is None:
            return 0

        def make() -> tuple[Mapping[str, object], Mapping[str, bytes], str]:
            subject = make_descriptor(OCI_INDEX, image.reference, len(index))
            repository = f"{image.host}/{image.repository}"
            statement = make_statement(repository, image.reference, SIGNATURE_PREDICATE, {})
            return subject, {SIGNATURE_PREDICATE: statement}, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

        return self._signatory.complete(image, [identity], [SIGNATURE_PREDICATE], make)

    def _require_signatures(self, decision: Decision, names: CellNames, digest: str) -> None:
        """Check that an image which another machine made is signed: its proof is not known here."""
        if self._signatory is None:
            return
        image = names.image(digest)
        if missing := self._signatory.missing(image, names.all, CELL_PREDICATES):
            raise _unsigned(
                f"{image} was made from the inputs of {decision.cell.id} by another machine, and lacks "
                f"{', '.join(missing)}: publish on that machine, or move the tag with --force"
            )

    def _describe_member(self, decision: Decision, names: CellNames) -> dict[str, Any] | str:
        """Return the entry of an image in a list, or why the list has to wait for it.

        It is checked as an image that is adopted: whoever may write a tag must not get our signature by it.
        """
        own = names.own[0]
        found = self._standing(parse_pullspec(own))
        if found is None or found.key != decision.key:
            return f"{own} is {'not published' if found is None else 'of other inputs'} yet"
        if found.is_list:
            raise _conflict(f"{own} stands for a list of images, and an image is wanted there")
        recorded = self._journal.published.get(own)
        is_other = recorded is not None and recorded.key == decision.key and recorded.digest != found.digest
        if recorded is not None and is_other and self._signatory is None:
            raise _conflict(f"{own} was published as {recorded.digest}, and stands for {found.digest} now")
        self._require_signatures(decision, names, found.digest)
        platform = {"os": "linux", "architecture": decision.cell.kernel.arch.oci}
        return make_descriptor(found.media_type, found.digest, len(found.content)) | {"platform": platform}

    def _upload(self, name: Pullspec, image: _Export, result: PublishResult) -> PublishResult:
        """Bring blobs and manifest into a repository, and look whether they are there."""
        sent = blobs = 0
        for digest in image.blobs:
            file = image.folder / digest.removeprefix("sha256:")
            place = (name.host, name.repository, digest)
            if self._once.get(place, partial(self._uploader.send_blob, name, digest, file)):
                sent, blobs = sent + file.stat().st_size, blobs + 1
        self._uploader.send_manifest(name, image.manifest, image.media_type)
        if self._uploader.tags.resolve(name) != image.digest:
            raise SourceError(f"{name}: the registry took the manifest, and does not have it")
        for digest in image.blobs:
            if not self._uploader.tags.has_blob(name, digest):
                self._once.forget((name.host, name.repository, digest))
                raise SourceError(f"{name}: the registry took blob {digest}, and does not have it")
        return replace(result, bytes_sent=result.bytes_sent + sent, blobs_sent=result.blobs_sent + blobs)

    def _tag(self, name: Pullspec, manifest: bytes, media_type: str, *, replaced: bool) -> None:
        """Give an image a final name, unless somebody else did in the meantime, or the run was interrupted."""
        check_stop()
        digest = sha256_of(manifest)
        standing = self._uploader.tags.resolve(name)
        if standing not in {None, digest} and not replaced:
            raise _conflict(f"{name} was given to {standing} a moment ago, and this image is {digest}")
        self._uploader.send_manifest(name, manifest, media_type)
        if (now := self._uploader.tags.resolve(name)) != digest:
            raise SourceError(f"{name} stands for {now} after it was written")

    def _record(
        self, result: PublishResult, key: str, name: str, digest: str, *, replaced: str = "", reason: str = ""
    ) -> None:
        self._journal.record_publish(
            PublishEvidence(
                cell=result.cell, key=key, name=name, digest=digest, run=self._run_id,
                finished=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", bytes_sent=result.bytes_sent,
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
    except (SourceError, FormatError) as error:
        hint = f" ({error.hint})" if error.hint else ""
        return replace(result, status=PublishStatus.UNKNOWN, why=f"{error.message}{hint}")


def _media_type(manifest: bytes) -> str:
    return str(read_json(manifest, "the manifest").get("mediaType") or OCI_MANIFEST)


@dataclass(frozen=True, slots=True)
class _Export:
    """An image of the store as it will be in a registry: manifest, and blobs as files named by digest."""

    folder: Path
    manifest: bytes
    media_type: str
    blobs: tuple[str, ...]

    @property
    def digest(self) -> str:
        return sha256_of(self.manifest)


def _read_export(image: str, folder: Path) -> _Export:
    """Export an image without packing its layers, so that its digest is the same in the store and in every registry."""
    export_image(image, folder)
    manifest = (folder / "manifest.json").read_bytes()
    try:
        data = read_json(manifest, "it")
        blobs = [data["config"]["digest"], *(layer["digest"] for layer in data["layers"])]
        media_type = _media_type(manifest)
    except (KeyError, TypeError, FormatError) as error:
        raise FormatError(f"{image}: what buildah exported has no manifest: {error!r}") from None
    return _Export(folder, manifest, media_type, tuple(dict.fromkeys(blobs)))
