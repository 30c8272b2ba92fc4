"""Reads what the files of a device plugin are made of: versions.yaml, and the digest of what is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.config.tag_rules import component_names
from builder.emit.deviceplugin.files import PluginFacts
from builder.errors import UsageError
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.config.model.component import Component
    from builder.config.model.device_plugin import DevicePlugin
    from builder.plan.project import Project
    from builder.publish.reading import RegistryReader


def read_plugin_facts(project: Project) -> list[PluginFacts]:
    """Return facts for each component that is a device plugin, and that KMM does not run.

    Raises:
        UsageError: there is no device plugin, or its image is not published, or not signed as versions.yaml wants it.
        SourceError: a registry refuses or does not answer.
    """
    if not any(component.device_plugin for component in project.config.components):
        raise UsageError(
            "no component of versions.yaml is a device plugin", hint="give one 'device_plugin' (docs/devices.md)"
        )
    return _read_all(project, find_plugins(project, managed_by="daemonset"))


def read_kmm_plugin(project: Project, driver: str) -> PluginFacts | None:
    """Return the device plugin that KMM runs beside a driver, where versions.yaml wants it so."""
    wanted = [item for item in find_plugins(project, managed_by="kmm") if _plugin_of(item).driver == driver]
    return next(iter(_read_all(project, wanted)), None)


def find_plugins(project: Project, *, managed_by: str) -> list[Component]:
    """Return the components that are device plugins, and are run in one of the ways."""
    plugins = [component for component in project.config.components if component.device_plugin]
    return [component for component in plugins if _plugin_of(component).managed_by == managed_by]


def _plugin_of(component: Component) -> DevicePlugin:
    if component.device_plugin is None:
        raise ValueError(component.name)
    return component.device_plugin


def _read_all(project: Project, components: Sequence[Component]) -> list[PluginFacts]:
    if not components:
        return []
    with open_reader(project) as reader:
        return [_read(project, component, reader) for component in components]


def _read(project: Project, component: Component, reader: RegistryReader) -> PluginFacts:
    digest = read_component_digest(component, reader)
    (driver,) = [item for item in project.config.drivers if item.name == _plugin_of(component).driver]
    return PluginFacts(component=component, driver=driver, digest=digest)


def read_component_digest(component: Component, reader: RegistryReader) -> str:
    """Return the digest of the list under which a component is published.

    Raises:
        UsageError: it goes to no registry, is not published, or not signed as versions.yaml wants it.
        SourceError: the registry refuses or does not answer.
    """
    if component.image_name.startswith(LOCAL):
        raise UsageError(
            f"component {component.name} has no image in a registry, and nodes could not pull it",
            hint="give it an 'image' in versions.yaml",
        )
    shared = component_names(component.image_name, component.version, "any")[1]
    name = parse_pullspec(shared)
    found = reader.find(name)
    if found is None or not found[1].is_list:
        raise UsageError(
            f"{shared} is not published", hint=f"run 'nox -s publish -- --component {component.name}' first"
        )
    place, image = found
    if not reader.is_signed(place, image.digest, name=name):
        raise UsageError(
            f"{shared} ({image.digest}) is not signed by publish.signer: anybody who may write there put it there",
            hint=f"run 'nox -s publish -- --component {component.name}', or give the component a new version",
        )
    return image.digest
