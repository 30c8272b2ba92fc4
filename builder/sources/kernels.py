"""What sources share in bringing bootable kernels and their own modules into the cache."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.kmod.kernel_object import module_name, read_kernel_object
from builder.kmod.packing import is_module, unpack_module
from builder.kmod.trailer import split_trailer
from builder.store.extract import extract_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from builder.kernel import KernelVersion
    from builder.store.jail import Jail

OS_KERNEL_BYTES = 400 * 1024**2
"""Modules and kernel of an operating system image: the largest seen."""
MODULE_LISTS = frozenset({"modules.order", "modules.builtin", "modules.builtin.modinfo"})
"""What a kernel says of its modules beside them (depmod(8))."""
_MOST_IN_TREE = 200
# /usr/lib/modules/<kernel>/vmlinuz is where every image-based system has it: RHCOS, Fedora CoreOS, bootc.
_FROM_OS_IMAGE = """\
ARG OS_IMAGE
FROM ${OS_IMAGE} AS build
ARG KERNEL_VERSION
RUN set -eu; cd "/usr/lib/modules/$KERNEL_VERSION"; cp vmlinuz config /out/; \\
    find kernel -name '*.ko' -o -name '*.ko.xz' -o -name '*.ko.zst' -o -name '*.ko.gz' | \\
    while read -r file; do cp "$file" /out/; done; \\
    for file in modules.order modules.builtin modules.builtin.modinfo; do [ ! -f "$file" ] || cp "$file" /out/; done
"""


def extract_kernel(image: str, kernel: KernelVersion, target: Path, *, jail: Jail) -> None:
    """Copy kernel, configuration and modules out of an operating system image of the store, unless they are there.

    Raises:
        CommandError: the image does not hold this kernel.
    """
    arguments = {"OS_IMAGE": image, "KERNEL_VERSION": kernel.raw}
    extract_files(_FROM_OS_IMAGE, arguments, target, jail=jail)


def in_tree_of_folder(folder: Path, names: Iterable[str]) -> list[tuple[str, bytes]]:
    """Return modules of a folder and all that they depend on, what is needed by others first."""
    files = {module_name(file.name): file for file in folder.iterdir()}

    def find(wanted: frozenset[str]) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for name, file in files.items() if name in wanted}

    return order_in_tree(names, find)


def is_of_modules(path: str) -> bool:
    """Tell whether a file is a module, or one of the lists beside them."""
    return is_module(path) or path.rpartition("/")[2] in MODULE_LISTS


def module_files_of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the modules of a folder, and the lists beside them."""
    yield from ((file.name, file.read_bytes()) for file in sorted(folder.iterdir()) if is_of_modules(file.name))


def keep_files(files: dict[str, bytes], target: Path) -> None:
    """Write a folder in one step, so that one that is there is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kernel-") as scratch:
        complete = Path(scratch, "complete")
        complete.mkdir()
        for name, content in files.items():
            (complete / name).write_bytes(content)
        complete.rename(target)


def order_in_tree(names: Iterable[str], find: Callable[[frozenset[str]], dict[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return modules and all that they depend on, what is needed by others first.

    Args:
        names: what is wanted.
        find: returns files by path for module names; what it does not find is built into the kernel.

    Raises:
        FormatError: a file is no module.
    """
    known: dict[str, tuple[bytes, tuple[str, ...]]] = {}
    wanted = frozenset(names)
    asked: frozenset[str] = frozenset()
    while wanted and len(known) < _MOST_IN_TREE:
        asked |= wanted
        for path, data in find(wanted).items():
            plain = unpack_module(data, path)
            module = read_kernel_object(split_trailer(plain)[0], path)
            known[module_name(path)] = (plain, tuple(name.replace("-", "_") for name in module.depends))
        wanted = frozenset(name for _, depends in known.values() for name in depends) - asked
    ordered = order_by_dependency({name: depends for name, (_, depends) in known.items()})
    return [(name, known[name][0]) for name in ordered]


def order_by_dependency(depends: dict[str, tuple[str, ...]]) -> list[str]:
    """Return names so that each comes after those of the same mapping that it depends on; circles are broken."""
    ordered: dict[str, None] = {}

    def visit(name: str, above: frozenset[str]) -> None:
        if name in ordered or name in above or name not in depends:
            return
        for other in depends[name]:
            visit(other, above | {name})
        ordered[name] = None

    for name in depends:
        visit(name, frozenset())
    return list(ordered)
