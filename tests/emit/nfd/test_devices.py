"""What NFD can see of devices: nothing that would label every node, and nothing left out without a word."""

from __future__ import annotations

import pytest
from fakes.nfd_facts import PCI_ALIASES, STRANGE_ALIASES, USB_ALIASES

from builder.emit.nfd.devices import MOST_DEVICES, PCI, USB, Expression, make_device_terms
from builder.errors import UsageError


def _in(attribute: str, *values: str) -> Expression:
    return Expression(attribute, "In", values)


def test_devices_of_one_vendor_are_one_term() -> None:
    assert make_device_terms(PCI_ALIASES).terms == {
        PCI: (
            (_in("device", "1234"), _in("class", "0200"), _in("subsystem_device", "0007"), _in("subsystem_vendor", "103c"),
             _in("vendor", "8086")),
            (_in("device", "fff0", "fff1"), _in("vendor", "1af4")),
        )
    }  # fmt: skip


def test_the_order_of_aliases_and_their_number_change_nothing() -> None:
    aliases = (*PCI_ALIASES, *USB_ALIASES, *STRANGE_ALIASES)
    assert make_device_terms(aliases) == make_device_terms([*aliases[::-1], *aliases])


def test_a_vendor_whose_every_device_fits_needs_no_list_of_them() -> None:
    aliases = [*PCI_ALIASES[:2], "pci:v00001AF4d*sv*sd*bc*sc*i*"]
    assert make_device_terms(aliases).terms == {PCI: ((_in("vendor", "1af4"),),)}


@pytest.mark.parametrize(
    ("alias", "wanted"),
    [
        ("pci:v*d*sv*sd*bc01sc08i02*", {PCI: ((_in("class", "0108"),),)}),
        ("pci:v*d*sv*sd*bc01sc*i*", {PCI: ((Expression("class", "InRegexp", ("^01..$",)),),)}),
        (
            "pci:v00001AF4d*sv*sd*bc*sc80i*",
            {PCI: ((Expression("class", "InRegexp", ("^..80$",)), _in("vendor", "1af4")),)},
        ),
        (
            "pci:v00001AF4d*sv*sd*bc06sc*i*",
            {PCI: ((Expression("class", "InRegexp", ("^06..$",)), _in("vendor", "1af4")),)},
        ),
        ("pci:v*d*sv0000103Csd*bc*sc*i*", {PCI: ((_in("subsystem_vendor", "103c"),),)}),
        ("usb:v0403p6001d*dc*dsc*dp*ic*isc*ip*in*", {USB: ((_in("device", "6001"), _in("vendor", "0403")),)}),
        # NFD shows one class only, and which depends on the device: what is named exactly is not asked for it.
        ("usb:v0403p6001d*dc*dsc*dp*icFFisc*ip*in*", {USB: ((_in("device", "6001"), _in("vendor", "0403")),)}),
        ("usb:v0403p*d*dc*dsc*dp*icFFisc*ip*in*", {USB: ((_in("class", "ff"), _in("vendor", "0403")),)}),
        ("usb:v*p*d*dcE0dsc01dp01ic08isc*ip*in*", {USB: ((_in("class", "e0"),),)}),
        ("usb:v*p*d*dc00dsc*dp*ic08isc*ip*in*", {USB: ((_in("class", "08"),),)}),
        ("usb:v1D6Bp*d*dcFFdsc*dp*ic*isc*ip*in*", {USB: ((_in("class", "ff"), _in("vendor", "1d6b")),)}),
        ("usb:v*p6001d*dc*dsc*dp*ic*isc*ip*in*", {USB: ((_in("device", "6001"),),)}),
        ("usb:v0403p*d*dc00dsc*dp*ic*isc*ip*in*", {USB: ((_in("vendor", "0403"),),)}),
    ],
)
def test_what_is_asked_for(alias: str, wanted: object) -> None:
    assert make_device_terms([alias]).terms == wanted


@pytest.mark.parametrize(
    "alias",
    [
        "pci:v*d*sv*sd*bc*sc*i*",
        "pci:v*d*sv*sd*bc*sc*i01*",
        "pci:v*d*sv*sd*bc*sc00i*",
        "pci:v*d*sv*sd*bc06sc04i00*",
        "pci:v*d*sv00000000sd00000000bc*sc*i*",
        "usb:v*p*d*dc*dsc*dp*ic*isc*ip*in*",
        "usb:v*p*d*dc09dsc*dp*ic*isc*ip*in*",
        "usb:v*p*d*dc*dsc*dp*ic09isc*ip*in*",
        "usb:v*p*d*dc00dsc*dp*ic00isc*ip*in*",
        "usb:v1D6Bp0002d*dc*dsc*dp*ic*isc*ip*in*",
        "usb:v1D6Bp*d*dc*dsc*dp*ic*isc*ip*in*",
    ],
)
def test_what_would_label_every_node_is_dropped_and_told(alias: str) -> None:
    devices = make_device_terms([alias])
    assert devices.terms == {}
    assert devices.dropped == (f"alias '{alias}' would label every node",)


def test_what_is_no_device_or_of_another_bus_makes_no_term() -> None:
    devices = make_device_terms(STRANGE_ALIASES)
    assert (devices.terms, devices.buses, len(devices.dropped)) == ({}, ("virtio",), 2)


@pytest.mark.parametrize(
    ("alias", "told"),
    [
        ("pci:v*d*sv*sd*bc01sc08i02*", "programming interface"),
        ("usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*", "only where the device has none"),
        ("usb:v0403p*d0100dc*dsc*dp*ic*isc*ip*in*", "asks for no more"),
    ],
)
def test_where_a_rule_takes_others_than_the_alias_it_is_told(alias: str, told: str) -> None:
    (remark,) = make_device_terms([alias]).remarks
    assert told in remark
    assert not make_device_terms([PCI_ALIASES[0]]).remarks


def test_there_is_an_end_to_the_devices_of_a_rule() -> None:
    aliases = [
        f"pci:v0000{number >> 8:04X}d0000{number & 255:04X}sv*sd*bc*sc*i*" for number in range(256, MOST_DEVICES + 257)
    ]
    assert make_device_terms(aliases[1:]).terms
    with pytest.raises(UsageError, match="10001 devices"):
        make_device_terms(aliases)
