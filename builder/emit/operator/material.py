"""What files of the operator are made of. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.emit.kmm.version import Flavour, KmmVersion
from builder.errors import UsageError
from builder.publish.result import LOCAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.config.model.component import Component
    from builder.config.model.config import Config
    from builder.config.model.driver import Driver
    from builder.config.model.operator import OperatorSettings
    from builder.emit.deviceplugin.files import PluginFacts
    from builder.emit.kmm.files import KmmFacts

_MAINTAINER = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<email>[^<>\s]+@[^<>\s]+)>\s*")


def choose_drivers(config: Config, settings: OperatorSettings) -> list[Driver]:
    """Return the drivers that the operator brings: those that are named, else all that go to a registry."""
    if settings.drivers:
        return [item for item in config.drivers if item.name in settings.drivers]
    return [item for item in config.drivers if not item.image_name.startswith(LOCAL)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFacts:
    """A driver that the operator brings.

    Attributes:
        driver: as versions.yaml has it, but upgraded in order and never built in clusters.
        kmm: what its Module is made of, without images.
        aliases: those of the modules that are published.
        plugin: its device plugin; None where it has none.
    """

    driver: Driver
    kmm: KmmFacts
    aliases: Sequence[str]
    plugin: PluginFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFacts:
    """All that is known.

    Attributes:
        component, digest: the operator's image, as it is published.
        keys: PEM: who may sign indexes.
        registry_ports: of registries that are not asked at the usual port.
        releases: versions of OpenShift that published images are for, oldest first.
        bundle: the image of the bundle by digest; empty: it is not known yet.
    """

    settings: OperatorSettings
    component: Component
    digest: str
    keys: Sequence[str]
    drivers: Sequence[DriverFacts]
    flavour: Flavour = Flavour.OPENSHIFT
    kmm_version: KmmVersion = KmmVersion.V2_6
    registry_ports: Sequence[int] = ()
    releases: Sequence[str] = ()
    bundle: str = ""

    @property
    def image(self) -> str:
        return f"{self.component.image_name}@{self.digest}"

    @property
    def version(self) -> str:
        """Version of the operator, which is that of its image."""
        return self.component.version

    @property
    def is_openshift(self) -> bool:
        return self.flavour is Flavour.OPENSHIFT

    @property
    def display_name(self) -> str:
        return self.settings.display_name or self.component.summary

    @property
    def images(self) -> dict[str, str]:
        """All images by a name of their own: what a mirror needs."""
        found = {self.settings.name: self.image}
        for item in self.drivers:
            if item.plugin:
                found[item.plugin.component.name] = item.plugin.image
        return found

    @property
    def maintainer(self) -> dict[str, str]:
        """Name and address, which catalogs want apart.

        Raises:
            UsageError: versions.yaml has no address.
        """
        match = _MAINTAINER.fullmatch(self.component.maintainer)
        if match is None:
            raise UsageError(
                f"maintainer {self.component.maintainer!r} of component {self.component.name} has no address, which a "
                "bundle must name",
                hint="write it as 'Example Corp <drivers@example.com>' in versions.yaml",
            )
        return {"name": match["name"] or self.component.vendor, "email": match["email"]}
