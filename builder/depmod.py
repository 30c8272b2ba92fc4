"""The data that modprobe reads (``modules.dep`` and its like): what depmod makes of the modules of an image now.

Text files are compared line by line in any order, index files byte by byte. Where an image's data also covers
modules of the kernel itself (Driver Toolkits that contain them are linked as ``host``), only the lines about the
image's own modules can be made again, so only they are compared.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.finding import Check, Finding
from builder.run import Command, run

if TYPE_CHECKING:
    from collections.abc import Mapping

# Inputs of depmod beside the modules (depmod(8)); the others are its results.
INPUTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
# Without these modprobe finds no module.
_NEEDED = ("modules.dep", "modules.dep.bin", "modules.alias.bin", "modules.symbols.bin")


def make_depmod_data(
    modules: Mapping[str, bytes], inputs: Mapping[str, bytes], kernel_version: str
) -> dict[str, bytes]:
    """Run depmod over modules and return what it writes, by file name.

    Args:
        modules: contents by path below the kernel's folder, such as ``extra/demo.ko``.
        inputs: contents of those of ``INPUTS`` that there are.
        kernel_version: name of the kernel's folder.

    Raises:
        CommandError: depmod failed.
        FormatError: a path leads out of the folder.
    """
    with tempfile.TemporaryDirectory(prefix="depmod-") as scratch:
        folder = Path(scratch, "lib", "modules", kernel_version)
        folder.mkdir(parents=True)
        for name, content in {**inputs, **modules}.items():
            file = folder / name
            # depmod's own files: a folder in their place would be written into, or stop it.
            is_own = name not in INPUTS and name.partition("/")[0].startswith("modules.")
            if ".." in file.parts or name.startswith("/") or is_own:
                raise FormatError(f"{name} is no place for a module")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        run(Command(argv=("depmod", "-b", scratch, kernel_version))).check()
        return {file.name: file.read_bytes() for file in folder.glob("modules.*") if file.name not in inputs}


def check_depmod_data(found: Mapping[str, bytes], made: Mapping[str, bytes], folder: str) -> list[Finding]:
    """Compare the data of an image with what depmod makes now; both by file name."""
    findings = [
        Finding(
            check=Check.DEPMOD_MISSING, subject=f"{folder}/{name}", sentence="modprobe needs it; run depmod -b /opt"
        )
        for name in _NEEDED
        if name not in found
    ]
    covers_kernel = any(line.startswith((b"host/", b"kernel/")) for line in _lines(found.get("modules.dep", b"")))
    for name in sorted(found.keys() & made.keys()):
        if found[name] == made[name]:
            continue
        is_index = name.endswith(".bin")
        missing = set() if is_index else _lines(made[name]) - _lines(found[name])
        extra = set() if is_index else _lines(found[name]) - _lines(made[name])
        if covers_kernel and (is_index or not missing):
            continue
        if is_index or missing or extra:
            line = next(iter(sorted(missing or extra)), b"").decode(errors="backslashreplace")
            shown = f": {'lacks' if missing else 'has'} {line!r}" if line else ""
            sentence = f"it is not what depmod makes of these modules{shown}"
            findings.append(Finding(check=Check.DEPMOD_DIFFERS, subject=f"{folder}/{name}", sentence=sentence))
    return findings


def _lines(text: bytes) -> set[bytes]:
    return {line for line in text.splitlines() if line and not line.startswith(b"#")}
