"""Reads everything and decides: the plan for a project's component images."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.components.decide import ComponentCandidate, ComponentPlan, ComponentSelector, plan_of
from builder.components.inputs import ComponentInputs, ComponentItem, name_key_image
from builder.components.source import ComponentSource, read_component
from builder.digest import content_id
from builder.errors import LockFileError
from builder.plan.decide import UNTRUSTED, Reason
from builder.sources.debian.source import DebianSource
from builder.store.images import TOOLKIT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.config.model.component import Component
    from builder.kernel import Arch
    from builder.plan.project import Project
    from builder.sources.provider import PackageSource
    from builder.store.images import Image

_ID_LENGTH = 16


def as_trusted(component: Component, project: Project) -> Component:
    """Return a component with the name that its images may have: those of a stranger's file never count as others."""
    if not project.untrusted:
        return component
    named = component.model_copy(update={"image": f"localhost/{UNTRUSTED}/{component.name}"})
    named._root = component._root  # noqa: SLF001 - its own copy
    return named


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedComponents:
    """A plan with the files that it was made from, by the component's name."""

    plan: ComponentPlan
    sources: dict[str, ComponentSource] = field(default_factory=dict)


def plan_components(
    project: Project, selector: ComponentSelector, *, force: bool = False, images: Mapping[str, Image] | None = None
) -> PlannedComponents:
    """Read the components and decide; ``images`` are those of the container store, where they were listed just now.

    Raises:
        UsageError: nothing is called so; or a source cannot be read.
        FormatError: a lock of Python packages is none.
    """
    known = [as_trusted(component, project) for component in project.config.components]
    items = selector.choose(known)
    if not items:
        return PlannedComponents(plan=ComponentPlan())
    declarations = {item.declaration.name: item.declaration for item in items}
    sources = {name: read_component(declaration) for name, declaration in declarations.items()}
    candidates = [_candidate(project, item, sources[item.declaration.name]) for item in items]
    found = project.list_images() if images is None else images
    plan = plan_of(candidates, evidence=project.journal.components, images=found, force=force)
    return PlannedComponents(plan=plan, sources=sources)


def package_source(project: Project) -> PackageSource:
    """Return what base images of packages are made by: the first Debian source.

    Raises:
        LockFileError: there is none, or the lock does not have it.
    """
    name = next((name for name, source in project.config.sources.items() if source.gives_base_images), None)
    if name is None:
        raise LockFileError(
            "no source of provider debian gives base images: give the component a base_image, by digest"
        )
    source = project.kernel_source(name)
    if not isinstance(source, DebianSource):
        raise LockFileError(f"the lock has something else for source {name!r}", hint="run 'nox -s discover'")
    return source


def _candidate(project: Project, item: ComponentItem, source: ComponentSource) -> ComponentCandidate:
    said = item.declaration
    try:
        base = said.base_image or package_source(project).image_packages_id(item.arch, said.packages)
        build = said.build_image or ""
        if said.build_packages:
            build = package_source(project).image_packages_id(project.build_arch, said.build_packages)
    except LockFileError as error:
        return ComponentCandidate(item=item, inputs=None, refusal=(Reason.NO_BASE_IMAGE, error.message))
    inputs = ComponentInputs(
        component=f"{said.name} {said.version}",
        arch=item.arch,
        source=source.tree.digest,
        containerfile=source.containerfile_digest,
        recipe=source.recipe_digest,
        licenses=content_id([list(row) for row in source.license_digests]),
        base=base,
        wheels=source.wheels_digest,
        build=build,
        trust=UNTRUSTED if project.untrusted else "",
    )
    return ComponentCandidate(item=item, inputs=inputs)


def names_needed(project: Project) -> set[str]:
    """Return the names in the container store that component images need: their own, and those of their bases.

    What is refused today keeps what was made of it before: unknown is not absent, and most refusals end.
    """
    needed: set[str] = set()
    everything = ComponentSelector(names=("*",) if project.config.components else ())  # also what is made on request
    for decision in plan_components(project, everything).plan.decisions:
        said, known = decision.item.declaration, project.journal.components.get(decision.item.id)
        if decision.inputs:
            needed.add(decision.inputs.key_image)
        elif known:
            needed.add(name_key_image(known.key))
        bases = ((said.base_image, said.packages, decision.item.arch),)
        built_in = ((said.build_image, said.build_packages, project.build_arch),)
        for pinned, packages, arch in (*bases, *(built_in if said.build_image or said.build_packages else ())):
            with contextlib.suppress(LockFileError):
                name = name_pulled(pinned, arch) if pinned else package_source(project).package_image(arch, packages)
                needed.add(name)
    return needed


def name_pulled(pullspec: str, arch: Arch) -> str:
    """Return the name in the container store of an image that a component names."""
    return f"{TOOLKIT_PREFIX}base:{arch}-{pullspec.rpartition(':')[2][:_ID_LENGTH]}"
