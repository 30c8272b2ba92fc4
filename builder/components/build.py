"""Carries out a plan for component images: one after the other, none of which can stop the others."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
import traceback
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build.assemble import read_image_id
from builder.build.prove import read_packed
from builder.components.contract import check_component
from builder.components.planning import name_pulled, package_source
from builder.components.result import ComponentResult
from builder.components.self_test import test_image
from builder.components.wheels import fetch_wheels, unpack_wheels
from builder.drivers.git import read_commit
from builder.errors import CellError, Failure, FailureClass
from builder.evidence.blame import describe_error, is_understood, is_worth_another_try
from builder.evidence.compile_log import classify_compile_log
from builder.evidence.records import CellOutcome, ComponentEvidence, SelfTest, WheelRecord
from builder.host.once import Once
from builder.host.run import check_stop, run
from builder.image.contents import LayerCache
from builder.image.labels import COMPONENT_LABEL, KEY_LABEL, SOURCE_LABEL, UNTRUSTED_LABEL
from builder.kmod.finding import raise_findings
from builder.plan.decide import Action
from builder.registry.pull import open_puller
from builder.store.build import BUILD_STAGE, ImageBuild, ran_something
from builder.store.images import (
    STAGE_REPOSITORY,
    Image,
    find_image,
    read_base_layers,
    remove_images,
    tag_image,
)
from builder.store.result_folder import read_result, write_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import ExitStack

    from builder.components.decide import ComponentDecision
    from builder.components.planning import PlannedComponents
    from builder.components.source import StagedComponent
    from builder.components.wheels import Wheel
    from builder.drivers.commit import SourceCommit
    from builder.image.contents import ImageContents
    from builder.image.packed import Packing
    from builder.image.packed_layer import PackedLayer
    from builder.kernel import Arch
    from builder.plan.project import Project
    from builder.registry.pull import Puller
    from builder.sources.provider import PackageImages

# Names that a Containerfile of a component uses; docs/components.md explains them to its authors.
RESULT_STAGE, WHEELS, LICENSES = "result", "wheels", "licenses"
_BUILD_STAGES = re.compile(rf"(?im)^[ \t]*FROM[ \t][^\n]*[ \t]AS[ \t]+({BUILD_STAGE})[ \t\r]*$")
# What a Containerfile asks for and is not there is its author's fault; a store that fails is not.
_AUTHORS = re.compile(
    r"no such file or directory|no items matching|no stage or image found|unknown instruction|could not find"
    r"|dockerfile parse error|was not found in the provided dockerfile|requires at least",
    re.IGNORECASE,
)
# How buildah words a step that copies and cannot: no command of the stage was even started.
_COPIES = re.compile(r'(?m)^Error: (building at STEP "(?:COPY|ADD) .*)$')
# What the log's reader says of these is about kernels and their toolkits.
_LACKS = frozenset({"missing-header", "missing-tool"})
_NAME_PACKAGE = "name the package that has it in the component's 'build_packages', or take a 'build_image' with it"
_RETRY_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentWorkshop:
    """What a run builds component images with; to be used by one thread."""

    project: Project
    staged: Mapping[str, StagedComponent]
    run_id: str
    open_packages: Callable[[], PackageImages]
    open_pulls: Callable[[], Puller]
    say: Callable[[str], None]
    layers: LayerCache = field(default_factory=LayerCache)
    once: Once = field(default_factory=Once)

    def log_file(self, decision: ComponentDecision) -> Path:
        return self.project.work_dir / "components" / decision.item.id / "build.log"

    def base(self, decision: ComponentDecision) -> str:
        """Return the name in the store of an image's base, which is there when this returns."""
        said, arch = decision.item.declaration, decision.item.arch
        return self._image(said.base_image, said.packages, arch)

    def build_image(self, decision: ComponentDecision) -> str:
        said = decision.item.declaration
        if not said.build_image and not said.build_packages:
            return self.base(decision)
        return self._image(said.build_image, said.build_packages, self.project.build_arch)

    def _image(self, pinned: str | None, packages: Sequence[str], arch: Arch) -> str:
        if pinned:
            return self.open_pulls().ensure(pinned, name_pulled(pinned, arch), arch)
        return self.open_packages().ensure_packages(arch, packages)

    def packing(self, decision: ComponentDecision) -> Packing:
        """Return how an image is packed: layers of a base that is in a registry stay as they are there."""
        plain = self.project.packing
        if not decision.item.declaration.base_image:
            return plain
        name = self.base(decision)
        return plain.keeping(self.once.get(("layers", name), lambda: read_base_layers(name)))


def open_component_workshop(
    project: Project, planned: PlannedComponents, run_id: str, say: Callable[[str], None], held: ExitStack
) -> ComponentWorkshop:
    """Copy the sources and return what builds them; what it opens is closed with ``held``.

    The caller holds the project and the store.
    """
    once = Once()

    def open_packages() -> PackageImages:
        opened = package_source(project).open_packages(project.workplace)
        held.callback(opened.close)
        return opened

    def open_pulls() -> Puller:
        place = project.workplace
        puller = open_puller(place.registry, place.root, cache_dir=place.cache_dir, work_dir=place.work_dir)
        held.callback(puller.close)
        return puller

    folder = project.work_dir / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    # Of an image that is only proven, the Python packages are asked for: they are part of what is attested.
    wanted = {decision.item.declaration.name for decision in planned.plan.work if decision.action is not Action.TAG}
    return ComponentWorkshop(
        project=project,
        staged={name: planned.sources[name].stage(folder) for name in sorted(wanted)},
        run_id=run_id,
        open_packages=lambda: once.get("packages", open_packages),
        open_pulls=lambda: once.get("pulls", open_pulls),
        say=say,
    )


def build_components(planned: PlannedComponents, workshop: ComponentWorkshop) -> dict[str, ComponentResult]:
    """Carry out a plan and return the results of its work by id; each is in the journal as soon as it is done."""
    done: dict[str, ComponentResult] = {}
    work = planned.plan.work
    try:
        for number, decision in enumerate(work, start=1):
            check_stop()
            result = _finish(decision, workshop)
            done[decision.item.id] = result
            tail = f"{result.failure.failure_class}: {result.failure.detail}" if result.failure else ""
            told = tail or f"{result.duration_s:.1f} s"
            workshop.say(f"[{number}/{len(work)}] {result.status:<7} {decision.item.id}  {told}")
    finally:
        remove_images(_passing_name(decision, workshop) for decision in work if decision.action is Action.BUILD)
    return done


def _passing_name(decision: ComponentDecision, workshop: ComponentWorkshop) -> str:
    return f"{STAGE_REPOSITORY}:{decision.key}-{workshop.run_id}-unproven"


_STATUS = {Action.BUILD: "built", Action.TAG: "tagged", Action.PROVE: "proven"}


def _finish(decision: ComponentDecision, workshop: ComponentWorkshop) -> ComponentResult:
    started = time.monotonic()
    evidence = _try(decision, workshop)
    for attempt in range(workshop.project.config.build.retries):
        if evidence.failure is None or not is_worth_another_try(evidence.failure):
            break
        workshop.say(f"{decision.item.id}: trying again after {evidence.failure.code}: {evidence.failure.detail}")
        time.sleep(_RETRY_PAUSE_S * (attempt + 1))
        evidence = _try(decision, workshop)
    workshop.project.journal.record_component(evidence)
    return ComponentResult(
        decision=decision,
        status="failed" if evidence.failure else _STATUS[decision.action],
        digest="" if evidence.failure else evidence.digest,
        duration_s=time.monotonic() - started,
        failure=evidence.failure,
        evidence=evidence,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """An image that is proven, and what it was made of."""

    image: Image
    digest: str
    size: int
    base_layers: Mapping[str, PackedLayer]
    self_test: SelfTest | None
    wheels: tuple[WheelRecord, ...]
    derived: bool = False


def _try(decision: ComponentDecision, workshop: ComponentWorkshop) -> ComponentEvidence:
    log_file = workshop.log_file(decision)
    timings: dict[str, float] = {}
    failure: Failure | None = None
    made: _Made | None = None
    commits: tuple[SourceCommit, ...] = ()
    started = _now()
    known = workshop.project.journal.components.get(decision.item.id)
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        if decision.action is Action.TAG and known is not None:
            _name_image(find_image(_key_image(decision)), decision)
            return replace(known, run=workshop.run_id, image=decision.image)
        if decision.action is Action.BUILD:
            log_file.write_bytes(b"")
            commits = _read_commits(decision, workshop)
            made = _make(decision, workshop, log_file, timings)
        else:
            made = _derive(decision, workshop, log_file, timings)
    except CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - one image never stops the others
        failure = _describe(error, log_file, stage=next(reversed(timings), ""))
    return ComponentEvidence(
        component=decision.item.id,
        arch=decision.item.arch,
        key=decision.key,
        outcome=CellOutcome.FAILED if made is None else CellOutcome.BUILT,
        inputs=asdict(decision.inputs) if decision.inputs else {},
        run=workshop.run_id,
        started=started,
        finished=_now(),
        timings=timings,
        image=decision.image,
        digest=made.digest if made else "",
        stored=made.image.digest if made else "",
        size=made.size if made else 0,
        base_layers=made.base_layers if made else {},
        wheels=made.wheels if made else (),
        self_test=made.self_test if made else None,
        commits=commits,
        failure=failure,
        log=str(log_file.relative_to(workshop.project.work_dir)),
        derived=made.derived if made else False,
    )


def _describe(error: Exception, log_file: Path, *, stage: str) -> Failure:
    if not is_understood(error):
        with contextlib.suppress(OSError), log_file.open("a") as log:
            traceback.print_exception(error, file=log)
    return describe_error(error, stage=stage)


def _make(decision: ComponentDecision, workshop: ComponentWorkshop, log_file: Path, timings: dict[str, float]) -> _Made:
    """Fetch, compile in the jail, put together by copying, prove, start; only then does the image get its names."""
    item, project = decision.item, workshop.project
    staged = workshop.staged[item.declaration.name]
    labels = component_labels(decision, untrusted=project.untrusted)
    unproven = _passing_name(decision, workshop)
    with tempfile.TemporaryDirectory(dir=project.work_dir, prefix="cell-") as scratch:
        with _stage("wheels", timings):
            wheels = _fetch(decision, workshop)
            unpack_wheels(wheels, tree := Path(scratch, WHEELS))
        with _stage("base", timings):
            base = workshop.base(decision)
            built_in = workshop.build_image(decision)
        build = ImageBuild(
            context=staged.context,
            containerfile=staged.containerfile,
            arguments={
                **item.declaration.build_args, "BASE_IMAGE": base, "BUILD_IMAGE": built_in, "TARGETARCH": item.arch.oci,
            },
            log_file=log_file,
            jail=project.jail,
            timeout_s=project.config.build.timeout_minutes * 60.0,
        )  # fmt: skip
        contents = {WHEELS: tree, LICENSES: staged.licenses}
        if _has_build_stage(staged.containerfile.read_text(errors="replace")):
            with _stage("compile", timings):
                contents[RESULT_STAGE] = _compile(build, contents, Path(scratch, RESULT_STAGE))
        with _stage("assemble", timings):
            id_file = Path(scratch, "told", "image-id")
            id_file.parent.mkdir()
            _assemble(build, contents, decision, labels=labels, name=unproven, id_file=id_file)
            image_id = read_image_id(id_file)
    proven = _prove(decision, workshop, image_id, unproven, labels=labels, log_file=log_file, timings=timings)
    _name_image(proven.image, decision)
    return replace(proven, wheels=tuple(wheel.record for wheel in wheels))


def _has_build_stage(containerfile: str) -> bool:
    """Tell whether there is a stage in which commands are run.

    Raises:
        CellError: there is one, and buildah, which heeds capitals, would not find it.
    """
    found = _BUILD_STAGES.findall(re.sub(r"\\[ \t]*\r?\n", " ", containerfile))
    if others := [name for name in found if name != BUILD_STAGE]:
        sentence = f"its Containerfile calls a stage {others[0]!r}: write {BUILD_STAGE!r}, in small letters"
        raise CellError(FailureClass.COMPILE, "containerfile", sentence)
    return bool(found)


def _fetch(decision: ComponentDecision, workshop: ComponentWorkshop) -> list[Wheel]:
    said = decision.item.declaration
    if said.wheels is None:
        return []
    requirements = workshop.staged[said.name].source.requirements
    cache = workshop.project.cache_dir / "wheels"
    return fetch_wheels(requirements, python=said.wheels.python, arch=decision.item.arch, cache=cache)


def _compile(build: ImageBuild, contents: Mapping[str, Path], target: Path) -> Path:
    """Run the stage ``build`` in a room of its own; returns a folder with what it left, read as data."""
    with build.jail.open_room() as room:
        outcome = run(build.compile(room, contents=contents))
        if not outcome:
            room.raise_limit()
            if copied := _COPIES.search(outcome.stderr):
                sentence = f"its Containerfile cannot be followed: {copied[1]}"
                raise CellError(FailureClass.COMPILE, "containerfile", sentence)
            ended = outcome.explain()
            failure = classify_compile_log(outcome.stderr, exit_explanation=ended)
            if failure.code in _LACKS:
                failure = replace(failure, hint=_NAME_PACKAGE)
            raise CellError.of(failure, f"compile {ended}")
        result = read_result(room.results)
    write_result(result, target)
    return target


def _assemble(
    build: ImageBuild,
    contents: Mapping[str, Path],
    decision: ComponentDecision,
    *,
    labels: Mapping[str, str],
    name: str,
    id_file: Path,
) -> None:
    item = decision.item
    outcome = run(
        build.put_together(
            contents,
            names=(name,),
            arch=item.arch,
            labels=labels,
            id_file=id_file,
            target=item.declaration.target or "",
        )
    )
    if outcome:
        return
    if ran_something(outcome.stderr):
        raise CellError(
            FailureClass.COMPILE,
            "last-stage-runs",
            "the stage of its Containerfile that is the image runs a command: images are put together by copying alone",
            hint=f"let a stage named '{BUILD_STAGE}' do it, and copy from '{RESULT_STAGE}' what it leaves in /out",
        )
    lines = [line for line in outcome.stderr.strip().splitlines() if line.strip()]
    detail = lines[-1] if lines else outcome.explain()
    if _AUTHORS.search(detail):
        raise CellError(FailureClass.COMPILE, "containerfile", f"its Containerfile cannot be followed: {detail}")
    raise CellError(FailureClass.INFRASTRUCTURE, "assemble", f"buildah {outcome.explain()}", detail=detail)


def _prove(
    decision: ComponentDecision,
    workshop: ComponentWorkshop,
    image_id: str,
    name: str,
    *,
    labels: Mapping[str, str],
    log_file: Path,
    timings: dict[str, float],
) -> _Made:
    item = decision.item
    command = item.declaration.self_test
    with _stage("verify", timings):
        packing = workshop.packing(decision)
        contents, stored = read_packed(image_id, workshop.layers, packing)
        _judge(contents, item.arch, labels, command, log_file)
    with _stage("self-test", timings):
        tested = test_image(name, contents, command, arch=item.arch, jail=workshop.project.jail, log_file=log_file)
    return _Made(
        image=Image(id=image_id, digest=stored),
        digest=contents.digest,
        size=sum(file.size for file in contents.files.values() if file.is_file),
        base_layers=packing.kept,
        self_test=tested,
        wheels=(),
    )


def _judge(
    contents: ImageContents, arch: Arch, labels: Mapping[str, str], command: Sequence[str], log_file: Path
) -> None:
    findings = check_component(contents, arch, labels=labels, self_test=command)
    if findings:
        with log_file.open("a") as log:
            log.writelines(f"{finding}\n" for finding in findings)
    raise_findings(findings)


def _derive(
    decision: ComponentDecision, workshop: ComponentWorkshop, log_file: Path, timings: dict[str, float]
) -> _Made:
    """Prove an image whose evidence is not on record; one that does not stand the proof is built by the next run."""
    name = _key_image(decision)
    image = find_image(name)
    labels = component_labels(decision, untrusted=workshop.project.untrusted)
    with _stage("wheels", timings):
        wheels = _fetch(decision, workshop)
    try:
        made = _prove(decision, workshop, image.id, name, labels=labels, log_file=log_file, timings=timings)
    except CellError as error:
        if error.failure.failure_class is not FailureClass.INFRASTRUCTURE:
            remove_images([name])
        raise
    _name_image(made.image, decision)
    return replace(made, derived=True, wheels=tuple(wheel.record for wheel in wheels))


def _key_image(decision: ComponentDecision) -> str:
    if decision.inputs is None:
        raise ValueError(decision)
    return decision.inputs.key_image


def component_labels(decision: ComponentDecision, *, untrusted: bool) -> dict[str, str]:
    """Return all labels that an image is given: certification's, the component's own, and ours."""
    said = decision.item.declaration
    if decision.inputs is None:
        raise ValueError(decision)
    return {
        **said.labels,
        "name": said.name,
        "vendor": said.vendor,
        "version": said.version,
        "release": said.version,
        "summary": said.summary,
        "description": said.description,
        "maintainer": said.maintainer,
        COMPONENT_LABEL: decision.item.id,
        KEY_LABEL: decision.key,
        SOURCE_LABEL: decision.inputs.source,
        **({UNTRUSTED_LABEL: "yes"} if untrusted else {}),
    }


def _name_image(image: Image, decision: ComponentDecision) -> None:
    """Give an image its names, by its id, and look whether they stand for the very image that was proven."""
    names = (_key_image(decision), decision.image)
    tag_image(image.id, *names)
    for name in names:
        if (named := find_image(name)) != image:
            raise CellError(
                FailureClass.INFRASTRUCTURE,
                "image-replaced",
                f"{name} stands for {named.digest}, and the image that was proven is {image.digest}: another run, or "
                "somebody by hand, gave its name away at the same time",
            )


def _read_commits(decision: ComponentDecision, workshop: ComponentWorkshop) -> tuple[SourceCommit, ...]:
    said = decision.item.declaration
    source = workshop.staged[said.name].source
    commit = read_commit("source", said.source_dir, source.tree.files)
    return (commit,) if commit else ()


@contextlib.contextmanager
def _stage(name: str, timings: dict[str, float]) -> Iterator[None]:
    check_stop()
    started = time.monotonic()
    try:
        yield
    finally:
        timings[name] = round(time.monotonic() - started, 3)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
