"""What ``lint operator`` looks through: all objects of a bundle that somebody wrote, with their lines in its files.

Bundles are read by ``builder.certify.bundle_files``, as for ``certify``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.certify.bundle_files import ANNOTATIONS, MANIFESTS, NEEDS, list_manifests, read_bundle_folder
from builder.config.yamlfile import read_documents_leniently
from builder.emit.kmm.documents import KubernetesObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from builder.config.yamlfile import YamlFile
    from builder.errors import Mistake

_SUFFIXES = (".yaml", ".yml", ".json")


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
    found = read_bundle_folder(folder)
    manifests = [place for place in found.documents if place.startswith(f"{MANIFESTS}/") and _is_manifest(place)]
    taken = {folder / place for place in (*manifests, ANNOTATIONS, *NEEDS)}
    return OperatorBundle(
        folder=folder, objects=_objects_of(item for place in manifests for item in found.documents[place]),
        annotations=found.documents.get(ANNOTATIONS, ()),
        needs=[item for place in NEEDS for item in found.documents.get(place, ())],
        mistakes=[
            item for item in (*found.unopened, *found.mistakes) if item.file in taken or _is_manifest(item.file.name)
        ],
    )  # fmt: skip


def read_definitions(place: Path) -> tuple[list[KubernetesObject], list[Mistake]]:
    """Return the objects of an older bundle, of a folder of files, or of one file; raises as ``read_bundle``."""
    if not place.is_dir():
        documents, wrong = read_documents_leniently(place, follow=False)
        return _objects_of(documents), wrong
    if (place / MANIFESTS).is_dir():
        bundle = read_bundle(place)
        return list(bundle.objects), list(bundle.mistakes)
    objects: list[KubernetesObject] = []
    mistakes: list[Mistake] = []
    for name in filter(_is_manifest, list_manifests(place, f"{place} holds nothing to compare with")):
        documents, wrong = read_documents_leniently(place / name, follow=False)
        objects += _objects_of(documents)
        mistakes += wrong
    return objects, mistakes


def _is_manifest(name: str) -> bool:
    return name.endswith(_SUFFIXES)


def _objects_of(documents: Iterable[YamlFile]) -> list[KubernetesObject]:
    return [KubernetesObject(document=item, place=(), data=item.data) for item in documents]
