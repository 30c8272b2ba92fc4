"""Starts a finished image in a room of its own, as its own user, without network: its own test has to pass.

Images of another architecture run by QEMU's user mode emulation, where this machine has it; else nothing is claimed.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass
from builder.evidence.records import SelfTest
from builder.host.run import find_tool, run
from builder.image.contract import find_program
from builder.kernel import Arch
from builder.kmod.elf import read_program
from builder.store.build import BUILD_STAGE, ImageBuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.image.contents import ImageContents
    from builder.store.jail import Jail

_TIMEOUT_S = 300.0
_QEMU = {
    Arch.X86_64: "qemu-x86_64-static", Arch.AARCH64: "qemu-aarch64-static", Arch.PPC64LE: "qemu-ppc64le-static",
    Arch.S390X: "qemu-s390x-static",
}  # fmt: skip
_EMULATOR = "/.kmodsmith-emulator"
_NOISE = re.compile(r"^(\+ |STEP \d|COMMIT|Error: |error building|--> |subprocess exited)")


def test_image(
    name: str, contents: ImageContents, command: Sequence[str], *, arch: Arch, jail: Jail, log_file: Path
) -> SelfTest:
    """Run a command in an image of the container store.

    Args:
        name: of the image in the store.
        contents: of the same image, where its programs are looked up.
        command: program and arguments.
        arch: the image's.
        jail: where it is run.
        log_file: gets what it prints.

    Returns:
        That it passed, or why it was not run.

    Raises:
        CellError: it failed, or ran into a limit.
    """
    if not command:
        return SelfTest(outcome="not-run", why="versions.yaml names no self_test")
    options: list[str] = []
    words = list(command)
    by = "native"
    if arch != (here := Arch(os.uname().machine)):
        emulator = find_tool(_QEMU[arch])
        if emulator is None:
            why = f"this machine is {here} and has no {_QEMU[arch]} (Debian: qemu-user-static)"
            return SelfTest(outcome="not-run", why=why, command=tuple(command))
        program = _real_program(contents, command[0])
        by, words = "qemu-user", [_EMULATOR, "-0", command[0], f"/{program}", *command[1:]]
        options = ["--volume", f"{Path(emulator).resolve()}:{_EMULATOR}:ro", "--platform", f"linux/{arch.oci}"]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="self-test-") as scratch:
        recipe, context = Path(scratch, "Containerfile"), Path(scratch, "nothing")
        # Of "<<" buildah would make the begin of a here-document, also inside of JSON.
        listed = json.dumps(words).replace("<", r"\u003c")
        recipe.write_text(f"FROM {name} AS {BUILD_STAGE}\nRUN {listed}\n")
        context.mkdir()
        build = ImageBuild(
            context=context, containerfile=recipe, arguments={}, log_file=log_file, jail=jail, timeout_s=_TIMEOUT_S
        )
        with jail.open_room() as room:
            outcome = run(build.compile(room, options=options))
            if not outcome:
                room.raise_limit()
                raise CellError(
                    FailureClass.FIT,
                    "self-test-failed",
                    f"its self-test {outcome.explain()}: {_last_words(outcome.stderr)}",
                    hint=f"{' '.join(command)} is what 'self_test' of versions.yaml wants run; the log has all of it",
                )
    return SelfTest(outcome="passed", by=by, command=tuple(command), seconds=round(time.monotonic() - started, 3))


def _real_program(contents: ImageContents, name: str) -> str:
    """Return the path of the program that the emulator loads: links were followed by us, in the image."""
    file = find_program(contents, name)
    if file is None:
        raise CellError(FailureClass.FIT, "self-test-failed", f"the image has no program {name}")
    if not read_program(file.head).machine:
        sentence = f"{name} is a script, which an emulator does not start: name its interpreter in self_test"
        raise CellError(FailureClass.FIT, "self-test-failed", sentence)
    return file.path


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip() and not _NOISE.match(line)]
    return lines[-1][:500] if lines else "it printed nothing"
