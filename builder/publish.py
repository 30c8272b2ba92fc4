"""Stage publish: an image out of the container store into its registry, by digest, verified there, its tags last.

A final tag is written once (design, rule 8). What a registry does not answer is unknown: then nothing is written. A
publish that is killed leaves blobs without a name, which the next one finds and uses.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import CellError, FailureClass, FormatError, SourceError
from builder.evidence import PublishEvidence
from builder.image_files import export_image
from builder.once import Once
from builder.pullspec import Pullspec, parse_pullspec
from builder.sources.payload import parse_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.evidence import Journal
    from builder.plan import Decision
    from builder.registry import Registry
    from builder.upload import Uploader

KEY_LABEL = "io.kmodsmith.cell.key"


class PublishStatus(StrEnum):
    PUBLISHED = "published"
    """Its tags were written now."""
    THERE = "there"
    """All its tags stood for it already."""
    CONFLICT = "conflict"
    """A tag stands for another image, and final tags are never moved."""
    UNKNOWN = "unknown"
    """The registry refused or gave no answer; nothing was tagged."""
    NOT_BUILT = "not-built"
    """It is not built, proven and booted here as it should be."""
    LOCAL = "local"
    """Its name is that of no registry."""
    LEFT_OUT = "left-out"
    """versions.yaml or the driver leaves it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """How the publishing of a cell ended; ``why`` is a sentence where it is not published."""

    cell: str
    kernel: str
    names: tuple[str, ...]
    status: PublishStatus
    digest: str = ""
    why: str = ""
    bytes_sent: int = 0
    blobs_sent: int = 0

    @property
    def is_failure(self) -> bool:
        return self.status in {PublishStatus.CONFLICT, PublishStatus.UNKNOWN, PublishStatus.NOT_BUILT}


def _conflict(message: str) -> CellError:
    """Final tags are written once (design, rule 8)."""
    return CellError(FailureClass.PUBLISH, "tag-conflict", message)


class Publisher:
    """Publishes cells of one run; safe to use from several threads."""

    def __init__(self, registry: Registry, uploader: Uploader, journal: Journal, *, scratch: Path, run_id: str) -> None:
        self._registry = registry
        self._uploader = uploader
        self._journal = journal
        self._scratch = scratch
        self._run_id = run_id
        self._once = Once()

    def publish(self, decision: Decision, names: Sequence[str], digest: str, *, force: str = "") -> PublishResult:
        """Publish an image of the store under its names.

        Args:
            decision: the cell; its image must be up to date.
            names: full names with tags; the same repository or several.
            digest: of the image in the store.
            force: why tags that stand for other images are to be moved; empty: they are not.
        """
        result = PublishResult(
            cell=decision.cell.id, kernel=decision.cell.kernel.raw, names=tuple(names),
            status=PublishStatus.THERE, digest=digest,
        )  # fmt: skip
        try:
            return self._publish(decision, result, force)
        except CellError as error:
            return replace(result, status=PublishStatus.CONFLICT, why=error.message)
        except (SourceError, FormatError) as error:
            hint = f" ({error.hint})" if error.hint else ""
            return replace(result, status=PublishStatus.UNKNOWN, why=f"{error.message}{hint}")

    def _publish(self, decision: Decision, result: PublishResult, force: str) -> PublishResult:
        pullspecs = [parse_pullspec(name) for name in result.names]
        standing = {name: self._uploader.resolve(name) for name in pullspecs}
        others = {name: found for name, found in standing.items() if found not in {None, result.digest}}
        for name, found in others.items():
            if not force and not self._has_key(name.at(str(found)), decision.key):
                raise _conflict(
                    f"{name} stands for {found}, and this image is {result.digest}: final tags are never moved; give "
                    "the driver a new version, or say --force with a reason"
                )
        if not force and all(standing.values()):
            found = standing[pullspecs[0]] or ""
            if found not in {entry.digest for entry in self._journal.published.values()}:
                self._record(decision, result, str(pullspecs[0]), found)
            return replace(result, digest=found)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="publish-") as folder:
            image = _read_export(decision.key_image, Path(folder, "image"))
            if image.digest != result.digest:
                raise FormatError(f"{decision.key_image} is {image.digest} in the store, not {result.digest}")
            for repository in dict.fromkeys(name.at(image.digest) for name in pullspecs):
                result = self._upload(repository, image, result)
        for name in pullspecs:
            if standing[name] is None or (force and name in others):
                self._tag(name, image, replaced=bool(force))
                self._record(decision, result, str(name), image.digest, replaced=others.get(name) or "", reason=force)
        return replace(result, status=PublishStatus.PUBLISHED)

    def _has_key(self, name: Pullspec, key: str) -> bool:
        """Tell whether an image of the registry was made from the same inputs; then it is as good."""
        manifest = self._registry.manifest(name)
        if manifest.config is None:
            return False
        labels, _ = parse_labels(self._registry.blob(name, manifest.config))
        return labels.get(KEY_LABEL) == key

    def _upload(self, name: Pullspec, image: _Export, result: PublishResult) -> PublishResult:
        """Bring blobs and manifest into a repository, and look whether they are there."""
        sent = blobs = 0
        for digest in image.blobs:
            file = image.folder / digest.removeprefix("sha256:")
            place = (name.host, name.repository, digest)
            if self._once.get(place, partial(self._uploader.send_blob, name, digest, file)):
                sent, blobs = sent + file.stat().st_size, blobs + 1
        self._uploader.send_manifest(name, image.manifest, image.media_type)
        if self._uploader.resolve(name) != image.digest:
            raise SourceError(f"{name}: the registry took the manifest, and does not have it")
        for digest in image.blobs:
            if not self._uploader.has_blob(name, digest):
                self._once.forget((name.host, name.repository, digest))
                raise SourceError(f"{name}: the registry took blob {digest}, and does not have it")
        return replace(result, bytes_sent=result.bytes_sent + sent, blobs_sent=result.blobs_sent + blobs)

    def _tag(self, name: Pullspec, image: _Export, *, replaced: bool) -> None:
        """Give the image a final name, unless somebody else did in the meantime."""
        standing = self._uploader.resolve(name)
        if standing not in {None, image.digest} and not replaced:
            raise _conflict(f"{name} was given to {standing} a moment ago, and this image is {image.digest}")
        self._uploader.send_manifest(name, image.manifest, image.media_type)
        if (now := self._uploader.resolve(name)) != image.digest:
            raise SourceError(f"{name} stands for {now} after it was written")

    def _record(
        self, decision: Decision, result: PublishResult, name: str, digest: str, *, replaced: str = "", reason: str = ""
    ) -> None:
        self._journal.record_publish(
            PublishEvidence(
                cell=decision.cell.id, key=decision.key, name=name, digest=digest, run=self._run_id,
                finished=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", bytes_sent=result.bytes_sent,
                replaced=replaced, reason=reason,
            )
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Export:
    """An image of the store as it will be in a registry: manifest, and blobs as files named by digest."""

    folder: Path
    manifest: bytes
    media_type: str
    blobs: tuple[str, ...]

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"


def _read_export(image: str, folder: Path) -> _Export:
    """Export an image without packing its layers, so that its digest is the same in the store and in every registry."""
    export_image(image, folder)
    manifest = (folder / "manifest.json").read_bytes()
    try:
        data: dict[str, Any] = json.loads(manifest)
        blobs = [data["config"]["digest"], *(layer["digest"] for layer in data["layers"])]
        media_type = str(data.get("mediaType") or "application/vnd.oci.image.manifest.v1+json")
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{image}: what buildah exported has no manifest: {error!r}") from None
    return _Export(folder, manifest, media_type, tuple(dict.fromkeys(blobs)))
