"""An operator's bundle (registry+v1), out of an image, or a folder that somebody wrote: the one reader of both.

``certify`` takes of it what preflight loads, the first document of each manifest; ``lint operator`` all documents, and
what is wrong with them (``builder.emit.operator.bundle_reading``). Files are a stranger's: what is no regular file, as
a link is none, is not opened, and a file that is no YAML hides nothing of the others.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.config.yamlfile import parse_documents
from builder.errors import FormatError, Mistake, UsageError
from builder.host.places import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from builder.config.yamlfile import YamlFile
    from builder.image.contents import ImageContents

MANIFESTS, METADATA = "manifests", "metadata"
ANNOTATIONS = f"{METADATA}/annotations.yaml"
NEEDS = (f"{METADATA}/dependencies.yaml", f"{METADATA}/properties.yaml")
MEDIATYPE_LABEL = "operators.operatorframework.io.bundle.mediatype.v1"
"""A label that only images of bundles have."""
_LARGEST = 4 * 1024**2
_MOST_FILES = 1000


@dataclass(frozen=True, kw_only=True)
class BundleFiles:
    """A bundle's files by path, and what is in them.

    Attributes:
        files: manifests, and the annotations.
        objects: the first document of each manifest.
        annotations: of ``metadata/annotations.yaml``.
        problems: why preflight cannot load the bundle at all.
        unread: what cannot be read here, and perhaps by preflight.
        documents: all documents of each file, and of ``NEEDS`` where they are there, with their places.
        mistakes: what of documents is wrong.
        unopened: which files could not be opened, and why.
    """

    files: Mapping[str, bytes]
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    documents: Mapping[str, Sequence[YamlFile]] = field(default_factory=dict, compare=False)
    mistakes: tuple[Mistake, ...] = field(default=(), compare=False)
    unopened: tuple[Mistake, ...] = ()

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
        elif place.startswith(f"{MANIFESTS}/") or place in {ANNOTATIONS, *NEEDS}:
            files[place] = file.content
    return make_bundle(files, problems, unread)


def read_bundle_folder(folder: Path) -> BundleFiles:
    """Return the bundle in a folder, such as ``deploy/operator/bundle``, as far as it can be read.

    Raises:
        UsageError: it holds no ``manifests`` folder, or too many files in it.
    """
    names = list_manifests(folder / MANIFESTS, f"{folder} is no bundle of an operator")
    files: dict[str, bytes] = {}
    problems, unopened = [], []
    for place in (*(f"{MANIFESTS}/{name}" for name in names), ANNOTATIONS, *NEEDS):
        if (folder / place).is_dir() and not (folder / place).is_symlink():
            problems.append(f"{place} is a folder, and {MANIFESTS}/ may hold none")
            continue
        try:
            files[place] = read_file(folder / place)
        except FileNotFoundError:
            continue  # what is missing is a finding
        except FormatError as error:
            unopened.append(Mistake(file=folder / place, line=1, column=1, path="", message=error.message))
    return make_bundle(files, problems, [], folder=folder, unopened=unopened)


def need_whole(bundle: BundleFiles) -> BundleFiles:
    """Return a bundle of which every file could be opened.

    Raises:
        FormatError: one could not: what would be said of the others is not said of the bundle.
    """
    for mistake in bundle.unopened:
        raise FormatError(f"{mistake.file} {mistake.message}")
    return bundle


def list_manifests(folder: Path, otherwise: str) -> list[str]:
    """Return the names in a folder of manifests, in their order.

    Args:
        folder: it.
        otherwise: what is said first where it is none.

    Raises:
        UsageError: it cannot be listed, or holds more than any bundle.
    """
    try:
        names = sorted(file.name for file in folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"{otherwise}: {folder} cannot be read: {error.strerror}",
            hint="a bundle is a folder with manifests/ and metadata/annotations.yaml; "
            "'nox -s emit -- operator' writes one into deploy/operator/bundle",
        ) from None
    if len(names) > _MOST_FILES:
        raise UsageError(f"{folder} has {len(names)} files, and a bundle has {_MOST_FILES} at most")
    return names


def read_file(file: Path) -> bytes:
    """Return the content of a file of a stranger's; a link is none.

    Raises:
        FileNotFoundError: there is none.
        FormatError: it is too large, no regular file, or cannot be read.
    """
    try:
        with open_regular(file, most=_LARGEST, follow=False) as stream:
            return stream.read(_LARGEST)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}") from None


def make_bundle(
    files: Mapping[str, bytes],
    problems: Iterable[str],
    unread: Iterable[str],
    *,
    folder: Path = Path(),
    unopened: Iterable[Mistake] = (),
) -> BundleFiles:
    """Return a bundle of files by path.

    Args:
        files: manifests, annotations, and ``NEEDS``.
        problems: those that are known already.
        unread: as well.
        folder: where they lie, for places of mistakes.
        unopened: those that could not be opened.
    """
    problems, unread = list(problems), list(unread)
    mistakes: list[Mistake] = []
    documents: dict[str, Sequence[YamlFile]] = {}
    broken: set[str] = set()
    for place, content in files.items():
        documents[place], found = parse_documents(folder / place, content)
        mistakes += found
        if found:
            broken.add(place)
            if place not in NEEDS:
                unread.append(str(replace(found[0], file=Path(place))))
    objects = _find_objects(documents, broken, problems)
    if not files.get(ANNOTATIONS):
        problems.append(f"{ANNOTATIONS} is {'empty' if ANNOTATIONS in files else 'missing'}")
    return BundleFiles(
        files={place: content for place, content in files.items() if place not in NEEDS}, objects=objects,
        annotations=_find_annotations(() if ANNOTATIONS in broken else documents.get(ANNOTATIONS, ())),
        problems=tuple(problems), unread=tuple(unread), documents=documents, mistakes=tuple(mistakes),
        unopened=tuple(unopened),
    )  # fmt: skip


def _find_objects(
    documents: Mapping[str, Sequence[YamlFile]], broken: set[str], problems: list[str]
) -> Mapping[str, Mapping[str, Any]]:
    objects: dict[str, Mapping[str, Any]] = {}
    for place, found in documents.items():
        if not place.startswith(f"{MANIFESTS}/"):
            continue
        if place.startswith(f"{MANIFESTS}/."):
            problems.append(f"{place} is hidden, and {MANIFESTS}/ may hold no such file")
        elif place in broken:
            continue
        elif not found or not isinstance(found[0].data, dict):
            problems.append(f"{place} is no object of Kubernetes")
        else:
            objects[place] = found[0].data
    return objects


def _find_annotations(documents: Sequence[YamlFile]) -> Mapping[str, Any]:
    data = documents[0].data if documents else None
    found = data.get("annotations") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}
