"""A program of a component, run on this machine as it runs in its image: its source, and the very packages of its lock.

What clusters run is a distribution of its own, of which nothing is imported here: it has packages that the builder
lacks, and others of the same names. So it is a process. It is not its image that is started: that would need a
container store, and a kubeconfig, what that names, and the host's network let into a container.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.components.wheel_lock import read_wheel_lock
from builder.components.wheels import fetch_wheels, unpack_wheels
from builder.digest import content_id
from builder.errors import UsageError
from builder.host.locks import alone
from builder.host.run import Command, Outcome, run
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.config.model.component import Component

MODULE = "kmod_operator"
_UNPACKING = ".unpack-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentProgram:
    """What is started: a module of ``source``, beside ``packages`` as they lie in the image."""

    source: Path
    packages: Path

    def run(self, *words: str, environment: Mapping[str, str], timeout_s: float) -> Outcome:
        """Run it to its end."""
        # -P and -s: neither the folder that people are in nor what they installed is looked into.
        argv = (sys.executable, "-P", "-s", "-m", MODULE, *words)
        own = {
            "PYTHONPATH": f"{self.packages}{os.pathsep}{self.source}",
            "PYTHONPYCACHEPREFIX": str(self.packages.with_name("compiled")),
        }
        return run(Command(argv=argv, environment={**own, **environment}, timeout_s=timeout_s))


def open_program(component: Component, cache: Path) -> ComponentProgram:
    """Return a component's program; what it needs is fetched by hash, once.

    Args:
        component: its ``source`` has the module.
        cache: folder that projects share.

    Raises:
        UsageError: the component has no such program.
        FormatError: its lock of Python packages is none.
        CellError: there is no package for this Python, or it is another one than the lock names.
        SourceUnreachableError: the index of packages does not answer.
    """
    if component.wheels_file is None or not (component.source_dir / MODULE / "__main__.py").is_file():
        raise UsageError(
            f"component {component.name} is not made of operator/: its source has no {MODULE}, or it has no 'wheels'",
            hint="'operator.component' of versions.yaml names the component; docs/operator-files.md",
        )
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheels = fetch_wheels(
        read_wheel_lock(component.wheels_file), python=python, arch=Arch(os.uname().machine), cache=cache / "wheels"
    )
    programs = cache / "programs"
    folder = programs / content_id("program", [wheel.record.sha256 for wheel in wheels], python)
    with alone(programs):
        programs.mkdir(exist_ok=True)
        for left in programs.glob(f"{_UNPACKING}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=programs, prefix=_UNPACKING) as scratch:
                partial = Path(scratch, "whole")
                partial.mkdir()
                unpack_wheels(wheels, partial / "packages")
                partial.rename(folder)
    return ComponentProgram(source=component.source_dir, packages=folder / "packages")
