"""What a kernel's own modules say of themselves, as depmod would collect it: made once for a kernel, and kept."""

from __future__ import annotations

import json
import os
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from builder.boot.load_order import ModuleFacts, ModuleIndex, underscored
from builder.errors import FormatError
from builder.foreign import parse_with, read_json
from builder.kmod.kernel_object import module_name, read_modinfo
from builder.kmod.packing import is_module, unpack_module
from builder.kmod.trailer import split_trailer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

# Another form of the file gets another name.
INDEX_FILE = "module-index-1.json"
ORDER, BUILT_IN, BUILT_IN_INFO = "modules.order", "modules.builtin", "modules.builtin.modinfo"
_Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The file: a row for each module, with the fields of ``ModuleFacts`` in their order."""

    modules: tuple[tuple[str, _Texts, _Texts, _Texts], ...]
    built_in: _Texts


_KEPT = TypeAdapter(_Kept)


def make_index(files: Iterable[tuple[str, bytes]]) -> ModuleIndex:
    """Read the modules of a kernel and the lists beside them (modules.order, modules.builtin).

    Raises:
        FormatError: a file is no module.
    """
    modules: dict[str, ModuleFacts] = {}
    lists: dict[str, bytes] = {}
    for path, content in files:
        if is_module(path):
            module = read_facts(path, content)
            modules.setdefault(module.name, module)
        else:
            lists[path.rpartition("/")[2]] = content
    order = [module_name(line) for line in lists.get(ORDER, b"").decode(errors="replace").split()]
    ordered = [modules[name] for name in dict.fromkeys([*order, *sorted(modules)]) if name in modules]
    return ModuleIndex(ordered, _built_in(lists))


def read_facts(path: str, content: bytes) -> ModuleFacts:
    """Return what a module says of itself; its name is that of its file, as for modprobe.

    Raises:
        FormatError: it is no module.
    """
    info = read_modinfo(split_trailer(unpack_module(content, path))[0])
    return facts_of(module_name(path), info)


def facts_of(name: str, info: Mapping[str, tuple[str, ...]]) -> ModuleFacts:
    """Return the same of what modinfo says."""
    return ModuleFacts(
        name=name,
        depends=tuple(map(underscored, filter(None, ",".join(info.get("depends", ())).split(",")))),
        aliases=info.get("alias", ()),
        softdeps=info.get("softdep", ()),
    )


def _built_in(lists: dict[str, bytes]) -> set[str]:
    """Return names and aliases; lines of modules.builtin.modinfo are ``module.key=value`` (scripts/link-vmlinux.sh)."""
    names = {module_name(line) for line in lists.get(BUILT_IN, b"").decode(errors="replace").split()}
    for entry in lists.get(BUILT_IN_INFO, b"").decode(errors="replace").split("\0"):
        key, _, value = entry.partition("=")
        if key.endswith(".alias"):
            names.add(underscored(value))
    return names


def keep_index(file: Path, make: Callable[[], ModuleIndex]) -> ModuleIndex:
    """Return what is kept in a file; what is not there, or damaged, is made anew."""
    try:
        kept = parse_with(_KEPT, read_json(file.read_bytes(), "it"), "an index of modules")
    except (OSError, FormatError):
        index = make()
        _write(file, index)
        return index
    modules = (
        ModuleFacts(name=name, depends=depends, aliases=aliases, softdeps=softdeps)
        for name, depends, aliases, softdeps in kept.modules
    )
    return ModuleIndex(modules, kept.built_in)


def _write(file: Path, index: ModuleIndex) -> None:
    rows = [astuple(module) for module in index.modules.values()]
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(json.dumps({"modules": rows, "built_in": sorted(index.built_in)}, separators=(",", ":")))
    temporary.replace(file)
