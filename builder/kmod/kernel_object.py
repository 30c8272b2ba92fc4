"""What a ``.ko`` says of itself: modinfo, the symbols it imports and exports, and the versions it was built against.

Sources of the formats: ``include/linux/moduleparam.h`` (``.modinfo``), ``kernel/module/version.c`` and
``include/linux/module.h`` (``__versions``, and since 6.14 ``__version_ext_crcs``/``__version_ext_names``),
``scripts/mod/modpost.c`` and ``include/linux/export-internal.h`` (``__ksymtab``, ``__crc_``, ``__kstrtabns_``). Pure.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.kmod.elf import ET_REL, SHN_ABS, STB_WEAK, Elf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.kmod.elf import Symbol

# Kbuild makes it of the file's name (scripts/Makefile.lib, name-fix), and MODULE_NAME_LEN leaves 55 characters. It
# stands in commands, paths and messages, and who wrote it may be a stranger.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,54}")
# The kernel's own list: include/linux/license.h, license_is_gpl_compatible().
_GPL_COMPATIBLE = frozenset(
    {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}
)
# Made by the linker itself; the kernel's loader passes over it, too (kernel/module/main.c, ignore_undef_symbol()).
_NOT_IMPORTED = frozenset({"", "_GLOBAL_OFFSET_TABLE_"})


@dataclass(frozen=True, slots=True)
class Export:
    """An exported symbol: its CRC (None where the kernel has no symbol versions), and who may use it."""

    crc: int | None
    is_gpl_only: bool
    namespace: str
    module: str
    """Path of the exporting module without ``.ko``, or ``vmlinux``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelObject:
    """A kernel module as the kernel's loader would see it."""

    name: str
    bits: int
    machine: int
    is_little: bool
    is_relocatable: bool
    modinfo: Mapping[str, tuple[str, ...]]
    imports: Mapping[str, bool]
    """Imported symbols; True where the import is weak, so that the symbol may be missing."""
    versions: Mapping[str, int]
    """CRC that each import was built against, and that of ``module_layout``."""
    exports: Mapping[str, Export]

    @property
    def vermagic(self) -> str:
        return self.first("vermagic")

    @property
    def depends(self) -> tuple[str, ...]:
        """Names of the modules that must be loaded first, in modinfo's spelling."""
        return tuple(name for name in self.first("depends").split(",") if name)

    @property
    def is_gpl_compatible(self) -> bool:
        return self.first("license") in _GPL_COMPATIBLE

    def first(self, key: str) -> str:
        """Return the first value of a modinfo key; empty where there is none."""
        values = self.modinfo.get(key)
        return values[0] if values else ""


def read_kernel_object(data: bytes, file_name: str) -> KernelObject:
    """Read a module, uncompressed.

    Args:
        data: the file; a signature at its end does no harm.
        file_name: such as ``snd-hda.ko``; the module's name where modinfo has none.

    Raises:
        FormatError: not a kernel object, or a damaged one.
    """
    elf = Elf(data)
    modinfo = _read_modinfo(elf)
    name = (modinfo.get("name") or (module_name(file_name),))[0]
    if not _NAME.fullmatch(name):
        raise FormatError(f"it calls itself {name[:80]!r}, which is no name that a kernel's build gives to a module")
    return KernelObject(
        name=name,
        bits=elf.bits,
        machine=elf.machine,
        is_little=elf.is_little,
        is_relocatable=elf.type == ET_REL,
        modinfo=modinfo,
        imports={
            symbol.name: symbol.binding == STB_WEAK
            for symbol in elf.symbols
            if symbol.is_undefined and symbol.name not in _NOT_IMPORTED
        },
        versions=_read_versions(elf),
        exports=_read_exports(elf, name),
    )


def module_name(path: str) -> str:
    """Return the name that the kernel uses: no folder, no ``.ko`` and compression, ``_`` for ``-``."""
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def read_modinfo(data: bytes) -> dict[str, tuple[str, ...]]:
    """Return only what a module's modinfo says, by key.

    Raises:
        FormatError: not a kernel module, or a damaged one.
    """
    return _read_modinfo(Elf(data))


def _read_modinfo(elf: Elf) -> dict[str, tuple[str, ...]]:
    content = elf.section(".modinfo")
    if content is None:
        raise FormatError("it has no .modinfo, so it is no kernel module")
    found: dict[str, list[str]] = {}
    for entry in content.split(b"\0"):
        key, separator, value = entry.partition(b"=")
        if separator:
            found.setdefault(_text(key), []).append(_text(value))
    return {key: tuple(values) for key, values in found.items()}


def _read_versions(elf: Elf) -> dict[str, int]:
    crcs = elf.section("__version_ext_crcs")
    names = elf.section("__version_ext_names")
    if crcs is not None and names is not None:
        words = [_text(name) for name in names.split(b"\0")]
        numbers = [crc for (crc,) in struct.iter_unpack(elf.byte_order + "I", crcs[: len(crcs) // 4 * 4])]
        if len(words) < len(numbers):
            raise FormatError("its extended symbol versions have more CRCs than names")
        return dict(zip(words, numbers, strict=False))
    content = elf.section("__versions") or b""
    # struct modversion_info: an unsigned long, and a name that fills it up to 64 bytes.
    form = struct.Struct(elf.byte_order + ("Q56s" if elf.bits == 64 else "I60s"))  # noqa: PLR2004
    if len(content) % form.size:
        raise FormatError("its __versions section is cut off")
    return {_text(name.partition(b"\0")[0]): crc & 0xFFFFFFFF for crc, name in form.iter_unpack(content)}


def _read_exports(elf: Elf, module: str) -> dict[str, Export]:
    by_name = {symbol.name: symbol for symbol in elf.symbols if symbol.name.startswith("__")}
    exports = {}
    for name, symbol in by_name.items():
        if not name.startswith("__ksymtab_") or not 0 < symbol.section < len(elf.sections):
            continue
        exported = name.removeprefix("__ksymtab_")
        exports[exported] = Export(
            crc=_read_crc(elf, by_name.get(f"__crc_{exported}")),
            is_gpl_only=elf.sections[symbol.section].name.startswith(("__ksymtab_gpl", "___ksymtab_gpl")),
            namespace=_read_string(elf, by_name.get(f"__kstrtabns_{exported}")),
            module=module,
        )
    return exports


def _read_crc(elf: Elf, symbol: Symbol | None) -> int | None:
    """Read the CRC of an export: the symbol's value up to 5.18, the word that it points at since then."""
    if symbol is None:
        return None
    return symbol.value & 0xFFFFFFFF if symbol.section == SHN_ABS else elf.word_at(symbol)


def _read_string(elf: Elf, symbol: Symbol | None) -> str:
    if symbol is None or not 0 < symbol.section < len(elf.sections):
        return ""
    content = elf.content(elf.sections[symbol.section])
    return _text(content[symbol.value : symbol.value + 512].partition(b"\0")[0])


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")
