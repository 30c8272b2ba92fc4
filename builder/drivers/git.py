"""Finds the commit that files were taken from, by reading a repository's own files; no program is run.

A repository can belong to whoever wrote the source. So no setting of it is obeyed but the URL of its remote, which is
told without credentials; a ``.git`` that is a link, that names a folder which does not name it back, or that belongs to
somebody else is none; and what is said of the files follows from hashes, from the commit down to each of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from builder.drivers.commit import Dirty, SourceCommit
from builder.drivers.git_formats import choose_remote, parse_commit_tree, parse_settings, parse_tree
from builder.drivers.git_objects import ObjectStore, new_hash, open_hash
from builder.drivers.tree import is_left_out
from builder.errors import FormatError
from builder.host.places import open_inside, open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.drivers.git_formats import TreeEntry
    from builder.drivers.tree import SourceFile

_log = logging.getLogger(__name__)

_LARGEST_WORD = 4096
_LARGEST_SETTINGS = 1024**2
_LARGEST_REFS = 128 * 1024**2
_LARGEST_FILE = 4 * 1024**3
_HIGHEST = 64
_MOST_SYMBOLIC = 5
_MOST_TREES = 20_000
_MOST_ENTRIES = 1_000_000
_DEEPEST_TREE = 64
_MOST_SUBMODULES = 4
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"refs(?:/[A-Za-z0-9_+@=,%#{}~!-][A-Za-z0-9._+@=,%#{}~!-]*)+")


@dataclass(frozen=True, slots=True)
class _Repository:
    """A checkout: its own folder, its folder of git's, and the one that all its checkouts share."""

    top: Path
    own: Path
    shared: Path


def read_commit(name: str, folder: Path, files: Sequence[SourceFile], *, is_whole: bool = True) -> SourceCommit | None:
    """Return the commit of the repository that a folder lies in; None where there is none, or it has no such folder.

    Args:
        name: whose files they are.
        folder: where they are checked out.
        files: those that count, by their path below ``folder``, as they were read.
        is_whole: whether that are all; else the folder may hold others, which do not count.
    """
    try:
        folder = Path(os.path.realpath(folder))
        repository = _find(folder)
        if repository is None or (commit := _read_head(repository)) is None:
            return None
    except (OSError, FormatError):
        return None
    path = "/".join(folder.relative_to(repository.top).parts)
    told = os.fsencode(path).decode(errors="replace")  # names of folders need not be text, and statements are
    dirty = Dirty.UNKNOWN
    try:
        store = ObjectStore(repository.shared / "objects")
        tree = _open_path(store, commit, path)
        if tree is None:
            return None  # somebody's repository happens to lie around files that it does not hold
        comparison = _Comparison(folder, files, is_whole=is_whole)
        dirty = Dirty.NO if comparison.is_equal(store, tree) else Dirty.YES
    except (OSError, FormatError) as error:  # such as a repository that keeps objects elsewhere
        _log.debug("%s: whether %s is as commit %s has it is not known: %s", name, folder, commit, error)
    remote = choose_remote(_read_settings(repository.shared))
    return SourceCommit(name=name, commit=commit, dirty=dirty, repository=remote, path=told)


def _find(folder: Path) -> _Repository | None:
    for top in [folder, *folder.parents][:_HIGHEST]:
        mark = top / ".git"
        try:
            status = mark.lstat()
        except OSError:
            continue
        if status.st_uid not in {os.geteuid(), folder.stat().st_uid}:
            return None
        if stat.S_ISDIR(status.st_mode):
            return _Repository(top, mark, mark)
        return _follow(top, mark) if stat.S_ISREG(status.st_mode) else None
    return None


def _follow(top: Path, mark: Path) -> _Repository | None:
    """Return the repository that a file ``.git`` names: that of a worktree, or of a submodule, which names it back.

    A source that names any repository of this machine learns nothing about it.
    """
    text = _read_word(mark.parent, ".git")
    if not text.startswith("gitdir: "):
        return None
    own = _resolve(top, text.removeprefix("gitdir: "))
    if back := _read_word(own, "gitdir"):
        shared = own.parent.parent
        is_ours = own.parent.name == "worktrees" and _resolve(own, back) == mark
        return _Repository(top, own, shared) if is_ours else None
    work_tree = {value for section, key, value in _read_settings(own) if (section, key) == ("core", "worktree")}
    is_ours = len(work_tree) == 1 and _resolve(own, work_tree.pop()) == top
    return _Repository(top, own, own) if is_ours else None


def _resolve(folder: Path, name: str) -> Path:
    if "\0" in name:
        raise FormatError("a path of its repository is none")
    return Path(os.path.realpath(folder / name))


def _read_word(folder: Path, name: str) -> str:
    return os.fsdecode(_read(folder, name, _LARGEST_WORD).strip())


def _read_settings(folder: Path) -> list[tuple[str, str, str]]:
    return list(parse_settings(os.fsdecode(_read(folder, "config", _LARGEST_SETTINGS))))


def _read(folder: Path, name: str, most: int) -> bytes:
    """Return a file; nothing where there is none, or it cannot be read. Nothing outside of the folder is read."""
    try:
        with open_inside(folder, name, most=most) as stream:
            return stream.read(most)
    except (OSError, FormatError):
        return b""


def _read_head(repository: _Repository) -> str | None:
    """Return the commit that is checked out; None before the first one, and where refs are kept in another way."""
    word = _read_word(repository.own, "HEAD")
    for _ in range(_MOST_SYMBOLIC):
        if _ID.fullmatch(word):
            return word
        ref = word.removeprefix("ref: ")
        if ref == word or not _REF.fullmatch(ref) or ".." in ref:
            return None
        word = _read_word(repository.shared, ref) or _find_packed(repository.shared, ref)
    return None


def _find_packed(folder: Path, ref: str) -> str:
    wanted = rf"^([0-9a-f]{{40,64}}) {re.escape(ref)}$".encode()
    match = re.search(wanted, _read(folder, "packed-refs", _LARGEST_REFS), re.MULTILINE)
    return match[1].decode() if match else ""


def _open_path(store: ObjectStore, commit: str, path: str) -> str | None:
    """Return the id of the tree at a path of a commit; None where the commit has no such folder."""
    tree = parse_commit_tree(store.read(commit, "commit"))
    for name in path.split("/") if path else ():
        entries = parse_tree(store.read(tree, "tree"), len(commit) // 2)
        found = next((entry for entry in entries if entry.name == name and entry.kind == "folder"), None)
        if found is None:
            return None
        tree = found.id
    return tree


class _Comparison:
    """Compares files below a folder with trees; each is looked for once."""

    def __init__(self, folder: Path, files: Sequence[SourceFile], *, is_whole: bool) -> None:
        self._folder = folder
        self._files = {file.path: file for file in files}
        self._folders = {str(folder) for file in files for folder in PurePosixPath(file.path).parents}
        self._is_whole = is_whole
        self._trees = self._entries = 0
        self._submodules = 0

    def is_equal(self, store: ObjectStore, tree: str) -> bool:
        """Tell whether the files are those of a tree, and none besides.

        Raises:
            FormatError: that cannot be told.
        """
        return self._compare(store, tree, "", _DEEPEST_TREE) and not self._files

    def _compare(self, store: ObjectStore, tree: str, below: str, levels: int) -> bool:
        entries = parse_tree(store.read(tree, "tree"), len(tree) // 2)
        self._trees += 1
        self._entries += len(entries)
        if self._trees > _MOST_TREES or self._entries > _MOST_ENTRIES or not levels:
            raise FormatError("its repository has more files and folders than are looked at")
        for entry in entries:
            path = f"{below}{entry.name}"
            if not self._counts(entry, path):
                continue
            if entry.kind == "folder":
                is_same = self._compare(store, entry.id, f"{path}/", levels - 1)
            elif entry.kind == "commit":
                is_same = self._compare_submodule(entry.id, f"{path}/", levels - 1)
            else:
                is_same = self._is_same(path, entry.kind, entry.id)
            if not is_same:
                return False
        return True

    def _counts(self, entry: TreeEntry, path: str) -> bool:
        """Tell whether an entry of a commit is one that must be among the files."""
        if is_left_out(entry.name):
            return False
        if entry.kind in {"folder", "commit"}:
            return (self._is_whole and entry.kind == "folder") or path in self._folders
        return self._is_whole or path in self._files

    def _compare_submodule(self, commit: str, below: str, levels: int) -> bool:
        """Compare what is checked out of another repository: its files are those of the commit that is wanted there."""
        self._submodules += 1
        place = self._folder / below
        repository = _find(place) if self._submodules <= _MOST_SUBMODULES else None
        if repository is None or repository.top != place:
            return False
        store = ObjectStore(repository.shared / "objects")
        return self._compare(store, parse_commit_tree(store.read(commit, "commit")), below, levels)

    def _is_same(self, path: str, kind: str, wanted: str) -> bool:
        file = self._files.pop(path, None)
        if file is None or file.kind != kind:
            return False
        if kind == "link":
            target = os.readlink(self._folder / path)  # noqa: PTH115 - git keeps what pathlib leaves out, such as "./"
            if str(Path(target)) != file.digest:
                return False
            content = os.fsencode(target)
            return new_hash(wanted, b"blob %d\0%b" % (len(content), content)) == wanted
        return _hash_file(self._folder / path, file.digest, wanted)


def _hash_file(file: Path, sha256: str, wanted: str) -> bool:
    """Tell whether a file is the one that was read before, and the one that git names, if only by a git-lfs pointer."""
    with open_regular(file, most=_LARGEST_FILE, follow=False) as stream:
        size = os.fstat(stream.fileno()).st_size
        own = hashlib.sha256()
        theirs = open_hash(wanted, b"blob %d\0" % size)
        while chunk := stream.read(1024**2):
            own.update(chunk)
            theirs.update(chunk)
    if own.hexdigest() != sha256:
        return False
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return wanted in {theirs.hexdigest(), new_hash(wanted, b"blob %d\0%b" % (len(pointer), pointer))}
