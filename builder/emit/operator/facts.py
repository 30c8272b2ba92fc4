"""Reads what files of the operator are made of: versions.yaml, the signer's public key, and what registries have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.emit.deviceplugin.facts import read_component_digest
from builder.emit.deviceplugin.files import PluginFacts
from builder.emit.kmm.facts import make_kmm_facts, registry_tls
from builder.emit.nfd.facts import read_nfd_facts
from builder.emit.operator.material import DriverFacts, OperatorFacts, choose_drivers
from builder.errors import UsageError
from builder.host.progress import no_progress
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL
from builder.signing.image_key import read_image_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.config.model.component import Component
    from builder.config.model.config import Config
    from builder.config.model.driver import Driver
    from builder.config.model.operator import OperatorSettings
    from builder.emit.kmm.version import Flavour, KmmVersion
    from builder.emit.nfd.files import NfdFacts
    from builder.host.progress import Progress
    from builder.plan.matrix import Selector
    from builder.plan.project import Project
    from builder.publish.published import LeftOutCell

_WITHOUT = "give versions.yaml an 'operator' (docs/operator-files.md)"


def read_operator_settings(config: Config) -> OperatorSettings:
    """Return what versions.yaml says of the operator.

    Raises:
        UsageError: it says nothing.
    """
    if config.operator is None:
        raise UsageError("versions.yaml has no operator", hint=_WITHOUT)
    return config.operator


def read_operator_facts(
    project: Project,
    selector: Selector,
    *,
    flavour: Flavour,
    kmm_version: KmmVersion,
    bundle: str = "",
    progress: Progress = no_progress,
) -> tuple[OperatorFacts, tuple[LeftOutCell, ...]]:
    """Return what is known, and which cells have no image.

    Raises:
        UsageError: something is missing, or not published; the message says what to do.
        SourceError: a registry refuses or does not answer.
        SignerError: the public key cannot be read.
        FormatError: an image does not list its modules' aliases.
    """
    config = project.config
    settings = read_operator_settings(config)
    key = read_image_key(config)
    if key is None:
        raise UsageError(
            "images are not signed, and the operator believes only what is", hint="name a key under publish.signer"
        )
    (component,) = [item for item in config.components if item.name == settings.component]
    wanted = choose_drivers(config, settings)
    _check_drivers(wanted)
    plugins = _find_plugins(config, wanted)
    with open_reader(project) as reader:
        digests = {item.name: read_component_digest(item, reader) for item in (component, *plugins.values())}
    known, left_out = read_nfd_facts(project, selector, progress=progress)
    aliases = {facts.driver.name: facts for facts in known}
    facts = OperatorFacts(
        settings=settings,
        component=component,
        digest=digests[component.name],
        keys=[key.pem],
        drivers=[_make_driver(project, driver, aliases, plugins.get(driver.name), digests) for driver in wanted],
        flavour=flavour,
        kmm_version=kmm_version,
        registry_ports=_ports(config, wanted),
        releases=_releases(project, known),
        bundle=bundle,
    )
    return facts, left_out


def _check_drivers(drivers: Sequence[Driver]) -> None:
    hint = "give it an 'image' in versions.yaml"
    if not drivers:
        raise UsageError("no driver has an image in a registry", hint=hint)
    for item in drivers:
        if item.image_name.startswith(LOCAL):
            raise UsageError(f"driver {item.name} has no image in a registry, and nodes could not pull it", hint=hint)


def _find_plugins(config: Config, drivers: Sequence[Driver]) -> dict[str, Component]:
    """Return the device plugin of each driver that has one."""
    found: dict[str, Component] = {}
    for component in config.components:
        plugin = component.device_plugin
        if plugin is None or plugin.driver not in {driver.name for driver in drivers}:
            continue
        if plugin.driver in found:
            raise UsageError(
                f"{found[plugin.driver].name} and {component.name} are both a device plugin of driver {plugin.driver}, "
                "and the operator brings one",
                hint="take 'device_plugin' from one of them",
            )
        if plugin.mode != "DevicePlugin" or plugin.managed_by == "kmm":
            said = f"mode {plugin.mode}" if plugin.mode != "DevicePlugin" else "managed_by: kmm"
            raise UsageError(
                f"{component.name} has {said}, and the operator runs device plugins itself, and awaits devices that "
                "kubelet counts",
                hint="leave mode and managed_by at their defaults for drivers that the operator brings",
            )
        found[plugin.driver] = component
    return found


def _make_driver(
    project: Project,
    driver: Driver,
    known: dict[str, NfdFacts],
    plugin: Component | None,
    digests: dict[str, str],
) -> DriverFacts:
    if driver.name not in known:
        raise UsageError(
            f"no image of driver {driver.name} is published, so there is nothing that the operator could bring",
            hint="run 'nox -s publish' first, or leave the driver out under operator.drivers",
        )
    # A version makes KMM wait for the label of each node; and what a cluster built is in no index.
    kmm = driver.kmm.model_copy(update={"ordered_upgrade": True, "in_cluster_build": None})
    brought = driver.model_copy(update={"kmm": kmm})
    modules = project.drivers[driver.name].module_names or ()
    tls = registry_tls(project.config.registry, [driver.image_name])
    return DriverFacts(
        driver=brought,
        kmm=make_kmm_facts(brought, modules, tls),
        aliases=known[driver.name].aliases,
        plugin=PluginFacts(component=plugin, driver=brought, digest=digests[plugin.name]) if plugin else None,
    )


def _ports(config: Config, drivers: Sequence[Driver]) -> list[int]:
    """Return ports of the registries that indexes may be read from."""
    names = [driver.image_name for driver in drivers]
    names += [mirror for entry in config.registry.mirrors for mirror in entry.mirrors]
    hosts = {name.partition("/")[0] for name in names}
    ports = {int(host.rpartition(":")[2]) for host in hosts if ":" in host}
    return sorted(ports | ({80} if hosts & set(config.registry.plain_http) else set()))


def _releases(project: Project, known: Sequence[NfdFacts]) -> list[str]:
    """Return the releases of OpenShift that run a published kernel, oldest first."""
    kernels = {kernel for facts in known for kernel in facts.kernels}
    found: list[str] = []
    for source in project.lock.sources.values():
        order = {release.version: number for number, release in enumerate(source.list_releases())}
        if order:
            runs = [source.node_kernel(kernel) for kernel in kernels]
            there = {version for run in runs if run for version in run.releases}
            found += sorted(there & order.keys(), key=order.__getitem__)
    return found
