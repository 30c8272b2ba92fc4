"""What files of a device plugin are made from."""

from __future__ import annotations

from typing import Any

from builder.config.model.component import Component
from builder.config.model.device_plugin import DevicePlugin
from builder.emit.deviceplugin.files import PluginFacts
from fakes.kmm_facts import kmm_facts

DIGEST = f"sha256:{'d' * 64}"


def plugin_facts(kmm: dict[str, Any] | None = None, **plugin: Any) -> PluginFacts:
    words: dict[str, Any] = dict.fromkeys(("vendor", "summary", "description", "maintainer"), "V")
    said = {"driver": "drv", "resource": "drivers.example.com/drv", **plugin}
    component = Component(
        name="plugin", version="0.1.0", source=".", containerfile="Containerfile", image="quay.test/org/plugin",
        device_plugin=DevicePlugin(**said), **words,
    )  # fmt: skip
    return PluginFacts(component=component, driver=kmm_facts(kmm or {}).driver, digest=DIGEST)
