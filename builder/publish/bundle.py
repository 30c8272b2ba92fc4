"""Opens what ``bundle`` needs, and says which images belong into it."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import UsageError
from builder.host.progress import no_progress
from builder.publish.airgap import AirgapLoader, AirgapWriter, check_target
from builder.publish.attachments import AttachmentWriter
from builder.publish.index_document import INDEX_TAG
from builder.publish.index_place import IndexInTheWayError, IndexReader
from builder.publish.published import LeftOutCell, read_published
from builder.publish.reading import open_reader, settings_for
from builder.pullspec import parse_pullspec
from builder.registry.access import open_registries
from builder.registry.writer import Uploader
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from builder.host.progress import Progress
    from builder.plan.matrix import Selector
    from builder.plan.project import Project
    from builder.publish.airgap import BundleReport, Loaded
    from builder.publish.index_document import DriverIndex
    from builder.publish.published import Published
    from builder.publish.reading import RegistryReader


def write_bundle(
    project: Project, selector: Selector, target: Path, *, progress: Progress = no_progress
) -> tuple[BundleReport, tuple[LeftOutCell, ...]]:
    """Write the published images of the selected cells into a file; returns also the cells that have none.

    Raises:
        SourceError: a registry refuses or does not answer.
        UsageError: nothing is published.
    """
    found = read_published(project, selector)
    if not found.images:
        raise UsageError("no image is published, so there is nothing to bundle", hint="run 'nox -s publish' first")
    project.work_dir.mkdir(parents=True, exist_ok=True)
    scratch_folder = tempfile.TemporaryDirectory(dir=project.work_dir, prefix="bundle-")
    with open_reader(project) as reader, scratch_folder as scratch:
        writer = AirgapWriter(reader.registry, reader.attachments, Path(scratch))
        for number, (name, digest) in enumerate(found.images, start=1):
            writer.add(parse_pullspec(name), digest)
            progress(number, len(found.images))
        lacking = list(_add_indexes(project, reader, writer, found))
        return writer.write(target), (*found.left_out, *lacking)


def _add_indexes(
    project: Project, reader: RegistryReader, writer: AirgapWriter, published: Published
) -> Iterator[LeftOutCell]:
    """Add the index of each driver that has an image in the bundle, where images are signed; yields what lacks then."""
    repositories = {name.rpartition(":")[0] for name, _ in published.images}
    digests = {cell.digest for _, cell in published.cells}
    for driver in project.config.drivers if reader.keys else ():
        if driver.image_name not in repositories:
            continue
        name = parse_pullspec(f"{driver.image_name}:{INDEX_TAG}")
        try:
            item = IndexReader(reader.registry, reader.tags, reader.keys, driver.name).read(name)
        except IndexInTheWayError as error:
            yield LeftOutCell(cell=f"{driver.name}/{INDEX_TAG}", why=error.message)
            continue
        if item is None:
            yield LeftOutCell(cell=f"{driver.name}/{INDEX_TAG}", why=f"{name} is not there: 'nox -s publish' writes it")
        else:
            writer.add_index(name, item)
            if lacking := describe_lacking(item.index, digests):
                yield LeftOutCell(cell=f"{driver.name}/{INDEX_TAG}", why=lacking)


def describe_lacking(index: DriverIndex, digests: Collection[str]) -> str:
    """Say which images an index names that are not among those of a bundle; empty where it has all."""
    lacking = [key for key, cell in index.images.items() if cell.image.rpartition("@")[2] not in digests]
    if not lacking:
        return ""
    version, kernel = max(lacking)
    return (
        f"it names {count(len(index.images), 'image')}, and {len(lacking)} of them are not in this file, such as that "
        f"of version {version} for {kernel}: operators take these kernels for covered, so the site needs another "
        "bundle that has them"
    )


def load_bundle(
    project: Project, file: Path, target: str, *, plain_http: bool, progress: Progress = no_progress
) -> list[Loaded]:
    """Bring a bundle into the registry ``target``; a project's versions.yaml is read where there is one.

    Raises:
        UsageError: the target is no registry.
        FormatError: the file is no bundle, or damaged.
        SourceError: the registry refuses, or gives no answer.
    """
    settings = settings_for(project, check_target(target).partition("/")[0], plain_http=plain_http)
    registry = open_registries(settings, project.file.parent, project.cache_dir).registry
    # Beside the file, where there is room for one more of it; TMPDIR names another place.
    folder = os.environ.get("TMPDIR") or file.parent
    with closing(registry), tempfile.TemporaryDirectory(dir=folder, prefix=".bundle-") as scratch:
        uploader = Uploader(registry.transport)
        return AirgapLoader(uploader, AttachmentWriter(registry, uploader), Path(scratch)).load(
            file, target, progress=progress
        )
