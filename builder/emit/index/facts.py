"""Reads the indexes that become files: what registries have now, verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.emit.index.files import IndexMap
from builder.errors import UsageError
from builder.plan.matrix import matches_any
from builder.publish.index_document import INDEX_TAG
from builder.publish.index_place import IndexInTheWayError, IndexReader
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.host.progress import Progress
    from builder.plan.project import Project

_NAMESPACE = "kmod-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInput:
    """Indexes that become files, and sentences on drivers that have none."""

    indexes: tuple[IndexMap, ...]
    left_out: tuple[str, ...]


def read_indexes(project: Project, globs: Sequence[str], *, progress: Progress) -> IndexInput:
    """Return the index of each driver that has one.

    Args:
        project: its versions.yaml names drivers, the key, and the operator's namespace.
        globs: over names of drivers; empty: all.
        progress: is told how many were asked for.

    Raises:
        SourceError: a registry refuses, or does not answer.
        UsageError: no driver has one.
        SignerError: the public key cannot be read.
    """
    drivers = [item for item in project.config.drivers if not globs or matches_any(item.name, globs)]
    if not drivers:
        raise UsageError(f"no driver matches {', '.join(globs)}")
    settings = project.config.operator
    namespace = settings.namespace_name if settings else _NAMESPACE
    found: list[IndexMap] = []
    left_out: list[str] = []
    with open_reader(project) as reader:
        if not reader.keys:
            raise UsageError("images are not signed, so there is no index", hint="name a key under publish.signer")
        for number, driver in enumerate(drivers, start=1):
            if driver.image_name.startswith(LOCAL):
                left_out.append(f"{driver.name}: it has no image in a registry")
                continue
            name = parse_pullspec(f"{driver.image_name}:{INDEX_TAG}")
            try:
                tagged = IndexReader(reader.registry, reader.tags, reader.keys, driver.name).read(name)
            except IndexInTheWayError as error:
                left_out.append(f"{driver.name}: {error.message}")
                continue
            if tagged is None:
                left_out.append(f"{driver.name}: {name} is not there: run 'nox -s publish' first")
            else:
                found.append(IndexMap(driver=driver.name, namespace=namespace, envelope=tagged.envelope))
            progress(number, len(drivers))
    if not found:
        raise UsageError(f"there is no index to write: {'; '.join(left_out)}")
    return IndexInput(indexes=tuple(found), left_out=tuple(left_out))
