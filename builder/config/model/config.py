"""The whole of versions.yaml, and the kernel sources that there are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from builder.config.model.build import BuildSettings
from builder.config.model.component import Component
from builder.config.model.debian import DebianKernels
from builder.config.model.declaration import Declaration
from builder.config.model.driver import Driver
from builder.config.model.exclusions import Exclude, KnownBad
from builder.config.model.group import Group
from builder.config.model.known_problem import KnownProblem
from builder.config.model.names import Name
from builder.config.model.openshift import OpenShiftKernels
from builder.config.model.operator import OperatorSettings
from builder.config.model.publish import PublishSettings
from builder.config.model.registry import RegistrySettings
from builder.config.model.signer import Signer
from builder.config.model.tekton import TektonSettings

if TYPE_CHECKING:
    from builder.kernel import Arch

AnySource = DebianKernels | OpenShiftKernels
"""A kernel source of any provider; a new one is added here."""


class Config(Declaration):
    """The whole of versions.yaml."""

    drivers: Annotated[tuple[Driver, ...], Field(min_length=1)]
    """What is built."""
    sources: Annotated[dict[Name, Annotated[AnySource, Field(discriminator="provider")]], Field(min_length=1)]
    """Where kernels and their toolkits come from."""
    registry: RegistrySettings = RegistrySettings()
    """How registries are read and written."""
    signers: dict[Name, Signer] = {}
    """Who can sign modules."""
    groups: Annotated[dict[Name, Group], Field(min_length=1)]
    """Which kernels are built for."""
    default_group: str
    """The group that is meant when none is named."""
    exclude: tuple[Exclude, ...] = ()
    """Combinations that are not meant to exist."""
    known_bad: tuple[KnownBad, ...] = ()
    """Combinations that are broken for now."""
    known_problems: tuple[KnownProblem, ...] = ()
    """Problems of releases, channels and kernels that are no news."""
    build: BuildSettings = BuildSettings()
    """How cells are built."""
    publish: PublishSettings = PublishSettings()
    """How images are named in registries."""
    components: tuple[Component, ...] = ()
    """User-space images, such as a device plugin: they are built beside the drivers, one for each architecture."""
    operator: OperatorSettings | None = None
    """The operator that brings drivers onto nodes of clusters."""
    tekton: TektonSettings | None = None
    """Pipelines that build, publish and renew all of this on a cluster."""

    @property
    def image_packages(self) -> set[tuple[Arch, tuple[str, ...]]]:
        """What component images, and the images that they are built in, want of packages, by architecture."""
        builders = {arch for source in self.sources.values() for arch in source.machines}
        return {
            (arch, tuple(sorted(packages)))
            for component in self.components
            for packages, arches in ((component.packages, component.arches), (component.build_packages, builders))
            for arch in arches
            if packages
        }

    def runtime_of(self, source: str) -> str | None:
        """Return the source that gives a source's base images: itself, the one that it names, or the first that can.

        A lock can have sources that versions.yaml does not name any more.
        """
        settings = self.sources.get(source)
        if settings is not None and settings.gives_base_images:
            return source
        first = next((name for name, other in self.sources.items() if other.gives_base_images), None)
        return (settings.runtime_source if settings else None) or first
