"""Devices of QEMU that a guest can have: no vendor's hardware, so that every driver may be written for them. Pure.

Numbers are those of QEMU 7.2: hw/misc/edu.c, hw/misc/pci-testdev.c, include/hw/pci/pci.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.kmod.device_alias import PciAlias, parse_device_alias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# A table of a stranger's may have thousands of rows, and each costs a moment.
_MOST_ALIASES = 20_000
_SUBVENDOR, _SUBDEVICE = "1af4", "1100"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDevice:
    """A device: its name for QEMU, and what it says of itself in small hexadecimal digits."""

    name: str
    vendor: str
    device: str
    base_class: str
    sub_class: str

    @property
    def id(self) -> str:
        return f"{self.vendor}:{self.device}"

    @property
    def port(self) -> str:
        return f"port-{self.name}"

    @property
    def arguments(self) -> Mapping[str, str]:
        """What ``device_add`` is told, and ``-device`` as well."""
        return {"driver": self.name, "id": self.name, "bus": self.port}

    def __str__(self) -> str:
        return f"{self.name} {self.id}"

    def fits(self, alias: PciAlias) -> bool:
        own = (self.vendor, self.device, _SUBVENDOR, _SUBDEVICE, self.base_class, self.sub_class, "00")
        asked = (
            alias.vendor, alias.device, alias.subvendor, alias.subdevice, alias.base_class, alias.sub_class,
            alias.interface,
        )  # fmt: skip
        return all(wanted in {"", value} for wanted, value in zip(asked, own, strict=True))


# No ivshmem: its memory outlives it, and QEMU 7.2 ends (an assertion in qemu_ram_set_idstr()) when it is plugged again.
DEVICES = {
    device.name: device
    for device in (
        GuestDevice(name="edu", vendor="1234", device="11e8", base_class="00", sub_class="ff"),
        GuestDevice(name="pci-testdev", vendor="1b36", device="0005", base_class="00", sub_class="ff"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A device of a guest, and the driver's modules whose tables name it."""

    device: GuestDevice
    modules: tuple[str, ...] = ()


def claim_devices(names: Iterable[str], tables: Mapping[str, Sequence[str]]) -> list[Claim]:
    """Say which modules are for which devices.

    Args:
        names: the devices of the guest.
        tables: aliases by module, as modinfo has them; one that has no right form stands for nothing.
    """
    parsed = {module: _parse(aliases[:_MOST_ALIASES]) for module, aliases in tables.items()}
    return [
        Claim(
            device=DEVICES[name],
            modules=tuple(module for module, found in parsed.items() if any(map(DEVICES[name].fits, found))),
        )
        for name in names
    ]


def _parse(aliases: Iterable[str]) -> set[PciAlias]:
    found = set()
    for text in aliases:
        try:
            alias = parse_device_alias(text)
        except FormatError:
            continue  # the kernel's file2alias makes none such
        if isinstance(alias, PciAlias):
            found.add(alias)
    return found


def missing_devices(help_text: str, names: Iterable[str]) -> list[str]:
    """Return the devices, and what they are plugged into, that are not in what ``-device help`` prints."""
    return [name for name in ("pcie-root-port", *names) if f'name "{name}"' not in help_text]


def qemu_words(names: Iterable[str]) -> list[str]:
    """Return QEMU's words for devices, each behind a port of its own, without which it could not be taken away."""
    words: list[str] = []
    for slot, device in enumerate((DEVICES[name] for name in names), 1):
        words += ["-device", f"pcie-root-port,id={device.port},chassis={slot},slot={slot}"]
        words += ["-device", ",".join(f"{key}={value}" for key, value in device.arguments.items())]
    return words
