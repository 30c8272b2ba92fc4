"""Reads what the files for NFD are made of: aliases of the modules in published images, as depmod listed them there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from builder.emit.nfd.files import NfdFacts
from builder.errors import FormatError
from builder.host.progress import no_progress
from builder.publish.published import read_published
from builder.publish.reading import open_reader
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.host.progress import Progress
    from builder.plan.matrix import Selector
    from builder.plan.project import Project
    from builder.publish.published import LeftOutCell
    from builder.publish.result import PublishedCell
    from builder.registry.reader import Registry

_AT_ONCE = 8
_LARGEST_LAYER = 1024**3
"""Modules lie in the last layers; those of a base image are larger, and have none."""


def read_nfd_facts(
    project: Project, selector: Selector, *, progress: Progress = no_progress
) -> tuple[list[NfdFacts], tuple[LeftOutCell, ...]]:
    """Read facts for each selected driver that has published images, and which cells have none.

    Raises:
        SourceError: a registry refuses or does not answer: a rule that lost a device would take the driver from nodes.
        FormatError: an image does not list its modules' aliases.
        UsageError: no selected driver goes to a registry.
    """
    published = read_published(project, selector, progress=progress)
    with open_reader(project) as reader, ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="aliases") as pool:
        images = [image for _, image in published.cells]
        aliases = list(pool.map(lambda image: read_aliases(reader.registry, image), images))
    facts = []
    for driver in project.config.drivers:
        numbers = [number for number, (cell, _) in enumerate(published.cells) if cell.driver == driver.name]
        if numbers:
            found = {alias for number in numbers for alias in aliases[number]}
            kernels = [published.cells[number][0].kernel for number in numbers]
            facts.append(NfdFacts(driver=driver, aliases=sorted(found), kernels=kernels))
    return facts, published.left_out


def read_aliases(registry: Registry, image: PublishedCell) -> set[str]:
    """Return the aliases of an image's modules.

    Raises:
        FormatError: it does not list them.
        SourceError: the registry refuses, or gives no answer.
    """
    name = parse_pullspec(f"{image.repository}@{image.digest}")
    path = f"opt/lib/modules/{image.kernel.raw}/modules.alias"
    content = registry.find_file(name, registry.manifest(name), path, largest_layer=_LARGEST_LAYER)
    if content is None:
        raise FormatError(f"{name} has no /{path}", hint="it was not made by kmodsmith; publish it anew")
    return set(parse_modules_alias(content))


def parse_modules_alias(content: bytes) -> Iterator[str]:
    """Yield the aliases of a modules.alias, which depmod writes: ``alias PATTERN MODULE``."""
    for line in content.decode(errors="backslashreplace").split("\n"):
        word, _, rest = line.partition(" ")
        if word == "alias" and (alias := rest.rpartition(" ")[0]):
            yield alias
