"""Decides, for each component image, whether to build it, and says why. Pure: everything it looks at is an argument."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from builder.components.inputs import ComponentItem
from builder.errors import UsageError
from builder.evidence.records import CellOutcome
from builder.plan.decide import Action, Reason, explain_build

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.components.inputs import ComponentInputs
    from builder.config.model.component import Component
    from builder.evidence.records import ComponentEvidence
    from builder.kernel import Arch
    from builder.store.images import Image

_WORK = frozenset({Action.BUILD, Action.TAG, Action.PROVE})
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
    """Which component images are meant: globs over names, and architectures; empty: all but those ``on_request``.

    ``ids`` are those of items, for who knows exactly which.
    """

    names: tuple[str, ...] = ()
    arches: tuple[Arch, ...] = ()
    ids: frozenset[str] = frozenset()

    def choose(self, components: Sequence[Component]) -> tuple[ComponentItem, ...]:
        """Return the images that are meant, in the order of versions.yaml.

        Raises:
            UsageError: a name fits no component.
        """
        for glob in self.names:
            if not any(fnmatchcase(component.name, glob) for component in components):
                names = ", ".join(component.name for component in components) or "none"
                raise UsageError(f"no component is called {glob!r}", hint=f"versions.yaml has: {names}")
        items = (
            ComponentItem(declaration=component, arch=arch)
            for component in components
            if self._names(component)
            for arch in component.arches
            if not self.arches or arch in self.arches
        )
        return tuple(item for item in items if not self.ids or item.id in self.ids)

    def _names(self, component: Component) -> bool:
        if not self.names:
            return not component.on_request or bool(self.ids)
        return any(fnmatchcase(component.name, glob) for glob in self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentCandidate:
    """A component image with its inputs; without them, ``refusal`` says by code and sentence why there are none."""

    item: ComponentItem
    inputs: ComponentInputs | None
    refusal: tuple[Reason, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentDecision:
    """What is done about a component image, and why."""

    item: ComponentItem
    action: Action
    reason: Reason
    explanation: str
    inputs: ComponentInputs | None = None
    known: ComponentEvidence | None = None
    """What is on record of the image; None where nothing is, or only of another one."""

    @property
    def digest(self) -> str:
        """That of the image in registries, where it is there."""
        return self.known.digest if self.known else ""

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

    decide = partial(ComponentDecision, item=item, inputs=inputs)

    stored = images.get(inputs.key_image)
    if force:
        reason, sentence = Reason.FORCED, "it is to be built all the same"
        return decide(action=Action.BUILD, reason=reason, explanation=sentence)
    if stored is None:
        reason, sentence = explain_build(asdict(inputs), inputs.key, known, _CHANGES)
        return decide(action=Action.BUILD, reason=reason, explanation=sentence)
    if known is None or (known.key, known.outcome, known.stored) != (inputs.key, CellOutcome.BUILT, stored.digest):
        sentence = "built, but what proved it is not on record here"
        return decide(action=Action.PROVE, reason=Reason.NOT_ON_RECORD, explanation=sentence)
    if images.get(item.names[0]) != stored:
        sentence = f"{item.names[0]} does not stand for it"
        return decide(action=Action.TAG, reason=Reason.NAME_MISSING, explanation=sentence, known=known)
    sentence = "nothing that it is made of changed"
    return decide(action=Action.SKIP, reason=Reason.UP_TO_DATE, explanation=sentence, known=known)
