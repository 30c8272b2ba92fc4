"""What a kernel's headers make of a name that the kernel does not export: a macro, or an inline function. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

C_NAME = re.compile(r"[A-Za-z_]\w{0,127}")
# As grep -n -B1 prints them: a hit has ':' around its number, and the line before it '-'. Names of headers have neither
# before the suffix in a way that a number in the same marks could be taken for another one.
_LINE = re.compile(r"(?P<file>[^:\n]{1,300}?\.h)(?P<mark>[:-])\d{1,7}(?P=mark)(?P<text>.*)")
_MACRO = re.compile(r"\s*#\s*define\s+(?P<name>[A-Za-z_]\w*)")
_INLINE = re.compile(r"\b(?:__always_|__)?inline\b")


def find_forms(printed: str, names: Iterable[str]) -> dict[str, str]:
    """Return, by name, what headers make of names: ``a macro in FILE`` or ``an inline function in FILE``.

    Args:
        printed: the lines of headers that define them, as ``grep -n -B1`` prints them.
        names: those that are asked for.
    """
    wanted = set(names)
    found: dict[str, str] = {}
    before = ""
    for line in printed.splitlines():
        match = _LINE.fullmatch(line[:2000])
        if match is None:
            before = ""
            continue
        text = match["text"]
        if match["mark"] == ":":
            for name, form in _forms_of(text, before, wanted):
                found.setdefault(name, f"{form} in {match['file'].removeprefix('./')}")
        before = text
    return found


def _forms_of(text: str, before: str, wanted: set[str]) -> Iterable[tuple[str, str]]:
    if macro := _MACRO.match(text):
        if macro["name"] in wanted:
            yield macro["name"], "a macro"
        return
    called = re.search(r"([A-Za-z_]\w*)\s*\(", _INLINE.sub("", text))
    # The name may stand on a line of its own, below its type.
    is_inline = _INLINE.search(text) or (_INLINE.search(before) and not before.rstrip().endswith((";", "}", "{")))
    if called and called[1] in wanted and is_inline and not text.rstrip().endswith(";"):
        yield called[1], "an inline function"
