"""What a kernel demands of a module: its vermagic, its exported symbols, and which modules it brings itself.

The facts come out of the kernel's toolkit, before any driver touches it, and are kept by toolkit identity: a
toolkit's content never changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.extract import extract_files
from builder.module.kernel_object import module_name
from builder.module.symvers import KernelSymbols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from builder.jail import Jail
    from builder.kernel import KernelVersion

# Red Hat has one tree for a kernel; Debian has the common headers in a second one, which the link 'source' names.
_CONTAINERFILE = """\
ARG DTK_AUTO
FROM ${DTK_AUTO} AS build
ARG KERNEL_VERSION
RUN set -eu; cd "/usr/src/kernels/$KERNEL_VERSION"; common=.; modules="/lib/modules/$KERNEL_VERSION"; \\
    [ -f include/linux/vermagic.h ] || common="$modules/source"; \\
    case "$KERNEL_VERSION" in *x86_64*|*amd64) arch=x86;; *aarch64*|*arm64) arch=arm64;; \\
        *ppc64le*) arch=powerpc;; *) arch=s390;; esac; \\
    cp Module.symvers include/generated/utsrelease.h include/config/auto.conf /out/; \\
    cp "$common/include/linux/vermagic.h" /out/vermagic.h; \\
    for file in "$common/arch/$arch/include/asm/vermagic.h" "$common/include/asm-generic/vermagic.h"; do \\
        if [ -f "$file" ]; then cp "$file" /out/arch-vermagic.h; break; fi; \\
    done; \\
    for file in modules.builtin modules.dep; do \\
        if [ -f "$modules/$file" ]; then cp "$modules/$file" /out/; fi; \\
    done
"""
# Facts of one kernel take about 6 MB.
_MOST_KEPT = 16
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


class FactsOfKernels:
    """Facts by kernel, extracted and parsed once; safe to use from several threads.

    Args:
        folder: where extracted files are kept, by toolkit identity.
        identity_of: returns the identity of a kernel's toolkit.
        toolkit_of: returns the name of a kernel's toolkit image, making it if need be.
        jail: where the extraction runs.
    """

    def __init__(
        self,
        *,
        folder: Path,
        identity_of: Callable[[KernelVersion], str],
        toolkit_of: Callable[[KernelVersion], str],
        jail: Jail,
    ) -> None:
        self._folder = folder
        self._identity_of = identity_of
        self._toolkit_of = toolkit_of
        self._jail = jail
        self._read = lru_cache(maxsize=_MOST_KEPT)(self._read_once)

    def of(self, kernel: KernelVersion) -> KernelFacts:
        """Return the facts of a kernel.

        Raises:
            FormatError: its toolkit does not hold what it should.
            SourceError, CommandError: the toolkit could not be made, or has no such files.
        """
        return self._read(kernel)

    def _read_once(self, kernel: KernelVersion) -> KernelFacts:
        target = self._folder / self._identity_of(kernel)
        if not target.is_dir():
            extract_kernel_facts(self._toolkit_of(kernel), kernel, target, jail=self._jail)
        return read_kernel_facts(target, kernel)


def extract_kernel_facts(toolkit_image: str, kernel: KernelVersion, target: Path, *, jail: Jail) -> None:
    """Copy the files that facts are made of out of a toolkit, unless ``target`` has them already.

    Raises:
        CommandError: the toolkit does not have them: it is not a Driver Toolkit of this kernel.
    """
    extract_files(
        _CONTAINERFILE,
        {"DTK_AUTO": toolkit_image, "KERNEL_VERSION": kernel.raw},
        target,
        jail=jail,
    )


def read_kernel_facts(folder: Path, kernel: KernelVersion) -> KernelFacts:
    """Read a folder that ``extract_kernel_facts`` filled, or any folder with the same files.

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
