"""Devices of the sample driver: /sys/class/ptemplate/ptemplate-N, each with a file /dev/ptemplate-N."""

from __future__ import annotations

import re
from pathlib import Path

from kmod_operator.devices.model import Description, Device, DeviceNode, Health

_NAME = re.compile(r"ptemplate-[0-9]{1,4}", re.ASCII)
_NUMBERS = re.compile(r"[0-9]+:[0-9]+", re.ASCII)
_READS_BYTES = 64
_GREETING = b"kmod smoke test"


class PtemplateDevices:
    """The sample's devices, by what their driver says in sysfs: a container sees that of the node without a mount."""

    def __init__(self, root: Path) -> None:
        self._class = root / "sys" / "class" / "ptemplate"
        self._devices = root / "dev"

    def discover(self) -> list[Device]:
        try:
            names = [entry.name for entry in self._class.iterdir()]
        except FileNotFoundError:  # the module is not loaded
            return []
        return [Device(id=name, path=str(self._class / name)) for name in sorted(names) if _NAME.fullmatch(name)]

    def check(self, device: Device) -> Health:
        """A device that is there answers a read with its numbers; one that is being removed does not."""
        try:
            with Path(device.path, "dev").open(encoding="ascii") as file:
                answer = file.read(_READS_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            return Health(well=False, reason=f"its driver does not answer a read: {error}")
        if not _NUMBERS.fullmatch(answer):
            return Health(well=False, reason=f"its driver answers {answer!r} where numbers are expected")
        return Health(well=True)

    def try_out(self, device: Device) -> None:
        """What was written is what is read: for a smoke test, in a container that has this device alone."""
        file = self._devices / device.id
        file.write_bytes(_GREETING)
        answer = file.read_bytes()
        if answer != _GREETING:
            raise OSError(f"it gives back {answer[:_READS_BYTES]!r}, and not what was written")

    def describe(self, device: Device) -> Description:
        return Description(
            nodes=(DeviceNode(path=f"/dev/{device.id}"),),
            numa_node=_read_numa_node(Path(device.path, "device", "numa_node")),
        )


def _read_numa_node(file: Path) -> int | None:
    try:
        number = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return number if number >= 0 else None  # -1: the kernel does not know
