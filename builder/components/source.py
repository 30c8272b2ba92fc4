"""A component as it is on disk: its entry in versions.yaml and its files, read once and copied once."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from builder.components.wheel_lock import read_wheel_lock
from builder.digest import content_id
from builder.drivers.tree import read_tree
from builder.errors import FormatError, UsageError
from builder.host.places import file_digest, open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from builder.components.wheel_lock import Requirement
    from builder.config.model.component import Component
    from builder.drivers.tree import SourceTree

_LARGEST_FILE = 64 * 1024**2


@dataclass(frozen=True, kw_only=True)
class ComponentSource:
    """A component ready to be planned."""

    declaration: Component
    tree: SourceTree
    containerfile_digest: str
    license_digests: tuple[tuple[str, str], ...]
    requirements: tuple[Requirement, ...]

    @cached_property
    def wheels_digest(self) -> str:
        """Digest of what Python packages it gets; comments of the lock do not count. Empty without."""
        wheels = self.declaration.wheels
        rows = [[item.name, item.version, item.marker, sorted(item.hashes)] for item in self.requirements]
        return content_id(rows, wheels.python) if wheels else ""

    @property
    def recipe_digest(self) -> str:
        """Digest of all that goes into the image besides files and base images."""
        said = self.declaration
        names = ("name", "version", "target", "vendor", "summary", "description", "maintainer", "self_test")
        more = {"build_args": said.build_args, "labels": said.labels}
        return content_id({name: getattr(said, name) for name in names} | more)

    def stage(self, folder: Path) -> StagedComponent:
        """Copy everything below ``folder``: what was hashed is what is copied.

        Raises:
            UsageError: a file changed since it was read.
        """
        said = self.declaration
        context = self.tree.copy_to(folder / self.tree.digest)
        containerfile = folder / f"{self.containerfile_digest}.Containerfile"
        _copy(said.containerfile_file, containerfile, self.containerfile_digest)
        licenses = folder / f"licenses-{content_id(list(self.license_digests))}"
        licenses.mkdir(exist_ok=True)
        for file, (name, digest) in zip(said.license_files, self.license_digests, strict=True):
            _copy(file, licenses / name.rpartition("/")[2], digest)
        return StagedComponent(source=self, context=context, containerfile=containerfile, licenses=licenses)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedComponent:
    """A private copy of a component's files, to build from."""

    source: ComponentSource
    context: Path
    containerfile: Path
    licenses: Path


def _copy(file: Path, target: Path, digest: str) -> None:
    temporary = target.with_name(f".{target.name}")
    shutil.copyfile(file, temporary)
    if file_digest(temporary) != digest:
        temporary.unlink()
        raise UsageError(f"{file} changed while it was being read", hint="run again when it is quiet")
    temporary.chmod(0o644)
    temporary.rename(target)


def _digest(file: Path) -> str:
    try:
        with open_regular(file, most=_LARGEST_FILE) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except FormatError as error:
        raise UsageError(f"{file} {error.message}") from None


def read_component(declaration: Component) -> ComponentSource:
    """Read a component's files.

    Raises:
        UsageError: its source cannot be read.
        FormatError: its lock of Python packages is none.
    """
    names = zip(declaration.licenses, declaration.license_files, strict=True)
    return ComponentSource(
        declaration=declaration,
        tree=read_tree(declaration.source_dir),
        containerfile_digest=_digest(declaration.containerfile_file),
        license_digests=tuple((name, _digest(file)) for name, file in names),
        requirements=read_wheel_lock(declaration.wheels_file) if declaration.wheels_file else (),
    )
