"""The boot test of a cell: what goes into the guest, and the evidence that stays."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from builder.boot.kernel_image import OsImageKernels, SourceKernels
from builder.boot.script import TEST_NAME
from builder.boot.stage import BootRequest
from builder.boot.verdict import raise_problems
from builder.errors import CellError, FailureClass, FormatError
from builder.evidence.records import BootEvidence
from builder.host.places import read_inside
from builder.image.labels import MODULE_ROOT
from builder.kmod.finding import raise_findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from builder.boot.kernel_image import KernelImages
    from builder.boot.stage import Booter
    from builder.drivers.source import StagedDriver
    from builder.evidence.journal import Journal
    from builder.image.contents import ImageContents
    from builder.kernel import Arch
    from builder.kmod.signature import Certificate
    from builder.plan.decide import Decision
    from builder.plan.matrix import Cell
    from builder.plan.project import Project

_FIRMWARE_ROOT = "firmware/"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellBooter:
    """Boots the cells of a run. ``images_of`` and ``busybox_of`` answer for a kernel source of the lock."""

    booter: Booter
    drivers: Mapping[str, StagedDriver]
    images_of: Callable[[str], KernelImages]
    busybox_of: Callable[[str, Arch], bytes]
    certificates: Sequence[Certificate]
    journal: Journal
    work_dir: Path

    def log_file(self, cell: Cell) -> Path:
        """Return where the console of a cell's guest is kept."""
        return self.work_dir / "cells" / cell.id / "boot.log"

    def missing_bytes(self, cells: Iterable[Cell]) -> int:
        """Return the room that fetching these cells' kernels takes in the cache."""
        kernels = {(cell.source, cell.kernel) for cell in cells}
        return sum(self.images_of(source).missing_bytes(kernel) for source, kernel in kernels)

    def test(self, decision: Decision, contents: ImageContents, run_id: str) -> None:
        """Boot a cell's kernel with the modules of an image, and record what came of it.

        Raises:
            CellError: of class boot, what is wrong with the modules; of class infrastructure, why nothing is known.
            HostError: what a guest needs is missing on this machine.
        """
        cell = decision.cell
        folder = f"{MODULE_ROOT}/{cell.kernel.raw}/"
        modules, findings = contents.modules
        raise_findings([finding for finding in findings if finding.subject.startswith(folder)])
        staged = self.drivers[cell.driver]
        firmware = (file for path, file in contents.files.items() if path.startswith(_FIRMWARE_ROOT))
        log_file = self.log_file(cell)
        report = self.booter.boot(
            BootRequest(
                cell=cell.id,
                kernel=cell.kernel,
                modules=[module for module in modules if module.path.startswith(folder)],
                firmware={file.path.removeprefix(_FIRMWARE_ROOT): file.content for file in firmware if file.content},
                settings=staged.driver.declaration.boot,
                test_files=read_test_files(staged),
                certificates=self.certificates,
                images=self.images_of(cell.source),
                busybox=self.busybox_of(cell.source, cell.kernel.arch),
                log_file=log_file,
                modprobe_files=_read_modprobe_files(contents),
            )
        )
        problems = report.verdict.problems
        self.journal.record_boot(
            BootEvidence(
                cell=cell.id,
                key=decision.boot_key,
                digest=contents.digest,
                passed=not problems,
                run=run_id,
                finished=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                wish=report.wish,
                from_snapshot=report.from_snapshot,
                inputs=decision.boot_inputs,
                mode=report.mode,
                acceleration=report.acceleration,
                enrolled=report.enrolled,
                signed_by=report.signed_by,
                seconds=report.seconds,
                refusals=report.verdict.refusals,
                allowed=tuple(map(str, report.verdict.allowed)),
                notes=report.verdict.notes,
                code=problems[0].check if problems else "",
                log=str(log_file.relative_to(self.work_dir)),
            )
        )
        raise_problems(problems)


def _read_modprobe_files(contents: ImageContents) -> dict[str, bytes]:
    return {path: file.content or b"" for path, file in contents.files.items() if "modprobe.d/" in path}


@contextlib.contextmanager
def open_cell_booter(
    project: Project,
    booter: Booter,
    *,
    drivers: Mapping[str, StagedDriver],
    certificates: Sequence[Certificate],
    sources: Iterable[str],
    os_image: str | None,
) -> Iterator[CellBooter]:
    """Bring a project's kernels, drivers and certificates together for booting.

    Args:
        project: gives the lock, the journal and the folders.
        booter: what runs guests.
        drivers: staged copies of all that are booted.
        certificates: those of the signers.
        sources: kernel sources of what is booted.
        os_image: operating system image to take kernels from, instead of their own sources.
    """
    workplace = project.workplace
    with contextlib.ExitStack() as held:

        def open_images(name: str) -> KernelImages:
            if os_image is not None:
                return OsImageKernels(os_image, folder=workplace.kernels_dir, jail=project.jail)
            kernels = project.kernel_source(name).open_kernels(workplace)
            held.callback(kernels.close)
            return SourceKernels(kernels)

        images = {name: open_images(name) for name in sources}
        yield CellBooter(
            booter=booter,
            drivers=drivers,
            images_of=images.__getitem__,
            busybox_of=lambda source, arch: project.kernel_source(source).read_busybox(arch, workplace),
            certificates=certificates,
            journal=project.journal,
            work_dir=project.work_dir,
        )


def read_test_files(staged: StagedDriver) -> dict[str, bytes]:
    """Return the smoke test and its files as the guest gets them; empty where the driver has none.

    Raises:
        CellError: one is no file of the driver's source.
    """
    boot = staged.driver.declaration.boot
    if boot.smoke_test is None:
        return {}
    named = {name.rpartition("/")[2]: _read_test_file(staged, name) for name in boot.files}
    return named | {TEST_NAME: _read_test_file(staged, boot.smoke_test)}


def _read_test_file(staged: StagedDriver, name: str) -> bytes:
    try:
        return read_inside(staged.tests, name)
    except FormatError as error:
        sentence = f"{name}, which versions.yaml names for the boot test, {error.message}"
        raise CellError(FailureClass.BOOT, "test-unreadable", sentence, location=name) from None
