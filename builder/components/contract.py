"""What every component image must keep to: certification's demands, no secret, and programs that its nodes can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.image.contents import is_shared_object
from builder.image.contract import (
    check_certified,
    check_layers,
    check_leaks,
    check_packages,
    check_platform,
    check_program,
)
from builder.kmod.elf import read_program
from builder.kmod.finding import Check, Finding
from builder.kmod.fit import MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.image.contents import ImageContents
    from builder.kernel import Arch


def check_component(
    image: ImageContents, arch: Arch, *, labels: Mapping[str, str], self_test: Sequence[str]
) -> list[Finding]:
    """Check a finished component image; returns what is wrong.

    Args:
        image: as it would be pulled.
        arch: what it is for.
        labels: those that it was given.
        self_test: the command that proves it; empty where there is none.
    """
    findings = [*check_layers(image), *check_platform(image, arch), *check_certified(image)]
    findings += _check_labels(image, labels)
    for name, why in ((_first_word(image), "containers start it"), (next(iter(self_test), ""), "self_test starts it")):
        findings += check_program(image, name, arch, why) if name else ()
    findings += _check_objects(image, arch)
    findings += check_packages(image)
    findings += check_leaks(image)
    return findings


def _check_labels(image: ImageContents, labels: Mapping[str, str]) -> Iterator[Finding]:
    for name, value in labels.items():
        if (found := image.labels.get(name)) != value:
            yield Finding(
                check=Check.WRONG_LABEL, subject=name, sentence=f"it says {found!r}, and should say {value!r}"
            )


def _first_word(image: ImageContents) -> str:
    """Return the program that containers start: of the entry point, else of the command; empty where there is none."""
    settings = image.config.get("config")
    for key in ("Entrypoint", "Cmd"):
        words = settings.get(key) if isinstance(settings, dict) else None
        if isinstance(words, list) and words and isinstance(words[0], str):
            return words[0]
    return ""


def _check_objects(image: ImageContents, arch: Arch) -> Iterator[Finding]:
    """Check that shared objects are of the image's architecture: a wheel of another one is found only when imported."""
    for path, file in sorted(image.files.items()):
        if not file.is_file or not is_shared_object(path) or not file.head:
            continue
        machine = read_program(file.head).machine
        if machine and machine != MACHINES[arch]:
            sentence = f"it is for ELF machine {machine[1]}, and {arch} is {MACHINES[arch][1]}"
            yield Finding(check=Check.WRONG_MACHINE, subject=path, sentence=sentence)
