"""Reads a vendor's source as far as guesses need it: bounded, without following a link or running anything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FormatError, UsageError
from builder.host.places import open_inside
from builder.kmod.kernel_object import module_name, read_modinfo
from builder.kmod.packing import is_module, unpack_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MIB = 1024**2
# The kernel's own drivers/ has 30,000 files of C and 800 MiB; a vendor's source is a hundredth of it.
_MOST_FILES = 50_000
_MOST_TEXT = 128 * _MIB
_LARGEST_TEXT = 2 * _MIB
_LARGEST_MODULE = 64 * _MIB
_MOST_MODULES = 64
_DEEPEST = 32
_MAKEFILES = frozenset({"Kbuild", "Makefile", "makefile", "GNUmakefile"})
_WORDS = frozenset({"dkms.conf", "VERSION", "configure", "configure.ac", "Makefile.in"})
_LEFT_OUT = frozenset({".git", ".hg", ".svn", "__pycache__"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLook:
    """What a folder holds: all names, the texts that tell something, and modinfo of modules that somebody built.

    ``names`` are relative paths of regular files, sorted. ``makefiles``, ``c_files`` and ``words`` are texts by path,
    with a sign in the place of what is not UTF-8. ``built`` is modinfo by the module's name. ``passed_over`` says in
    sentences what was not looked at.
    """

    folder_name: str
    names: tuple[str, ...]
    makefiles: Mapping[str, str]
    c_files: Mapping[str, str]
    words: Mapping[str, str]
    built: Mapping[str, Mapping[str, tuple[str, ...]]]
    passed_over: tuple[str, ...] = ()


def look_at(folder: Path) -> SourceLook:
    """Look at a source.

    Raises:
        UsageError: it is no folder that can be read, or holds no file.
    """
    looker = _Looker(folder)
    names = sorted(looker.walk())
    if not names:
        raise UsageError(f"there is no file in {folder}", hint="--source names the folder of the driver's source")
    for name in names:
        looker.read(name)
    return SourceLook(
        folder_name=folder.resolve().name,
        names=tuple(names),
        makefiles=looker.makefiles,
        c_files=looker.c_files,
        words=looker.words,
        built=looker.built,
        passed_over=tuple(looker.passed_over),
    )


class _Looker:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left = _MOST_TEXT
        self._modules = 0
        self.makefiles: dict[str, str] = {}
        self.c_files: dict[str, str] = {}
        self.words: dict[str, str] = {}
        self.built: dict[str, dict[str, tuple[str, ...]]] = {}
        self.passed_over: list[str] = []

    def walk(self) -> list[str]:
        found: list[str] = []
        try:
            for name in self._walk("", _DEEPEST):
                if len(found) == _MOST_FILES:
                    self.passed_over.append(f"only the first {_MOST_FILES} files were looked at")
                    break
                found.append(name)
        except OSError as error:
            problem = f"{error.filename or self._folder}: {error.strerror}"
            raise UsageError(problem, hint="--source names the folder of the driver's source") from None
        return found

    def _walk(self, below: str, levels: int) -> Iterator[str]:
        if not levels:
            self.passed_over.append(f"{below} is more than {_DEEPEST} folders deep")
            return
        with os.scandir(self._folder / below) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            if entry.name in _LEFT_OUT:
                continue
            if entry.is_symlink():
                self.passed_over.append(f"{below}{entry.name} is a link")
            elif entry.is_dir(follow_symlinks=False):
                yield from self._walk(f"{below}{entry.name}/", levels - 1)
            elif entry.is_file(follow_symlinks=False):
                yield f"{below}{entry.name}"
            else:
                self.passed_over.append(f"{below}{entry.name} is neither a file nor a folder")

    def read(self, path: str) -> None:
        name = path.rpartition("/")[2]
        if is_module(name):
            self._read_module(path)
        elif name in _MAKEFILES:
            self._read_text(path, self.makefiles)
        elif name.endswith((".c", ".h")):
            self._read_text(path, self.c_files)
        elif name in _WORDS or path == "debian/changelog":
            self._read_text(path, self.words)

    def _read_text(self, path: str, texts: dict[str, str]) -> None:
        content = self._open(path, min(_LARGEST_TEXT, self._left))
        if content is not None:
            self._left -= len(content)
            texts[path] = content.decode(errors="replace")

    def _read_module(self, path: str) -> None:
        self._modules += 1
        if self._modules > _MOST_MODULES:
            return
        content = self._open(path, _LARGEST_MODULE)
        if content is None:
            return
        try:
            self.built[module_name(path)] = read_modinfo(unpack_module(content, path))
        except FormatError as error:
            self.passed_over.append(f"{path}: {error.message}")

    def _open(self, path: str, most: int) -> bytes | None:
        try:
            with open_inside(self._folder, path, most=most) as stream:
                return stream.read(most)
        except FormatError as error:
            self.passed_over.append(f"{path} {error.message}")
        except OSError as error:
            self.passed_over.append(f"{path}: {error.strerror}")
        return None
