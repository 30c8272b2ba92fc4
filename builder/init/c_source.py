"""What a file of C says of its module: its ``MODULE_`` macros, tables of devices, and refusals. Pure.

The macros are those of ``include/linux/module.h``; for devices, ``PCI_DEVICE`` of ``include/linux/pci.h`` and
``USB_DEVICE`` of ``usb.h``. Nothing is preprocessed: a value is known where it is text, or a macro that the source
defines as text. Every pass is linear in the size of the file, which is a stranger's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|/\*|//[^\n]*')
_MACRO = re.compile(r"\bMODULE_(LICENSE|DESCRIPTION|VERSION|FIRMWARE|DEVICE_TABLE)\s*\(")
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w{1,100})[ \t]+([^\n]{1,400})$", re.MULTILINE)
_PIECE = re.compile(r'\s*(?:"((?:[^"\\\n]|\\.)*)"|__stringify\s*\(\s*(\w+)\s*\)|(\w+))')
_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() -]{1,120})")
_DEVICE = re.compile(r"\b(PCI|USB)_DEVICE(?:_VER|_SUB|_AND_INTERFACE_INFO)?\s*\(\s*(\w+)\s*,\s*(\w+)")
_INIT = re.compile(r"\b__init\s+\w+\s*\(")
_ERROR = re.compile(r"-\s*(ENODEV|ENXIO|ENOSYS|EOPNOTSUPP)\b")
_BRACE = re.compile(r"[{}]")
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]{1,8}|\d{1,9})[uUlL]{0,3}")
_LONGEST_ARGUMENT = 1000
_LONGEST_BODY = 64 * 1024
_MOST_FUNCTIONS = 64
_MOST_DEVICES = 4096
_DEEPEST = 4


@dataclass(frozen=True, slots=True, order=True)
class Said:
    """A word of the source, and the line that has it; ``text`` is empty where only a compiler would know it."""

    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CFacts:
    """What one file says.

    ``devices`` are ``pci 1234:11e8``; ``refusals`` are errors that functions marked ``__init`` name.
    """

    licenses: tuple[Said, ...] = ()
    descriptions: tuple[Said, ...] = ()
    versions: tuple[Said, ...] = ()
    firmware: tuple[Said, ...] = ()
    buses: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    refusals: tuple[Said, ...] = ()
    spdx: str = ""

    @property
    def is_module(self) -> bool:
        """Whether the file is the one of its module that has the licence: modpost wants exactly one."""
        return bool(self.licenses)


def read_defines(text: str) -> dict[str, str]:
    """Return what a file defines as plain text or a number, by macro; one that is defined twice counts for nothing."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for match in _DEFINE.finditer(strip_comments(text)):
        name, value = match[1], match[2].strip()
        if name in found and found[name] != value:
            twice.add(name)
        found[name] = value
    return {name: value for name, value in found.items() if name not in twice}


def read_c(text: str, defines: Mapping[str, str]) -> CFacts:
    """Read a file of C; ``defines`` are those of the whole source, by ``read_defines``."""
    spdx = _SPDX.search(text[:4096])
    plain = strip_comments(text)
    said: dict[str, list[Said]] = {}
    buses: dict[str, None] = {}
    counted = _LineCounter(plain)
    for match in _MACRO.finditer(plain):
        inside = _argument(plain, match.end())
        if match[1] == "DEVICE_TABLE":
            buses[inside.partition(",")[0].strip()[:40]] = None
        else:
            said.setdefault(match[1], []).append(Said(_value(inside, defines), counted.line_of(match.start())))
    return CFacts(
        licenses=tuple(said.get("LICENSE", ())),
        descriptions=tuple(said.get("DESCRIPTION", ())),
        versions=tuple(said.get("VERSION", ())),
        firmware=tuple(said.get("FIRMWARE", ())),
        buses=tuple(bus for bus in buses if re.fullmatch(r"\w+", bus)),
        devices=tuple(_devices(plain, defines)),
        refusals=tuple(_refusals(plain)),
        spdx=spdx[1].strip(" *") if spdx else "",
    )


def strip_comments(text: str) -> str:
    """Return text without comments; lines stay where they are."""
    parts: list[str] = []
    at = 0
    while match := _TOKEN.search(text, at):
        parts.append(text[at : match.start()])
        at = match.end()
        if match[0].startswith('"'):
            parts.append(match[0])
        elif match[0] == "/*":
            end = text.find("*/", at)
            end = len(text) if end < 0 else end + 2
            parts.append(" " + "\n" * text.count("\n", at, end))
            at = end
    return "".join([*parts, text[at:]])


class _LineCounter:
    """Tells lines of offsets that only grow, and looks at no character twice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def line_of(self, offset: int) -> int:
        self._line += self._text.count("\n", self._at, offset)
        self._at = offset
        return self._line


def _argument(text: str, start: int) -> str:
    """Return what stands between parentheses, quotes respected; empty where they are not closed soon."""
    depth = 1
    quoted = False
    piece = text[start : start + _LONGEST_ARGUMENT]
    skip = False
    for at, character in enumerate(piece):
        if skip:
            skip = False
        elif quoted:
            skip = character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character in "()":
            depth += 1 if character == "(" else -1
            if not depth:
                return piece[:at]
    return ""


def _value(argument: str, defines: Mapping[str, str], levels: int = _DEEPEST) -> str:
    """Return the text that literals and macros beside each other make; empty where one of them is not known."""
    parts: list[str] = []
    at = 0
    argument = argument.strip()
    while at < len(argument):
        match = _PIECE.match(argument, at)
        if match is None:
            return ""
        at = match.end()
        if match[1] is not None:
            parts.append(re.sub(r"\\(.)", r"\1", match[1]))
        elif match[2] is not None:
            parts.append(defines.get(match[2], "").strip('" '))
        else:
            inner = defines.get(match[3], "")
            value = _value(inner, defines, levels - 1) if levels and inner else ""
            if not value:
                return ""
            parts.append(value)
        if not parts[-1] and match[2] is not None:
            return ""
    return " ".join("".join(parts).split())[:400]


def _devices(text: str, defines: Mapping[str, str]) -> Iterator[str]:
    found: dict[str, None] = {}
    for match in _DEVICE.finditer(text):
        numbers = [_number(word, defines) for word in (match[2], match[3])]
        if None not in numbers:
            found[f"{match[1].lower()} {numbers[0]:04x}:{numbers[1]:04x}"] = None
        if len(found) >= _MOST_DEVICES:
            break
    yield from found


def _number(word: str, defines: Mapping[str, str]) -> int | None:
    for _ in range(_DEEPEST):
        if _NUMBER.fullmatch(word):
            return int(word.rstrip("uUlL"), 0) if not re.fullmatch(r"0\d+[uUlL]*", word) else None
        word = defines.get(word, "").strip("() ")
    return None


def _refusals(text: str) -> Iterator[Said]:
    """Yield errors that functions marked ``__init`` name: what they answer, perhaps, where hardware is missing."""
    counted = _LineCounter(text)
    for number, match in enumerate(_INIT.finditer(text)):
        if number >= _MOST_FUNCTIONS:
            return
        start = text.find("{", match.end(), match.end() + _LONGEST_ARGUMENT)
        if start < 0 or ";" in text[match.end() : start]:
            continue
        body = text[start : _end_of_body(text, start)]
        if error := _ERROR.search(body):
            yield Said(error[1], counted.line_of(start + error.start()))


def _end_of_body(text: str, start: int) -> int:
    depth = 0
    most = min(len(text), start + _LONGEST_BODY)
    for match in _BRACE.finditer(text, start, most):
        depth += 1 if match[0] == "{" else -1
        if not depth:
            return match.end()
    return most
