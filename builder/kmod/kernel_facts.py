"""What a kernel demands of a module: its vermagic, its exported symbols, and which modules it brings itself. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.kmod.kernel_object import module_name
from builder.kmod.symvers import KernelSymbols

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from builder.kernel import KernelVersion

NEEDED_FILES = ("Module.symvers", "utsrelease.h", "arch-vermagic.h", "vermagic.h", "auto.conf")
MODULE_LISTS = ("modules.builtin", "modules.dep")
"""Files that a toolkit may lack; each line begins with a module."""
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


def make_kernel_facts(files: Mapping[str, str], kernel: KernelVersion, *, origin: str) -> KernelFacts:
    """Return what the files of a kernel say.

    Args:
        files: texts by name: all of ``NEEDED_FILES``; of ``MODULE_LISTS`` what there is.
        kernel: the kernel that they must belong to.
        origin: where they come from, for errors.

    Raises:
        FormatError: a file is not what it should be, or they belong to another kernel.
    """
    try:
        symbols = KernelSymbols(files["Module.symvers"])
    except FormatError as error:
        raise FormatError(f"{origin}/Module.symvers: {error.message}") from None
    headers = [files[name] for name in ("utsrelease.h", "arch-vermagic.h", "vermagic.h")]
    vermagic = evaluate_vermagic(headers, _read_configuration(files["auto.conf"]))
    version = vermagic.partition(" ")[0]
    if version != kernel.raw:
        raise FormatError(f"{origin} belongs to kernel {version}, not to {kernel}")
    built_in, loadable = (_read_names(files.get(name, "")) for name in MODULE_LISTS)
    return KernelFacts(
        kernel=kernel,
        vermagic=vermagic,
        symbols=symbols,
        in_tree=symbols.modules | built_in | loadable,
        built_in=built_in,
    )


def _read_names(text: str) -> frozenset[str]:
    """Return the modules that each line begins with."""
    return frozenset(module_name(line.partition(":")[0]) for line in text.splitlines()) - {""}


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
