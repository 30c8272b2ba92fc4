"""Fixtures, and the guard that keeps the fast suite honest: no process, no socket, no sleep."""

from __future__ import annotations

import asyncio
import atexit
import functools
import gc
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, NamedTuple

import hypothesis
import pytest
import pytest_socket
from fakes.bench import bench, booting  # noqa: F401 - fixtures
from fakes.components import parts  # noqa: F401 - fixture
from fakes.operator_program import operator_program  # noqa: F401 - fixture
from fakes.project import KERNELS, VERSIONS_YAML, make_source
from fakes.site import site  # noqa: F401 - fixture
from fakes.tools import FakeTools
from programs import REAL_MARKS

from builder.sources.lock import Lock
from builder.sources.lock_file import write_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a property is tried with is the same each time, or a commit that passed would fail one day: new inputs are looked
# for by `--hypothesis-profile default`, and by `nox -s fuzz`.
hypothesis.settings.register_profile("same", derandomize=True, database=None)
hypothesis.settings.load_profile("same")

# A plugin of one file, and imported by another that may be collected before: whoever comes first, it is the same.
pytest.register_assert_rewrite("integration.engines")

# The longest files of real tests, by the durations that every such run tells; signatures after those beside which the
# engines are built that judge them (integration/engines.py).
_LONG = (
    "qemu/test_boot.py", "registry/test_publish_many.py", "archive/test_vendor_packages.py", "qemu/test_openshift.py",
    "buildah/test_build.py", "registry/test_signatures.py", "archive/test_bring_your_driver.py",
    "registry/test_base_image.py", "buildah/test_sign.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put real tests first, the longest files at the head: of files that run side by side, the last is waited for."""

    def turn(item: pytest.Item) -> tuple[bool, int]:
        place = "/".join(item.path.parts[-2:])
        return "integration" not in item.path.parts, _LONG.index(place) if place in _LONG else len(_LONG)

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """Have what was collected looked through no more, as it stays to the end; and the rest less often."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def _guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fast test that starts a program (other than fakes that it wrote itself), connects or waits, fails."""
    marks = {mark.name for mark in request.node.iter_markers()}
    if marks & REAL_MARKS:
        yield
        return
    assert asyncio._get_running_loop() is None, "a fixture that still lives left its event loop in this thread"
    pytest_socket.disable_socket(allow_unix_socket=True)
    if "fake_tools" not in request.fixturenames:  # waiting for a process with a time-out sleeps, too
        monkeypatch.setattr(subprocess, "Popen", _refuse("start a process"))
        monkeypatch.setattr(time, "sleep", _refuse("sleep"))
    # Whether the machine's own disk and memory are nearly full (real tests run beside these) is none of their matter.
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: _Usage(total=2**42, used=0, free=2**42))
    monkeypatch.setattr("builder.doctor.examine.available_memory", lambda: 2**34)
    monkeypatch.setenv("XDG_CACHE_HOME", _cache_home())
    yield
    pytest_socket.enable_socket()


def _refuse(what: str) -> Callable[..., None]:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError(f"a fast test must not {what}: mark it, or use fake_tools")

    return refuse


@functools.cache
def _cache_home() -> str:
    """One for all fast tests of a process: what they keep belongs to nobody's home."""
    folder = mkdtemp(prefix="kmodsmith-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _needed_by_fakes() -> list[tuple[str, Path]]:
    names = ("sh", "cat", "mkdir", "rm", "sleep", "touch", "env", "dirname", "cp")
    return [
        (name, next(path for place in ("/usr/bin", "/bin") if (path := Path(place, name)).exists())) for name in names
    ]


@functools.cache
def _sample_lock() -> bytes:
    """What hundreds of projects start with, written once."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "versions.lock.yaml")
        write_lock(Lock(sources={"debian": make_source(*KERNELS)}), file)
        return file.read_bytes()


@pytest.fixture
def fake_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    folder = tmp_path / "fake-bin"
    folder.mkdir()
    for name, place in _needed_by_fakes():
        (folder / name).symlink_to(place)
    monkeypatch.setenv("PATH", str(folder))
    return FakeTools(folder)


@pytest.fixture
def project_dir(tmp_path: Path) -> Path:
    """A project with one driver and a lock of six kernels."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "demo.c").write_text("int demo;\n")
    (folder / "src" / "LICENSE").write_text("GPL\n")
    (folder / "driver-container").mkdir()
    (folder / "driver-container" / "Containerfile").write_text("FROM scratch\n")
    (folder / "versions.yaml").write_text(VERSIONS_YAML)
    (folder / "versions.lock.yaml").write_bytes(_sample_lock())
    return folder


@pytest.fixture
def outside(project_dir: Path) -> Path:
    """A folder beside the project, with everything in it that a driver needs."""
    folder = project_dir.parent / "outside"
    folder.mkdir()
    (folder / "LICENSE").write_text("GPL\n")
    (folder / "secret").write_text("of the host")
    return folder
