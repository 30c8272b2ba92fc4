"""Decides, for each component image, whether to build it, and says why. Pure: everything it looks at is an argument."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.components.inputs import ComponentItem
from builder.errors import UsageError
from builder.evidence.records import CellOutcome
from builder.plan.decide import Action, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.components.inputs import ComponentInputs
    from builder.config.model import Component
    from builder.evidence.records import ComponentEvidence
    from builder.kernel import Arch
    from builder.store.images import Image

_WORK = frozenset({Action.BUILD, Action.TAG, Action.PROVE})
# In the order of what a vendor would call the cause when several inputs changed together.
_CHANGES = (
    ("source", Reason.SOURCE_CHANGED, "its source changed"),
    ("containerfile", Reason.CONTAINERFILE_CHANGED, "its Containerfile changed"),
    ("wheels", Reason.WHEELS_CHANGED, "its locked Python packages changed"),
    ("recipe", Reason.RECIPE_CHANGED, "its entry in versions.yaml changed"),
    ("component", Reason.RECIPE_CHANGED, "its version changed"),
    ("licenses", Reason.SOURCE_CHANGED, "its licence files changed"),
    ("base", Reason.BASE_CHANGED, "its base image changed"),
    ("build", Reason.TOOLKIT_CHANGED, "the image that it is built in changed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSelector:
    """Which component images are meant: globs over names, and architectures; empty: all."""

    names: tuple[str, ...] = ()
    arches: tuple[Arch, ...] = ()

    def choose(self, components: Sequence[Component]) -> tuple[ComponentItem, ...]:
        """Return the images that are meant, in the order of versions.yaml.

        Raises:
            UsageError: a name fits no component.
        """
        for glob in self.names:
            if not any(fnmatchcase(component.name, glob) for component in components):
                names = ", ".join(component.name for component in components) or "none"
                raise UsageError(f"no component is called {glob!r}", hint=f"versions.yaml has: {names}")
        return tuple(
            ComponentItem(declaration=component, arch=arch)
            for component in components
            if not self.names or any(fnmatchcase(component.name, glob) for glob in self.names)
            for arch in component.arches
            if not self.arches or arch in self.arches
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentCandidate:
    """A component image with its inputs; without them, ``refusal`` says by code and sentence why there are none."""

    item: ComponentItem
    inputs: ComponentInputs | None
    refusal: tuple[Reason, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentDecision:
    """What is done about a component image, and why; ``digest`` is the image's in registries, where it is there."""

    item: ComponentItem
    action: Action
    reason: Reason
    explanation: str
    inputs: ComponentInputs | None = None
    digest: str = ""
    known: ComponentEvidence | None = None
    """What is on record of the image; None where nothing is, or only of another one."""

    @property
    def key(self) -> str:
        return self.inputs.key if self.inputs else ""

    @property
    def image(self) -> str:
        """The name that people use."""
        return self.item.names[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentPlan:
    """Decisions about component images, in the order of versions.yaml."""

    decisions: Sequence[ComponentDecision] = field(default_factory=tuple)

    @property
    def work(self) -> list[ComponentDecision]:
        return [decision for decision in self.decisions if decision.action in _WORK]


def plan_of(
    candidates: Sequence[ComponentCandidate],
    *,
    evidence: Mapping[str, ComponentEvidence],
    images: Mapping[str, Image],
    force: bool = False,
) -> ComponentPlan:
    """Decide about every candidate.

    Args:
        candidates: with their inputs.
        evidence: what is on record, by the candidate's id.
        images: the container store, by full name.
        force: build also what is up to date.
    """
    return ComponentPlan(
        decisions=tuple(_decide(item, evidence.get(item.item.id), images, force=force) for item in candidates)
    )


def _decide(
    candidate: ComponentCandidate, known: ComponentEvidence | None, images: Mapping[str, Image], *, force: bool
) -> ComponentDecision:
    item, inputs = candidate.item, candidate.inputs
    if inputs is None:
        reason, sentence = candidate.refusal or (Reason.NO_BASE_IMAGE, "nothing is known of what it is made of")
        return ComponentDecision(item=item, action=Action.REFUSE, reason=reason, explanation=sentence)

    def decide(
        action: Action, reason: Reason, explanation: str, known: ComponentEvidence | None = None
    ) -> ComponentDecision:
        return ComponentDecision(
            item=item, action=action, reason=reason, explanation=explanation, inputs=inputs,
            digest=known.digest if known else "", known=known,
        )  # fmt: skip

    stored = images.get(inputs.key_image)
    if force:
        return decide(Action.BUILD, Reason.FORCED, "it is to be built all the same")
    if stored is None:
        return decide(Action.BUILD, *_why_build(inputs, known))
    is_on_record = (
        known is not None
        and known.key == inputs.key
        and known.outcome is CellOutcome.BUILT
        and known.stored == stored.digest
    )
    if not is_on_record or known is None:
        return decide(Action.PROVE, Reason.NOT_ON_RECORD, "built, but what proved it is not on record here")
    if images.get(item.names[0]) != stored:
        return decide(Action.TAG, Reason.NAME_MISSING, f"{item.names[0]} does not stand for it", known)
    return decide(Action.SKIP, Reason.UP_TO_DATE, "nothing that it is made of changed", known)


def _why_build(inputs: ComponentInputs, known: ComponentEvidence | None) -> tuple[Reason, str]:
    if known is None:
        return Reason.NEVER_BUILT, "no build of it is known here"
    now = asdict(inputs)
    changed = [(reason, text) for name, reason, text in _CHANGES if known.inputs.get(name, "") != now[name]]
    if changed:
        return changed[0][0], " and ".join(text for _, text in changed)
    if known.key != inputs.key:
        return Reason.FORMAT_CHANGED, "kmodsmith itself builds component images differently now"
    if known.outcome is CellOutcome.FAILED:
        code = known.failure.code if known.failure else "no reason recorded"
        return Reason.FAILED_BEFORE, f"its last build failed ({code})"
    return Reason.IMAGE_GONE, "it was built, but its image is no longer in the container store"
