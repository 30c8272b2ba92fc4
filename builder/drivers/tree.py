"""A driver's source as a value: which files count, their digest, and a private copy to build from.

The copy is what gets built, so nothing that changes on disk during a run, and no object file that somebody's own
``make`` left behind for another kernel, can get into a cell.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.errors import FormatError, UsageError
from builder.host.places import file_digest, open_regular

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_DEEPEST = 64
# buildah reads them itself, on the host, through links, and shows what it cannot understand in the log.
_READ_BY_BUILDAH = (".containerignore", ".dockerignore")
_LARGEST = 4 * 1024**3
# What kbuild writes beside the source (scripts/Makefile.modfinal, Documentation/kbuild/modules.rst), version control,
# and editors' leftovers. A stale .o would be linked into a module for the wrong kernel.
_LEFT_OUT = (
    "*.o", "*.ko", "*.ko.*", "*.mod", "*.mod.c", "*.a", "*.order", ".*.cmd", ".*.d", "Module.symvers", ".tmp_*",
    ".git", ".gitignore", ".gitattributes", ".hg", ".svn", "__pycache__", "*~", ".*.sw?", ".cache.mk",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of the source: path relative to the root, kind and content (or link target) digest."""

    path: str
    kind: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """All files that count, sorted by path; ``digest`` depends on names, contents, links and executability."""

    root: Path
    files: tuple[SourceFile, ...]

    @property
    def digest(self) -> str:
        return content_id([[file.path, file.kind, file.digest] for file in self.files])

    def split(self, paths: Collection[str]) -> tuple[SourceTree, SourceTree]:
        """Return the files without those of these paths, and only those.

        A path that is no plain file here, as it leads through a link, stays where it is: then nothing is split.
        """
        plain = {file.path for file in self.files if file.kind != "link"}
        if not plain.issuperset(paths):
            return self, SourceTree(root=self.root, files=())
        without = tuple(file for file in self.files if file.path not in paths)
        only = tuple(file for file in self.files if file.path in paths)
        return SourceTree(root=self.root, files=without), SourceTree(root=self.root, files=only)

    def copy_to(self, target: Path) -> Path:
        """Write the files below ``target`` and return it; an existing complete copy is used as it is."""
        if target.is_dir():
            return target
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for file in self.files:
            copy = temporary / file.path
            copy.parent.mkdir(parents=True, exist_ok=True)
            _copy(self.root / file.path, copy, file.kind)
        if read_tree(temporary).digest != self.digest:
            shutil.rmtree(temporary)
            raise UsageError(f"{self.root} changed while it was being read", hint="run again when it is quiet")
        temporary.rename(target)
        return target


def _copy(file: Path, copy: Path, kind: str) -> None:
    """Copy content and time (``make`` compares times), but neither rights (setuid) nor attributes.

    Raises:
        UsageError: the file is not what it was.
    """
    try:
        if kind == "link":
            copy.symlink_to(file.readlink())
            times = file.lstat()
        else:
            with open_regular(file, most=_LARGEST, follow=False) as source, copy.open("xb") as target:
                shutil.copyfileobj(source, target)
                times = os.fstat(source.fileno())
            copy.chmod(0o755 if kind == "program" else 0o644)
        os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)
    except (OSError, FormatError) as error:
        raise UsageError(f"{file} changed while it was being read: {error}") from None


def read_tree(root: Path) -> SourceTree:
    """Read and hash a source folder.

    Raises:
        UsageError: a file cannot be read, or is neither a file, a folder nor a link; or folders are too deep.
    """
    try:
        files = sorted(_walk(root, "", _DEEPEST), key=lambda file: file.path)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", hint="the source folder must be readable") from error
    return SourceTree(root=root, files=tuple(files))


def is_left_out(name: str) -> bool:
    """Tell whether a file or folder of this name is no part of any source."""
    return any(fnmatchcase(name, pattern) for pattern in _LEFT_OUT)


def read_files(root: Path, names: Iterable[str]) -> list[SourceFile]:
    """Return some files of a folder, by their names; those that are none are left out."""
    found = []
    for name in dict.fromkeys(names):
        file = root / name
        if file.is_symlink():
            found.append(SourceFile(path=name, kind="link", digest=str(file.readlink())))
        elif file.is_file():
            kind = "program" if file.stat().st_mode & stat.S_IXUSR else "file"
            found.append(SourceFile(path=name, kind=kind, digest=file_digest(file)))
    return found


def _walk(root: Path, below: str, levels: int) -> Iterator[SourceFile]:
    if not levels:
        raise UsageError(f"{root}: its folders are more than {_DEEPEST} deep", hint="no build needs that: remove them")
    with os.scandir(root / below) as entries:
        for entry in entries:
            if is_left_out(entry.name):
                continue
            path = f"{below}{entry.name}"
            if path in _READ_BY_BUILDAH and not entry.is_file(follow_symlinks=False):
                raise UsageError(f"{root / path} is no regular file", hint="buildah would read what it leads to")
            if entry.is_symlink():
                yield SourceFile(path=path, kind="link", digest=str(Path(entry.path).readlink()))
            elif entry.is_dir(follow_symlinks=False):
                yield from _walk(root, f"{path}/", levels - 1)
            elif entry.is_file(follow_symlinks=False):
                executable = entry.stat().st_mode & stat.S_IXUSR
                yield SourceFile(path=path, kind="program" if executable else "file", digest=file_digest(root / path))
            else:
                raise UsageError(f"{root / path} is neither a file, a folder nor a link", hint="remove it")
