"""The state of a cell: what was decided of it now, and what is on record. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import UsageError
from builder.kernel import parse_kernel_version
from builder.plan.decide import Action, Reason
from builder.publish.result import LOCAL
from builder.site.facts import CellState, CellStep, SiteCell, is_built, is_unproven

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from builder.evidence.records import BootEvidence, CellEvidence, PublishEvidence
    from builder.plan.decide import Decision
    from builder.plan.matrix import Cell

_NOT_KNOWN = frozenset({Reason.REGISTRY_UNKNOWN, Reason.TOOLKIT_UNKNOWN})
_NOT_WANTED = frozenset({Reason.EXCLUDED, Reason.DRIVER_EXCLUDES, Reason.RELEASE_KIND})
_IN_ORDER = (CellStep.PROVEN, CellStep.SIGNED, CellStep.BOOTED, CellStep.PUBLISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRecord:
    """What the journal has of a cell; ``published`` are all names that were ever given to images of it."""

    evidence: CellEvidence | None = None
    boot: BootEvidence | None = None
    published: tuple[PublishEvidence, ...] = ()


NOTHING = OnRecord()


def describe_decided(decision: Decision, record: OnRecord) -> SiteCell:
    """Return a cell of a plan."""
    steps = _find_steps(record, decision.key, waits_for_boot=_waits_for_boot(decision))
    state = _judge(decision, record, steps)
    why = decision.explanation
    evidence = record.evidence
    if state in {CellState.FAILED, CellState.UNKNOWN} and evidence and evidence.failure:
        why = evidence.failure.detail
    return _describe(
        decision.cell, record, state=state, steps=steps, reason=str(decision.reason), why=why, image=decision.image,
        key=decision.key,
    )  # fmt: skip


def describe_undecided(cell: Cell, record: OnRecord, why: str) -> SiteCell:
    """Return a cell that could not be planned: what is on record counts, and ``why`` says what is not known of it."""
    evidence = record.evidence
    steps = _find_steps(record, evidence.key if evidence else "", waits_for_boot=False)
    state = CellState.UNKNOWN
    if evidence and evidence.failure:
        state = CellState.UNKNOWN if is_unproven(evidence) else CellState.FAILED
    elif steps:
        state = CellState(steps[-1])
    image, key = (evidence.image, evidence.key) if evidence else ("", "")
    return _describe(cell, record, state=state, steps=steps, reason="not-planned", why=why, image=image, key=key)


def describe_earlier(record: OnRecord, why: str) -> SiteCell | None:
    """Return a cell that only the journal knows of; None where its kernel's name is none."""
    evidence = record.evidence
    if evidence is None:
        return None
    try:
        kernel = parse_kernel_version(evidence.kernel)
    except UsageError:
        return None
    driver, _, _ = evidence.cell.partition("/")
    version = driver.removeprefix(f"{evidence.driver}-")
    steps = _find_steps(record, evidence.key, waits_for_boot=False)
    failed = CellState.UNKNOWN if is_unproven(evidence) else CellState.FAILED
    state = failed if evidence.failure else CellState(steps[-1]) if steps else CellState.UNKNOWN
    return SiteCell(
        id=evidence.cell, driver=evidence.driver, version=version, kernel=kernel.raw, arch=kernel.arch,
        variant=kernel.variant, series=kernel.series, source="", state=state, steps=steps, reason="not-planned",
        why=why, image=evidence.image, key=evidence.key, evidence=evidence, boot=record.boot,
        published=record.published,
    )  # fmt: skip


def _describe(
    cell: Cell,
    record: OnRecord,
    *,
    state: CellState,
    steps: tuple[CellStep, ...],
    reason: str,
    why: str,
    image: str,
    key: str,
) -> SiteCell:
    return SiteCell(
        id=cell.id, driver=cell.driver, version=cell.driver_version, kernel=cell.kernel.raw, arch=cell.kernel.arch,
        variant=cell.kernel.variant, series=cell.kernel.series, source=cell.source, state=state, steps=steps,
        reason=reason, why=why, image=image, key=key, evidence=record.evidence, boot=record.boot,
        published=record.published,
    )  # fmt: skip


def _waits_for_boot(decision: Decision) -> bool:
    return decision.action is Action.BOOT and decision.reason is not Reason.BOOT_ALWAYS


def _find_steps(record: OnRecord, key: str, *, waits_for_boot: bool) -> tuple[CellStep, ...]:
    """Return what the image of a key has behind it, in order."""
    evidence, boot = record.evidence, record.boot
    found: set[CellStep] = set()
    if key and evidence and evidence.key == key and is_built(evidence):
        found.add(CellStep.PROVEN)
        if evidence.signers:
            found.add(CellStep.SIGNED)
        if boot and boot.passed and boot.digest == evidence.digest and not waits_for_boot:
            found.add(CellStep.BOOTED)
    if names_of(record.published, key):
        found.add(CellStep.PUBLISHED)
    return tuple(step for step in _IN_ORDER if step in found)


def names_of(published: Iterable[PublishEvidence], key: str) -> Sequence[PublishEvidence]:
    """Return what was published of a key."""
    return [item for item in published if key and item.key == key and not item.name.startswith(LOCAL)]


def _judge(decision: Decision, record: OnRecord, steps: tuple[CellStep, ...]) -> CellState:
    evidence = record.evidence
    match decision.action:
        case Action.EXCLUDE:
            return _judge_excluded(decision.reason)
        case Action.REFUSE:
            return CellState.UNKNOWN if decision.reason in _NOT_KNOWN else CellState.REFUSED
        case Action.FAIL:
            return CellState.FAILED
    if evidence and evidence.failure and evidence.key == decision.key:
        return CellState.UNKNOWN if is_unproven(evidence) else CellState.FAILED
    if decision.action is Action.PROVE:
        return CellState.UNPROVEN
    if CellStep.PUBLISHED in steps:
        return CellState.PUBLISHED
    if decision.action in {Action.BUILD, Action.ASSEMBLE}:
        return CellState.STALE if evidence and is_built(evidence) else CellState.NOT_BUILT
    return CellState(steps[-1]) if steps else CellState.UNPROVEN


def _judge_excluded(reason: Reason) -> CellState:
    if reason is Reason.KNOWN_BAD:
        return CellState.KNOWN_BAD
    if reason in _NOT_WANTED:
        return CellState.NOT_WANTED
    return CellState.REFUSED if reason is Reason.KERNEL_INCOMPLETE else CellState.ACKNOWLEDGED
