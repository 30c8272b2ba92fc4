"""The index of a driver as a document: which image of which version is for which kernel, and what releases run.

docs/index.md has the form. What runs in clusters reads it by itself: ``operator/kmod_operator/index/``. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from builder.errors import FormatError
from builder.foreign import Parsed, parse_data, read_json
from builder.image.manifests import OCI_MANIFEST, dump, make_artifact, parse_artifact
from builder.publish.attest.bundle import open_payload, read_envelope, sign_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from builder.image.manifests import Entry
    from builder.signing.public_key import PublicKey

INDEX_TYPE = "application/vnd.kmodsmith.index.v1+json"
INDEX_MEDIA_TYPE = OCI_MANIFEST
INDEX_TAG = "index"
LARGEST_INDEX = 4 * 1024**2
_FORMAT = 1
_CREATED = "org.opencontainers.image.created"
_TITLE = "org.opencontainers.image.title"
_MOST_IMAGES, _MOST_RELEASES, _MOST_KERNELS = 20_000, 10_000, 64
_MADE = "%Y-%m-%dT%H:%M:%SZ"
_OF_TAG = "%Y%m%dT%H%M%SZ"
_TAG = re.compile(r"index-(\d{8}T\d{6}Z)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedCell:
    """An image of a driver for a kernel.

    Attributes:
        image: full name by digest.
        arch: OCI spelling.
        proven: fit (its modules fit the kernel), or what its boot test proved: one of ``BOOT_STRENGTHS``.
        signed_by: SHA-256 fingerprints of the certificates that signed its modules.
    """

    image: str
    arch: str
    proven: str = ""
    signed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverIndex:
    """What is published of a driver: images by version and kernel; kernels by release; when that was so (UTC)."""

    driver: str
    made: datetime
    images: Mapping[tuple[str, str], IndexedCell] = field(default_factory=dict)
    releases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def says_what(self, other: DriverIndex) -> bool:
        """Tell whether another one says the same, whenever it was made."""
        return (self.driver, self.images, self.releases) == (other.driver, other.images, other.releases)

    @property
    def tag(self) -> str:
        """The tag that stands for it alone."""
        return f"{INDEX_TAG}-{self.made:{_OF_TAG}}"


def time_of_tag(tag: str) -> datetime | None:
    """Return when the index was made that has a tag of its own; None for other tags."""
    if match := _TAG.fullmatch(tag):
        try:
            return datetime.strptime(match[1], _OF_TAG).replace(tzinfo=UTC)
        except ValueError:
            return None
    return None


def is_index_tag(tag: str) -> bool:
    return tag == INDEX_TAG or time_of_tag(tag) is not None


def unite(indexes: Iterable[DriverIndex]) -> DriverIndex | None:
    """Return what several indexes of a driver say together; of two images for a kernel, the newer index's."""
    ordered = sorted(indexes, key=lambda item: item.made)
    if not ordered:
        return None
    images: dict[tuple[str, str], IndexedCell] = {}
    releases: dict[str, tuple[str, ...]] = {}
    for item in ordered:
        images |= item.images
        releases |= item.releases
    return DriverIndex(driver=ordered[-1].driver, made=ordered[-1].made, images=images, releases=releases)


def sign_index(index: DriverIndex, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the signed bytes of an index; equal indexes have equal payloads.

    Raises:
        FormatError: it says more than is ever read.
    """
    _check_bounds(index)
    images: dict[str, dict[str, object]] = {}
    for (version, kernel), cell in index.images.items():
        said = {"image": cell.image, "arch": cell.arch, "proven": cell.proven, "signedBy": list(cell.signed_by)}
        images.setdefault(version, {})[kernel] = said
    payload = {
        "format": _FORMAT,
        "driver": index.driver,
        "made": f"{index.made:{_MADE}}",
        "images": images,
        "releases": {release: list(kernels) for release, kernels in index.releases.items()},
    }
    content = dump(payload)
    envelope = sign_envelope(content, sign, kind=INDEX_TYPE)
    if len(envelope) > LARGEST_INDEX:
        raise FormatError(f"the index of {index.driver} would have {len(envelope)} bytes, more than {LARGEST_INDEX}")
    try:
        read_payload(content)
    except FormatError as error:
        raise FormatError(f"the index of {index.driver} would be one that nobody reads: {error.message}") from None
    return envelope


def _check_bounds(index: DriverIndex) -> None:
    most = max((len(kernels) for kernels in index.releases.values()), default=0)
    for number, limit, what in (
        (len(index.images), _MOST_IMAGES, "images"),
        (len(index.releases), _MOST_RELEASES, "releases"),
        (most, _MOST_KERNELS, "kernels of one release"),
    ):
        if number > limit:
            raise FormatError(
                f"the index of {index.driver} would have {number} {what}, and no operator reads more than {limit}"
            )


def make_manifest(index: DriverIndex, envelope: bytes) -> bytes:
    """Return the manifest of the artefact that holds a signed index."""
    annotations = {_CREATED: f"{index.made:{_MADE}}", _TITLE: f"{index.driver}-index.json"}
    return make_artifact(INDEX_TYPE, envelope, subject=None, annotations=annotations)


def is_manifest_of_index(manifest: bytes) -> bool:
    try:
        return parse_artifact(manifest).kind == INDEX_TYPE
    except FormatError:
        return False


def find_envelope(manifest: bytes) -> Entry:
    """Return where the signed bytes are of the index that a manifest is of.

    Raises:
        FormatError: it is of none.
    """
    artifact = parse_artifact(manifest)
    if artifact.kind != INDEX_TYPE or len(artifact.layers) != 1:
        raise FormatError(f"it is no index, but of the type {artifact.kind!r}"[:200])
    layer = artifact.layers[0]
    if layer.size > LARGEST_INDEX:
        raise FormatError(f"its index claims {layer.size} bytes, more than the {LARGEST_INDEX} that one may have")
    return layer


def read_made(manifest: bytes) -> datetime:
    """Return when an index was made, as its manifest says, which nobody signed.

    Raises:
        FormatError: it is of none, or does not say it.
    """
    find_envelope(manifest)
    said = parse_artifact(manifest).annotations.get(_CREATED, "")
    try:
        return datetime.strptime(said, _MADE).replace(tzinfo=UTC)
    except ValueError:
        raise FormatError(f"it does not say when it was made: {said[:40]!r}") from None


_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+~-]{0,127}$")]


class _Cell(Parsed):
    image: Annotated[str, Field(pattern=r"^[a-zA-Z0-9\[][^\s@]{1,400}@sha256:[0-9a-f]{64}$")]
    arch: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
    proven: Annotated[str, Field(pattern=r"^[a-z0-9_-]{0,32}$")] = ""
    signed_by: Annotated[tuple[str, ...], Field(max_length=16)] = Field(default=(), alias="signedBy")


class _Document(Parsed):
    format: Literal[1]
    driver: _Name
    made: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    images: Annotated[dict[_Name, dict[_Name, _Cell]], Field(max_length=1000)]
    releases: dict[_Name, Annotated[tuple[_Name, ...], Field(max_length=_MOST_KERNELS)]]


def open_index(envelope: bytes, keys: Sequence[PublicKey]) -> DriverIndex:
    """Return the index that signed bytes hold.

    Raises:
        FormatError: they hold none, or none of the keys signed it.
    """
    return read_payload(open_payload(envelope, INDEX_TYPE, keys))


def read_claims(envelope: bytes) -> DriverIndex:
    """Return what an envelope says, whoever signed it: each word of it is to be proved by other means.

    Raises:
        FormatError: it holds no index.
    """
    return read_payload(read_envelope(envelope, INDEX_TYPE))


def read_payload(payload: bytes) -> DriverIndex:
    """Return what was signed as an index. Errors are those of ``open_index``."""
    try:
        data = read_json(payload, "it", largest=LARGEST_INDEX, names_once=True)
        said = parse_data(_Document, data, "index of a driver")
        made = datetime.strptime(said.made, _MADE).replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError(f"it is no index of a driver: {error}"[:300]) from None
    cells = {
        (version, kernel): IndexedCell(image=cell.image, arch=cell.arch, proven=cell.proven, signed_by=cell.signed_by)
        for version, kernels in said.images.items()
        for kernel, cell in kernels.items()
    }
    return DriverIndex(driver=said.driver, made=made, images=cells, releases=said.releases)
