"""Snapshots of firmware with the real QEMU: guests that start from one are tested as all others are."""

from __future__ import annotations

import json
import shutil
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.locks import debian_of

from builder.boot.kernel_image import SourceKernels
from builder.boot.stage import Booter, BootReport, BootRequest
from builder.config.model.boot import BootTest
from builder.digest import sha256_of
from builder.host.run import obey, stop_all
from builder.kernel import Arch
from builder.kmod.fit import place_modules
from builder.plan.project import open_project
from builder.sources.debian.kernels import PackagedKernels, read_busybox
from builder.sources.debian.parts import DebianParts
from builder.sources.download import Downloads
from builder.sources.lock_file import read_lock
from integration.conftest import copy_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.kernel import KernelVersion

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

# Of the kernel itself, without its signature: a module that is there for every kernel, and does nothing.
_MODULE = "crc7"
_REFUSALS = (
    "refuse-unsigned crc7: EKEYREJECTED: Loading of unsigned module is rejected",
    "refuse-stranger crc7: EKEYREJECTED: Loading of module with unavailable key is rejected",
)


@dataclass
class _Room:
    """Kernels, a folder for snapshots that starts empty, and guests."""

    kernels: dict[str, KernelVersion]
    images: SourceKernels
    busybox: dict[Arch, bytes]
    folder: Path
    count: int = 0

    @property
    def snapshots(self) -> list[Path]:
        return sorted((self.folder / "firmware").glob("*.snapshot"))

    def booter(self) -> Booter:
        """Return one of a new run."""
        self.folder.mkdir(exist_ok=True)
        return Booter(self.folder, acceleration="tcg")

    def request(self, ending: str = "cloud-amd64", **settings: Any) -> BootRequest:
        self.count += 1
        kernel = self.kernels[ending]
        ((_, signed),) = self.images.in_tree(kernel, [_MODULE])
        path = f"opt/lib/modules/{kernel}/extra/{_MODULE}.ko"
        content = place_modules([(path, signed)])[0][0].signed.content
        modules, _ = place_modules([(path, content)])
        test = "#!/bin/sh\necho the time is $(date +%s)\n[ -d /sys/module/crc7 ]\n"
        return BootRequest(
            cell=f"{ending}-{self.count}", kernel=kernel, modules=modules, firmware={},
            settings=BootTest.model_validate({"mode": "secure", **settings}), test_files={"run": test.encode()},
            certificates=[], images=self.images, busybox=self.busybox[kernel.arch],
            log_file=self.folder / "logs" / f"{self.count}" / "boot.log",
        )  # fmt: skip

    def boot(self, booter: Booter | None = None, ending: str = "cloud-amd64", **settings: Any) -> BootReport:
        report = (booter or self.booter()).boot(self.request(ending, **settings))
        assert report.verdict.problems == ()
        assert report.facts["lockdown"] == "none [integrity] confidentiality"
        assert report.verdict.refusals == _REFUSALS
        return report


@pytest.fixture(scope="module")
def room_of_files(lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Room]:
    project = copy_project(tmp_path_factory.mktemp("snapshots"))
    (project / "versions.lock.yaml").write_text(lock_text)
    lock = read_lock(project / "versions.lock.yaml")
    parts = DebianParts(locked=debian_of(lock), build_arch=Arch.X86_64)
    cache = open_project(project).cache_dir
    downloads = Downloads(cache / "packages")
    kernels = {
        ending: [kernel for kernel in lock.kernel_versions("debian") if kernel.raw.endswith(ending)][-1]
        for ending in ("cloud-amd64", "rt-amd64", "cloud-arm64")
    }
    try:
        yield _Room(
            kernels=kernels,
            images=SourceKernels(PackagedKernels(parts, folder=cache / "boot", downloads=downloads)),
            busybox={arch: read_busybox(parts, arch, downloads) for arch in (Arch.X86_64, Arch.AARCH64)},
            folder=project,
        )
    finally:
        downloads.close()


@pytest.fixture(scope="module")
def warm(room_of_files: _Room, tmp_path_factory: pytest.TempPathFactory) -> _Room:
    """A folder in which two guests have been: the first was listened to, the second was stopped and written."""
    room = replace(room_of_files, folder=tmp_path_factory.mktemp("warm") / "boot")
    booter = room.booter()
    assert [room.boot(booter).from_snapshot for _ in range(2)] == [False, False]
    assert len(room.snapshots) == 1
    return room


@pytest.fixture
def room(room_of_files: _Room, tmp_path: Path) -> _Room:
    """An empty folder."""
    return replace(room_of_files, folder=tmp_path / "boot")


@pytest.fixture
def used(warm: _Room, tmp_path: Path) -> _Room:
    """A copy of the folder in which two guests have been."""
    shutil.copytree(warm.folder, tmp_path / "boot")
    return replace(warm, folder=tmp_path / "boot")


def test_the_third_guest_starts_from_a_snapshot_and_is_tested_as_all_are(warm: _Room) -> None:
    assert warm.boot(warm.booter()).from_snapshot
    # Another kernel, and another run, by which the machine's clock has gone on.
    fourth = warm.boot(ending="rt-amd64")
    assert (fourth.from_snapshot, fourth.facts["release"]) == (True, warm.kernels["rt-amd64"].raw)
    said = Path(warm.folder / "logs" / str(warm.count) / "boot.log").read_text()
    told = int(said.partition("the time is ")[2].split()[0])
    assert abs(told - datetime.now(UTC).timestamp()) < 60
    assert warm.snapshots[0].stat().st_mode & 0o077 == 0
    assert sorted(file.suffix for file in (warm.folder / "firmware").iterdir()) == [".json", ".snapshot"]


def test_nothing_of_the_guest_that_was_stopped_is_in_the_snapshot(warm: _Room) -> None:
    content = warm.snapshots[0].read_bytes()
    assert b"EFI" in content
    kernel = warm.kernels["cloud-amd64"].raw.encode()
    assert [text for text in (b"ignore_loglevel", kernel, b"07070100", b"crc7") if text in content] == []


def test_a_device_comes_and_goes_in_a_guest_from_a_snapshot(room: _Room) -> None:
    booter = room.booter()
    reports = [room.boot(booter, devices=("edu",)) for _ in range(3)]
    assert reports[2].from_snapshot
    assert {step.step for step in reports[0].steps} == {step.step for step in reports[2].steps}


def test_a_snapshot_with_another_byte_is_taken_anew(used: _Room) -> None:
    (file,) = used.snapshots
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert not used.boot().from_snapshot
    assert used.snapshots == [file]
    assert file.read_bytes() != content


def test_a_snapshot_that_qemu_does_not_take_costs_time_only(used: _Room) -> None:
    """Damaged before it was written down, so that its digest is right."""
    (file,) = used.snapshots
    content = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(content)
    (notes,) = file.parent.glob("*.json")
    told = json.loads(notes.read_text()) | {"digest": sha256_of(content).removeprefix("sha256:")}
    notes.write_text(json.dumps(told))
    assert not used.boot().from_snapshot
    assert not file.exists()


def test_a_guest_that_is_killed_while_it_is_written_leaves_none(used: _Room) -> None:
    used.snapshots[0].unlink()
    is_stopping = threading.Event()
    with ThreadPoolExecutor(1, "guest", obey, (is_stopping,)) as pool:
        running = pool.submit(used.booter().boot, used.request())
        deadline = time.monotonic() + 120
        while not (parts := list((used.folder / "firmware").glob(".*.part"))) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert parts
        is_stopping.set()
        stop_all()
        with pytest.raises(CancelledError):
            running.result()
    assert sorted(file.suffix for file in (used.folder / "firmware").iterdir()) == [".json"]


def test_two_runs_at_once_take_one(used: _Room) -> None:
    used.snapshots[0].unlink()
    booters = [used.booter(), used.booter()]
    with ThreadPoolExecutor(2) as pool:
        for report in pool.map(used.boot, booters):
            assert not report.from_snapshot
    assert len(used.snapshots) == 1
    assert used.boot().from_snapshot


def test_on_arm64(room: _Room) -> None:
    booter = room.booter()
    reports = [room.boot(booter, "cloud-arm64") for _ in range(3)]
    assert [report.from_snapshot for report in reports] == [False, False, True]
