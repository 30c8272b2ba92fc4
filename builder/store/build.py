"""The two runs of ``buildah build`` on a driver's Containerfile: compile to a folder, assemble from a folder.

Both run the same Containerfile. The first stops at its stage ``build`` with a folder of the host mounted where that
stage leaves its results (``/out``); the second takes the folder instead of the stage ``modules``, so its result is
byte for byte what one uninterrupted build would have made. Between the two, modules are plain files on the host:
the mount where they are proven and signed. (Exporting a stage instead of mounting costs 0.4 s of CPU a cell.)
Where the last stage is the known one, ``last_stage`` does what the second would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from builder.host.run import Command
from builder.store.cached_compiler import BEGIN, PROGRAMS
from builder.store.jail import Mount
from builder.store.last_stage import ANNOTATED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from builder.kernel import Arch, KernelVersion
    from builder.store.jail import Jail, Room

# Names that a Containerfile has to use; driver-container/README.md explains them to its authors.
BUILD_STAGE = "build"
RESULT_STAGE = "modules"
RESULT_FOLDER = "/out"
# Equal inputs give equal digests only without clocks and without buildah's own version in the image.
_REPRODUCIBLE = ("--timestamp", "0", "--identity-label=false")
# buildah starts about 25 short-lived copies of itself per build; collecting garbage in them costs more than it
# frees. The limit makes it collect after all where a driver's files are large.
_ENVIRONMENT = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}
# buildah makes a digest of what it copies, which stands in the image's history. It reads that after chroot, where there
# is no /etc/passwd, so owners have no names. But nss-systemd knows root without any file: where a machine has it, and
# nothing hides its settings, the image was another one.
_NAMELESS = {"SYSTEMD_NSS_BYPASS_SYNTHETIC": "1"}
# What would be started for a RUN. An image is put together on the container store itself, by copying and nothing else.
REFUSING_RUNTIME = "/usr/bin/false"
_FETCHES = re.compile(r'^Error: building at STEP "ADD [^"]*\b(https?|git|ssh)://')
# A store that fails, or a full disk, is worded otherwise.
_MISTAKES = re.compile(
    rf"{_FETCHES.pattern}|no such file or directory|no items matching|no stage or image found|unknown instruction"
    r"|could not find|dockerfile parse error|was not found in the provided dockerfile|requires at least",
    re.IGNORECASE,
)
_NOTHING: Mapping[str, Path] = MappingProxyType({})


def ran_something(log: str) -> bool:
    """Tell whether an image could not be put together because its last stage runs a command.

    The log names what refuses it in the command lines, too, and what a Containerfile is followed by may.
    """
    said = f"\n{log}".rpartition("\n+ ")[2].splitlines()
    return any(REFUSING_RUNTIME in line for line in said if not line.startswith(("buildah ", "STEP ")))


def find_mistake(log: str) -> str:
    """Return what a Containerfile asks for and cannot have, in buildah's words; empty where something else is wrong.

    What a command of it said is not looked at: it may say anything.
    """
    last = next((line for line in reversed(log.splitlines()) if line.startswith("Error: ")), "")
    if last.startswith('Error: building at STEP "RUN') or not _MISTAKES.search(last):
        return ""
    why = "; no build has a network" if _FETCHES.search(last) else ""
    return f"its Containerfile cannot be followed: {last.removeprefix('Error: ')}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """What both runs share. ``arguments`` are build arguments; times out after ``timeout_s`` seconds."""

    context: Path
    containerfile: Path
    arguments: Mapping[str, str]
    log_file: Path | None
    jail: Jail
    timeout_s: float = 1800.0

    def compile(
        self,
        room: Room,
        *,
        make_jobs: int = 1,
        contents: Mapping[str, Path] = _NOTHING,
        options: Sequence[str] = (),
        ccache: Path | None = None,
    ) -> Command:
        """Compile in a room; what comes out is in its folder ``results``.

        ``contents`` are folders by the names under which the Containerfile copies from them; ``options`` are further
        ones of ``buildah build``; ``ccache`` is the folder of a ccache that works in the room's folders ``cache``.
        """
        arguments = dict(self.arguments)
        mounts = [_mount_of(name, folder) for name, folder in contents.items()]
        words = [*room.confinement(), "--target", BUILD_STAGE, "--volume", f"{room.results_inside}:{RESULT_FOLDER}"]
        if ccache is not None:
            arguments["BUILD_COMMAND"] = f"{BEGIN}; {arguments['BUILD_COMMAND']}"
            mounts.append(programs := Mount(host=ccache, inside="/ccache"))
            volumes = (*room.cache_volumes, f"{room.locate(programs)}:{PROGRAMS}:ro")
            words += [word for volume in volumes for word in ("--volume", volume)]
        if make_jobs > 1:
            arguments["BUILD_COMMAND"] = f"export MAKEFLAGS=-j{make_jobs}; {arguments['BUILD_COMMAND']}"
        words += [*_name_contents(contents, room.locate), *options]
        argv = self._argv(arguments, words, room.locate)
        return room.command(
            argv, [*self._inputs, *mounts], environment=_ENVIRONMENT, log_file=self.log_file, timeout_s=self.timeout_s
        )

    def of_kernel(self, kernel: KernelVersion) -> ImageBuild:
        """Return the same for a kernel; where modules are reused, the image is for another than the compile was."""
        names = {"KERNEL_VERSION": kernel.raw, "KERNEL_FULL_VERSION": kernel.raw}
        return replace(self, arguments={**self.arguments, **names})

    def assemble(
        self,
        modules: Path,
        *,
        names: tuple[str, ...],
        kernel: KernelVersion,
        labels: Mapping[str, str],
        id_file: Path,
    ) -> Command:
        """Make the final image for a kernel from the folder ``modules``, in the container store; a RUN fails.

        Its id is written to ``id_file``.
        """
        contents = {RESULT_STAGE: modules}
        return self.of_kernel(kernel).put_together(
            contents, names=names, arch=kernel.arch, labels=labels, id_file=id_file
        )

    def put_together(
        self,
        contents: Mapping[str, Path],
        *,
        names: tuple[str, ...],
        arch: Arch,
        labels: Mapping[str, str],
        id_file: Path,
        target: str = "",
    ) -> Command:
        """Make an image for an architecture by copying alone, in the container store; a RUN fails.

        ``contents`` as in ``compile``; ``target`` is the stage that is the image, where it is not the last. The image's
        id is written to ``id_file``.
        """
        mounts = [_mount_of(name, folder) for name, folder in contents.items()]
        told = Mount(host=id_file.parent, inside="/told", is_writable=True)
        options = ["--isolation", "oci", "--runtime", REFUSING_RUNTIME, "--platform", f"linux/{arch.oci}"]
        options += _name_contents(contents, self.jail.locate)
        options += ["--iidfile", f"{self.jail.locate(told)}/{id_file.name}"]
        options += ["--target", target] if target else []
        for name in names:
            options += ["--tag", name]
        for label, value in sorted(labels.items()):
            options += ["--label", f"{label}={value}"]
            if label in ANNOTATED:
                options += ["--annotation", f"{label}={value}"]
        argv = self._argv(self.arguments, options, self.jail.locate)
        return Command(
            argv=self.jail.on_store(argv, [*self._inputs, *mounts, told]),
            environment=_ENVIRONMENT | _NAMELESS,
            log_file=self.log_file,
            timeout_s=self.timeout_s,
            shown=argv,
        )

    @property
    def _inputs(self) -> tuple[Mount, Mount]:
        return Mount(host=self.containerfile, inside="/Containerfile"), Mount(host=self.context, inside="/context")

    def _argv(
        self, arguments: Mapping[str, str], options: Sequence[str], locate: Callable[[Mount], str]
    ) -> tuple[str, ...]:
        argv = ["buildah", "build", "--layers=false", "--pull-never", *_REPRODUCIBLE, *options]
        for name, value in sorted(arguments.items()):
            argv += ["--build-arg", f"{name}={value}"]
        containerfile, context = map(locate, self._inputs)
        return (*argv, "--file", containerfile, context)


def _mount_of(name: str, folder: Path) -> Mount:
    return Mount(host=folder, inside=f"/{name}")


def _name_contents(contents: Mapping[str, Path], locate: Callable[[Mount], str]) -> list[str]:
    """Return the options by which a Containerfile copies from folders as if they were stages."""
    return [
        word
        for name, folder in contents.items()
        for word in ("--build-context", f"{name}={locate(_mount_of(name, folder))}")
    ]
