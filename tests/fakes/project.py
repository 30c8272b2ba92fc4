"""A project with one driver, and a lock of six kernels without a real package."""

from __future__ import annotations

from builder.kernel import Arch, parse_kernel_version
from builder.sources.debian.lock import LockedDebian, LockedKernel, LockedPackage
from fakes.locks import parsed

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

TEN_MISTAKES = """\
drivers:
  - name: Demo
    version: 1.0
    source: nowhere
    modul: [demo]
    modules: [a b]
    vendor: 3
    summary: S
    description: D
    maintainer: M
sources:
  debian: {provider: fedora}
groups:
  few: {source: debian, arches: [i386], newest: 1}
default_group: few
known_bad:
  - {kernel: 6.1, reason: r, owner: jo, expires: 2020-01-01}
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
        kernels=parsed(locked),
        package_sets=sets,
        packages=packages,
    )


def _package(name: str) -> LockedPackage:
    digest = "".join(f"{ord(letter):02x}" for letter in name)[:64].ljust(64, "0")
    return LockedPackage(url=f"http://archive.test/{digest}.deb", size=10, installed=20, sha256=digest)
