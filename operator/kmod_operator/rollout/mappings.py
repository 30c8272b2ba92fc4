"""Which image each kernel gets: only what the index has, and before any node boots the kernel. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.states import kmm_kernel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kmod_operator.index.index import Index
    from kmod_operator.rollout.world import Node, Object

_MOST_MAPPINGS = 512
# What nodes say of their machine, as releases spell it.
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mappings:
    """Images by kernel, as the Module is to have them; kernels in KMM's spelling.

    Attributes:
        images: of the wanted version.
        kept: of another version, for kernels that the wanted one lacks and on which nodes have that other one loaded:
            without a mapping KMM would unload it.
        replaced: kernels that nodes have the wanted version for, in an image that is not the index's any more. With
            the new one KMM would unload and load on all of them at once, so they go on with the old one: a final
            image is never replaced, and another one has another version.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()

    @property
    def all(self) -> list[tuple[str, str]]:
        """Kernel and image, in an order that does not change."""
        return sorted({**self.images, **self.kept}.items(), key=lambda pair: natural_key(pair[0]))


def make_mappings(
    index: Index,
    version: str,
    *,
    wanted: Collection[str],
    there: Mapping[str, str],
    running: Collection[str],
    loaded: Collection[str] = (),
) -> Mappings:
    """Return the mappings for a version.

    Args:
        index: what is believed.
        version: of the driver.
        wanted: kernels that nodes run, or that releases will bring.
        there: images by kernel that the Module has now: a node may boot into any of these kernels again.
        running: kernels of nodes on which a driver is loaded now.
        loaded: kernels of nodes on which this version is.
    """
    indexed = {kmm_kernel(kernel): image.image for kernel, image in index.images.get(version, {}).items()}
    first = [kernel for kernel in map(kmm_kernel, wanted) if kernel in indexed]
    rest = sorted((kernel for kernel in there if kernel in indexed), key=natural_key, reverse=True)
    chosen = list(dict.fromkeys([*first, *rest]))[:_MOST_MAPPINGS]
    believed = {image.image for images in index.images.values() for image in images.values()}
    kept = {
        kernel: there[kernel]
        for kernel in map(kmm_kernel, running)
        if kernel not in indexed and there.get(kernel) in believed
    }
    images = {kernel: indexed[kernel] for kernel in chosen}
    old = {kernel: there[kernel] for kernel in map(kmm_kernel, loaded) if kernel in images and kernel in there}
    replaced = tuple(sorted(kernel for kernel, image in old.items() if images[kernel] != image))
    return Mappings(images=images | old, kept=kept, replaced=replaced)


def read_mappings(module: Object | None) -> dict[str, str]:
    """Return the images by kernel that a Module has; of another form, none."""
    container = find_loader(module)
    found = container.get("kernelMappings")
    return {
        kmm_kernel(str(one["literal"])): str(one["containerImage"])
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict) and one.get("literal") and one.get("containerImage")
    }


def read_version(module: Object | None) -> str:
    """Return the version that a Module has; empty where it has none."""
    found = find_loader(module).get("version")
    return found if isinstance(found, str) else ""


def find_loader(module: Object | None) -> Mapping[str, Any]:
    """Return what a Module says of loading: images, version, ``modprobe``; nothing where it is of another form."""
    data: object = module or {}
    for name in ("spec", "moduleLoader", "container"):
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def wanted_kernels(index: Index, version: str, nodes: Iterable[Node], releases: Collection[str]) -> list[str]:
    """Return the kernels that must have an image, those of nodes first.

    Where nothing says which kernels come (no releases), those of the index for the nodes' architectures do.
    """
    selected = list(nodes)
    running = dict.fromkeys(node.kernel for node in selected)
    arches = {node.arch for node in selected}
    coming = [kernel for name in release_names(releases, arches) for kernel in index.releases.get(name, ())]
    if not releases:
        found = index.images.get(version, {})
        coming = sorted(
            (kernel for kernel, image in found.items() if not image.arch or image.arch in arches),
            key=natural_key,
            reverse=True,
        )
    return list(dict.fromkeys([*running, *coming]))


def release_names(releases: Iterable[str], arches: Collection[str]) -> list[str]:
    """Return releases as an index has them, for the architectures that nodes have: ``4.18.25-x86_64``."""
    return [f"{release}-{_ARCHES.get(arch, arch)}" for release in releases for arch in sorted(arches)]


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Return what sorts texts with numbers in them as people would."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", text)]
