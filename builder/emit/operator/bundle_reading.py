"""Reads a bundle that somebody wrote (registry+v1): a folder with ``manifests/`` and ``metadata/annotations.yaml``.

Files are a stranger's: what is no regular file, such as a link, is a mistake, and a file that is no YAML hides nothing
of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.config.yamlfile import read_documents_leniently
from builder.emit.kmm.documents import KubernetesObject
from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.config.yamlfile import YamlFile
    from builder.errors import Mistake

_SUFFIXES = (".yaml", ".yml", ".json")
_MOST_FILES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorBundle:
    """What is in a bundle.

    Attributes:
        folder: where it is.
        objects: of ``manifests/``, in the order of file names; each of its documents is one object.
        annotations: documents of ``metadata/annotations.yaml``; none where there is no such file.
        needs: documents of ``metadata/dependencies.yaml`` and ``metadata/properties.yaml``.
        mistakes: what could not be read.
    """

    folder: Path
    objects: Sequence[KubernetesObject]
    annotations: Sequence[YamlFile] = ()
    needs: Sequence[YamlFile] = ()
    mistakes: Sequence[Mistake] = ()


def read_bundle(folder: Path) -> OperatorBundle:
    """Read a bundle, as far as it can be read.

    Raises:
        UsageError: the folder is no bundle: it has no ``manifests/``, or too many files in it.
    """
    objects, mistakes = read_manifests(folder / "manifests", f"{folder} is no bundle of an operator")
    annotations, wrong = _read_if_there(folder / "metadata" / "annotations.yaml")
    mistakes += wrong
    needs: list[YamlFile] = []
    for name in ("dependencies.yaml", "properties.yaml"):
        found, wrong = _read_if_there(folder / "metadata" / name)
        needs += found
        mistakes += wrong
    return OperatorBundle(
        folder=folder, objects=objects, annotations=annotations, needs=needs, mistakes=tuple(mistakes)
    )


def read_definitions(place: Path) -> tuple[list[KubernetesObject], list[Mistake]]:
    """Return the objects of an older bundle, of a folder of files, or of one file; raises as ``read_bundle``."""
    if not place.is_dir():
        return _read_file(place)
    inner = place / "manifests"
    return read_manifests(inner if inner.is_dir() else place, f"{place} holds nothing to compare with")


def read_manifests(folder: Path, otherwise: str) -> tuple[list[KubernetesObject], list[Mistake]]:
    try:
        files = sorted(file for file in folder.iterdir() if file.name.endswith(_SUFFIXES))
    except OSError as error:
        raise UsageError(
            f"{otherwise}: {folder} cannot be read: {error.strerror}",
            hint="a bundle is a folder with manifests/ and metadata/annotations.yaml",
        ) from None
    if len(files) > _MOST_FILES:
        raise UsageError(f"{folder} has {len(files)} files, and a bundle has {_MOST_FILES} at most")
    objects: list[KubernetesObject] = []
    mistakes: list[Mistake] = []
    for file in files:
        found, wrong = _read_file(file)
        objects += found
        mistakes += wrong
    return objects, mistakes


def _read_file(file: Path) -> tuple[list[KubernetesObject], list[Mistake]]:
    documents, mistakes = read_documents_leniently(file, follow=False)
    return [KubernetesObject(document=item, place=(), data=item.data) for item in documents], mistakes


def _read_if_there(file: Path) -> tuple[list[YamlFile], list[Mistake]]:
    if not file.exists() and not file.is_symlink():
        return [], []
    return read_documents_leniently(file, follow=False)
