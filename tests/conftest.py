"""Fixtures, and the guard that keeps the fast suite honest: no process, no socket, no sleep."""

from __future__ import annotations

import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_socket

from builder.kernel import Arch, parse_kernel_version
from builder.sources.lock import Lock, LockedDebian, LockedKernel, LockedPackage, write_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REAL = {"buildah", "archive", "bench"}


@pytest.fixture(autouse=True)
def _guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fast test that starts a program (other than fakes that it wrote itself), connects or waits, fails."""
    marks = {mark.name for mark in request.node.iter_markers()}
    if marks & _REAL:
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    if "fake_tools" not in request.fixturenames:  # waiting for a process with a time-out sleeps, too
        monkeypatch.setattr(subprocess, "Popen", _refuse("start a process"))
        monkeypatch.setattr(time, "sleep", _refuse("sleep"))
    yield
    pytest_socket.enable_socket()


def _refuse(what: str) -> Callable[..., None]:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError(f"a fast test must not {what}: mark it, or use fake_tools")

    return refuse


@dataclass(frozen=True)
class FakeTools:
    """Executables on PATH that record how they were called; nothing else is on PATH but what they need."""

    folder: Path

    def add(self, name: str, script: str = "exit 0") -> None:
        file = self.folder / name
        calls = self.folder / f"{name}.calls"
        # One write for a call: several threads call at once.
        record = f'line=; for word in "$@"; do line="$line$word\x1f"; done; echo "$line" >>"{calls}"; unset line word'
        file.unlink(missing_ok=True)  # it may be a link to the machine's own program, which must not be written through
        file.write_text(f"#!/bin/sh\n{record}\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def calls(self, name: str) -> list[list[str]]:
        file = self.folder / f"{name}.calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.split("\x1f")[:-1] for line in lines]


@pytest.fixture
def fake_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    folder = tmp_path / "fake-bin"
    folder.mkdir()
    for name in ("sh", "cat", "mkdir", "rm", "sleep", "touch", "env", "dirname", "cp"):
        (folder / name).symlink_to(next(path for place in ("/usr/bin", "/bin") if (path := Path(place, name)).exists()))
    monkeypatch.setenv("PATH", str(folder))
    return FakeTools(folder)


VERSIONS_YAML = """\
drivers:
  - name: demo
    version: 1.2.0
    source: src
    modules: [demo]
    vendor: V
    summary: S
    description: D
    maintainer: M
sources:
  debian: {provider: debian}
groups:
  few: {source: debian, newest: true, arches: [x86_64]}
  all: {source: debian}
default_group: few
"""

KERNELS = (
    "6.1.0-9-amd64",
    "6.1.0-10-amd64",
    "6.1.0-10-rt-amd64",
    "6.1.0-10-cloud-amd64",
    "6.12.5+deb12-amd64",
    "6.12.5+deb12-arm64",
)


def make_source(*kernels: str) -> LockedDebian:
    """A locked source with one package per kernel and one toolchain."""
    packages = {"gcc": _package("gcc"), "busybox": _package("busybox")}
    locked: dict[str, LockedKernel] = {}
    for raw in kernels:
        packages[f"headers-{raw}"] = _package(raw)
        locked[raw] = LockedKernel(
            package_version="1", toolchains={Arch.X86_64: "tools"}, headers={Arch.X86_64: (f"headers-{raw}",)}
        )
    sets: dict[str, tuple[str, ...]] = {"tools": ("gcc",)}
    for raw in kernels:
        sets[f"runtime-{parse_kernel_version(raw).arch}"] = ("busybox",)
    return LockedDebian(
        provider="debian",
        resolved="2026-11-23T00:00:00Z",
        kernels=locked,
        package_sets=sets,
        packages=packages,
    )


def _package(name: str) -> LockedPackage:
    digest = "".join(f"{ord(letter):02x}" for letter in name)[:64].ljust(64, "0")
    return LockedPackage(url=f"http://archive.test/{digest}.deb", size=10, installed=20, sha256=digest)


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
    write_lock(Lock(sources={"debian": make_source(*KERNELS)}), folder / "versions.lock.yaml")
    return folder
