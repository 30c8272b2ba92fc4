"""The files of a project that a plan names, as one archive, and laid out again on another machine.

Only what versions.yaml names goes in: itself, the lock, sources, Containerfiles, certificates, public keys, locks of
Python packages, licences. Nothing that looks like a secret does, and nothing from outside of the project. Equal files
are equal bytes: owners, times and the order in which a folder lists its files are not in it; executability and links
are.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from builder.drivers.tree import SourceFile, read_tree
from builder.errors import FormatError, UsageError
from builder.host.places import open_regular
from builder.image.archive import BROKEN, read_tar
from builder.image.layout import write_layer
from builder.image.leaks import find_leaks
from builder.plan.project import WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from builder.image.archive import Content
    from builder.image.layout import LayerBlob
    from builder.plan.project import Project

MOST_BYTES = 2 * 1024**3
_MOST_FILES = 200_000
_LARGEST_FILE = 256 * 1024**2
_LONGEST_PATH = 1024
# make compares times: what is shipped ready-made must not look older than what it is made from. 1980, as in zip files.
_TIME_S = 315_532_800
_NEVER = frozenset({WORK_FOLDER, ".git", ".ssh", ".gnupg"})
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_CHUNK = 1024**2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files of a project by their paths in it, in order; ``digest`` of a link is its target, as in ``SourceFile``."""

    root: Path
    files: tuple[SourceFile, ...]


def read_snapshot(project: Project) -> Snapshot:
    """Find what belongs to a project, and hash it.

    Raises:
        UsageError: something lies outside of the project or in a folder that no plan carries, or cannot be read.
    """
    root, config = project.file.parent, project.config
    found: dict[str, SourceFile] = {}
    for source in (*(driver.source_dir for driver in config.drivers), *(item.source_dir for item in config.components)):
        folder = _inside(root, source)
        for file in read_tree(source).files:
            path = posixpath.normpath(posixpath.join(folder, file.path))
            found[path] = SourceFile(path=path, kind=file.kind, digest=file.digest)
    links = {path for path, file in found.items() if file.kind == "link"}
    for named in _find_named(project):
        path = _inside(root, named)
        if not links.isdisjoint([path, *map(str, PurePosixPath(path).parents)]):
            path = _inside(root, Path(os.path.realpath(named)), Path(os.path.realpath(root)))
        if path not in found:
            found[path] = SourceFile(path=path, kind="file", digest=_digest(named))
    for path in found:
        if problem := find_path_problem(path):
            raise UsageError(
                f"a plan cannot carry {root / path}: {problem}", hint="move it, or narrow the 'source' that it is in"
            )
    return Snapshot(root=root, files=tuple(found[path] for path in sorted(found)))


def _find_named(project: Project) -> list[Path]:
    """Return the files that are named one by one, by versions.yaml or by us."""
    root, config = project.file.parent, project.config
    named = [project.file, project.lock_file, *(driver.containerfile_file for driver in config.drivers)]
    for component in config.components:
        wheels = component.wheels_file
        named += [component.containerfile_file, *component.license_files, *([wheels] if wheels else [])]
    named += [signer.resolve(signer.certificate) for signer in config.signers.values()]
    if signer := config.publish.signer:
        named.append(signer.resolve(signer.public_key))
    # A file that may also lie in a folder of the system's, such as a keyring, is each machine's own.
    listed = [file for source in config.sources.values() for file in source.named_files if not file.folders]
    named += [root / file.text for file in listed if (root / file.text).is_file()]
    return list(dict.fromkeys(named))


def _inside(root: Path, place: Path, real_root: Path | None = None) -> str:
    """Return the path of a place in the project.

    Raises:
        UsageError: it is outside, if only by a link.
    """
    path = os.path.relpath(os.path.normpath(place), real_root or os.path.normpath(root))
    real = Path(os.path.realpath(place))
    if path.startswith("../") or path == ".." or not real.is_relative_to(os.path.realpath(root)):
        raise UsageError(
            f"{place} lies outside of the project, and a plan carries only the project to other machines",
            hint="put it into the project's folder",
        )
    return path


def _digest(file: Path) -> str:
    return hashlib.sha256(_read(file)).hexdigest()


def _read(file: Path, *, follow: bool = True) -> bytes:
    try:
        with open_regular(file, most=_LARGEST_FILE, follow=follow) as stream:
            return stream.read()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except FormatError as error:
        raise UsageError(f"{file} {error.message}", hint="a plan carries sources, no such files") from None


def find_path_problem(path: str) -> str:
    """Say why a path may not be in a snapshot, as the end of a sentence; empty where it may. Looks at no disk."""
    words = path.split("/")
    if not path or path.startswith("/") or not {"", ".", ".."}.isdisjoint(words):
        return "its path leads out of the folder that it is for"
    if _UNFIT.search(path) or len(path) > _LONGEST_PATH:
        return "its name is longer than 1024 bytes, or has characters that not every machine can write"
    if hidden := _NEVER.intersection(words):
        return f"{min(hidden)} is no part of what is built"
    return ""


def write_snapshot(snapshot: Snapshot, file: Path) -> LayerBlob:
    """Write a snapshot as a tar archive, not compressed: zlib's versions would give each machine another digest.

    Raises:
        UsageError: a file changed since it was read, or holds what looks like a secret.
    """
    blob = write_layer(file, (_member(snapshot.root, item) for item in snapshot.files))
    if blob.size > MOST_BYTES:
        raise UsageError(
            f"the project has {blob.size >> 20} MiB, and a plan carries at most {MOST_BYTES >> 20}",
            hint="'source' of a driver or component names more than what it is built from",
        )
    return blob


def _member(root: Path, item: SourceFile) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(item.path)
    if item.kind == "link":
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, item.digest, 0o777
        return member, b""
    content = _read(root / item.path)
    if hashlib.sha256(content).hexdigest() != item.digest:
        raise UsageError(f"{root / item.path} changed while it was being read", hint="run again when it is quiet")
    if leaks := find_leaks(content, item.path):
        raise UsageError(
            f"{root / item.path} holds a secret ({leaks[0].kind}), and a plan is read by whoever may read its "
            "repository",
            hint="take it out of the project, and consider it known to whoever has seen the source",
        )
    member.size, member.mode = len(content), 0o755 if item.kind == "program" else 0o644
    return member, content


def lay_out(archive: Path, folder: Path) -> Path:
    """Write the files of an archive into a new folder, and return it; a folder that is there was laid out before.

    Raises:
        FormatError: the archive is none, or holds what no snapshot has. "It" is the archive.
    """
    if folder.is_dir() and not folder.is_symlink():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".layout-"))
    try:
        made.chmod(0o755)
        with archive.open("rb") as stream:
            _unpack(stream, made)
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(made)  # another run was faster
    except BROKEN as error:
        shutil.rmtree(made, ignore_errors=True)
        raise FormatError(f"it cannot be laid out: {error}") from None
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return folder


def _unpack(stream: IO[bytes], folder: Path) -> None:
    links: dict[str, str] = {}
    size = 0
    for number, (member, content) in enumerate(read_tar(stream, most=MOST_BYTES, may_be_packed=False)):
        size += member.size
        if number >= _MOST_FILES or size > MOST_BYTES:
            raise FormatError("it holds more than a project may have")
        path = member.name
        if problem := find_path_problem(path):
            raise FormatError(f"it holds {path[:200]!r}: {problem}")
        if member.issym():
            links[path] = member.linkname
        elif member.type == tarfile.REGTYPE:
            _write(folder, path, content, mode=0o755 if member.mode & 0o100 else 0o644)
        else:
            raise FormatError(f"it holds {path[:200]!r}, which is neither a file nor a link")
    _link(folder, links)


def _write(folder: Path, path: str, content: Content, *, mode: int) -> None:
    """Write a file; there is no link in the folder yet, so nothing leads out of it."""
    place = folder / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as stream:
            while data := content.read(_CHUNK):
                stream.write(data)
            os.fchmod(stream.fileno(), mode)
    except (FileExistsError, NotADirectoryError):
        raise FormatError(f"it holds {path[:200]!r} twice, or once as a file and once as a folder") from None
    os.utime(place, (_TIME_S, _TIME_S))


def _link(folder: Path, links: Mapping[str, str]) -> None:
    """Make the links, when nothing is written any more, and only such as stay in the folder."""
    for path, target in links.items():
        place = folder / path
        if parents := links.keys() & set(map(str, PurePosixPath(path).parents)):
            raise FormatError(f"it holds {path[:200]!r} below {min(parents)[:200]!r}, which is a link")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
        except (FileExistsError, NotADirectoryError):
            raise FormatError(f"it holds {path[:200]!r} twice, or once as a file and once as a folder") from None
    for path, target in links.items():
        if target.startswith("/") or not Path(os.path.realpath(folder / path)).is_relative_to(folder.resolve()):
            raise FormatError(f"it holds {path[:200]!r}, a link that leads out of it, to {target[:200]!r}")
