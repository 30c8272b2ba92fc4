"""Makes and proves a component image: wheels, base, compile in the jail, put together by copying, proof, self-test."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build.assemble import read_image_id
from builder.build.failing import judge
from builder.build.prove import read_packed
from builder.components.contract import check_component
from builder.components.self_test import test_image
from builder.components.wheels import fetch_wheels, unpack_wheels
from builder.errors import CellError, FailureClass
from builder.evidence.compile_log import classify_compile_log
from builder.host.run import check_stop, run
from builder.image.labels import COMPONENT_LABEL, KEY_LABEL, SOURCE_LABEL, UNTRUSTED_LABEL
from builder.store.build import BUILD_STAGE, ImageBuild, find_mistake, ran_something
from builder.store.images import Image, find_image, name_image, remove_images
from builder.store.result_folder import read_result, write_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from builder.components.decide import ComponentDecision
    from builder.components.wheels import Wheel
    from builder.components.workshop import ComponentWorkshop
    from builder.evidence.records import SelfTest, WheelRecord
    from builder.image.packed_layer import PackedLayer

# Names that a Containerfile of a component uses; docs/components.md explains them to its authors.
RESULT_STAGE, WHEELS, LICENSES = "result", "wheels", "licenses"
_BUILD_STAGES = re.compile(rf"(?im)^[ \t]*FROM[ \t][^\n]*[ \t]AS[ \t]+({BUILD_STAGE})[ \t\r]*$")
# What the log's reader says of these is about kernels and their toolkits.
_LACKS = frozenset({"missing-header", "missing-tool"})
_NAME_PACKAGE = "name the package that has it in the component's 'build_packages', or take a 'build_image' with it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An image that is proven, and what it was made of."""

    image: Image
    digest: str
    size: int
    base_layers: Mapping[str, PackedLayer]
    self_test: SelfTest | None
    wheels: tuple[WheelRecord, ...]
    derived: bool = False


def make_image(
    decision: ComponentDecision, workshop: ComponentWorkshop, log_file: Path, timings: dict[str, float]
) -> Made:
    """Fetch, compile in the jail, put together by copying, prove, start; only then does the image get its names."""
    item, project = decision.item, workshop.project
    staged = workshop.staged[item.declaration.name]
    labels = component_labels(decision, untrusted=project.untrusted)
    unproven = workshop.passing_name(decision)
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
    name_image(proven.image, key_image_of(decision), decision.image)
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
            if mistake := find_mistake(outcome.stderr):
                raise CellError(FailureClass.COMPILE, "containerfile", mistake)
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
    if mistake := find_mistake(outcome.stderr):
        raise CellError(FailureClass.COMPILE, "containerfile", mistake)
    last_line = next(reversed(outcome.stderr.strip().splitlines()), "")
    raise CellError(FailureClass.INFRASTRUCTURE, "assemble", f"buildah {outcome.explain()}", detail=last_line)


def _prove(
    decision: ComponentDecision,
    workshop: ComponentWorkshop,
    image_id: str,
    name: str,
    *,
    labels: Mapping[str, str],
    log_file: Path,
    timings: dict[str, float],
) -> Made:
    item = decision.item
    command = item.declaration.self_test
    with _stage("verify", timings):
        packing = workshop.packing(decision)
        contents, stored = read_packed(image_id, workshop.layers, packing)
        judge(check_component(contents, item.arch, labels=labels, self_test=command), log_file)
    with _stage("self-test", timings):
        tested = test_image(name, contents, command, arch=item.arch, jail=workshop.project.jail, log_file=log_file)
    return Made(
        image=Image(id=image_id, digest=stored),
        digest=contents.digest,
        size=sum(file.size for file in contents.files.values() if file.is_file),
        base_layers=packing.kept,
        self_test=tested,
        wheels=(),
    )


def prove_again(
    decision: ComponentDecision, workshop: ComponentWorkshop, log_file: Path, timings: dict[str, float]
) -> Made:
    """Prove an image whose evidence is not on record; one that does not stand the proof is built by the next run."""
    name = key_image_of(decision)
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
    name_image(made.image, key_image_of(decision), decision.image)
    return replace(made, derived=True, wheels=tuple(wheel.record for wheel in wheels))


def key_image_of(decision: ComponentDecision) -> str:
    """Return the name in the container store that carries the key of what is to be made."""
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


@contextlib.contextmanager
def _stage(name: str, timings: dict[str, float]) -> Iterator[None]:
    check_stop()
    started = time.monotonic()
    try:
        yield
    finally:
        timings[name] = round(time.monotonic() - started, 3)
