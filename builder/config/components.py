"""What component images, the operator and pipelines in versions.yaml must agree on with the rest, and with the disk."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builder.config.translate import unknown
from builder.host.places import find_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from builder.config.model.component import Component
    from builder.config.model.config import Config
    from builder.config.yamlfile import YamlFile
    from builder.errors import Mistake

_Place = tuple[str | int, ...]
_NUMBER = r"(0|[1-9][0-9]*)"
# Of semantic versions those that can be in an object's name, as the bundle's is: small letters, none of '-' at an end.
_WORD = rf"({_NUMBER}|(?=[0-9]*[a-z-])[0-9a-z]([0-9a-z-]*[0-9a-z])?)"
_SEMANTIC = re.compile(rf"{_NUMBER}(\.{_NUMBER}){{2}}(-{_WORD}(\.{_WORD})*)?")


def check_components(config: Config, document: YamlFile, allowed: Sequence[Path]) -> Iterator[Mistake]:
    """Yield what is wrong with components; what they name must lie in the allowed folders."""
    owners = {driver.image_name: f"driver {driver.name!r}" for driver in config.drivers}
    drivers = [driver.name for driver in config.drivers]
    names: set[str] = set()
    by_kmm: dict[str, str] = {}
    for number, component in enumerate(config.components):
        place: _Place = ("components", number)
        if component.name in names:
            yield document.mistake((*place, "name"), f"{component.name!r} is already the name of a component")
        names.add(component.name)
        if other := owners.get(component.image_name):
            sentence = f"its images and those of {other} would have the same names, {component.image_name}:..."
            yield document.mistake((*place, "image" if component.image else "name"), sentence)
        owners[component.image_name] = f"component {component.name!r}"
        if (plugin := component.device_plugin) and plugin.driver not in drivers:
            yield document.mistake((*place, "device_plugin", "driver"), unknown("driver", plugin.driver, drivers))
        if plugin and plugin.managed_by == "kmm":
            if other := by_kmm.get(plugin.driver):
                sentence = f"KMM runs one device plugin beside a driver, and {other!r} is that of {plugin.driver!r}"
                yield document.mistake((*place, "device_plugin", "managed_by"), sentence)
            by_kmm[plugin.driver] = component.name
        yield from _check_places(component, document, place, allowed)


def check_operator(config: Config, document: YamlFile) -> Iterator[Mistake]:
    """Yield what is wrong with what the operator is said to be of."""
    if config.operator is None:
        return
    components = {component.name: number for number, component in enumerate(config.components)}
    drivers = [driver.name for driver in config.drivers]
    number = components.get(config.operator.component)
    if number is None:
        place: _Place = ("operator", "component")
        yield document.mistake(place, unknown("component", config.operator.component, components))
    elif not _SEMANTIC.fullmatch(version := config.components[number].version):
        sentence = f"{version!r} is no version that Operator Lifecycle Manager can compare: as in 1.4.0 or 1.4.0-rc.1"
        yield document.mistake(("components", number, "version"), sentence)
    for index, name in enumerate(config.operator.drivers):
        if name not in drivers:
            yield document.mistake(("operator", "drivers", index), unknown("driver", name, drivers))


def check_tekton(config: Config, document: YamlFile) -> Iterator[Mistake]:
    """Yield what is wrong with what pipelines on a cluster are said to be of."""
    if config.tekton is None:
        return
    for key in ("group", "release_group"):
        name = getattr(config.tekton, key)
        if name is not None and name not in config.groups:
            yield document.mistake(("tekton", key), unknown("group", name, config.groups))
    pod, compile_ = config.tekton.resources.memory, config.build.compile_memory
    if config.tekton.resources.memory_mib <= compile_:
        sentence = (
            f"a pod of {pod} ends with the compile that uses it up; it needs more than the {compile_} MiB of "
            "build.compile_memory, by which a compile is stopped alone"
        )
        yield document.mistake(("tekton", "resources", "memory"), sentence)


def _check_places(
    component: Component, document: YamlFile, place: _Place, allowed: Sequence[Path]
) -> Iterator[Mistake]:
    if problem := find_problem(component.source, component.source_dir, allowed):
        yield document.mistake((*place, "source"), problem)
    elif not component.source_dir.is_dir():
        yield document.mistake((*place, "source"), f"there is no folder {component.source}")
    files: list[tuple[_Place, str, Path]] = [
        (("containerfile",), component.containerfile, component.containerfile_file),
        *(
            (("licenses", index), name, file)
            for index, (name, file) in enumerate(zip(component.licenses, component.license_files, strict=True))
        ),
    ]
    if component.wheels and component.wheels_file:
        files.append((("wheels", "lock"), component.wheels.lock, component.wheels_file))
    for key, name, file in files:
        if problem := find_problem(name, file, allowed):
            yield document.mistake((*place, *key), problem)
        elif not file.is_file():
            yield document.mistake((*place, *key), f"there is no file {name}")
