"""An operator's bundle (registry+v1) as preflight loads it: out of an image, or a folder that is not built yet."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builder.config.yamlfile import parse_documents
from builder.errors import ConfigError, FormatError, UsageError
from builder.host.places import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from builder.image.contents import ImageContents

MANIFESTS, METADATA = "manifests", "metadata"
ANNOTATIONS = f"{METADATA}/annotations.yaml"
MEDIATYPE_LABEL = "operators.operatorframework.io.bundle.mediatype.v1"
"""A label that only images of bundles have."""
_LARGEST = 4 * 1024**2
_MOST_FILES = 1000


@dataclass(frozen=True, kw_only=True)
class BundleFiles:
    """A bundle's files by path, and what is in them.

    ``objects`` are the first document of each file of ``manifests/``; ``problems`` say why the bundle cannot be loaded
    at all, and ``unread`` what cannot be read here, and perhaps by preflight.
    """

    files: Mapping[str, bytes]
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def packed_size(self) -> int:
        """Bytes of all files, each packed by gzip and written as base64, as Operator Lifecycle Manager keeps them."""
        return sum(len(base64.b64encode(gzip.compress(content, mtime=0))) for content in self.files.values())


def is_bundle(image: ImageContents) -> bool:
    return MEDIATYPE_LABEL in image.labels


def read_bundle_of(image: ImageContents) -> BundleFiles:
    """Return the bundle that an image holds."""
    files: dict[str, bytes] = {}
    problems, unread = [], []
    for place in sorted(image.files):
        if not place.startswith((f"{MANIFESTS}/", f"{METADATA}/")) or image.files[place].is_folder:
            continue
        file = image.find(place)
        if place.startswith(f"{MANIFESTS}/") and place.count("/") > 1:
            problems.append(f"{place} lies in a folder of {MANIFESTS}/, which may hold none")
        elif file is None or not file.is_file:
            unread.append(f"{place} is no regular file")
        elif file.content is None:
            unread.append(f"{place} is larger than is read here, or a link out of its folder")
        elif place.startswith(f"{MANIFESTS}/") or place == ANNOTATIONS:
            files[place] = file.content
    return make_bundle(files, problems, unread)


def read_bundle_folder(folder: Path) -> BundleFiles:
    """Return the bundle in a folder, such as ``deploy/operator/bundle``.

    Raises:
        UsageError: it holds no ``manifests`` folder.
        FormatError: a file of it is too large, or no file.
    """
    files: dict[str, bytes] = {}
    problems = []
    try:
        names = sorted(file.name for file in (folder / MANIFESTS).iterdir())
    except OSError as error:
        raise UsageError(
            f"{folder} holds no bundle: {MANIFESTS}/ cannot be listed: {error.strerror}",
            hint="'nox -s emit -- operator' writes one into deploy/operator/bundle",
        ) from None
    if len(names) > _MOST_FILES:
        raise FormatError(f"{folder / MANIFESTS} holds more than {_MOST_FILES} files")
    for place in (*(f"{MANIFESTS}/{name}" for name in names), ANNOTATIONS):
        if (folder / place).is_dir():
            problems.append(f"{place} is a folder, and {MANIFESTS}/ may hold none")
            continue
        try:
            with open_regular(folder / place, most=_LARGEST, follow=False) as stream:
                files[place] = stream.read(_LARGEST)
        except FileNotFoundError:
            continue  # what is missing is a finding
        except OSError as error:
            raise FormatError(f"{folder / place} cannot be read: {error.strerror}") from None
        except FormatError as error:
            raise FormatError(f"{folder / place} {error.message}") from None
    return make_bundle(files, problems, [])


def make_bundle(files: Mapping[str, bytes], problems: list[str], unread: list[str]) -> BundleFiles:
    """Return a bundle of files by path; ``problems`` and ``unread`` are those that are known already."""
    objects: dict[str, Mapping[str, Any]] = {}
    for place, content in files.items():
        if not place.startswith(f"{MANIFESTS}/"):
            continue
        if place.startswith(f"{MANIFESTS}/."):
            problems.append(f"{place} is hidden, and {MANIFESTS}/ may hold no such file")
            continue
        try:
            documents = parse_documents(place, content)
        except ConfigError as error:
            unread.append(_first(error))
            continue
        if not documents or not isinstance(documents[0].data, dict):
            problems.append(f"{place} is no object of Kubernetes")
            continue
        objects[place] = documents[0].data
    annotations = _read_annotations(files.get(ANNOTATIONS), problems, unread)
    return BundleFiles(
        files=files, objects=objects, annotations=annotations, problems=tuple(problems), unread=tuple(unread)
    )


def _read_annotations(content: bytes | None, problems: list[str], unread: list[str]) -> Mapping[str, Any]:
    if not content:
        problems.append(f"{ANNOTATIONS} is {'empty' if content is not None else 'missing'}")
        return {}
    try:
        documents = parse_documents(ANNOTATIONS, content)
    except ConfigError as error:
        unread.append(_first(error))
        return {}
    data = documents[0].data if documents else None
    found = data.get("annotations") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _first(error: ConfigError) -> str:
    return str(error.mistakes[0])
