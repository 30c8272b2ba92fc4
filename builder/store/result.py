"""What a compile leaves behind, as data: folders, files and links by path, with rules that hold for all of them.

A compile runs code of strangers, so its result folder is read once (``result_folder.read_result``) and never looked
into again. Everything later, from the proof of fit to the final image, works on this structure. Pure.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass
from builder.image.labels import MODULE_ROOT
from builder.kmod.packing import is_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LONGEST_PATH = 1024
_DEEPEST = 32
_MOST_HOPS = 4
# In a layer such a name hides files of the base image (OCI image-spec, layer.md, "Whiteouts").
_WHITEOUT = ".wh."
_LINK_HINT = (
    "relative links may lead to files of the result itself; to the node's own modules leads only "
    f"{MODULE_ROOT}/KERNEL/host -> /lib/modules/KERNEL"
)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder; every folder has the mode 0755."""


@dataclass(frozen=True, slots=True)
class File:
    """A file with the mode 0755 if it is a program, else 0644."""

    content: bytes
    is_program: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link: a text that nothing in here follows on the host."""

    target: str


ResultEntry = Folder | File | Link


@dataclass(frozen=True, slots=True)
class CompileResult:
    """Entries by path relative to the image's root, sorted, each folder before what is in it. See ``make_result``."""

    entries: Mapping[str, ResultEntry]

    def modules(self) -> list[tuple[str, bytes]]:
        """Return path and content of every module, in the order of the paths."""
        return [(path, item.content) for path, item in self.files() if is_module(path)]

    def files(self) -> Iterator[tuple[str, File]]:
        return ((path, item) for path, item in self.entries.items() if isinstance(item, File))

    def below(self, folder: str) -> dict[str, bytes]:
        """Return the contents of all files in a folder, by path below it."""
        prefix = f"{folder}/"
        return {path.removeprefix(prefix): item.content for path, item in self.files() if path.startswith(prefix)}

    def replace(self, contents: Mapping[str, bytes]) -> CompileResult:
        """Return a result in which files have other contents, and those that were not there are added."""
        changed = {path: File(content, self._is_program(path)) for path, content in contents.items()}
        return make_result({**self.entries, **changed}.items())

    def _is_program(self, path: str) -> bool:
        item = self.entries.get(path)
        return isinstance(item, File) and item.is_program


def make_result(entries: Iterable[tuple[str, ResultEntry]]) -> CompileResult:
    """Check entries against the rules and return them as a result; folders that are not named are added.

    Raises:
        CellError: of class compile; its code says which rule is broken: ``result-name``, ``result-link``,
            ``result-twice``, ``module-not-a-file``.
    """
    found: dict[str, ResultEntry] = {}
    for path, entry in entries:
        check_path(path)
        if path in found:
            raise refuse("result-twice", f"{path} is there twice")
        found[path] = entry
    _add_parents(found)
    ordered = dict(sorted(found.items(), key=lambda item: item[0].split("/")))
    for path, entry in ordered.items():
        if is_module(path) and not isinstance(entry, File):
            raise refuse("module-not-a-file", f"{path} is no regular file")
        if isinstance(entry, Link):
            _check_link(path, entry.target, ordered)
    return CompileResult(ordered)


def check_path(path: str) -> None:
    """Check one relative path.

    Raises:
        CellError: ``result-name``: it is too long or too deep, or holds a name that files of an image should not have.
    """
    names = path.split("/")
    if len(names) > _DEEPEST or len(path.encode(errors="surrogateescape")) > _LONGEST_PATH:
        raise refuse("result-name", f"{path[:100]!r}... is deeper than {_DEEPEST} folders or longer than any path")
    for name in names:
        # What cannot be printed is no UTF-8 (a surrogate), ends a line of a log, or hides something from a reader.
        if name in {"", ".", ".."} or not name.isprintable() or name.startswith(_WHITEOUT):
            raise refuse("result-name", f"{path!r} holds a name that no file of an image should have")


def refuse(code: str, sentence: str, *, hint: str | None = None) -> CellError:
    """Return the error of a compile whose result breaks a rule."""
    return CellError(FailureClass.COMPILE, code, f"what the build left in /out cannot be used: {sentence}", hint=hint)


def _add_parents(found: dict[str, ResultEntry]) -> None:
    whole: set[str] = set()
    for path in list(found):
        parent = posixpath.dirname(path)
        while parent and parent not in whole:
            if not isinstance(found.setdefault(parent, Folder()), Folder):
                raise refuse("result-twice", f"{parent} is a file or link, but {path} lies in it")
            whole.add(parent)
            parent = posixpath.dirname(parent)


def _check_link(path: str, target: str, entries: Mapping[str, ResultEntry]) -> None:
    """A link leads to the node's own modules, or to something of the result; below /opt only the former is there."""
    folder, _, name = path.rpartition("/")
    root, _, kernel = folder.rpartition("/")
    if (root, name, target) == (MODULE_ROOT, "host", f"/lib/modules/{kernel}"):
        return
    if path.partition("/")[0] == "opt" or not _leads_inside(path, target, entries):
        raise refuse("result-link", f"the link {path} -> {target[:200]!r} leads out of it", hint=_LINK_HINT)


def _leads_inside(path: str, target: str, entries: Mapping[str, ResultEntry]) -> bool:
    """Tell whether a link ends at something of the result, whoever follows it and by whichever rules."""
    for _ in range(_MOST_HOPS):
        place = _place_of(path, target)
        entry = entries.get(place)
        if entry is None:  # also where it lies behind another link: everything in here lies in folders
            return False
        if not isinstance(entry, Link):
            return not path.startswith(f"{place}/")  # a link to a folder above it is a circle
        path, target = place, entry.target
    return False


def _place_of(path: str, target: str) -> str:
    """Return what a link's text means, from the image's root; empty where that depends on more than the text.

    Absolute ones mean something else on the host, where tools see the result before it is an image.
    """
    words = target.split("/")
    up = sum(word == ".." for word in words)
    is_odd = target.startswith("/") or not target.isprintable() or len(target) > _LONGEST_PATH
    if is_odd or ".." in words[up:]:
        return ""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return "" if place.startswith("..") else place
