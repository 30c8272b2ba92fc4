"""Decides, for each cell, whether to build it, and says why. Pure: everything it looks at is an argument.

A cell's key is the hash of its inputs. An image that carries the key in its name proves that the cell is done, on
whatever machine and by whatever run it was made; evidence of the last build says what changed since. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.errors import UsageError
from builder.evidence.blame import would_repeat
from builder.evidence.records import CellEvidence, CellOutcome

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from builder.evidence.records import BootEvidence, ImageEvidence
    from builder.kernel import KernelVersion
    from builder.plan.matrix import Cell, LeftOut

CELL_REPOSITORY = "localhost/kmodsmith/cell"
KEY_FORMAT = "3"
UNTRUSTED = "untrusted"
# Part of every boot key: a change in what is tested makes old passes worth nothing.
BOOT_FORMAT = "3"
# Finding a toolkit in the store takes no time worth recording; anything above this was making one.
_COMPILE_STAGE = "compile"
_MOST_PACKAGES = 4


class Action(StrEnum):
    BUILD = "build"
    ASSEMBLE = "assemble"
    BOOT = "boot"
    TAG = "tag"
    PROVE = "prove"
    FAIL = "fail"
    SKIP = "skip"
    EXCLUDE = "exclude"
    REFUSE = "refuse"


WANTING = frozenset({Action.BUILD, Action.ASSEMBLE, Action.FAIL})
"""What is decided of cells whose image is wanted and is not here."""


class Reason(StrEnum):
    """Why an action was chosen; stable codes, the sentence beside them is for people."""

    NEVER_BUILT = "never-built"
    SOURCE_CHANGED = "source-changed"
    CONTAINERFILE_CHANGED = "containerfile-changed"
    RECIPE_CHANGED = "recipe-changed"
    TOOLKIT_CHANGED = "toolkit-changed"
    BASE_CHANGED = "base-changed"
    SIGNER_CHANGED = "signer-changed"
    PACKAGES_CHANGED = "packages-changed"
    WHEELS_CHANGED = "wheels-changed"
    REUSE_CHANGED = "reuse-changed"
    FORMAT_CHANGED = "format-changed"
    FAILED_BEFORE = "failed-before"
    IMAGE_GONE = "image-gone"
    FORCED = "forced"
    NAME_MISSING = "name-missing"
    NOT_ON_RECORD = "not-on-record"
    NOT_BOOTED = "not-booted"
    BOOT_CHANGED = "boot-changed"
    BOOT_FAILED_BEFORE = "boot-failed-before"
    BOOT_ALWAYS = "boot-always"
    UP_TO_DATE = "up-to-date"
    PUBLISHED = "published"
    REGISTRY_UNKNOWN = "registry-unknown"
    EXCLUDED = "excluded"
    KNOWN_BAD = "known-bad"
    KERNEL_INCOMPLETE = "kernel-incomplete"
    RELEASE_KIND = "release-kind"
    NO_TOOLKIT = "no-toolkit"
    TOOLKIT_UNKNOWN = "toolkit-unknown"
    OTHER_MACHINE = "other-machine"
    NO_BASE_IMAGE = "no-base-image"
    NO_BUILD_PACKAGES = "no-build-packages"
    NO_BOOTABLE_KERNEL = "no-bootable-kernel"
    NOT_BUILT = "not-built"
    DRIVER_EXCLUDES = "driver-excludes"


_FOR_GOOD = frozenset({Reason.EXCLUDED, Reason.DRIVER_EXCLUDES})


@dataclass(frozen=True, slots=True, kw_only=True)
class CellInputs:
    """Everything that goes into a cell; each field is a digest, an identity or a version."""

    source: str
    containerfile: str
    recipe: str
    toolkit: str
    base: str
    driver: str
    kernel: str
    compress: str = "none"
    compiled_for: str = ""
    """The kernel that the modules are compiled for, where versions.yaml wants another one's; else empty."""
    signers: str = ""
    """Fingerprints of the certificates that sign, with their digest algorithms; empty for unsigned modules.

    ``UNTRUSTED`` where versions.yaml is not trusted: such a cell is never taken for one that is.
    """
    packages: str = ""
    """What is there beside the toolkit while modules are compiled: ``name=version@sha256`` of each package."""
    format: str = KEY_FORMAT

    @property
    def key(self) -> str:
        return content_id(_without_nothing(self.by_name()))

    @property
    def compile_key(self) -> str:
        """The key of the compile alone: signers, base image, compression and folder do not matter to it."""
        return compile_key_of(self.by_name())

    def by_name(self) -> dict[str, str]:
        """Return all inputs by their names; ``asdict``, which copies deeply, took half of the time of a large plan."""
        return {name: getattr(self, name) for name in _INPUTS}


_INPUTS = tuple(item.name for item in fields(CellInputs))


# What comes after the compile, and its kernel, which is another one's where modules are reused.
_NOT_OF_COMPILE = frozenset({"signers", "base", "compress", "compiled_for", "kernel"})


def _without_nothing(inputs: Mapping[str, str]) -> dict[str, str]:
    """Return inputs without those that came later and are empty: a driver that has none keeps its keys."""
    return {name: value for name, value in inputs.items() if value or name != "packages"}


def compile_key_of(inputs: Mapping[str, str]) -> str:
    """Return the compile's own key by what evidence says that went into a cell."""
    compiled = {name: value for name, value in _without_nothing(inputs).items() if name not in _NOT_OF_COMPILE}
    return content_id(compiled, inputs.get("compiled_for") or inputs.get("kernel", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A cell with what is known of it before deciding. ``refusal`` says why it cannot be built here.

    ``boot_key`` names the boot test that its image has to pass; empty where none is wanted. ``boot_wish`` is its mode;
    ``boot_opt_out`` says why its driver wants none.
    """

    cell: Cell
    image: str
    inputs: CellInputs | None
    refusal: tuple[Reason, str] | None = None
    reused: KernelVersion | None = None
    boot_key: str = ""
    boot_wish: str = "auto"
    boot_opt_out: str = ""
    boot_inputs: Mapping[str, str] = field(default_factory=dict)
    """What the boot test is made of: digests, by the words in which a change of them is told."""
    known: str = ""
    """What versions.yaml says of the refusal, where it is a known problem: then it is no news."""
    open_question: str = ""
    """What only running the driver's dkms.conf for the kernel tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to a cell, why, and under which key. ``image`` is the name that people use.

    ``reused`` is the kernel that its modules are compiled for, where versions.yaml wants another one's than its own.
    """

    cell: Cell
    action: Action
    reason: Reason
    explanation: str
    image: str = ""
    key: str = ""
    inputs: CellInputs | None = None
    digest: str = ""
    """Of its image in registries, where the image is there and what it was proven by is on record."""
    reused: KernelVersion | None = None
    boot_key: str = ""
    """The boot test that comes before the image gets its name; empty where there is none, or it was passed."""
    boot_inputs: Mapping[str, str] = field(default_factory=dict)
    """What the boot test is made of, see ``Candidate``."""
    boot_opt_out: str = ""
    """Why the driver wants no boot test where one would be made."""
    failed: CellEvidence | None = None
    """The compile of the same inputs that failed, where it is not to be made again."""

    @property
    def key_image(self) -> str:
        return f"{CELL_REPOSITORY}:{self.key}"

    @property
    def compile_kernel(self) -> KernelVersion:
        """The kernel that its modules are compiled for."""
        return self.reused or self.cell.kernel

    @property
    def is_left_out_for_good(self) -> bool:
        """Whether nobody will ever want an image of it: ``exclude`` or the driver says so.

        All else ends some day, also what versions.yaml acknowledges (``known_bad``, ``known_problems``).
        """
        return self.action is Action.EXCLUDE and self.reason in _FOR_GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What a cell's registry says: the digest of an image of the same inputs, or why that is not known."""

    digest: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The decided work, in order."""

    decisions: tuple[Decision, ...]

    def of(self, *actions: Action) -> tuple[Decision, ...]:
        return tuple(decision for decision in self.decisions if decision.action in actions)

    @property
    def work(self) -> tuple[Decision, ...]:
        return self.of(Action.BUILD, Action.ASSEMBLE, Action.BOOT, Action.TAG, Action.PROVE)


def make_plan(
    candidates: Iterable[Candidate],
    left_out: Iterable[LeftOut] = (),
    *,
    evidence: Mapping[str, CellEvidence],
    images: Mapping[str, str],
    digests: Mapping[str, str] = MappingProxyType({}),
    compiled: Container[str] = (),
    boots: Mapping[str, BootEvidence] = MappingProxyType({}),
    elsewhere: Mapping[str, Elsewhere] = MappingProxyType({}),
    force: bool = False,
    retry_failed: bool = False,
    boot_always: bool = False,
) -> Plan:
    """Decide about every candidate.

    Args:
        candidates: the cells of the matrix with their inputs.
        left_out: cells that versions.yaml leaves out, kept in the plan with their reason.
        evidence: the latest evidence by cell id.
        images: image ids by full name, as the container store has them now.
        digests: of these images, too; where they are not given, evidence is believed to be about the image.
        compiled: keys of compiles whose results are kept.
        boots: the latest boot test by cell id.
        elsewhere: what registries say of cells that are not built here, by cell id.
        force: build even what is up to date.
        retry_failed: compile also what failed to compile before, from the same inputs.
        boot_always: boot also what has passed.
    """
    decisions = []
    failed = {} if force or retry_failed else _find_lasting_failures(evidence.values(), compiled)
    for candidate in candidates:
        previous = evidence.get(candidate.cell.id)
        decision = _decide(candidate, previous, images, compiled, force=force)
        decision = _demand_record(decision, previous, digests.get(decision.key_image, ""))
        decision = _remember_failure(decision, failed)
        if (said := elsewhere.get(candidate.cell.id)) and decision.action in WANTING:
            decisions.append(_decide_elsewhere(decision, said))
            continue
        booted = boots.get(candidate.cell.id)
        if booted and decision.digest and booted.digest != decision.digest:
            booted = None  # another image of the same inputs passed it, or did not
        decisions.append(_decide_boot(decision, candidate, booted, always=boot_always))
    decisions += [
        Decision(cell=entry.cell, action=Action.EXCLUDE, reason=Reason(entry.code), explanation=entry.reason)
        for entry in left_out
    ]
    _refuse_shared_names(decisions)
    return Plan(decisions=tuple(decisions))


def _decide(
    candidate: Candidate,
    previous: CellEvidence | None,
    images: Mapping[str, str],
    compiled: Container[str],
    *,
    force: bool,
) -> Decision:
    if candidate.refusal is not None or candidate.inputs is None:
        reason, explanation = candidate.refusal or (Reason.NO_TOOLKIT, "its inputs are not known")
        action = Action.EXCLUDE if reason is Reason.DRIVER_EXCLUDES or candidate.known else Action.REFUSE
        explanation = f"{explanation}; {candidate.known}" if candidate.known else explanation
        return Decision(cell=candidate.cell, action=action, reason=reason, explanation=explanation)
    key = candidate.inputs.key
    if not force and previous and previous.key == key and _is_excluded(previous):
        explanation = f"{previous.failure.detail if previous.failure else ''} (of {previous.finished})"
        return Decision(
            cell=candidate.cell, action=Action.EXCLUDE, reason=Reason.DRIVER_EXCLUDES, explanation=explanation
        )
    made = images.get(f"{CELL_REPOSITORY}:{key}")
    if force:
        action, reason, explanation = Action.BUILD, Reason.FORCED, "asked for with --force"
    elif made is None:
        action = Action.BUILD
        reason, explanation = _why_build(candidate.inputs, key, previous)
        if candidate.open_question:
            explanation = f"{explanation}; {candidate.open_question}"
        if candidate.inputs.compile_key in compiled:
            action, explanation = Action.ASSEMBLE, f"{explanation}; compiled already, so nothing is compiled"
    elif images.get(candidate.image) != made:
        action, reason = Action.TAG, Reason.NAME_MISSING
        explanation = f"built, but {candidate.image} is not the name of it"
    else:
        action, reason, explanation = Action.SKIP, Reason.UP_TO_DATE, "its image is there and nothing changed"
    if candidate.inputs.compiled_for:
        explanation = f"{explanation}; its modules are those compiled for {candidate.inputs.compiled_for}"
    return Decision(
        cell=candidate.cell,
        action=action,
        reason=reason,
        explanation=explanation,
        image=candidate.image,
        key=key,
        inputs=candidate.inputs,
        reused=candidate.reused,
    )


def _is_excluded(previous: CellEvidence) -> bool:
    """Tell whether the driver's own dkms.conf, run for this kernel, did not want it."""
    return previous.failure is not None and previous.failure.code == Reason.DRIVER_EXCLUDES


def _demand_record(decision: Decision, previous: CellEvidence | None, digest: str) -> Decision:
    """Say which digest an image has, by what is on record of it; ``digest`` is that in the store.

    Have an image proven again that is there without its evidence: what is not on record is not green.

    A run that was killed between naming the image and writing that down leaves one, and so does a lost work folder.
    """
    if decision.action not in {Action.SKIP, Action.TAG}:
        return decision
    if previous and previous.key == decision.key and previous.modules and digest in {"", previous.stored}:
        return replace(decision, digest=previous.digest)
    sentence = "its image is there, but what it was proven by is not on record here"
    return replace(decision, action=Action.PROVE, reason=Reason.NOT_ON_RECORD, explanation=sentence)


def _find_lasting_failures(evidence: Iterable[CellEvidence], compiled: Container[str]) -> dict[str, CellEvidence]:
    """Return the latest compiles that failed and would fail again, by their keys.

    Cells share compiles, so one may have made what another failed at: then its result is kept.
    """
    found: dict[str, CellEvidence] = {}
    for item in sorted(evidence, key=lambda item: item.finished):
        if item.failure and next(reversed(list(item.timings)), "") == _COMPILE_STAGE and would_repeat(item.failure):
            found[compile_key_of(item.inputs)] = item
    return {key: item for key, item in found.items() if key not in compiled}


def _remember_failure(decision: Decision, failed: Mapping[str, CellEvidence]) -> Decision:
    """Have nothing compiled again that can only fail again."""
    if not failed or decision.action is not Action.BUILD or decision.inputs is None:
        return decision
    before = failed.get(decision.inputs.compile_key)
    if before is None or before.failure is None:
        return decision
    whose = "its compile" if before.cell == decision.cell.id else f"the compile that it shares with {before.cell}"
    sentence = (
        f"{whose} failed on {before.finished} ({before.failure.code}), and nothing that goes into it changed since; "
        "--retry-failed compiles it again"
    )
    return replace(decision, action=Action.FAIL, reason=Reason.FAILED_BEFORE, explanation=sentence, failed=before)


def _decide_elsewhere(decision: Decision, said: Elsewhere) -> Decision:
    """Leave alone what another machine published, and what nobody can say anything about (design, rule 4)."""
    if said.digest:
        sentence = f"its registry has it, made from the same inputs: {said.digest}"
        return replace(decision, action=Action.SKIP, reason=Reason.PUBLISHED, explanation=sentence)
    if decision.action is Action.FAIL:
        return decision
    sentence = f"it is not built here, and whether its registry has it is not known: {said.problem}"
    return replace(decision, action=Action.REFUSE, reason=Reason.REGISTRY_UNKNOWN, explanation=sentence)


def _decide_boot(decision: Decision, candidate: Candidate, previous: BootEvidence | None, *, always: bool) -> Decision:
    """Add a boot test to a decision, where its image has one to pass."""
    boot_key = candidate.boot_key
    if candidate.boot_opt_out:
        explanation = f"{decision.explanation}; not booted: {candidate.boot_opt_out}"
        return replace(decision, explanation=explanation, boot_opt_out=candidate.boot_opt_out)
    if not boot_key:
        return decision
    if decision.action in {Action.BUILD, Action.ASSEMBLE}:
        return replace(decision, boot_key=boot_key, boot_inputs=candidate.boot_inputs)
    if decision.action not in {Action.SKIP, Action.TAG, Action.PROVE}:
        return decision
    if previous is None:
        reason, explanation = Reason.NOT_BOOTED, "built, but never loaded on its kernel"
    elif previous.key != boot_key:
        reason = Reason.BOOT_CHANGED
        explanation = f"{_what_changed(candidate.boot_inputs, previous.inputs)} changed since it was booted"
    elif not previous.satisfies(candidate.boot_wish):
        reason, explanation = Reason.BOOT_CHANGED, "it was booted, but not with Secure Boot"
    elif not previous.passed:
        reason, explanation = Reason.BOOT_FAILED_BEFORE, f"its last boot test failed ({previous.code})"
    elif always:
        reason, explanation = Reason.BOOT_ALWAYS, "it passed before, and is to be booted all the same"
    else:
        return decision
    return replace(
        decision, action=Action.BOOT, reason=reason, explanation=explanation, boot_key=boot_key,
        boot_inputs=candidate.boot_inputs,
    )  # fmt: skip


def _what_changed(now: Mapping[str, str], before: Mapping[str, str]) -> str:
    changed = [name for name in {**before, **now} if before and before.get(name) != now.get(name)]
    return " and ".join(changed) or "its image, its kernel or its test"


_CHANGES = (
    ("source", Reason.SOURCE_CHANGED, "the driver's source changed"),
    ("containerfile", Reason.CONTAINERFILE_CHANGED, "the Containerfile changed"),
    ("recipe", Reason.RECIPE_CHANGED, "the driver's entry in versions.yaml changed"),
    ("toolkit", Reason.TOOLKIT_CHANGED, "the kernel's toolkit changed"),
    ("base", Reason.BASE_CHANGED, "the base image changed"),
    ("compress", Reason.RECIPE_CHANGED, "the compression of its modules changed"),
    ("compiled_for", Reason.REUSE_CHANGED, "which kernel its modules are compiled for changed"),
    ("signers", Reason.SIGNER_CHANGED, "the signers changed"),
)


def _why_build(inputs: CellInputs, key: str, previous: CellEvidence | None) -> tuple[Reason, str]:
    packages = _describe_packages(previous.inputs.get("packages", ""), inputs.packages) if previous else ""
    more = [(Reason.PACKAGES_CHANGED, packages)] if packages else []
    return explain_build(inputs.by_name(), key, previous, _CHANGES, more=more)


Change = tuple[str, Reason, str]
"""An input by its name, and what it is called when it changed."""


def explain_build(
    now: Mapping[str, str],
    key: str,
    previous: ImageEvidence | None,
    changes: Iterable[Change],
    *,
    more: Sequence[tuple[Reason, str]] = (),
) -> tuple[Reason, str]:
    """Say why an image that is not in the store is to be built.

    Args:
        now: its inputs.
        key: made of them.
        previous: what is on record of the last build.
        changes: in the order of what a vendor would call the cause when several inputs changed together.
        more: further causes that are known to be there.
    """
    if previous is None:
        return Reason.NEVER_BUILT, "no build of it is known here"
    changed = [(reason, text) for name, reason, text in changes if previous.inputs.get(name, "") != now[name]]
    if causes := [*changed, *more]:
        return causes[0][0], " and ".join(text for _, text in causes)
    if previous.key != key:
        return Reason.FORMAT_CHANGED, "kmodsmith itself builds such images differently now"
    if previous.outcome is CellOutcome.FAILED:
        failure = previous.failure.code if previous.failure else "no reason recorded"
        return Reason.FAILED_BEFORE, f"its last build failed ({failure})"
    return Reason.IMAGE_GONE, "it was built, but its image is no longer in the container store"


def _describe_packages(before: str, now: str) -> str:
    """Say which build packages changed; empty where none did."""
    if before == now:
        return ""
    old, new = (
        {name: rest for name, _, rest in (word.partition("=") for word in text.split())} for text in (before, now)
    )
    changes = []
    for name in sorted(old.keys() | new.keys()):
        was, is_now = old.get(name, "").partition("@")[0], new.get(name, "").partition("@")[0]
        if name not in old or name not in new:
            changes.append(f"{name} {is_now} came" if name in new else f"{name} left")
        elif old[name] != new[name]:
            changes.append(f"{name} {was} became {is_now}" if was != is_now else f"{name} {is_now} has another content")
    more = f" and {len(changes) - _MOST_PACKAGES} more" if len(changes) > _MOST_PACKAGES else ""
    return f"build packages changed: {', '.join(changes[:_MOST_PACKAGES])}{more}"


def _refuse_shared_names(decisions: Sequence[Decision]) -> None:
    seen: dict[str, str] = {}
    for decision in decisions:
        if not decision.image:
            continue
        other = seen.setdefault(decision.image, decision.cell.id)
        if other != decision.cell.id:
            raise UsageError(
                f"{other} and {decision.cell.id} would both be named {decision.image}",
                hint="give the drivers different 'image' names in versions.yaml",
            )
