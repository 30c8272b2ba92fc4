"""Aliases of devices: every form of file2alias.c for PCI and USB, and what is none."""

from __future__ import annotations

import pytest

from builder.errors import FormatError
from builder.kmod.device_alias import OtherAlias, PciAlias, UsbAlias, parse_device_alias, show_alias


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("pci:v*d*sv*sd*bc*sc*i*", PciAlias()),
        ("pci:v000010DEd*sv*sd*bc03sc00i00*", PciAlias(vendor="10de", base_class="03", sub_class="00", interface="00")),
        ("pci:v000010DEd*sv*sd*bc03sc00i00", PciAlias(vendor="10de", base_class="03", sub_class="00", interface="00")),
        ("pci:v00008086d00001234sv0000103Csd0000ABCDbc*sc*i*",
         PciAlias(vendor="8086", device="1234", subvendor="103c", subdevice="abcd")),
        ("pci:v*d*sv*sd*bc01sc*i*", PciAlias(base_class="01")),
        ("pci:v00000000d00000000sv*sd*bc*sc*i*", PciAlias(vendor="0000", device="0000")),
        ("usb:v*p*d*dc*dsc*dp*ic*isc*ip*in*", UsbAlias()),
        ("usb:v0403p6001d*dc*dsc*dp*ic*isc*ip*in*", UsbAlias(vendor="0403", product="6001")),
        ("usb:v0403p6001d*dc*dsc*dp*ic*isc*ip*", UsbAlias(vendor="0403", product="6001")),
        ("usb:v0403p6001d0100dc*dsc*dp*ic*isc*ip*in*", UsbAlias(vendor="0403", product="6001", finer=True)),
        ("usb:v0403p6001d01*dc*dsc*dp*ic*isc*ip*in*", UsbAlias(vendor="0403", product="6001", finer=True)),
        ("usb:v0403p6001d[0-8]*dc*dsc*dp*ic*isc*ip*in*", UsbAlias(vendor="0403", product="6001", finer=True)),
        ("usb:v0403p6001d010[2-9a-C]dc*dsc*dp*ic*isc*ip*in*", UsbAlias(vendor="0403", product="6001", finer=True)),
        ("usb:v*p*d*dcE0dsc01dp01ic*isc*ip*in*", UsbAlias(device_class="e0", finer=True)),
        ("usb:v05ACp*d*dc*dsc*dp*ic08isc06ip50in*", UsbAlias(vendor="05ac", interface_class="08", finer=True)),
        ("usb:v05ACp*d*dc*dsc*dp*ic*isc*ip*in02*", UsbAlias(vendor="05ac", finer=True)),
        ("virtio:d00000001v*", OtherAlias("virtio")),
        ("vfio_pci:v*d*sv*sd*bc03sc*i*", OtherAlias("vfio_pci")),
        ("acpi*:PNP0C0A:*", OtherAlias("acpi")),
        ("dmi*:svnDell:*", OtherAlias("dmi")),
        ("of:N*T*Carm,pl011", OtherAlias("of")),
        ("char-major-10-130", None),
        ("fs-ext9", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_an_alias_says(text: str, wanted: object) -> None:
    assert parse_device_alias(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "pci:",
        "pci:v000010DE",
        "pci:v000010DEd*",  # written by hand: modprobe finds it, and nobody knows which fields it has
        "pci:v000010ded*sv*sd*bc*sc*i*",  # the kernel asks in capitals
        "pci:v10DEd*sv*sd*bc*sc*i*",
        "pci:v000110DEd*sv*sd*bc*sc*i*",  # 17 bits
        "pci:v000010DEd*sv*sd*bc*sc*i*x",
        "pci:v000010DEd*sv*sd*bc*sc*i*\n",
        "pci:v000010DEd*sv*sd*bc?sc*i*",
        "pci:v[0-9]d*sv*sd*bc*sc*i*",
        "pci:v\u0660\u0660\u0660\u0660\u0661\u0660DEd*sv*sd*bc*sc*i*",
        "usb:",
        "usb:v0403p6001",
        "usb:v0403p6001ddc*dsc*dp*ic*isc*ip*in*",
        "usb:v403p6001d*dc*dsc*dp*ic*isc*ip*in*",
        "usb:v0403p6001d01005*dc*dsc*dp*ic*isc*ip*in*",
        "usb:v0403p6001d[0-9][0-9]*dc*dsc*dp*ic*isc*ip*in*",
        "usb:v0403p6001d*dc*dsc*dp*ic*isc*ip*in*\0",
        "usb:v0403p6001d*dc*dsc*dp*ic*isc*ip*xx*",
        ": no bus",
        "a bus:x",
        "\n- x:y",
        "PCI" * 30 + ":x",
        "pci:" + "v" * 10**6,
        "of:" + "N" * 600,
    ],
)
def test_what_does_not_fit_its_form_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as error:
        parse_device_alias(text)
    assert len(error.value.message) < 300
    assert error.value.message.isprintable()
    assert error.value.message.isascii()


def test_an_alias_is_shown_in_one_line() -> None:
    assert show_alias("a\n\x1b[31m\u202eb") == r"'a\n\x1b[31m\u202eb'"
    assert show_alias("a" * 100) == f"'{'a' * 80}'..."
