"""Answers to questions of the checklist, out of an image's own modules and labels. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builder.certify.questions import ImageFact
from builder.image.labels import CELL_LABEL, COMPONENT_LABEL, KERNEL_LABEL
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from builder.image.contents import ImageContents
    from builder.kmod.fit import PlacedModule

_MOST_NAMED = 12
_BUS = re.compile(r"([a-z0-9_]+):")


def find_answer(fact: ImageFact, image: ImageContents, plugins: Collection[str]) -> str | None:
    """Return what an image says; None where it is not the kind of image that says something of it.

    ``plugins`` are names of the components that are device plugins: no image says that of itself.
    """
    if fact is ImageFact.PLUGIN:
        return f"yes: {image.labels[COMPONENT_LABEL]}" if component_of(image) in plugins else None
    modules, unreadable = image.modules
    if unreadable or not modules:
        return None
    names = {_name(module) for module in modules}
    needed = sorted({word.replace("-", "_") for module in modules for word in module.object.depends})
    match fact:
        case ImageFact.MODULES:
            return f"{count(len(names), 'module')}: {_list(sorted(names))}"
        case ImageFact.IN_TREE_DEPENDENCIES:
            return _list([name for name in needed if name not in names]) or "none"
        case ImageFact.OWN_DEPENDENCIES:
            return _list(list(_own(modules, names))) or "none"
        case ImageFact.ORDER:
            return _list(list(_order(modules))) or "none but that of the symbols"
        case ImageFact.FIRMWARE:
            return _list(sorted(_values(modules, "firmware"))) or "none"
        case ImageFact.ORIGIN:
            cell, kernel = image.labels.get(CELL_LABEL), image.labels.get(KERNEL_LABEL)
            return f"outside of the cluster, once for each kernel: {cell}, for {kernel}" if cell and kernel else None
        case ImageFact.DEVICES:
            return _list(sorted(_values(modules, "alias"))) or "as no device: no module names one"
    buses = sorted({found[1] for alias in _values(modules, "alias") if (found := _BUS.match(alias))} & {"pci", "usb"})
    return f"yes, by {' and '.join(buses)}" if buses else "no: no module names a device of PCI or USB"


def _name(module: PlacedModule) -> str:
    return module.path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _values(modules: Sequence[PlacedModule], key: str) -> set[str]:
    return {value for module in modules for value in module.object.modinfo.get(key, ())}


def _own(modules: Sequence[PlacedModule], names: set[str]) -> Iterator[str]:
    for module in modules:
        used = sorted({word.replace("-", "_") for word in module.object.depends} & names)
        if used:
            yield f"{_name(module)} uses {' and '.join(used)}"


def _order(modules: Sequence[PlacedModule]) -> Iterator[str]:
    for module in modules:
        for value in module.object.modinfo.get("softdep", ()):
            yield f"{_name(module)} asks for {value}"


def component_of(image: ImageContents) -> str:
    """Return the name of the component that an image says it is; empty where it is none."""
    return image.labels.get(COMPONENT_LABEL, "").partition("/")[0].rpartition("-")[0]


def _list(items: Sequence[str]) -> str:
    more = f" and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return f"{', '.join(items[:_MOST_NAMED])}{more}"
