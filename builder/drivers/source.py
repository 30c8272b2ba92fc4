"""A driver as it is on disk: its entry in versions.yaml, its dkms.conf and its files, read once and copied once."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.drivers.dkms import DkmsRecipe, read_dkms_conf, run_where_unreadable
from builder.drivers.tree import read_tree
from builder.errors import ConfigError, UsageError
from builder.host.places import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from builder.config.model.driver import Driver
    from builder.drivers.commit import SourceCommit
    from builder.drivers.tree import SourceTree
    from builder.kernel import KernelVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSource:
    """A driver ready to be planned: ``declaration`` is what versions.yaml says, ``dkms`` what its dkms.conf does.

    ``tests`` are the files that only its boot test reads: they are no part of what is compiled.
    """

    declaration: Driver
    dkms: DkmsRecipe | None
    tree: SourceTree
    tests: SourceTree
    containerfile_digest: str

    @property
    def command(self) -> str:
        """What builds the modules, in the source folder."""
        return self.dkms.command if self.dkms else self.declaration.command

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules to take from the build: as in ``module_words``, or ``built file:name`` where it lies elsewhere."""
        if self.declaration.modules or self.dkms is None:
            return self.declaration.modules
        return tuple(f"{module.built_file}:{module.name}" for module in self.dkms.modules)

    @property
    def module_names(self) -> tuple[str, ...] | None:
        """What an image must hold, as in ``module_words``; None where the driver does not say."""
        return tuple(name.rpartition(":")[2] for name in self.modules) or None

    @property
    def recipe_digest(self) -> str:
        """Digest of all that goes into the build besides files, kernel, toolkit and base image."""
        said = self.declaration
        names = ("name", "version", "firmware", "licenses", "vendor", "summary", "description", "maintainer")
        own = {"command": self.command, "modules": self.modules, "extra": said.build_args}
        return content_id({name: getattr(said, name) for name in names} | own)

    def excludes(self, kernel: KernelVersion) -> str | None:
        """Say why the driver itself declares that it cannot be built for a kernel; None if it does not."""
        return self.dkms.excludes(kernel) if self.dkms else None

    @property
    def may_exclude(self) -> bool:
        """Whether a compile may end by saying that the driver does not want the kernel: only where that is asked."""
        return self.dkms is not None and self.dkms.is_asked

    @property
    def open_question(self) -> str:
        """What is told only by the driver's dkms.conf when it is run for a kernel; empty where nothing is."""
        return "; ".join(self.dkms.exclusions) if self.dkms else ""

    def build_arguments(self, kernel: KernelVersion, *, toolkit_image: str, base_image: str) -> dict[str, str]:
        """Return the arguments of driver-container/Containerfile; what KMM also sets is spelled as it does."""
        said = self.declaration
        arguments = {
            "DTK_AUTO": toolkit_image,
            "BASE_IMAGE": base_image,
            "KERNEL_VERSION": kernel.raw,
            "KERNEL_FULL_VERSION": kernel.raw,
            "BUILD_COMMAND": self.command,
            "MODULES": " ".join(self.modules),
            "FIRMWARE": " ".join(said.firmware),
            "LICENSES": " ".join(said.licenses),
            "DRIVER_NAME": said.name,
            "DRIVER_VERSION": said.version,
            "VENDOR": said.vendor,
            "SUMMARY": said.summary,
            "DESCRIPTION": said.description,
            "MAINTAINER": said.maintainer,
        }
        return arguments | said.build_args

    def stage(self, folder: Path) -> StagedDriver:
        """Copy everything below ``folder``; called before threads start, and what was hashed is what is copied."""
        context = self.tree.copy_to(folder / self.tree.digest)
        tests = self.tests.copy_to(folder / f"tests-{self.tests.digest}") if self.tests.files else context
        original = self.declaration.containerfile_file
        containerfile = folder / f"{self.containerfile_digest}.Containerfile"
        containerfile.write_bytes(original.read_bytes())
        if file_digest(containerfile) != self.containerfile_digest:
            raise UsageError(f"{original} changed while it was being read", hint="run again when it is quiet")
        from builder.drivers.git import read_commit  # noqa: PLC0415 - a plan needs nothing of it

        files = [*self.tree.files, *self.tests.files]
        commit = read_commit("source", self.declaration.source_dir, files)
        return StagedDriver(driver=self, context=context, tests=tests, containerfile=containerfile, commit=commit)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedDriver:
    """A private copy of a driver's files to build from, and of those of its boot test.

    A type of its own, so that nothing is built from the original, which may have changed since it was read. ``commit``
    says where it came from, if that is known.
    """

    driver: DriverSource
    context: Path
    tests: Path
    containerfile: Path
    commit: SourceCommit | None = None


def read_driver(declaration: Driver) -> DriverSource:
    """Read a driver's files.

    Raises:
        ConfigError: its dkms.conf cannot be understood, not even by running it.
        UsageError: its source cannot be read.
    """
    tree, tests = read_tree(declaration.source_dir).split(_read_by_boot_only(declaration))
    return DriverSource(
        declaration=declaration,
        dkms=_read_dkms(declaration.dkms_file) if declaration.dkms_file else None,
        tree=tree,
        tests=tests,
        containerfile_digest=file_digest(declaration.containerfile_file),
    )


def read_drivers(declarations: Iterable[Driver]) -> dict[str, DriverSource]:
    """Read the files of drivers, by their names.

    Raises:
        ConfigError: the dkms.conf of some cannot be understood; it holds the mistakes of all of them.
        UsageError: the source of one cannot be read.
    """
    found: dict[str, DriverSource] = {}
    wrong: list[ConfigError] = []
    for declaration in declarations:
        try:
            found[declaration.name] = read_driver(declaration)
        except ConfigError as error:
            wrong.append(error)
    if wrong:
        mistakes = {mistake for error in wrong for mistake in error.mistakes}
        raise ConfigError(mistakes, hint=next((error.hint for error in wrong if error.hint), None))
    return found


def _read_dkms(file: Path) -> DkmsRecipe:
    try:
        return read_dkms_conf(file)
    except ConfigError as error:
        return run_where_unreadable(file, error)


def _read_by_boot_only(driver: Driver) -> set[str]:
    """Return the paths of the boot test's files: a change of them compiles nothing again."""
    named = {driver.boot.smoke_test, *driver.boot.files} - {None}
    kept = {*driver.firmware, *driver.licenses, driver.dkms}
    return {posixpath.normpath(name) for name in named if name} - {posixpath.normpath(name) for name in kept if name}
