"""Verb publish: cells that are built go into their registries, under all their names.

Here cells become what is published (``builder.publish.publishable``), and what came of it becomes theirs again.
"""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder import __version__
from builder.errors import UsageError
from builder.evidence.journal import make_run_id
from builder.evidence.records import is_strong_enough
from builder.host.locks import hold_project
from builder.host.progress import no_progress
from builder.host.run import obey, stop_all
from builder.plan.decide import Action
from builder.plan.matrix import Selector, make_matrix, matches_any
from builder.plan.planning import BootOptions, plan_project
from builder.publish.attachments import AttachmentWriter
from builder.publish.attest.facts import CellFacts
from builder.publish.attest.statements import CELL_PREDICATES, make_statements
from builder.publish.attester import Attester
from builder.publish.builder_image import find_builder_image
from builder.publish.publishable import ImageNames, Publishable, PublishableList, Statements
from builder.publish.publisher import Publisher, PublishTools
from builder.publish.result import LOCAL, PublishResult, PublishStatus
from builder.registry.access import open_registries
from builder.registry.writer import Uploader
from builder.signing.image_key import open_image_signer
from builder.sources.provider import image_input
from builder.store.images import hold_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.evidence.records import BootEvidence, CellEvidence
    from builder.host.progress import Progress
    from builder.kernel import Arch, KernelVersion
    from builder.plan.decide import Decision
    from builder.plan.project import Project

_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Force:
    """Which cells may move final tags, and lists by their driver alone, and why; the reason is recorded."""

    cells: tuple[str, ...] = ()
    reason: str = ""

    def of(self, *cells: str) -> str:
        """Return the reason where one of the cells is forced."""
        return self.reason if any(matches_any(cell, self.cells) for cell in cells) else ""


NO_FORCE = Force()


def publish_project(
    project: Project,
    selector: Selector,
    *,
    force: Force = NO_FORCE,
    progress: Progress = no_progress,
    with_lists: bool = True,
) -> list[PublishResult]:
    """Publish every selected cell whose image is up to date; what is published already is left alone.

    Results are in the order of the plan; those of tags of several architectures come last, unless somebody else writes
    them (``with_lists``).

    Raises:
        UsageError: a cell is to be forced without a reason, or two cells of an architecture would share a tag.
        SignerError: the key that signs images cannot be used.
        BusyError: another run works in this project.
    """
    if force.cells and not force.reason.strip():
        raise UsageError("moving a final tag needs a reason", hint="say --reason 'why'; it is recorded")
    # What passed its boot test has passed it, also where every build boots everything again.
    policy = project.config.build.boot
    boot = BootOptions(when="changed" if policy == "always" else policy)
    planned = plan_project(project, selector, boot=boot)
    names = name_cells(project, selector)
    results = {}
    wanted = []
    for decision in planned.plan.decisions:
        if blocked := _why_never(decision, names[decision.cell.id]):
            results[decision.cell.id] = blocked
        else:
            wanted.append(decision)
    lists: list[PublishResult] = []
    if wanted:
        with open_publisher(project) as publisher, hold_project(project.work_dir), hold_store():
            for leftover in project.work_dir.glob("publish-*"):
                shutil.rmtree(leftover, ignore_errors=True)

            def publish(decision: Decision) -> PublishResult:
                item = _take_from_store(project, decision, names[decision.cell.id])
                result = publisher.publish(item, force=force.of(item.title))
                return replace(result, kernel=decision.cell.kernel.raw)

            def publish_list(item: PublishableList) -> PublishResult:
                forced = force.of(item.title, *(member.title for member in item.members))
                return publisher.publish_list(item, force=forced)

            with _open_pool() as pool:
                for number, result in enumerate(pool.map(publish, wanted), start=1):
                    results[result.title] = result
                    progress(number, len(wanted))
                found = find_lists(project, selector, boot, names, wanted) if with_lists else []
                lists = list(pool.map(publish_list, found))
    return [*(results[decision.cell.id] for decision in planned.plan.decisions), *lists]


@contextmanager
def _open_pool() -> Iterator[ThreadPoolExecutor]:
    """Give threads that publish; an interrupt stops their children, and they name nothing more."""
    is_stopping = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE, "publish", obey, (is_stopping,)) as pool:
        try:
            yield pool
        except BaseException:
            is_stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise


def _why_never(decision: Decision, names: ImageNames) -> PublishResult | None:
    """Return the result of a cell that is not to be published at all."""

    def blocked(status: PublishStatus, why: str) -> PublishResult:
        cell = decision.cell
        return PublishResult(title=cell.id, kernel=cell.kernel.raw, names=names.own, status=status, why=why)

    if decision.action is Action.EXCLUDE:
        return blocked(PublishStatus.LEFT_OUT, decision.explanation)
    if names.own[0].startswith(LOCAL):
        return blocked(PublishStatus.LOCAL, "give its driver an 'image' in a registry, in versions.yaml")
    if not decision.key:
        return blocked(PublishStatus.NOT_BUILT, decision.explanation)
    return None


def name_cells(project: Project, selector: Selector) -> dict[str, ImageNames]:
    """Return the names of all cells of the selected group, also of those that the selector leaves out.

    Raises:
        UsageError: cells of one architecture would share a tag.
    """
    matrix = make_matrix(project.config, project.lock, Selector(group=selector.group))
    cells = [*matrix.cells, *(item.cell for item in matrix.left_out)]
    names = project.image_names(cells)
    owners: dict[str, dict[str, str]] = {}
    for cell in cells:
        for name in names[cell.id]:
            other = owners.setdefault(name, {}).setdefault(cell.kernel.arch, cell.id)
            if other != cell.id:
                raise UsageError(
                    f"{other} and {cell.id} would both be published as {name}",
                    hint="put {kernel}, or {kernel_noarch} and {variant}, into that pattern of publish.tags",
                )
    return {
        cell.id: ImageNames(
            own=tuple(name for name in names[cell.id] if len(owners[name]) == 1),
            shared=tuple(name for name in names[cell.id] if len(owners[name]) > 1),
        )
        for cell in cells
    }


def find_lists(
    project: Project,
    selector: Selector,
    boot: BootOptions,
    names: Mapping[str, ImageNames],
    wanted: Sequence[Decision],
    *,
    decisions: Sequence[Decision] | None = None,
) -> list[PublishableList]:
    """Return the lists of several architectures that the wanted cells have a part in.

    All cells with the name are members but those that are left out for good: lists are final, so one without a cell
    that is refused today, acknowledged or not, would be in the way when it is built. ``decisions`` are those about all
    cells of the group, where they are known.
    """
    touched = {name for decision in wanted for name in names[decision.cell.id].shared}
    if not touched:
        return []
    if decisions is None:
        whole = Selector(group=selector.group, drivers=selector.drivers)
        decisions = plan_project(project, whole, boot=boot).plan.decisions
    members: dict[str, list[Decision]] = {name: [] for name in sorted(touched)}
    for decision in decisions:
        if decision.is_left_out_for_good:
            continue
        for name in touched.intersection(names[decision.cell.id].shared):
            members[name].append(decision)
    return [
        PublishableList(
            name=name,
            title=f"{decisions[0].cell.driver}-{decisions[0].cell.driver_version}{decisions[0].cell.suffix}",
            members=tuple(make_publishable(project, decision, names[decision.cell.id]) for decision in decisions),
        )
        for name, decisions in members.items()
    ]


def make_publishable(project: Project, decision: Decision, names: ImageNames, *, digest: str = "") -> Publishable:
    """Return what a cell is for who publishes it, or looks for it in registries.

    ``digest`` is that of its image in the store, where there is one that may be published; else the decision says why.
    """

    def state(published: str) -> Statements:
        facts = replace(read_facts(project, decision, digest, names), digest=published)
        return Statements(by_kind=make_statements(facts), made=facts.evidence.finished)

    return Publishable(
        title=decision.cell.id,
        key=decision.key,
        arch=decision.cell.kernel.arch.oci,
        names=names,
        predicates=CELL_PREDICATES,
        state=state,
        stored_as=decision.key_image,
        digest=digest,
        why="" if digest else decision.explanation,
        is_known=decision.action is Action.EXCLUDE,
    )


def _take_from_store(project: Project, decision: Decision, names: ImageNames) -> Publishable:
    """Return a cell with its image in the store, if that is as it should be; else with why it is not."""
    absent = make_publishable(project, decision, names)
    if decision.action is not Action.SKIP:
        advice = "" if decision.action is Action.FAIL else ": run 'nox -s build' with the same selection"
        return replace(absent, why=f"{decision.explanation}{advice}")
    digest = decision.digest
    if why := _why_too_weak(project, decision, digest):
        return replace(absent, why=why)
    if project.config.publish.signer and (why := _why_unproven(project, decision, digest)):
        return replace(absent, why=why)
    found = make_publishable(project, decision, names, digest=digest)
    kept = project.journal.cells[decision.cell.id].base_layers
    base = decision.inputs.base if decision.inputs and kept else ""
    return replace(found, packing=project.packing.keeping(kept), base=base)


@contextmanager
def open_publisher(project: Project) -> Iterator[Publisher]:
    """Open what publishes a project's images, and signs them where versions.yaml names a signer."""
    registry = open_registries(project.config.registry, project.file.parent, project.cache_dir).registry
    with closing(registry), open_image_signer(project.config) as signer:
        uploader = Uploader(registry.transport)
        attester = Attester(AttachmentWriter(registry, uploader), signer) if signer else None
        yield Publisher(
            PublishTools(
                registry=registry, uploader=uploader, journal=project.journal, attester=attester,
                scratch=project.work_dir, run_id=make_run_id(),
            )
        )  # fmt: skip


def _why_too_weak(project: Project, decision: Decision, digest: str) -> str:
    """Say why a boot test does not prove what versions.yaml wants to be proved; empty where it does."""
    wanted = project.config.publish.require_boot
    boot = project.journal.boots.get(decision.cell.id)
    if wanted == "any" or (boot and boot.passed and boot.digest == digest and is_strong_enough(boot.strength, wanted)):
        return ""
    found = f"a boot test in mode {boot.mode}, signed by {boot.signed_by}," if boot else "no boot test"
    return f"publish.require_boot wants {wanted}, and {found} is on record of this image"


def _why_unproven(project: Project, decision: Decision, digest: str) -> str:
    """Say why nothing can be attested of an image: its proof is not on record here; empty where it is."""
    evidence = project.journal.cells.get(decision.cell.id)
    if evidence is None or evidence.key != decision.key or evidence.digest != digest or not evidence.modules:
        return (
            "it is built, but what it was proven by is not on record here, so nothing can be attested: run 'nox -s "
            "build -- --force' with the same selection"
        )
    return ""


def read_facts(project: Project, decision: Decision, digest: str, names: ImageNames) -> CellFacts:
    """Return what is attested of a cell, from its evidence, versions.yaml and the lock."""
    boot = project.journal.boots.get(decision.cell.id)
    return describe_facts(
        project, project.journal.cells[decision.cell.id], source=decision.cell.source,
        compile_kernel=decision.compile_kernel, boot=boot if boot and boot.passed and boot.digest == digest else None,
        repository=names.repository, digest=digest, arch=decision.cell.kernel.arch,
    )  # fmt: skip


def describe_facts(
    project: Project,
    evidence: CellEvidence,
    *,
    source: str,
    compile_kernel: KernelVersion,
    boot: BootEvidence | None,
    repository: str,
    digest: str,
    arch: Arch,
) -> CellFacts:
    """Return what is attested of an image of a cell.

    Args:
        project: its versions.yaml and lock.
        evidence: of the image.
        source: name of the kernel source.
        compile_kernel: that its modules were compiled for, another one where they are reused.
        boot: the test that this image passed; None where it passed none.
        repository: where it is published.
        digest: of the image.
        arch: its architecture.

    Raises:
        UsageError: versions.yaml has no such driver.
        LockFileError: the lock does not have what the image was made of.
    """
    driver = next((item for item in project.config.drivers if item.name == evidence.driver), None)
    if driver is None:
        raise UsageError(f"versions.yaml has no driver {evidence.driver!r}")
    opened = project.kernel_source(source)
    own = driver.own_toolkit(compile_kernel)
    toolkit = opened.toolkit_inputs(compile_kernel)
    base = (image_input("base", driver.base_image),) if driver.base_image else opened.base_inputs(arch)
    return CellFacts(
        evidence=evidence,
        boot=boot,
        repository=repository,
        digest=digest,
        driver_version=driver.version,
        arch=arch.oci,
        vendor=driver.vendor,
        description=driver.description,
        toolkit=(*toolkit, *([image_input("own-toolkit", own)] if own else [])),
        packages=() if own else opened.build_packages(compile_kernel, driver.build_packages),
        base=base,
        builder=project.config.publish.builder,
        builder_version=__version__,
        builder_image=find_builder_image(),
        recipe={"command": driver.command, "modules": " ".join(driver.modules), "containerfile": driver.containerfile},
    )
