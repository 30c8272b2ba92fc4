"""Reads what the files for KMM are made of: the lock, the drivers, and what registries really have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.emit.deviceplugin.facts import read_kmm_plugin
from builder.emit.kmm.files import KmmFacts, ReleaseKernel
from builder.errors import UsageError
from builder.host.progress import no_progress
from builder.module_words import ModuleWord
from builder.plan.matrix import matches_any
from builder.publish.published import read_published

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.config.model.driver import Driver
    from builder.config.model.registry import RegistrySettings
    from builder.host.progress import Progress
    from builder.kernel import KernelVersion
    from builder.plan.matrix import Cell, Selector
    from builder.plan.project import Project
    from builder.publish.published import LeftOutCell
    from builder.publish.result import PublishedCell
    from builder.sources.release import Release

# The cluster sets these itself, or they are those of another machine.
_NOT_IN_CLUSTER = frozenset({"DTK_AUTO", "BASE_IMAGE", "KERNEL_VERSION", "KERNEL_FULL_VERSION"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KmmInput:
    """Facts for each selected driver, and which cells are not among them."""

    drivers: tuple[KmmFacts, ...]
    left_out: tuple[LeftOutCell, ...]


def read_kmm_facts(
    project: Project, selector: Selector, *, releases: Sequence[str] = (), progress: Progress = no_progress
) -> KmmInput:
    """Read what is emitted for each selected driver that has published images.

    Args:
        project: its versions.yaml, lock and sources.
        selector: which cells.
        releases: globs over OpenShift releases that preflights are wanted for; empty: the newest of each minor.
        progress: is told how many cells were asked for.

    Raises:
        SourceError: a registry refuses or does not answer. A Module without kernels that have an image would make
            nodes unload it, so nothing is said then.
        UsageError: no selected driver goes to a registry, or the device plugin that KMM is to run is not published.
    """
    published = read_published(project, selector, progress=progress)
    facts = []
    for name in dict.fromkeys(cell.driver for cell, _ in published.cells):
        own = [(cell, image) for cell, image in published.cells if cell.driver == name]
        found = find_releases(project, [cell for cell, _ in own], releases)
        facts.append(_read_driver(project, name, [image for _, image in own], found))
    return KmmInput(drivers=tuple(facts), left_out=published.left_out)


def _read_driver(
    project: Project, name: str, cells: Sequence[PublishedCell], releases: Sequence[ReleaseKernel]
) -> KmmFacts:
    source = project.drivers[name]
    driver = source.declaration
    facts = make_kmm_facts(driver, source.module_names or (), registry_tls(project.config.registry, _places(cells)))
    arguments = source.build_arguments(cells[0].kernel, toolkit_image="", base_image="")
    wanted = {key: value for key, value in arguments.items() if value and key not in _NOT_IN_CLUSTER}
    if driver.base_image:
        wanted["BASE_IMAGE"] = driver.base_image
    return replace(
        facts,
        cells=cells,
        releases=releases,
        containerfile=driver.containerfile_file.read_text(encoding="utf-8"),
        build_arguments=wanted,
        plugin=read_kmm_plugin(project, name),
    )


def make_kmm_facts(driver: Driver, modules: Sequence[str], tls: Mapping[str, bool]) -> KmmFacts:
    """Return what is known of a driver without its images.

    Raises:
        UsageError: it does not say which module a node loads.
    """
    name = driver.name
    if not modules:
        raise UsageError(f"driver {name} does not say which modules it has", hint="name them under 'modules'")
    if not (driver.kmm.module or driver.kmm.loading_order) and not ModuleWord(modules[-1]).is_name:
        raise UsageError(
            f"driver {name} does not say which module a node loads: {modules[-1]!r}, the last of 'modules', is no name",
            hint="name it in kmm.module",
        )
    return KmmFacts(driver=driver, modules=modules, cells=(), releases=(), registry_tls=tls)


def _places(cells: Sequence[PublishedCell]) -> list[str]:
    return [cell.repository for cell in cells]


def registry_tls(settings: RegistrySettings, repositories: Sequence[str]) -> dict[str, bool]:
    """Return what KMM must be told to ask the images' registry whether they are there."""
    hosts = {repository.partition("/")[0] for repository in repositories}
    if hosts & set(settings.plain_http):
        return {"insecure": True}
    return {"insecureSkipTLSVerify": True} if hosts & set(settings.unverified_tls) else {}


def find_releases(project: Project, cells: Sequence[Cell], globs: Sequence[str]) -> list[ReleaseKernel]:
    """Return the releases that run the cells' kernels, with the toolkit that each brings; or the kernels alone."""
    source = project.lock.sources[cells[0].source]
    releases = {(release.version, release.arch): release for release in source.list_releases()}
    if not releases:
        return [ReleaseKernel(release="", kernel=cell.kernel) for cell in cells]
    newest = {_minor(version): version for version, _ in releases}
    return [
        ReleaseKernel(
            release=f"{version}-{cell.kernel.arch}",
            kernel=cell.kernel,
            toolkit=_own_toolkit(releases[version, cell.kernel.arch], cell.kernel) or run.toolkit,
        )
        for cell in cells
        for run in [project.lock.node_kernel(cell.source, cell.kernel)]
        for version in run.releases
        if (matches_any(version, globs) if globs else newest[_minor(version)] == version)
    ]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _own_toolkit(release: Release, kernel: KernelVersion) -> str:
    """Return the toolkit that a release itself brings for a kernel; empty where it brings none."""
    return next((stream.toolkit for stream in release.streams if kernel in stream.own_kernels), "")
