"""The two runs of ``buildah build`` on a driver's Containerfile: compile to a folder, assemble from a folder.

Both run the same Containerfile. The first stops at its stage ``build`` with a folder of the host mounted where that
stage leaves its results (``/out``); the second takes the folder instead of the stage ``modules``, so its result is
byte for byte what one uninterrupted build would have made. Between the two, modules are plain files on the host:
the place where they are proven and signed. (Exporting a stage instead of mounting costs 0.4 s of CPU a cell.)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.run import Command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from builder.kernel import KernelVersion

# Names that a Containerfile has to use; driver-container/README.md explains them to its authors.
BUILD_STAGE = "build"
RESULT_STAGE = "modules"
RESULT_FOLDER = "/out"
# Equal inputs give equal digests only without clocks and without buildah's own version in the image.
_REPRODUCIBLE = ("--timestamp", "0", "--identity-label=false")
# An own network namespace has no way out; an own PID namespace dies as a whole with its first process, which
# takes a compiler along that buildah, killed, would leave running.
_CONFINED = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
# In the manifest, too: then a registry tells what an image is with one request, without its configuration.
_ANNOTATED = frozenset({"io.kmodsmith.cell", "io.kmodsmith.cell.key", "io.kmodsmith.kernel"})
# buildah starts about 25 short-lived copies of itself per build; collecting garbage in them costs more than it
# frees. The limit makes it collect after all where a driver's files are large.
_ENVIRONMENT = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """What both runs share. ``arguments`` are build arguments; times out after ``timeout_s`` seconds."""

    context: Path
    containerfile: Path
    arguments: Mapping[str, str]
    log_file: Path | None
    isolation: str = "chroot"
    timeout_s: float = 1800.0

    def compile(self, target: Path, *, name: str, make_jobs: int = 1) -> Command:
        """Compile, with the results in the folder ``target``, which must exist; the stage itself is tagged ``name``."""
        arguments = dict(self.arguments)
        if make_jobs > 1:
            arguments["BUILD_COMMAND"] = f"export MAKEFLAGS=-j{make_jobs}; {arguments['BUILD_COMMAND']}"
        options = ("--target", BUILD_STAGE, "--volume", f"{target}:{RESULT_FOLDER}", "--tag", name)
        return self._command(arguments, options)

    def assemble(
        self,
        modules: Path,
        *,
        names: tuple[str, ...],
        kernel: KernelVersion,
        labels: Mapping[str, str],
        id_file: Path,
    ) -> Command:
        """Make the final image for a kernel from the folder ``modules``; its id is written to ``id_file``."""
        options = ["--platform", f"linux/{kernel.arch.oci}", "--build-context", f"{RESULT_STAGE}={modules}"]
        options += ["--iidfile", str(id_file)]
        for name in names:
            options += ["--tag", name]
        for label, value in sorted(labels.items()):
            options += ["--label", f"{label}={value}"]
            if label in _ANNOTATED:
                options += ["--annotation", f"{label}={value}"]
        # Where modules are reused, the image is for another kernel than the compile was.
        of_kernel = {"KERNEL_VERSION": kernel.raw, "KERNEL_FULL_VERSION": kernel.raw}
        return self._command({**self.arguments, **of_kernel}, tuple(options))

    def _command(self, arguments: Mapping[str, str], options: tuple[str, ...]) -> Command:
        argv = [
            *confined_prefix(),
            "buildah", "build", "--quiet",
            "--isolation", self.isolation,
            "--layers=false", "--pull-never",
            *_REPRODUCIBLE,
            *options,
        ]  # fmt: skip
        for name, value in sorted(arguments.items()):
            argv += ["--build-arg", f"{name}={value}"]
        argv += ["--file", str(self.containerfile), str(self.context)]
        return Command(argv=tuple(argv), environment=_ENVIRONMENT, log_file=self.log_file, timeout_s=self.timeout_s)


def confined_prefix() -> tuple[str, ...]:
    """Return the words that take network and stray children away from a command."""
    if os.geteuid() == 0:
        return _CONFINED
    return ("buildah", "unshare", "--", *_CONFINED)
