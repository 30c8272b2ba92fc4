"""The two runs of ``buildah build`` on a driver's Containerfile: compile to a folder, assemble from a folder.

Both run the same Containerfile. The first stops at its stage ``build`` with a folder of the host mounted where that
stage leaves its results (``/out``); the second takes the folder instead of the stage ``modules``, so its result is
byte for byte what one uninterrupted build would have made. Between the two, modules are plain files on the host:
the mount where they are proven and signed. (Exporting a stage instead of mounting costs 0.4 s of CPU a cell.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.host.run import Command
from builder.image.labels import CELL_LABEL, KERNEL_LABEL, KEY_LABEL
from builder.store.jail import Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from builder.kernel import KernelVersion
    from builder.store.jail import Jail, Room

# Names that a Containerfile has to use; driver-container/README.md explains them to its authors.
BUILD_STAGE = "build"
RESULT_STAGE = "modules"
RESULT_FOLDER = "/out"
# Equal inputs give equal digests only without clocks and without buildah's own version in the image.
_REPRODUCIBLE = ("--timestamp", "0", "--identity-label=false")
# In the manifest, too: then a registry tells what an image is with one request, without its configuration.
_ANNOTATED = frozenset({CELL_LABEL, KEY_LABEL, KERNEL_LABEL})
# buildah starts about 25 short-lived copies of itself per build; collecting garbage in them costs more than it
# frees. The limit makes it collect after all where a driver's files are large.
_ENVIRONMENT = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}
# What would be started for a RUN. An image is put together on the container store itself, by copying and nothing else.
REFUSING_RUNTIME = "/usr/bin/false"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """What both runs share. ``arguments`` are build arguments; times out after ``timeout_s`` seconds."""

    context: Path
    containerfile: Path
    arguments: Mapping[str, str]
    log_file: Path | None
    jail: Jail
    timeout_s: float = 1800.0

    def compile(self, room: Room, *, make_jobs: int = 1) -> Command:
        """Compile in a room; what comes out is in its folder ``results``."""
        arguments = dict(self.arguments)
        if make_jobs > 1:
            arguments["BUILD_COMMAND"] = f"export MAKEFLAGS=-j{make_jobs}; {arguments['BUILD_COMMAND']}"
        options = (*room.confinement(), "--target", BUILD_STAGE, "--volume", f"{room.results_inside}:{RESULT_FOLDER}")
        argv = self._argv(arguments, options, room.locate)
        return room.command(
            argv, self._inputs, environment=_ENVIRONMENT, log_file=self.log_file, timeout_s=self.timeout_s
        )

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
        content = Mount(host=modules, inside="/modules")
        told = Mount(host=id_file.parent, inside="/told", is_writable=True)
        options = ["--isolation", "oci", "--runtime", REFUSING_RUNTIME, "--platform", f"linux/{kernel.arch.oci}"]
        options += ["--build-context", f"{RESULT_STAGE}={self.jail.locate(content)}"]
        options += ["--iidfile", f"{self.jail.locate(told)}/{id_file.name}"]
        for name in names:
            options += ["--tag", name]
        for label, value in sorted(labels.items()):
            options += ["--label", f"{label}={value}"]
            if label in _ANNOTATED:
                options += ["--annotation", f"{label}={value}"]
        # Where modules are reused, the image is for another kernel than the compile was.
        of_kernel = {"KERNEL_VERSION": kernel.raw, "KERNEL_FULL_VERSION": kernel.raw}
        argv = self._argv({**self.arguments, **of_kernel}, options, self.jail.locate)
        return Command(
            argv=self.jail.on_store(argv, [*self._inputs, content, told]),
            environment=_ENVIRONMENT,
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
