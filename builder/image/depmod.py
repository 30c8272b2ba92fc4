"""The data that modprobe reads (``modules.dep`` and its like): what depmod makes of the modules of an image now.

Text files are compared line by line in any order, index files byte by byte. Where an image's data also covers
modules of the kernel itself (Driver Toolkits that contain them are linked as ``host``), only what it says of the
image's own modules can be made again, so only that is compared.

Format of index files: kmod, libkmod/libkmod-index.c: a trie, big-endian, of keys with values by priority.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.host.run import Command, run
from builder.kmod.finding import Check, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

# Inputs of depmod beside the modules (depmod(8)); the others are its results.
INPUTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
# Without these modprobe finds no module.
_NEEDED = ("modules.dep", "modules.dep.bin", "modules.alias.bin", "modules.symbols.bin")


_INDEX = (0xB007F457, 0x00020001)
_HAS_PREFIX, _HAS_VALUES, _HAS_CHILDREN, _OFFSET = 0x80000000, 0x40000000, 0x20000000, 0x0FFFFFFF
_LONGEST_KEY = 4096


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
        if is_index and not covers_kernel:
            missing, extra = {b""}, set()
        else:
            read = read_index if is_index else _lines
            missing, extra = read(made[name]) - read(found[name]), read(found[name]) - read(made[name])
            if covers_kernel:
                own = {_key(line) for line in read(made[name])} if name.startswith("modules.dep") else set()
                extra = {line for line in extra if _key(line) in own}
        if missing or extra:
            line = next(iter(sorted(missing or extra)), b"").decode(errors="backslashreplace")
            shown = f": {'lacks' if missing else 'has'} {line!r}" if line else ""
            sentence = f"it is not what depmod makes of these modules{shown}"
            findings.append(Finding(check=Check.DEPMOD_DIFFERS, subject=f"{folder}/{name}", sentence=sentence))
    return findings


def read_index(content: bytes) -> set[bytes]:
    """Return the entries of an index file as lines, key and value; none of a file that is no index."""
    entries: set[bytes] = set()
    try:
        magic, version, root = struct.unpack_from(">III", content)
        if (magic, version) != _INDEX:
            return set()
        waiting = [(root, b"")]
        seen: set[int] = set()
        while waiting:
            reference, key = waiting.pop()
            if reference & _OFFSET in seen:  # two ways to a node, or a circle: depmod writes a tree
                return set()
            seen.add(reference & _OFFSET)
            values, children = _read_node(content, reference, key)
            entries |= values
            waiting += children
    except (struct.error, ValueError):
        return set()
    return entries


def _read_node(content: bytes, reference: int, key: bytes) -> tuple[set[bytes], list[tuple[int, bytes]]]:
    """Return the entries of a node, and the nodes below it with their keys.

    Raises:
        struct.error, ValueError: it lies outside of the file.
    """
    place = reference & _OFFSET
    children = []
    if reference & _HAS_PREFIX:
        end = content.index(b"\0", place)
        key, place = key + content[place:end], end + 1
    if len(key) > _LONGEST_KEY:
        raise ValueError(key)
    if reference & _HAS_CHILDREN:
        first, last = struct.unpack_from(">BB", content, place)
        table = struct.unpack_from(f">{max(last - first + 1, 0)}I", content, place + 2)
        children = [(child, key + bytes([first + number])) for number, child in enumerate(table) if child]
        place += 2 + 4 * len(table)
    values = set()
    if reference & _HAS_VALUES:
        (count,) = struct.unpack_from(">I", content, place)
        place += 4
        for _ in range(count):
            end = content.index(b"\0", place + 4)
            values.add(key + b" " + content[place + 4 : end])
            place = end + 1
    return values, children


def _key(line: bytes) -> bytes:
    """Return the module that a line of modules.dep, or an entry of its index, is about."""
    return line.replace(b":", b" ").partition(b" ")[0]


def _lines(text: bytes) -> set[bytes]:
    return {line for line in text.splitlines() if line and not line.startswith(b"#")}
