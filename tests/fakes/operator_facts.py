"""What files of the operator are made from."""

from __future__ import annotations

from typing import Any

from builder.config.model.component import Component
from builder.config.model.device_plugin import DevicePlugin, SmokeTest
from builder.config.model.operator import OperatorSettings
from builder.emit.deviceplugin.files import PluginFacts
from builder.emit.kmm.facts import make_kmm_facts
from builder.emit.operator.material import DriverFacts, OperatorFacts
from builder.kernel import Arch
from fakes.kmm_facts import kmm_facts
from fakes.nfd_facts import PCI_ALIASES

PEM = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
OPERATOR_DIGEST, PLUGIN_DIGEST, BUNDLE_DIGEST = (f"sha256:{letter * 64}" for letter in "abc")
_WORDS = {
    "vendor": "Example Corp", "summary": "Operator of the sample drivers", "description": "Brings drivers onto nodes",
    "maintainer": "Example Corp <drivers@example.com>",
}  # fmt: skip


def operator_settings(**changes: Any) -> OperatorSettings:
    said = {"component": "operator", "group": "drivers.example.com", "documentation": "https://example.com/operator.md"}
    return OperatorSettings(**(said | changes))


def component(name: str, **changes: Any) -> Component:
    said: dict[str, Any] = {
        "name": name, "version": "1.4.0", "source": ".", "containerfile": "Containerfile", "image": f"quay.test/org/{name}",
        "arches": (Arch.X86_64, Arch.AARCH64), **_WORDS,
    }  # fmt: skip
    return Component(**(said | changes))


def driver_facts(
    kmm: dict[str, Any] | None = None, *, plugin: bool = True, smoke: bool = False, **driver: Any
) -> DriverFacts:
    settings = {"selector": {"feature.node.kubernetes.io/drv": "true"}, "ordered_upgrade": True, **(kmm or {})}
    made = kmm_facts(settings, **driver).driver
    known = None
    if plugin:
        resource = f"drivers.example.com/{made.name}"
        said = DevicePlugin(driver=made.name, resource=resource, smoke_test=SmokeTest() if smoke else None)
        known = PluginFacts(
            component=component(f"{made.name}-plugin", device_plugin=said), driver=made, digest=PLUGIN_DIGEST
        )
    return DriverFacts(
        driver=made, kmm=make_kmm_facts(made, ("drv_core", "drv"), {}), aliases=PCI_ALIASES, plugin=known
    )


def operator_facts(*drivers: DriverFacts, settings: dict[str, Any] | None = None, **changes: Any) -> OperatorFacts:
    said: dict[str, Any] = {
        "settings": operator_settings(**(settings or {})), "component": component("operator"), "digest": OPERATOR_DIGEST,
        "keys": (PEM,), "drivers": drivers or (driver_facts(),), "releases": ("4.16.3", "4.18.30"),
    }  # fmt: skip
    return OperatorFacts(**(said | changes))
