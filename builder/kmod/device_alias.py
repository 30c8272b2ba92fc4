"""Which devices a module says that it is for: aliases that ``scripts/mod/file2alias.c`` makes of its tables. Pure.

Only the forms of two buses are taken apart, PCI's and USB's. All others are known by the name of their bus. Aliases
were written by strangers: what does not fit its form to the letter is refused, and nothing is guessed of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import FormatError

LONGEST_ALIAS = 512
"""Characters; file2alias.c has room for 500."""
_SHOWN = 80

# ADD() writes a field in capital hexadecimal digits, or a star where the table says that anything fits.
_PCI = re.compile(
    r"v(?P<vendor>[0-9A-F]{8}|\*)d(?P<device>[0-9A-F]{8}|\*)"
    r"sv(?P<subvendor>[0-9A-F]{8}|\*)sd(?P<subdevice>[0-9A-F]{8}|\*)"
    r"bc(?P<base>[0-9A-F]{2}|\*)sc(?P<sub>[0-9A-F]{2}|\*)i(?P<interface>[0-9A-F]{2}\*?|\*)"
)
# The release of a device is a range of decimal numbers, written as a glob: d0100, d01*, d[0-8]*, d010[2-9A-C]*. Kernels
# before 3.4 do not tell the number of the interface.
_USB = re.compile(
    r"v(?P<vendor>[0-9A-F]{4}|\*)p(?P<product>[0-9A-F]{4}|\*)d(?P<release>[0-9A-F]{0,4}(?:\[[0-9A-Fa-f-]{1,8}\])?\*?)"
    r"dc(?P<class>[0-9A-F]{2}|\*)dsc(?P<subclass>[0-9A-F]{2}|\*)dp(?P<protocol>[0-9A-F]{2}|\*)"
    r"ic(?P<iclass>[0-9A-F]{2}|\*)isc(?P<isubclass>[0-9A-F]{2}|\*)ip(?P<iprotocol>[0-9A-F]{2}\*?|\*)"
    r"(?:in(?P<number>[0-9A-F]{2}\*?|\*))?"
)
_BUS = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_+-]{0,30}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PciAlias:
    """A device of PCI, in small hexadecimal digits; empty where anything fits.

    ``interface`` is the programming interface.
    """

    vendor: str = ""
    device: str = ""
    subvendor: str = ""
    subdevice: str = ""
    base_class: str = ""
    sub_class: str = ""
    interface: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class UsbAlias:
    """A device of USB, or one of its interfaces; empty where anything fits. ``finer``: it says more than this."""

    vendor: str = ""
    product: str = ""
    device_class: str = ""
    interface_class: str = ""
    finer: bool = False


@dataclass(frozen=True, slots=True, order=True)
class OtherAlias:
    """What is known by its bus alone."""

    bus: str


def parse_device_alias(text: str) -> PciAlias | UsbAlias | OtherAlias | None:
    """Take an alias apart; None for one that is no device: another name of the module, ``char-major-10-130``.

    Raises:
        FormatError: it begins like a device, and goes on like none.
    """
    bus, separator, rest = text.partition(":")
    if not separator:
        return None
    if len(text) > LONGEST_ALIAS:
        raise FormatError(f"alias {show_alias(text)} has {len(text)} characters, and {LONGEST_ALIAS} are the most")
    if bus == "pci":
        return _parse_pci(text, rest)
    if bus == "usb":
        return _parse_usb(text, rest)
    if not _BUS.fullmatch(bus.rstrip("*")):  # "acpi*:PNP0C0A:*" and "dmi*:" begin with such a star
        raise FormatError(f"alias {show_alias(text)} has no name of a bus before its colon")
    return OtherAlias(bus.rstrip("*"))


def show_alias(text: str) -> str:
    """Return an alias as it may stand in a line: what a stranger wrote breaks none, and fills no page."""
    shown = ascii(text[:_SHOWN])
    return f"{shown}..." if len(text) > _SHOWN else shown


def _parse_pci(text: str, rest: str) -> PciAlias:
    match = _PCI.fullmatch(rest)
    if match is None:
        raise FormatError(f"alias {show_alias(text)} is none of PCI: pci:v*d*sv*sd*bc*sc*i* is the form")
    words = {name: _plain(value) for name, value in match.groupdict().items()}
    for name in ("vendor", "device", "subvendor", "subdevice"):
        if words[name][:-4].strip("0"):
            raise FormatError(
                f"alias {show_alias(text)}: {name} {words[name]} has more than 16 bits, which no device has"
            )
        words[name] = words[name][-4:]
    return PciAlias(
        vendor=words["vendor"], device=words["device"], subvendor=words["subvendor"], subdevice=words["subdevice"],
        base_class=words["base"], sub_class=words["sub"], interface=words["interface"],
    )  # fmt: skip


def _parse_usb(text: str, rest: str) -> UsbAlias:
    match = _USB.fullmatch(rest)
    if match is None or not match["release"]:
        form = "usb:v*p*d*dc*dsc*dp*ic*isc*ip*in*"
        raise FormatError(f"alias {show_alias(text)} is none of USB: {form} is the form")
    words = {name: _plain(value or "*") for name, value in match.groupdict().items()}
    finer = any(words[name] for name in ("release", "subclass", "protocol", "isubclass", "iprotocol", "number"))
    return UsbAlias(
        vendor=words["vendor"], product=words["product"], device_class=words["class"], interface_class=words["iclass"],
        finer=finer,
    )  # fmt: skip


def _plain(value: str) -> str:
    """Return digits as sysfs writes them; the star behind the last field is put there for fields of later kernels."""
    return value.removesuffix("*").lower()
