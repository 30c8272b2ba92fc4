"""Takes what fit must know of a kernel out of its toolkit, before any driver touches that.

It is kept by toolkit identity: a toolkit's content never changes.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.kmod.header_forms import C_NAME, find_forms
from builder.kmod.kernel_facts import MODULE_LISTS, NEEDED_FILES, make_kernel_facts
from builder.store.extract import extract_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from builder.kernel import KernelVersion
    from builder.kmod.kernel_facts import KernelFacts
    from builder.store.jail import Jail

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
_SEARCH = """\
ARG DTK_AUTO
FROM ${DTK_AUTO} AS build
ARG KERNEL_VERSION
ARG NAMES
RUN set -eu; cd "/usr/src/kernels/$KERNEL_VERSION"; \\
    [ -f include/linux/vermagic.h ] || cd "/lib/modules/$KERNEL_VERSION/source/"; \\
    case "$KERNEL_VERSION" in *x86_64*|*amd64) arch=x86;; *aarch64*|*arm64) arch=arm64;; \\
        *ppc64le*) arch=powerpc;; *) arch=s390;; esac; \\
    macro="^[[:space:]]*#[[:space:]]*define[[:space:]]+($NAMES)\\>"; called="\\<($NAMES)[[:space:]]*\\("; \\
    grep -rnE -B1 --include='*.h' -e "$macro" -e "$called" include "arch/$arch/include" \\
        | head -c 8388608 >/out/definitions
"""
# What one search asks for: more would be no driver's, and no command line's.
_MOST_NAMES = 500
# Facts of one kernel take about 6 MB.
_MOST_KEPT = 16


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

    def find_forms(self, kernel: KernelVersion, names: Iterable[str]) -> dict[str, str]:
        """Return what a kernel's headers make of names, see ``header_forms``; makes the kernel's toolkit if need be.

        Raises:
            SourceError, CommandError: the toolkit could not be made, or has no headers.
        """
        asked = sorted(name for name in set(names) if C_NAME.fullmatch(name))[:_MOST_NAMES]
        if not asked:
            return {}
        arguments = {
            "DTK_AUTO": self._toolkit_of(kernel), "KERNEL_VERSION": kernel.raw, "NAMES": "|".join(asked),
        }  # fmt: skip
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".search-") as scratch:
            found = Path(scratch, "found")
            extract_files(_SEARCH, arguments, found, jail=self._jail)
            file = found / "definitions"
            return find_forms(_read(file), asked) if file.is_file() else {}

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
    names = (*NEEDED_FILES, *(name for name in MODULE_LISTS if (folder / name).is_file()))
    return make_kernel_facts({name: _read(folder / name) for name in names}, kernel, origin=str(folder))


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="backslashreplace")
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error.strerror}") from None
