"""Everything read from disk that planning needs: configuration, lock, drivers, and the identities of toolkits."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from builder.config.load import load_config
from builder.config.model.build import BuildSettings
from builder.config.tag_rules import image_names
from builder.digest import content_id
from builder.drivers.source import read_drivers
from builder.errors import LockFileError, OtherMachineError, UnknownToolkitError, UsageError
from builder.evidence.journal import Journal
from builder.kernel import Arch
from builder.plan.decide import BOOT_FORMAT, UNTRUSTED, Candidate, CellInputs, Reason
from builder.sources.lock_file import LOCK_FILE_NAME, read_lock
from builder.sources.provider import Workplace
from builder.sources.table import open_source
from builder.store.compiled import CompiledResults
from builder.store.images import list_images
from builder.store.jail import Jail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from builder.config.model.config import Config
    from builder.drivers.commit import SourceCommit
    from builder.drivers.source import DriverSource
    from builder.image.packed import Packing
    from builder.kernel import KernelVersion
    from builder.plan.matrix import Cell
    from builder.signing.certificates import SignerIdentity
    from builder.sources.lock import Lock
    from builder.sources.provider import KernelSource
    from builder.store.compile_cache import CompileCache
    from builder.store.images import Image


WORK_FOLDER = ".kmodsmith"
_COMPILE_CACHE = "compile-cache"
_MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class BootWish:
    """Which boot tests are wanted: the mode, and the image that kernels come from if not from their own source."""

    mode: str = "auto"
    os_image_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with a versions.yaml.

    ``cache_dir`` is shared by projects and only holds what can be fetched again; ``outside`` are further folders that
    versions.yaml may name things in; of an ``untrusted`` one nothing is signed, run on the host or published. Without
    a store (``has_store``), no image is looked for on this machine, as if it had built nothing. A copy (``is_copy``) is
    what another machine sent: the files of pull secrets that versions.yaml names are read where they are here, too, and
    ``commits`` are those that the other machine found, by ``driver NAME``, ``component NAME`` and ``project``.
    """

    file: Path
    work_dir: Path
    cache_dir: Path
    build_arch: Arch
    outside: tuple[Path, ...] = ()
    untrusted: bool = False
    has_store: bool = True
    is_copy: bool = False
    commits: Mapping[str, SourceCommit] = field(default_factory=dict)

    @cached_property
    def told(self) -> set[str]:
        """What was said already, and need not be said again by another step of the same run."""
        return set()

    @cached_property
    def packing(self) -> Packing:
        """How layers of images are packed for registries; images share layers, and each is packed once."""
        from builder.image.packed import Packing  # noqa: PLC0415 - a plan packs nothing

        return Packing()

    @cached_property
    def config(self) -> Config:
        today = datetime.now(UTC).date()
        config = load_config(self.file, today=today, outside=self.outside, untrusted=self.untrusted)
        return self._with_own_secrets(config) if self.is_copy else config

    def _with_own_secrets(self, config: Config) -> Config:
        root, settings = self.file.parent, config.registry
        here = tuple(name for name in settings.auth_files if (root / Path(name).expanduser()).is_file())
        return config.model_copy(update={"registry": settings.model_copy(update={"auth_files": here})})

    def list_images(self) -> dict[str, Image]:
        """Return the images of the container store by full name; none where it has no store."""
        return list_images() if self.has_store else {}

    def distrust(self) -> Project:
        """Return the project with nothing of it trusted, and a work folder that its own files cannot have prepared.

        Raises:
            UsageError: the work folder was chosen, and lies in the project; or its files are links to others.
        """
        root = self.file.parent
        for file in (self.file, self.lock_file):
            if not file.resolve().is_relative_to(root.resolve()):
                raise UsageError(f"{file} is a link out of the project, which is not trusted")
        work_dir = self.work_dir
        if work_dir == root / WORK_FOLDER:
            work_dir = self.cache_dir / UNTRUSTED / content_id(str(root))[:16]
        elif work_dir.resolve().is_relative_to(root.resolve()):
            raise UsageError(
                f"the work folder {work_dir} lies in the project, which is not trusted and may hold anything there",
                hint="choose one outside with --work-dir, or none",
            )
        return replace(self, untrusted=True, work_dir=work_dir)

    def reread(self) -> Project:
        """Return the project as its files are now: what was read before is forgotten, not what was said."""
        found = replace(self)
        found.__dict__["told"] = self.told
        return found

    @property
    def lock_file(self) -> Path:
        return self.file.with_name(LOCK_FILE_NAME)

    @cached_property
    def lock(self) -> Lock:
        return read_lock(self.lock_file, self.cache_dir / "locks")

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.work_dir / "journal.jsonl")

    @cached_property
    def drivers(self) -> dict[str, DriverSource]:
        """Every driver's recipe and files; reads and hashes all sources once."""
        return read_drivers(self.config.drivers)

    @cached_property
    def jail(self) -> Jail:
        """Where what drivers bring is run; a file that is not trusted raises no limit."""
        return Jail(self.config.build.limits(most=BuildSettings() if self.untrusted else None))

    @property
    def workplace(self) -> Workplace:
        """Where kernel sources work for this project."""
        return Workplace(
            root=self.file.parent,
            cache_dir=self.cache_dir,
            work_dir=self.work_dir,
            registry=self.config.registry,
            jail=self.jail,
        )

    @property
    def kernel_facts_dir(self) -> Path:
        """What was taken out of toolkits to prove modules by, by toolkit identity."""
        return self.cache_dir / "kernels"

    @property
    def compiled(self) -> CompiledResults:
        return CompiledResults(self.work_dir / "compiled")

    def compile_cache(self) -> CompileCache:
        """Return what compiles left for later ones.

        What is not trusted has its own, below its own work folder, and only reads that of others.
        """
        from builder.store.compile_cache import CompileCache  # noqa: PLC0415 - a plan compiles nothing

        settings = self.config.build
        shared = self.cache_dir / _COMPILE_CACHE
        if not self.untrusted:
            return CompileCache(shared, most=settings.compile_cache * _MIB)
        most = min(settings.compile_cache, BuildSettings().compile_cache) * _MIB
        return CompileCache(self.work_dir / _COMPILE_CACHE, most=most, lender=shared)

    def candidates(
        self, cells: Iterable[Cell], signers: Sequence[SignerIdentity] = (), *, boot: BootWish | None = None
    ) -> list[Candidate]:
        """Return the cells with their inputs; with ``boot``, also with the boot tests that they have to pass."""
        identities = _Identities(self.kernel_source)
        signed_by = " ".join(f"{signer.certificate.fingerprint}:{signer.algorithm}" for signer in signers)
        signed_by = UNTRUSTED if self.untrusted else signed_by
        found = [self._candidate(cell, identities, signed_by) for cell in cells]
        return found if boot is None else [self._with_boot_test(item, boot) for item in found]

    def _with_boot_test(self, candidate: Candidate, boot: BootWish) -> Candidate:
        if candidate.inputs is None:
            return candidate
        if opt_out := self.drivers[candidate.cell.driver].declaration.boot.opt_out:
            return replace(candidate, boot_opt_out=opt_out)
        kernel = boot.os_image_digest or self.kernel_source(candidate.cell.source).boot_id(candidate.cell.kernel)
        if not kernel:
            sentence = (
                "the lock names no bootable kernel for it, so its modules cannot be tested: run 'nox -s discover'"
            )
            return replace(candidate, inputs=None, refusal=(Reason.NO_BOOTABLE_KERNEL, sentence))
        driver = self.drivers[candidate.cell.driver]
        settings = driver.declaration.boot
        # The mode is not part of the key: a pass under Secure Boot is also one without.
        wish = boot.mode if boot.mode != "auto" else settings.mode
        inputs = {
            "its image": candidate.inputs.key,
            "its kernel": kernel,
            "boot in versions.yaml": content_id(settings.inputs()),
            **{file.path: file.digest for file in driver.tests.files},
        }
        return replace(candidate, boot_key=content_id("boot", BOOT_FORMAT, inputs), boot_inputs=inputs, boot_wish=wish)

    def _candidate(self, cell: Cell, identities: _Identities, signed_by: str) -> Candidate:
        driver = self.drivers[cell.driver]
        image = self._names_of(cell)[0]
        if sentence := driver.excludes(cell.kernel):
            return Candidate(cell=cell, image=image, inputs=None, refusal=(Reason.DRIVER_EXCLUDES, sentence))
        matching = (item.compiled_for for item in driver.declaration.reuse if fnmatchcase(cell.kernel.raw, item.kernel))
        reused = next(matching, None)
        try:
            toolkit = identities.toolkit(cell.source, reused or cell.kernel)
        except LockFileError as error:
            why = f"its modules are to be those of {reused} (reuse): " if reused else ""
            refusal = (_why_no_toolkit(error), f"{why}{error.message}")
            return Candidate(cell=cell, image=image, inputs=None, refusal=refusal)
        own = driver.declaration.own_toolkit(reused or cell.kernel)
        wanted = () if own else driver.declaration.build_packages
        try:
            packages = self.kernel_source(cell.source).build_packages(reused or cell.kernel, wanted) if wanted else ()
        except LockFileError as error:
            return Candidate(cell=cell, image=image, inputs=None, refusal=(Reason.NO_BUILD_PACKAGES, error.message))
        try:
            base = driver.declaration.base_image or identities.base(cell)
        except LockFileError as error:
            return Candidate(cell=cell, image=image, inputs=None, refusal=(Reason.NO_BASE_IMAGE, error.message))
        reused = reused if reused != cell.kernel else None
        source, recipe = identities.driver(driver)
        inputs = CellInputs(
            source=source,
            containerfile=driver.containerfile_digest,
            recipe=recipe,
            # The kernel's own is part of it: the proof of fit comes out of that.
            toolkit=content_id(toolkit, "own", own.rpartition("@")[2]) if own else toolkit,
            base=base,
            driver=f"{cell.driver} {cell.driver_version}",
            kernel=cell.kernel.raw,
            compress=driver.declaration.compress,
            compiled_for=str(reused or ""),
            signers=signed_by,
            packages=" ".join(f"{item.name}={item.version}@{item.sha256}" for item in packages),
        )
        question = driver.open_question
        return Candidate(cell=cell, image=image, inputs=inputs, reused=reused, open_question=question)

    def kernel_source(self, name: str) -> KernelSource:
        """Return a kernel source as the lock has it; LockFileError if it does not."""
        return open_source(self.config, self.lock, name, self.build_arch)

    def image_names(self, cells: Iterable[Cell]) -> dict[str, tuple[str, ...]]:
        """Return the full names of cells' images by cell id; the first is what people use."""
        return {cell.id: self._names_of(cell) for cell in cells}

    def _names_of(self, cell: Cell) -> tuple[str, ...]:
        return image_names(
            self._repositories[cell.driver], cell.driver, cell.driver_version, cell.kernel, self.config.publish.tags,
            suffix=cell.suffix,
        )  # fmt: skip

    @cached_property
    def _repositories(self) -> dict[str, str]:
        named = {driver.name: driver.image_name for driver in self.config.drivers}
        return {name: f"localhost/{UNTRUSTED}/{name}" for name in named} if self.untrusted else named


def _why_no_toolkit(error: LockFileError) -> Reason:
    if isinstance(error, UnknownToolkitError):
        return Reason.TOOLKIT_UNKNOWN
    return Reason.OTHER_MACHINE if isinstance(error, OtherMachineError) else Reason.NO_TOOLKIT


class _Identities:
    """Identities of drivers, toolkits and bases, each worked out once: many cells share a kernel, all share a base."""

    def __init__(self, source_of: Callable[[str], KernelSource]) -> None:
        self._source_of = source_of
        self._toolkits: dict[tuple[str, KernelVersion], str] = {}
        self._bases: dict[tuple[str, Arch], str] = {}
        self._drivers: dict[str, tuple[str, str]] = {}

    def driver(self, driver: DriverSource) -> tuple[str, str]:
        """Return the digests of a driver's source and recipe."""
        name = driver.declaration.name
        if name not in self._drivers:
            self._drivers[name] = driver.tree.digest, driver.recipe_digest
        return self._drivers[name]

    def toolkit(self, source: str, kernel: KernelVersion) -> str:
        key = (source, kernel)
        if key not in self._toolkits:
            self._toolkits[key] = self._source_of(source).toolkit_id(kernel)
        return self._toolkits[key]

    def base(self, cell: Cell) -> str:
        key = (cell.source, cell.kernel.arch)
        if key not in self._bases:
            self._bases[key] = self._source_of(cell.source).base_id(cell.kernel.arch)
        return self._bases[key]


def open_project(folder: Path, work_dir: Path | None = None) -> Project:
    """Name the places of a project; reads nothing yet.

    Raises:
        UsageError: the work folder was not chosen, and is a link, which somebody may have committed.
    """
    file = folder.absolute() / "versions.yaml"
    if work_dir is None and (folder / WORK_FOLDER).is_symlink():
        raise UsageError(
            f"{folder / WORK_FOLDER} is a link, and everything that is built would be written through it",
            hint="remove it, or choose a work folder with --work-dir",
        )
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Project(
        file=file,
        work_dir=(work_dir or folder / WORK_FOLDER).absolute(),
        cache_dir=Path(cache_home).absolute() / "kmodsmith",
        build_arch=Arch(os.uname().machine),
    )
