"""A driver as it is on disk: recipe, files and Containerfile, read once and copied once for a run."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.drivers.recipe import make_recipe
from builder.drivers.tree import read_tree
from builder.errors import UsageError
from builder.host.places import file_digest

if TYPE_CHECKING:
    from pathlib import Path

    from builder.config.model import BootTest, Driver, Reuse
    from builder.drivers.recipe import Recipe
    from builder.drivers.tree import SourceTree


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSource:
    """A driver ready to be planned; ``base_image`` is what versions.yaml names, if it does.

    ``tests`` are the files that only its boot test reads: they are no part of what is compiled.
    """

    recipe: Recipe
    tree: SourceTree
    tests: SourceTree
    containerfile: Path
    containerfile_digest: str
    base_image: str | None
    boot: BootTest
    compress: str = "none"
    reuse: tuple[Reuse, ...] = ()

    def stage(self, folder: Path) -> StagedDriver:
        """Copy everything below ``folder``; called before threads start, and what was hashed is what is copied."""
        context = self.tree.copy_to(folder / self.tree.digest)
        tests = self.tests.copy_to(folder / f"tests-{self.tests.digest}") if self.tests.files else context
        containerfile = folder / f"{self.containerfile_digest}.Containerfile"
        containerfile.write_bytes(self.containerfile.read_bytes())
        if file_digest(containerfile) != self.containerfile_digest:
            raise UsageError(f"{self.containerfile} changed while it was being read", hint="run again when it is quiet")
        return StagedDriver(
            recipe=self.recipe,
            context=context,
            tests=tests,
            containerfile=containerfile,
            base_image=self.base_image,
            boot=self.boot,
            compress=self.compress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedDriver:
    """A private copy of a driver, to build from, and of the files of its boot test."""

    recipe: Recipe
    context: Path
    tests: Path
    containerfile: Path
    base_image: str | None
    boot: BootTest
    compress: str = "none"


def read_driver(driver: Driver) -> DriverSource:
    """Read a driver's files.

    Raises:
        ConfigError: its dkms.conf cannot be understood.
        UsageError: its source cannot be read.
    """
    tree, tests = read_tree(driver.source_dir).split(_read_by_boot_only(driver))
    return DriverSource(
        recipe=make_recipe(driver),
        tree=tree,
        tests=tests,
        containerfile=driver.containerfile_file,
        containerfile_digest=file_digest(driver.containerfile_file),
        base_image=driver.base_image,
        boot=driver.boot,
        compress=driver.compress,
        reuse=driver.reuse,
    )


def _read_by_boot_only(driver: Driver) -> set[str]:
    """Return the paths of the boot test's files: a change of them compiles nothing again."""
    named = {driver.boot.smoke_test, *driver.boot.files} - {None}
    kept = {*driver.firmware, *driver.licenses, driver.dkms}
    return {posixpath.normpath(name) for name in named if name} - {posixpath.normpath(name) for name in kept if name}
