"""What files for NFD are made from."""

from __future__ import annotations

from typing import Any

from builder.emit.nfd.files import NfdFacts
from builder.kernel import parse_kernel_version
from fakes.kmm_facts import KERNELS, kmm_facts

LABEL = "feature.node.kubernetes.io/drv"
PCI_ALIASES = (
    "pci:v00001AF4d0000FFF0sv*sd*bc*sc*i*",
    "pci:v00001AF4d0000FFF1sv*sd*bc*sc*i*",
    "pci:v00008086d00001234sv0000103Csd00000007bc02sc00i*",
)
USB_ALIASES = ("usb:v0403p6001d*dc*dsc*dp*ic*isc*ip*in*", "usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*")
STRANGE_ALIASES = (
    "pci:v*d*sv*sd*bc06sc04i00*",
    "virtio:d00000001v*",
    "char-major-10-130",
    "pci:v00001AF4d0000FFF2\n- hostile: true\n",
)


def nfd_facts(*aliases: str, kmm: dict[str, Any] | None = None) -> NfdFacts:
    chosen = {"selector": {LABEL: "true"}} if kmm is None else kmm
    return NfdFacts(
        driver=kmm_facts(chosen).driver,
        aliases=aliases,
        kernels=[parse_kernel_version(raw) for raw in KERNELS],
    )
