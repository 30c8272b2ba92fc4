"""Base images of final images: the small one that a kernel source makes, or the one that a driver names."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.build.prove import exported
from builder.foreign import read_json
from builder.host.once import Once
from builder.image.archive import XATTR, read_tar
from builder.image.contents import read_exported
from builder.registry.pull import Puller, open_puller
from builder.store.images import TOOLKIT_PREFIX, find_image, read_base_layers
from builder.store.last_stage import StoredBase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from builder.config.model.driver import Driver
    from builder.image.contents import LayerCache
    from builder.image.packed import Packing
    from builder.kernel import Arch
    from builder.plan.decide import Decision
    from builder.plan.project import Project

_ID_LENGTH = 16
_LARGEST_LAYER = 16 * 1024**3


def named_base(driver: Driver, arch: Arch) -> str:
    """Return the name in the container store of the base image that a driver names."""
    digest = (driver.base_image or "").rpartition(":")[2]
    return f"{TOOLKIT_PREFIX}base:{arch}-{digest[:_ID_LENGTH]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """Base images of a run's cells; safe to use from several threads.

    ``small`` returns the name of a kernel source's own, making it if need be; ``open_pulls`` what pulls others;
    ``plain`` packs images that keep no layer of their base.
    """

    drivers: Mapping[str, Driver]
    small: Callable[[Decision], str]
    open_pulls: Callable[[], Puller]
    plain: Packing
    _once: Once = field(default_factory=Once)

    def ensure(self, decision: Decision) -> str:
        """Return the name in the store of a cell's base image, which is there when this returns.

        Raises:
            SourceError: its registry does not have it, refuses, or does not answer.
        """
        driver, arch = self.drivers[decision.cell.driver], decision.cell.kernel.arch
        if driver.base_image is None:
            return self.small(decision)
        return self.pulls().ensure(driver.base_image, named_base(driver, arch), arch)

    def pulls(self) -> Puller:
        """Return what pulls images by digest, opened once."""
        return self._once.get("puller", self.open_pulls)

    def packing(self, decision: Decision) -> Packing:
        """Return how a cell's image is packed: layers of a base that is in a registry stay as they are there."""
        if self.drivers[decision.cell.driver].base_image is None:
            return self.plain
        name = self.ensure(decision)
        return self.plain.keeping(self._once.get(("layers", name), lambda: read_base_layers(name)))

    def read(self, decision: Decision, cache: LayerCache) -> StoredBase:
        """Return a cell's base image as the store has it, looked at once; its layers are in the cache then, and packed.

        Raises:
            FormatError: it is damaged.
        """
        name, packing = self.ensure(decision), self.packing(decision)
        found: StoredBase = self._once.get(("base", name), lambda: read_stored_base(name, cache, packing))
        return found


def read_stored_base(name: str, cache: LayerCache, packing: Packing) -> StoredBase:
    """Return an image of the store as a base, by its name; its layers are read into a cache, and packed.

    Raises:
        UsageError: the store has no such image.
        FormatError: it is damaged.
    """
    image = find_image(name)
    with exported(image.id) as folder:
        contents = read_exported(folder, name, cache)
        plain = frozenset(path for path, file in contents.files.items() if file.is_folder)
        odd = contents.files.keys() - plain
        sizes = []
        for layer in contents.layers:
            cache.put(layer, is_shared=True)
            file = folder / layer.digest.removeprefix("sha256:")
            packing.of(layer.digest, file)
            odd.update(list_odd(file, plain))
            sizes.append((layer.digest, file.stat().st_size))
        return StoredBase(
            name=name,
            digest=image.digest,
            manifest=read_json((folder / "manifest.json").read_bytes(), f"the manifest of {name}"),
            config=contents.config,
            layers=sizes,
            odd=frozenset(odd),
        )


def list_odd(layer: Path, plain: Collection[str]) -> Iterator[str]:
    """Return what a plain layer holds besides plain folders that are seen: a layer above that names it is another.

    Files and links are odd, what a layer above it hides, and folders with extended attributes.
    """
    with layer.open("rb") as stream:
        for member, _ in read_tar(stream, most=_LARGEST_LAYER):
            path = posixpath.normpath(member.name.lstrip("/"))
            if path not in plain or any(key.startswith(XATTR) for key in member.pax_headers):
                yield path


def open_bases(project: Project, small: Callable[[Decision], str], held: ExitStack) -> Bases:
    """Return the base images of a project's cells; what pulls them is opened when needed, and closed with ``held``."""

    def open_pulls() -> Puller:
        place = project.workplace
        puller = open_puller(place.registry, place.root, cache_dir=place.cache_dir, work_dir=place.work_dir)
        held.callback(puller.close)
        return puller

    drivers = {driver.name: driver for driver in project.config.drivers}
    return Bases(drivers=drivers, small=small, open_pulls=open_pulls, plain=project.packing)


def names_of_bases(project: Project, arches: Iterator[Arch]) -> set[str]:
    """Return the names in the store of all base images that drivers of a project name."""
    named = [driver for driver in project.config.drivers if driver.base_image]
    return {named_base(driver, arch) for arch in arches for driver in named}
