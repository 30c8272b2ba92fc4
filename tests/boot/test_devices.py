"""Which devices a guest can have, and which modules are for them."""

from __future__ import annotations

import pytest

from builder.boot.devices import DEVICES, claim_devices, missing_devices, qemu_words
from builder.config.model.boot import BOOT_DEVICES, BootTest

_EDU = "pci:v00001234d000011E8sv*sd*bc*sc*i*"


def test_versions_yaml_takes_the_devices_that_there_are() -> None:
    assert tuple(DEVICES) == BOOT_DEVICES
    assert BootTest.model_validate({"devices": BOOT_DEVICES}).devices == BOOT_DEVICES
    assert BootTest.model_json_schema()["properties"]["devices"]["items"]["enum"] == list(BOOT_DEVICES)


@pytest.mark.parametrize(
    ("alias", "is_for_it"),
    [
        (_EDU, True),
        ("pci:v00001234d*sv*sd*bc*sc*i*", True),
        ("pci:v00001234d000011E8sv00001AF4sd00001100bc00scFFi00*", True),
        ("pci:v*d*sv*sd*bc00scFFi*", True),
        ("pci:v00001234d000011E9sv*sd*bc*sc*i*", False),
        ("pci:v00001234d000011E8sv00001AF5sd*bc*sc*i*", False),
        ("pci:v00001234d000011E8sv*sd*bc02sc*i*", False),
        ("pci:v00001234d000011E8sv*sd*bc*sc*i01*", False),
        ("pci:v00001234d000011e8sv*sd*bc*sc*i*", False),  # no kernel writes it so
        ("usb:v1234p11E8d*dc*dsc*dp*ic*isc*ip*in*", False),
        ("pci:", False),
        ("x" * 5000, False),
        ("", False),
    ],
)
def test_a_module_is_for_a_device_that_its_table_names(alias: str, is_for_it: bool) -> None:
    (claim,) = claim_devices(["edu"], {"other": ["char-major-10-130"], "demo": ["x", alias]})
    assert claim.modules == (("demo",) if is_for_it else ())
    assert str(claim.device) == "edu 1234:11e8"


def test_a_table_without_an_end_is_read_to_a_bound() -> None:
    (claim,) = claim_devices(["edu"], {"demo": ["pci:v*d*sv*sd*bc02sc*i*"] * 20_000 + [_EDU]})
    assert claim.modules == ()


def test_each_device_is_behind_a_port_of_its_own() -> None:
    words = qemu_words(["edu", "pci-testdev"])
    assert words == [
        "-device", "pcie-root-port,id=port-edu,chassis=1,slot=1", "-device", "driver=edu,id=edu,bus=port-edu",
        "-device", "pcie-root-port,id=port-pci-testdev,chassis=2,slot=2",
        "-device", "driver=pci-testdev,id=pci-testdev,bus=port-pci-testdev",
    ]  # fmt: skip
    assert qemu_words([]) == []


_HELP = 'Controller/Bridge/Hub devices:\nname "pcie-root-port", bus PCI\n\nMisc devices:\nname "edu", bus PCI\n'


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        (_HELP, ["pci-testdev"]),
        (_HELP + 'name "pci-testdev", bus PCI', []),
        (_HELP.replace('"edu"', '"edu2"'), ["edu", "pci-testdev"]),
        ("", ["pcie-root-port", "edu", "pci-testdev"]),
    ],
)
def test_what_qemu_lacks_is_named(told: str, missing: list[str]) -> None:
    assert missing_devices(told, ["edu", "pci-testdev"]) == missing
