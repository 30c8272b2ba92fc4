"""Kernel source Debian: real kernels, with headers and bootable images, without an account.

What it writes down are the exact packages of every kernel's toolkit, so that identities of toolkits follow from the
lock alone. Names and dependencies: the Debian kernel handbook, chapter 4; seen in bookworm's 6.1 and 6.12.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from debian.debian_support import Version

from builder.config.problem_codes import ProblemCode
from builder.errors import SourceError, UsageError
from builder.host.locks import alone
from builder.kernel import Arch, parse_kernel_version
from builder.sources.debian.apt import Apt, Archive
from builder.sources.debian.lock import (
    CCACHE_SET,
    LockedDebian,
    LockedKernel,
    LockedPackage,
    name_further_set,
    set_beside,
)
from builder.sources.doubt import Doubt, summarize
from builder.sources.losses import distrust

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from builder.config.model.debian import DebianKernels
    from builder.kernel import KernelVersion
    from builder.sources.debian.apt import Package

# What the Driver Toolkit offers to a driver's build, without git and rpm (facts/seed-and-openshift.md section 2);
# libelf1, libssl3 and pahole are what the prebuilt tools of linux-kbuild need.
_TOOLS = (
    "bash", "bc", "binutils", "bison", "bzip2", "coreutils", "cpio", "dash", "diffutils", "findutils", "flex", "gawk",
    "grep", "gzip", "kmod", "libc6-dev", "libelf1", "libssl3", "make", "openssl", "pahole", "patch", "perl-base",
    "sed", "tar", "xz-utils", "zstd",
)  # fmt: skip
# sh, mkdir and cp, and /etc/os-release; statically linked, so what they depend on is left out.
_RUNTIME = ("busybox-static", "base-files")
_RUNTIME_SET = "runtime-"
# What compiles may be sped up by, with what it depends on; an archive without it has kernels all the same.
_CCACHE = "ccache"
_LONGEST_REASON = 500
_GNU_TRIPLET = {Arch.X86_64: "x86-64-linux-gnu", Arch.AARCH64: "aarch64-linux-gnu"}
_HEADERS = "linux-headers-"
_WANTED = re.compile(r"linux-(headers|kbuild|compiler|image)-.*(?<!-dbg)")


_FLAVOUR = re.compile(r"\d+\.\d+\.\d+[a-z0-9+.~-]{0,100}?-((?:rt-|cloud-)?(?:amd64|arm64))")


@dataclass(slots=True, kw_only=True)
class DebianAnswer:
    """A source's new lock, and what is to be said about it."""

    locked: LockedDebian
    lost: dict[str, str]
    """Kernels that left, with the stated reason."""
    doubts: list[Doubt] = field(default_factory=list)
    """What is not believed or not whole; the lock holds the older answers."""

    @property
    def problems(self) -> list[str]:
        return summarize(self.doubts)


def discover(
    source: DebianKernels,
    previous: LockedDebian | None,
    work_dir: Path,
    now: datetime,
    *,
    accept_loss: bool = False,
    build_packages: Collection[tuple[str, ...]] = (),
    image_packages: Collection[tuple[Arch, tuple[str, ...]]] = (),
) -> DebianAnswer:
    """Ask the archive which kernels have headers and which packages make their toolkits.

    A kernel whose packages are not all there is left out with the reason, or keeps its older answer; the others go on.

    Args:
        source: the source in versions.yaml.
        previous: what the lock holds of it.
        work_dir: where apt keeps its lists.
        now: date of the answer.
        accept_loss: believe an answer that lost many kernels at once.
        build_packages: lists of what drivers' builds want beside toolkits.
        image_packages: lists of what component images want beside the small base image, by architecture.

    Raises:
        SourceUnreachableError: the archive did not answer; the previous answer stays valid.
        SourceError: its answer cannot be trusted or has no kernel in it.
    """
    # Projects whose sources have one name share the folder, and may ask other archives in it.
    with alone(work_dir):
        collector = _ask(source, work_dir)
        collector.add_build_sets(build_packages)
        collector.add_image_sets(image_packages)
    is_empty = not collector.kernels and not collector.left_out
    if not collector.kernels and not (is_empty and accept_loss and previous is not None):
        reasons = "; ".join(sorted(set(collector.left_out.values())))
        without = "no kernel headers of the configured flavours"
        believe = "; if that is right, say --accept-loss" if is_empty and previous is not None else ""
        what = f"no kernel that is whole: {reasons}" if reasons else without
        raise SourceError(f"the Debian archive has {what}{believe}")
    keeper = _Keeper(collector, previous)
    keeper.judge(source.flavours, accept_loss=accept_loss)
    found = keeper.lock(f"{now:%Y-%m-%dT%H:%M:%SZ}")
    if previous is not None and previous.model_copy(update={"resolved": found.resolved}) == found:
        found = previous
    return DebianAnswer(locked=found, lost=keeper.lost, doubts=keeper.doubts)


def _ask(source: DebianKernels, work_dir: Path) -> _Collector:
    archives = [Archive(url=archive.url, suites=archive.suites) for archive in source.archives]
    keyring = Path(source.keyring)
    targets = sorted({parse_kernel_version(f"6.1.0-1-{flavour}").arch for flavour in source.flavours})
    apts = {arch: Apt(work_dir / arch, arch, archives, keyring) for arch in {*targets, *source.build_arches}}
    for apt in apts.values():
        apt.update()
    index = {arch: _by_name(apt.packages(_WANTED)) for arch, apt in apts.items()}
    collector = _Collector(index=index, apts=apts, build_arches=source.build_arches)
    for arch in targets:
        collector.add_arch(arch, source.flavours)
    collector.add_ccache()
    return collector


def _by_name(packages: Iterable[Package]) -> dict[str, list[Package]]:
    """Group packages by name, the newest version last."""
    found: dict[str, list[Package]] = {}
    for package in sorted(packages, key=lambda package: Version(package.version)):
        found.setdefault(package.name, []).append(package)
    return found


def flavour_of(raw: str) -> str:
    """Return a kernel's flavour as Debian spells it; empty where the text names no kernel."""
    match = _FLAVOUR.fullmatch(raw)
    return match[1] if match else ""


class _Keeper:
    """Brings an answer together with the one before: what is not whole, or not believed, keeps its older answer."""

    def __init__(self, answer: _Collector, previous: LockedDebian | None) -> None:
        self._answer = answer
        self._previous = previous
        self._stale: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        self.doubts: list[Doubt] = []

    def judge(self, flavours: Sequence[str], *, accept_loss: bool) -> None:
        """Decide about every kernel, and every further set of packages, that was known and is not in the answer."""
        for name, reason in sorted(self._answer.lacking.items()):
            self._keep_further_set(name, reason)
        self._keep_ccache()
        if self._previous is None:
            return
        missing: dict[str, list[KernelVersion]] = {}
        for kernel in sorted(self._previous.kernels.keys() - self._answer.kernels.keys(), key=str):
            flavour = flavour_of(kernel.raw)
            if flavour not in flavours:
                self.lost[kernel.raw] = f"versions.yaml no longer asks for {flavour or 'it'}"
            elif kernel.raw in self._answer.left_out:
                self._keep(kernel, self._previous)
                sentence = f"{self._answer.left_out.pop(kernel.raw)}; its older answer is kept"
                self._doubt(ProblemCode.KERNEL_INCOMPLETE, kernel.raw, sentence)
            else:
                missing.setdefault(flavour, []).append(kernel)
        for flavour, kernels in missing.items():
            known = sum(flavour_of(kernel.raw) == flavour for kernel in self._previous.kernels)
            is_empty = not any(flavour_of(kernel.raw) == flavour for kernel in self._answer.kernels)
            sentence = distrust(len(kernels), known, "kernel", is_empty=is_empty, accept=accept_loss)
            if sentence:
                self._doubt(ProblemCode.MANY_LOST, flavour, sentence)
            for kernel in kernels:
                if sentence:
                    self._keep(kernel, self._previous)
                else:
                    self.lost[kernel.raw] = "the archive serves no headers for it any more"

    def _doubt(self, code: ProblemCode, subject: str, sentence: str) -> None:
        self.doubts.append(Doubt(code=code, subject=subject, sentence=sentence))

    def _keep(self, kernel: KernelVersion, previous: LockedDebian) -> None:
        """Take a kernel over from the older answer, with the packages that it needs."""
        locked = previous.kernels[kernel]
        self._answer.kernels[kernel] = locked
        self._stale[kernel.raw] = previous.stale.get(kernel.raw, previous.resolved)
        for name in {*locked.toolchains.values(), f"{_RUNTIME_SET}{kernel.arch}"} & previous.package_sets.keys():
            self._answer.package_sets.setdefault(name, previous.package_sets[name])
        for name in previous.packages:
            self._answer.packages.setdefault(name, previous.packages[name])

    def _keep_ccache(self) -> None:
        """Keep the ccache that was known where the archive has none now: all the same modules come out of either."""
        known = self._previous.package_sets if self._previous else {}
        for name in known.keys() - self._answer.package_sets.keys():
            if self._previous and name.startswith(CCACHE_SET):
                self._answer.package_sets[name] = known[name]
                for package in known[name]:
                    self._answer.packages.setdefault(package, self._previous.packages[package])

    def _keep_further_set(self, name: str, reason: str) -> None:
        """Keep the older answer about further packages that the archive does not have, or not together, now."""
        known = self._previous.package_sets.get(name) if self._previous else None
        wanted = name.removeprefix(set_beside(name)).removeprefix(" with ")
        what = "of component images" if set_beside(name).startswith(_RUNTIME_SET) else "that drivers build with"
        sentence = f"the packages {what} cannot be had: {reason}"
        kept = "; their older versions are kept" if known is not None else ""
        doubt = Doubt(code=None, subject=wanted, sentence=f"{sentence}{kept}")
        self.doubts += [doubt] if doubt not in self.doubts else []  # each toolchain's set lacks the same
        if known is None or self._previous is None:
            return
        self._answer.package_sets[name] = known
        for package in known:
            self._answer.packages.setdefault(package, self._previous.packages[package])
        del self._answer.lacking[name]
        self._stale[name] = self._previous.stale.get(name, self._previous.resolved)

    def lock(self, resolved: str) -> LockedDebian:
        """Return what the lock will hold; packages that only what was left out needs are not in it."""
        kernels = self._answer.kernels
        toolchains = {name for locked in kernels.values() for name in locked.toolchains.values()}
        runtimes = {f"{_RUNTIME_SET}{kernel.arch}" for kernel in kernels}
        caches = {name for name in self._answer.package_sets if name.startswith(CCACHE_SET)}
        kept = toolchains | runtimes | caches
        sets = {
            name: packages for name, packages in self._answer.package_sets.items() if (set_beside(name) or name) in kept
        }
        used = {name for packages in sets.values() for name in packages}
        for locked in kernels.values():
            used |= locked.packages
        return LockedDebian(
            provider="debian",
            resolved=resolved,
            kernels=kernels,
            package_sets=sets,
            packages={name: package for name, package in self._answer.packages.items() if name in used},
            left_out=self._answer.left_out,
            lacking={name: why for name, why in self._answer.lacking.items() if set_beside(name) in kept},
            stale=self._stale,
        )


class _Collector:
    """Gathers the parts of a LockedDebian while kernels are looked at."""

    def __init__(
        self,
        *,
        index: Mapping[Arch, Mapping[str, list[Package]]],
        apts: Mapping[Arch, Apt],
        build_arches: Sequence[Arch],
    ) -> None:
        self._index = index
        self._apts = apts
        self._build_arches = build_arches
        self.left_out: dict[str, str] = {}
        """Kernels whose packages are not all there, with the reason."""
        self.lacking: dict[str, str] = {}
        """Further sets that cannot be had, with the reason."""
        self._wishes: dict[str, tuple[Arch, tuple[str, ...]]] = {}
        """Toolchains, and what apt was asked for to get each."""
        self.kernels: dict[KernelVersion, LockedKernel] = {}
        self.package_sets: dict[str, tuple[str, ...]] = {}
        self.packages: dict[str, LockedPackage] = {}

    def add_arch(self, arch: Arch, flavours: Sequence[str]) -> None:
        """Add the kernels of an architecture, and the small base image that all of them need."""
        fault = ""
        try:
            self.add_set(f"{_RUNTIME_SET}{arch}", arch, _RUNTIME, with_dependencies=False)
        except SourceError as error:
            fault = error.message
        for raw in self._served(arch, flavours):
            try:
                if fault:
                    raise SourceError(fault)  # noqa: TRY301 - said of each kernel that needs it
                self._add_kernel(raw, arch)
            except (SourceError, UsageError) as error:
                self.left_out[raw] = " ".join(error.message.split())

    def _served(self, arch: Arch, flavours: Sequence[str]) -> list[str]:
        """Return the kernels of an architecture that the archive has headers for, usable or not."""
        names = {name.removeprefix(_HEADERS) for name in (*self._index[arch], *self._apts[arch].unusable)}
        wanted = {flavour for flavour in flavours if flavour.endswith(arch.oci)}
        return sorted(name for name in names if flavour_of(name) in wanted)

    def _add_kernel(self, raw: str, arch: Arch) -> None:
        kernel = parse_kernel_version(raw)
        headers = self._newest(f"{_HEADERS}{raw}", arch)
        gcc = self._gcc_of(headers)
        common = self._dependency(headers, arch, r"linux-headers-\S+-common\S*")
        toolchains, locked_headers = {}, {}
        for build_arch in self._build_arches:
            kbuild = self._dependency(headers, arch, r"linux-kbuild-\S+", served_by=build_arch)
            toolchains[build_arch] = self._add_toolchain(build_arch, arch, gcc)
            self._check_tools(kbuild, toolchains[build_arch])
            locked_headers[build_arch] = tuple(self._add(package) for package in (kbuild, common, headers))
        self.kernels[kernel] = LockedKernel(
            package_version=headers.version,
            toolchains=toolchains,
            headers=locked_headers,
            image=self._image_of(raw, arch),
        )

    def _newest(self, name: str, arch: Arch) -> Package:
        packages = self._index[arch].get(name)
        if not packages:
            raise SourceError(self._apts[arch].unusable.get(name, f"the archive does not have {name}"))
        return packages[-1]

    def _image_of(self, raw: str, arch: Arch) -> str:
        """Return the package of the bootable kernel, signed by Debian where there is one; empty where there is none."""
        for name in (f"linux-image-{raw}", f"linux-image-{raw}-unsigned"):
            if packages := self._index[arch].get(name):
                return self._add(packages[-1])
        return ""

    def _gcc_of(self, headers: Package) -> str:
        # 6.12 depends on gcc-12 itself, 6.1 on linux-compiler-gcc-12-x86.
        match = re.search(r"\bgcc-(\d+)\b", headers.depends)
        if match is None:
            raise SourceError(f"{headers.name} does not say which gcc its kernel was built with: {headers.depends}")
        return match[1]

    def _dependency(self, of: Package, arch: Arch, name: str, *, served_by: Arch | None = None) -> Package:
        """Return the package that a dependency names, in the exact version if it asks for one."""
        match = re.search(rf"(?:^|[ ,])({name}?)(?: \((=|>=) ([^)]+)\))?(?:,|$)", of.depends)
        candidates = self._index[served_by or arch].get(match[1], []) if match else []
        if match and match[2] == "=":
            candidates = [package for package in candidates if package.version == match[3]]
        if not candidates:
            why = self._apts[served_by or arch].unusable.get(match[1], "") if match else ""
            sentence = f"{of.name} {of.version} needs a package like {name} that the archive does not have"
            raise SourceError(f"{sentence}: {why}" if why else sentence)
        return candidates[-1]

    def _check_tools(self, kbuild: Package, toolchain: str) -> None:
        """Refuse a toolchain without what the kernel's build tools depend on: it would fail in the compile."""
        there = {name.split("_", 1)[0] for name in self.package_sets[toolchain]}
        needed = {alternatives.split()[0] for alternatives in kbuild.depends.split(",") if alternatives.strip()}
        if missing := sorted(needed - there):
            raise SourceError(f"{kbuild.name} depends on {', '.join(missing)}, which our toolkits do not contain")

    def _add_toolchain(self, build_arch: Arch, target: Arch, gcc: str) -> str:
        name = f"toolchain-{build_arch}-{target}-gcc-{gcc}"
        compiler = f"gcc-{gcc}" if build_arch is target else f"gcc-{gcc}-{_GNU_TRIPLET[target]}"
        # A cross toolkit needs the native compiler as well: kbuild compiles host programs of some drivers with it.
        wishes = (*_TOOLS, f"gcc-{gcc}", *([compiler] if build_arch is not target else []))
        self.add_set(name, build_arch, wishes)
        self._wishes[name] = (build_arch, wishes)
        return name

    def add_build_sets(self, build_packages: Iterable[tuple[str, ...]]) -> None:
        """Add what drivers' builds want beside each toolchain; they run where it runs, whatever they compile for.

        It is resolved together with the toolchain, so that nothing comes in two versions.
        """
        for toolchain, (arch, wishes) in self._wishes.items():
            for wanted in sorted(build_packages):
                self._add_further_set(toolchain, arch, wishes, wanted)

    def add_ccache(self) -> None:
        """Add ccache for each machine that compiles, where its archive has it."""
        for arch in self._build_arches:
            with contextlib.suppress(SourceError):
                found = self._apts[arch].resolve((_CCACHE,))
                if _CCACHE in {package.name for package in found}:
                    self.package_sets[f"{CCACHE_SET}{arch}"] = tuple(self._add(package) for package in found)

    def add_image_sets(self, image_packages: Iterable[tuple[Arch, tuple[str, ...]]]) -> None:
        """Add what component images want beside the small base image of their architecture."""
        for arch, wanted in sorted(image_packages):
            if (runtime := f"{_RUNTIME_SET}{arch}") in self.package_sets:
                self._add_further_set(runtime, arch, (), wanted)

    def _add_further_set(self, beside: str, arch: Arch, wishes: Sequence[str], wanted: tuple[str, ...]) -> None:
        there = {name.split("_", 1)[0] for name in self.package_sets[beside]}
        name = name_further_set(beside, wanted)
        try:
            found = self._apts[arch].resolve((*wishes, *wanted))
            # Of a name that it does not know apt makes a pattern, or the wish to be rid of something (NAME-).
            if others := sorted(set(wanted) - {package.name for package in found}):
                raise SourceError(f"the archive has no package {others[0]}")  # noqa: TRY301 - one place words it
        except SourceError as error:
            # What was asked for, all of a toolchain, says nobody anything.
            reason = error.message.partition(":\n")[2] or error.message
            self.lacking[name] = " ".join(reason.split())[:_LONGEST_REASON]
            return
        self.package_sets[name] = tuple(self._add(package) for package in found if package.name not in there)

    def add_set(self, name: str, arch: Arch, wishes: Sequence[str], *, with_dependencies: bool = True) -> None:
        if name not in self.package_sets:
            packages = self._apts[arch].resolve(wishes)
            chosen = [package for package in packages if with_dependencies or package.name in wishes]
            self.package_sets[name] = tuple(self._add(package) for package in chosen)

    def _add(self, package: Package) -> str:
        self.packages[package.key] = LockedPackage(
            url=package.url, size=package.size, installed=package.installed, sha256=package.sha256
        )
        return package.key
