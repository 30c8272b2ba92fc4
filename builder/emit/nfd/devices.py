"""What NFD can see of the devices that a driver's modules name: terms for its rules, and what is not among them. Pure.

NFD v0.17 (source/pci, source/usb) has of a PCI device vendor, device, both of its subsystem, and base class and
subclass in one word; of a USB device vendor, product, and one class: the device's own, or that of each interface where
the device has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from builder.errors import FormatError, UsageError
from builder.kmod.device_alias import OtherAlias, PciAlias, UsbAlias, parse_device_alias, show_alias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PCI, USB = "pci.device", "usb.device"
MOST_DEVICES = 10_000
"""A NodeFeatureRule with them has 200 kB; no object of a cluster has more than 1.5 MB."""
# Every machine with a PCI bus has a bridge, and every one with USB a hub.
_BRIDGE, _HUB = "06", "09"
_HUBS = frozenset({("", ""), *(("1d6b", product) for product in ("", "0001", "0002", "0003"))})


@dataclass(frozen=True, slots=True, order=True)
class Expression:
    """What an attribute of a device must be: ``op`` and values as NFD writes them."""

    attribute: str
    op: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTerms:
    """What a rule asks for, one term for each way to fit, by feature of NFD.

    Attributes:
        terms: of those of a feature one must fit; all expressions of a term must.
        dropped: aliases that no rule is made of, and why.
        buses: of aliases that NFD has no devices of.
        remarks: where the rule takes more nodes than the alias, or fewer.
    """

    terms: Mapping[str, tuple[tuple[Expression, ...], ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    buses: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def make_device_terms(aliases: Iterable[str]) -> DeviceTerms:
    """Return terms for aliases of modules; equal sets of aliases give equal terms.

    Raises:
        UsageError: there are more devices than a rule can hold.
    """
    found: set[PciAlias | UsbAlias] = set()
    buses: set[str] = set()
    dropped: list[str] = []
    remarks: set[str] = set()
    for text in sorted(set(aliases)):
        try:
            alias = parse_device_alias(text)
        except FormatError as error:
            dropped.append(error.message)
            continue
        if isinstance(alias, OtherAlias):
            buses.add(alias.bus)
        elif alias is not None:
            seen, remark = _what_is_seen(alias)
            if _is_everywhere(seen):
                dropped.append(f"alias {show_alias(text)} would label every node")
            else:
                found.add(seen)
                remarks |= {remark} if remark else set()
    if len(found) > MOST_DEVICES:
        raise UsageError(f"its modules name {len(found)} devices, and a NodeFeatureRule holds {MOST_DEVICES}")
    return DeviceTerms(
        terms=_group(found), dropped=tuple(dropped), buses=tuple(sorted(buses)), remarks=tuple(sorted(remarks))
    )


def _what_is_seen(alias: PciAlias | UsbAlias) -> tuple[PciAlias | UsbAlias, str]:
    """Return an alias without what NFD cannot see of it, and what that changes, in words."""
    if isinstance(alias, PciAlias):
        remark = "NFD does not see the programming interface of PCI devices, so the rule does not ask for it"
        return replace(alias, interface=""), remark if alias.interface else ""
    if alias.vendor and alias.product:  # NFD tells the device's class or those of its interfaces, not both
        return UsbAlias(vendor=alias.vendor, product=alias.product), ""
    # 00 says that there is none.
    device_class = "" if alias.device_class == "00" else alias.device_class
    interface_class = "" if device_class or alias.interface_class == "00" else alias.interface_class
    seen = replace(alias, device_class=device_class, interface_class=interface_class, finer=False)
    if seen.interface_class:
        return (
            seen,
            "NFD tells the class of a USB interface only where the device has none of its own: others are not found",
        )
    remark = "NFD sees vendor, product and class of USB devices, so the rule asks for no more"
    return seen, remark if alias.finer or alias.interface_class else ""


def _is_everywhere(alias: PciAlias | UsbAlias) -> bool:
    """Whether nodes of every kind have such a device."""
    if isinstance(alias, UsbAlias):
        shown = alias.device_class or alias.interface_class
        return (alias.vendor, alias.product) in _HUBS and shown in {"", _HUB}
    # A device without a subsystem says 0000.
    named = (alias.vendor, alias.device, alias.subvendor.strip("0"), alias.subdevice.strip("0"))
    return not any(named) and alias.base_class in {"", _BRIDGE}


def _group(aliases: Iterable[PciAlias | UsbAlias]) -> dict[str, tuple[tuple[Expression, ...], ...]]:
    """Put devices that differ in their own number only into one term; a term that takes any device has none."""
    grouped: dict[str, dict[tuple[Expression, ...], set[str]]] = {}
    for alias in aliases:
        feature, device, rest = _take_apart(alias)
        grouped.setdefault(feature, {}).setdefault(rest, set()).add(device)
    return {
        feature: tuple(
            rest if "" in devices else (Expression("device", "In", tuple(sorted(devices))), *rest)
            for rest, devices in sorted(terms.items())
        )
        for feature, terms in sorted(grouped.items())
    }


def _take_apart(alias: PciAlias | UsbAlias) -> tuple[str, str, tuple[Expression, ...]]:
    """Return the feature that has such devices, the device's own number, and all else that is asked for."""
    if isinstance(alias, UsbAlias):
        shown = alias.device_class or alias.interface_class
        words = {"class": shown, "vendor": alias.vendor}
        return USB, alias.product, tuple(Expression(name, "In", (word,)) for name, word in words.items() if word)
    words = {"subsystem_device": alias.subdevice, "subsystem_vendor": alias.subvendor, "vendor": alias.vendor}
    named = tuple(Expression(name, "In", (word,)) for name, word in words.items() if word)
    return PCI, alias.device, (*_pci_class(alias), *named)


def _pci_class(alias: PciAlias) -> tuple[Expression, ...]:
    base, sub = alias.base_class, alias.sub_class
    if base and sub:
        return (Expression("class", "In", (base + sub,)),)
    if base or sub:
        return (Expression("class", "InRegexp", (f"^{base or '..'}{sub or '..'}$",)),)
    return ()
