"""What firmware asks of QEMU's configuration device (docs/specs/fw_cfg.txt): there it gets its kernel from. Pure.

QEMU tells of each item that is selected, when it is told to trace that (hw/nvram/trace-events, fw_cfg_select). So it is
known when firmware has not yet seen anything of a guest's kernel, its initramfs or its command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

EVENT = "fw_cfg_select"
_SELECTED = re.compile(rb"fw_cfg_select .*?\bkey 0x([0-9a-f]{1,4})\b(?: '([^']*)')?")
# Items that hold the kernel, the initramfs, the command line, and their sizes and addresses
# (include/standard-headers/linux/qemu_fw_cfg.h).
_FIRST_OF_A_GUEST = range(0x07, 0x0C)
_SECOND_OF_A_GUEST = range(0x10, 0x19)
# QEMU 10.0 hands over the kernel as it is, and shim, as files of these names.
_FILES_OF_A_GUEST = b"etc/boot/"
_LONGEST_LINE = 4096


@dataclass(slots=True)
class Selections:
    """The items that were selected so far, in order; ``feed`` takes what QEMU wrote, in whatever pieces."""

    seconds: list[float] = field(default_factory=list)
    """When, in seconds of whatever clock the caller has; without those from the first of a kernel on."""
    has_seen_guest: bool = False
    """Whether something of a guest's kernel was selected."""
    _pending: bytes = field(default=b"", repr=False)

    def feed(self, data: bytes, second: float) -> None:
        *lines, pending = (self._pending + data).split(b"\n")
        self._pending = pending[-_LONGEST_LINE:]
        for line in lines:
            if found := _SELECTED.search(line):
                item = int(found[1], 16)
                is_file = (found[2] or b"").startswith(_FILES_OF_A_GUEST)
                self.has_seen_guest |= is_file or item in _FIRST_OF_A_GUEST or item in _SECOND_OF_A_GUEST
                if not self.has_seen_guest:
                    self.seconds.append(second)


def choose_point(seconds: list[float]) -> int:
    """Return after how many selections to take a snapshot: where the longest silence ends.

    Firmware is silent while it unpacks itself; what follows is worth little, and time to stop it is needed. 0 where
    there is nothing to choose from.
    """
    silences = [later - earlier for earlier, later in pairwise(seconds)]
    return silences.index(max(silences)) + 2 if silences else 0
