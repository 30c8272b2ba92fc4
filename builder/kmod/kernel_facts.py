"""What a kernel demands of a module: its vermagic, its exported symbols, and which modules it brings itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.kmod.kernel_object import module_name
from builder.kmod.symvers import KernelSymbols

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from builder.kernel import KernelVersion

_DIRECTIVE = re.compile(r"#\s*(ifdef|ifndef|if|elif|else|endif|define)\b\s*(.*)")
_DEFINED = re.compile(r"!?\s*defined\s*\(?\s*(\w+)\s*\)?")
_TOKEN = re.compile(r'"([^"]*)"|(\w+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFacts:
    """One kernel, as far as a module has to fit it."""

    kernel: KernelVersion
    vermagic: str
    symbols: KernelSymbols
    in_tree: frozenset[str]
    """Names of modules that the kernel itself brings, loadable or built in."""
    built_in: frozenset[str] = frozenset()
    """Those of them that are part of the kernel itself."""

    @property
    def has_versions(self) -> bool:
        """Whether the kernel compares the CRC of every symbol (CONFIG_MODVERSIONS)."""
        return "modversions" in self.vermagic.split()


def read_kernel_facts(folder: Path, kernel: KernelVersion) -> KernelFacts:
    """Read the files of a folder that ``builder.sources.kernel_files`` filled, or of any folder with the same.

    Raises:
        FormatError: a file is missing or not what it should be, or they belong to another kernel.
    """
    symvers = folder / "Module.symvers"
    try:
        symbols = KernelSymbols(_read(symvers))
    except FormatError as error:
        raise FormatError(f"{symvers}: {error.message}") from None
    vermagic = evaluate_vermagic(
        [_read(folder / name) for name in ("utsrelease.h", "arch-vermagic.h", "vermagic.h")],
        _read_configuration(_read(folder / "auto.conf")),
    )
    version = vermagic.partition(" ")[0]
    if version != kernel.raw:
        raise FormatError(f"{folder} belongs to kernel {version}, not to {kernel}")
    built_in, loadable = (_read_names(folder / name) for name in ("modules.builtin", "modules.dep"))
    return KernelFacts(
        kernel=kernel,
        vermagic=vermagic,
        symbols=symbols,
        in_tree=symbols.modules | built_in | loadable,
        built_in=built_in,
    )


def _read_names(file: Path) -> frozenset[str]:
    """Return the modules that each line of a file begins with; none where a toolkit lacks the file."""
    lines = _read(file).splitlines() if file.is_file() else []
    return frozenset(module_name(line.partition(":")[0]) for line in lines) - {""}


def evaluate_vermagic(headers: Iterable[str], configuration: frozenset[str]) -> str:
    """Return the value of VERMAGIC_STRING, as the kernel's own headers define it (include/linux/vermagic.h).

    Args:
        headers: the texts of the headers, in the order in which they are included.
        configuration: names of the macros that the kernel's configuration defines.

    Raises:
        FormatError: the headers do not define it.
    """
    macros: dict[str, str] = {}
    for text in headers:
        _collect_macros(text.replace("\\\n", " "), configuration, macros)
    if "VERMAGIC_STRING" not in macros:
        raise FormatError("the kernel's headers do not define VERMAGIC_STRING")
    return _expand("VERMAGIC_STRING", macros, depth=0)


def _collect_macros(text: str, configuration: frozenset[str], macros: dict[str, str]) -> None:
    active: list[bool] = []
    taken: list[bool] = []
    for line in text.splitlines():
        match = _DIRECTIVE.match(line.strip())
        if match is None:
            continue
        word, rest = match.groups()
        if word in {"ifdef", "ifndef", "if"}:
            holds = _holds(word, rest, configuration, macros)
            active.append(holds)
            taken.append(holds)
        elif word in {"elif", "else"} and active:
            holds = not taken[-1] and (word == "else" or _holds(word, rest, configuration, macros))
            active[-1] = holds
            taken[-1] = taken[-1] or holds
        elif word == "endif" and active:
            active.pop()
            taken.pop()
        elif word == "define" and all(active):
            name, _, value = rest.replace("\t", " ").partition(" ")
            macros[name] = value.strip()


def _holds(word: str, condition: str, configuration: frozenset[str], macros: dict[str, str]) -> bool:
    if word in {"ifdef", "ifndef"}:
        name = condition.split(maxsplit=1)[0] if condition.split() else ""
        return (name in configuration or name in macros) == (word == "ifdef")
    match = _DEFINED.match(condition)
    if match is None:
        return False
    return (match[1] in configuration or match[1] in macros) != condition.startswith("!")


def _expand(name: str, macros: dict[str, str], *, depth: int) -> str:
    if depth > 8:  # noqa: PLR2004 - the real ones nest twice
        raise FormatError(f"the kernel's headers define {name} in a circle")
    parts = []
    for match in _TOKEN.finditer(macros.get(name, "")):
        literal, word = match.groups()
        parts.append(literal if word is None else _expand(word, macros, depth=depth + 1))
    return "".join(parts)


def _read_configuration(text: str) -> frozenset[str]:
    return frozenset(
        f"{name}_MODULE" if value == "m" else name
        for name, separator, value in (line.partition("=") for line in text.splitlines())
        if separator and name.startswith("CONFIG_")
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="backslashreplace")
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error.strerror}") from None
