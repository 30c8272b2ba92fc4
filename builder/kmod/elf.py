"""A reader for relocatable ELF files, bounded: no offset, count or name in a hostile file can cost more than its size.

Format: ``elf(5)`` and the System V gABI, chapters 4 and 5. Only what kernel objects need is read: the header, section
headers, and the symbol table. Pure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from builder.errors import FormatError

# Longest name that is believed; the kernel's own limit is 512 (KSYM_NAME_LEN, include/linux/kallsyms.h).
_LONGEST_NAME = 4096
# The largest kernels and modules are far below: vmlinux has some 200,000 symbols.
_MOST_SECTIONS = 200_000
_MOST_SYMBOLS = 1_000_000
_SHN_UNDEF = 0
SHN_ABS = 0xFFF1
_SHN_LORESERVE = 0xFF00
_PT_INTERP = 3
_SHT_SYMTAB = 2
_SHT_NOBITS = 8
ET_REL = 1
STB_WEAK = 2


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    type: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol; ``section`` is a section index or one of the reserved values such as ``SHN_ABS``."""

    name: str
    binding: int
    section: int
    value: int

    @property
    def is_undefined(self) -> bool:
        return self.section == _SHN_UNDEF


class Elf:
    """An ELF file in memory.

    Raises:
        FormatError: not ELF, truncated, or with a header that points outside of the file. Reading sections and
            symbols raises it, too.
    """

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"\x7fELF":
            raise FormatError("it is not an ELF file" if data else "it is empty")
        if len(data) < 64 or data[4] not in {1, 2} or data[5] not in {1, 2}:  # noqa: PLR2004 - e_ident, elf(5)
            raise FormatError("its ELF header is damaged or cut off")
        self._data = data
        self.bits = 32 * data[4]
        self.is_little = data[5] == 1
        self.byte_order = "<" if self.is_little else ">"
        self.type, self.machine = self._unpack("HH", 16)
        if self.bits == 64:  # noqa: PLR2004 - ELFCLASS64
            (table,) = self._unpack("Q", 40)
            entry_size, count, names = self._unpack("HHH", 58)
        else:
            (table,) = self._unpack("I", 32)
            entry_size, count, names = self._unpack("HHH", 46)
        self.sections = self._read_sections(table, entry_size, count, names)

    def section(self, name: str) -> bytes | None:
        """Return the content of the first section of that name; None if there is none."""
        for section in self.sections:
            if section.name == name:
                return self.content(section)
        return None

    def content(self, section: Section) -> bytes:
        if section.type == _SHT_NOBITS:
            return b""
        return self._slice(section.offset, section.size, f"section {section.name}")

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        for section in self.sections:
            if section.type == _SHT_SYMTAB:
                return self._read_symbols(section)
        return ()

    def word_at(self, symbol: Symbol) -> int | None:
        """Return the 32 bits that a symbol points at; None where it points at no section."""
        if not 0 < symbol.section < min(len(self.sections), _SHN_LORESERVE):
            return None
        section = self.sections[symbol.section]
        content = self.content(section)[symbol.value : symbol.value + 4]
        return int.from_bytes(content, "little" if self.is_little else "big") if len(content) == 4 else None  # noqa: PLR2004

    def _unpack(self, form: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.byte_order + form, self._data, offset)
        except struct.error:
            raise FormatError("its ELF header is damaged or cut off") from None

    def _slice(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self._data):
            raise FormatError(f"it is cut off: {what} reaches beyond the end of the file")
        return self._data[offset : offset + size]

    def _read_sections(self, table: int, entry_size: int, count: int, names: int) -> tuple[Section, ...]:
        form = struct.Struct(self.byte_order + ("IIQQQQI" if self.bits == 64 else "IIIIIII"))  # noqa: PLR2004
        if not table or entry_size < form.size:
            raise FormatError("it has no section headers, so it is no kernel object")
        if count == 0:  # more than 65,279 sections: the number is in the first header
            count = form.unpack(self._slice(table, form.size, "the section header table"))[5]
        if count > _MOST_SECTIONS:
            raise FormatError(f"it claims to have {count} sections")
        raw = self._slice(table, count * entry_size, "the section header table")
        rows = [form.unpack_from(raw, number * entry_size) for number in range(count)]
        if names >= len(rows):
            raise FormatError("its section names are missing")
        table_of_names = self._slice(rows[names][4], rows[names][5], "the table of section names")
        return tuple(Section(_name(table_of_names, row[0]), row[1], row[4], row[5], row[6]) for row in rows)

    def _read_symbols(self, section: Section) -> tuple[Symbol, ...]:
        raw = self.content(section)
        if section.link >= len(self.sections):
            raise FormatError("the names of its symbols are missing")
        if len(raw) > _MOST_SYMBOLS * 24:
            raise FormatError(f"it has more than {_MOST_SYMBOLS} symbols")
        names = self.content(self.sections[section.link])
        if self.bits == 64:  # noqa: PLR2004
            form, size = struct.Struct(self.byte_order + "IBxHQ8x"), 24
            rows = ((name, info, index, value) for name, info, index, value in form.iter_unpack(_whole(raw, size)))
        else:
            form, size = struct.Struct(self.byte_order + "II4xBxH"), 16
            rows = ((name, info, index, value) for name, value, info, index in form.iter_unpack(_whole(raw, size)))
        return tuple(Symbol(_name(names, name), info >> 4, index, value) for name, info, index, value in rows)


@dataclass(frozen=True, slots=True)
class Program:
    """How a kernel starts a program.

    ``machine`` is ELF class, machine and whether it is little-endian; None for what is no ELF file. ``interpreter`` is
    the loader that it needs, or what runs a script; empty where that is nothing.
    """

    machine: tuple[int, int, bool] | None
    interpreter: str


def read_program(head: bytes) -> Program:
    """Read how a program begins; an interpreter that is named further behind is not known, and so is none."""
    if head[:2] == b"#!":
        words = head[2:256].partition(b"\n")[0].split()
        return Program(None, words[0].decode(errors="backslashreplace") if words else "")
    if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] not in {1, 2} or head[5] not in {1, 2}:  # noqa: PLR2004 - elf(5)
        return Program(None, "")
    is_wide, order = head[4] == 2, "<" if head[5] == 1 else ">"  # noqa: PLR2004
    (machine,) = struct.unpack_from(f"{order}H", head, 18)
    return Program((32 * head[4], machine, head[5] == 1), _read_interpreter(head, order, is_wide=is_wide))


def _read_interpreter(head: bytes, order: str, *, is_wide: bool) -> str:
    table, places = ("Q", (32, 54)) if is_wide else ("I", (28, 42))
    (start,) = struct.unpack_from(order + table, head, places[0])
    size, count = struct.unpack_from(f"{order}HH", head, places[1])
    form = struct.Struct(order + ("I4xQ16xQ" if is_wide else "II8xI"))
    for number in range(min(count, len(head) // form.size)):
        place = start + number * max(size, form.size)
        if place + form.size > len(head):
            break
        kind, offset, length = form.unpack_from(head, place)
        if kind == _PT_INTERP and offset + length <= len(head):
            return head[offset : offset + length].rstrip(b"\0").decode(errors="backslashreplace")
    return ""


def _whole(raw: bytes, size: int) -> bytes:
    return raw[: len(raw) // size * size]


def _name(table: bytes, offset: int) -> str:
    end = table.find(b"\0", offset, offset + _LONGEST_NAME)
    if offset >= len(table) or end < 0:
        raise FormatError("a name in it has no end")
    return table[offset:end].decode(errors="backslashreplace")
