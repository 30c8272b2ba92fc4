"""Component images go into their registries: an image for each architecture, and a list of them under the version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from builder import __version__
from builder.components.decide import ComponentSelector
from builder.components.planning import package_source, plan_components
from builder.errors import UsageError
from builder.host.locks import hold_project
from builder.host.progress import no_progress
from builder.plan.decide import Action
from builder.publish.attest.component_statements import ComponentFacts, make_component_statements
from builder.publish.attest.statements import CELL_PREDICATES
from builder.publish.builder_image import find_builder_image
from builder.publish.cells import Force, open_publisher
from builder.publish.publishable import ImageNames, Publishable, PublishableList, Statements
from builder.publish.result import LOCAL, PublishResult, PublishStatus
from builder.sources.provider import BuildInput, image_input
from builder.store.images import hold_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.components.decide import ComponentDecision
    from builder.host.progress import Progress
    from builder.kernel import Arch
    from builder.plan.project import Project

_NO_FORCE = Force()


def publish_components(
    project: Project,
    selector: ComponentSelector,
    *,
    force: Force = _NO_FORCE,
    progress: Progress = no_progress,
    with_lists: bool = True,
) -> list[PublishResult]:
    """Publish the selected component images that are up to date, then the lists of their architectures.

    Unless somebody else writes these (``with_lists``).

    Raises:
        UsageError: one is to be forced without a reason.
        SignerError: the key that signs images cannot be used.
        BusyError: another run works in this project.
    """
    if force.cells and not force.reason.strip():
        raise UsageError("moving a final tag needs a reason", hint="say --reason 'why'; it is recorded")
    decisions = plan_components(project, selector).plan.decisions
    wanted = [decision for decision in decisions if not decision.image.startswith(LOCAL)]
    results = [_stays_here(decision) for decision in decisions if decision not in wanted]
    if not wanted:
        return results
    with open_publisher(project) as publisher, hold_project(project.work_dir), hold_store():
        for number, decision in enumerate(wanted, start=1):
            item = make_publishable(project, decision)
            results.append(publisher.publish(item, force=force.of(item.title)))
            progress(number, len(wanted))
        for listed in find_lists(project, wanted) if with_lists else ():
            forced = force.of(listed.title, *(member.title for member in listed.members))
            results.append(publisher.publish_list(listed, force=forced))
    return results


def _stays_here(decision: ComponentDecision) -> PublishResult:
    why = "give the component an 'image' in a registry, in versions.yaml"
    names = (decision.image,)
    return PublishResult(title=decision.item.id, names=names, status=PublishStatus.LOCAL, why=why)


def find_lists(project: Project, wanted: Sequence[ComponentDecision]) -> list[PublishableList]:
    """Return the lists that the wanted images have a part in, with all of their members, whatever was selected."""
    names = tuple(dict.fromkeys(decision.item.declaration.name for decision in wanted))
    members: dict[str, list[Publishable]] = {}
    for decision in plan_components(project, ComponentSelector(names=names)).plan.decisions:
        members.setdefault(decision.item.names[1], []).append(make_publishable(project, decision))
    return [
        PublishableList(name=name, title=items[0].title.partition("/")[0], members=tuple(items))
        for name, items in members.items()
    ]


def make_publishable(project: Project, decision: ComponentDecision) -> Publishable:
    """Return a component image for who publishes it; one that is not as it should be, with why it is not."""
    own, shared = decision.item.names
    names = ImageNames(own=(own,), shared=(shared,))

    def state(published: str) -> Statements:
        facts = read_component_facts(project, decision, names, published)
        return Statements(by_kind=make_component_statements(facts), made=facts.evidence.finished)

    item = Publishable(
        title=decision.item.id,
        key=decision.key,
        arch=decision.item.arch.oci,
        names=names,
        predicates=CELL_PREDICATES,
        state=state,
        why=decision.explanation,
    )
    if decision.action is not Action.SKIP or decision.inputs is None:
        advice = "" if decision.action is Action.REFUSE else ": run 'nox -s build' first"
        return replace(item, why=f"{decision.explanation}{advice}")
    kept = project.journal.components[decision.item.id].base_layers
    return replace(
        item,
        stored_as=decision.inputs.key_image,
        digest=decision.digest,
        packing=project.packing.keeping(kept),
        base=decision.inputs.base if kept else "",
        why="",
    )


def read_component_facts(
    project: Project, decision: ComponentDecision, names: ImageNames, digest: str
) -> ComponentFacts:
    """Return what is attested of a component image, from its evidence, versions.yaml and the lock."""
    said, arch = decision.item.declaration, decision.item.arch
    return ComponentFacts(
        evidence=project.journal.components[decision.item.id],
        repository=names.repository,
        digest=digest,
        name=said.name,
        version=said.version,
        arch=arch.oci,
        vendor=said.vendor,
        description=said.description,
        containerfile=said.containerfile,
        target=said.target or "",
        base=_inputs_of(project, "base", said.base_image, said.packages, arch),
        build=_inputs_of(project, "build", said.build_image, said.build_packages, project.build_arch)
        if said.build_image or said.build_packages
        else (),
        builder=project.config.publish.builder,
        builder_version=__version__,
        builder_image=find_builder_image(),
    )


def _inputs_of(
    project: Project, name: str, image: str | None, packages: Sequence[str], arch: Arch
) -> tuple[BuildInput, ...]:
    return (image_input(name, image),) if image else package_source(project).image_packages(arch, packages)
