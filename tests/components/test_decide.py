"""Whether a component image is built, and why."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from fakes.components import declare, make_component_evidence, make_inputs, make_item

from builder.components.decide import ComponentCandidate, ComponentDecision, ComponentSelector, plan_of
from builder.errors import Failure, FailureClass, UsageError
from builder.evidence.records import CellOutcome, ComponentEvidence
from builder.kernel import Arch
from builder.plan.decide import Action, Reason
from builder.store.images import Image

_ITEM, _INPUTS = make_item(), make_inputs()
_IMAGE, _OTHER = Image(id="1", digest="sha256:1"), Image(id="2", digest="sha256:2")
_KNOWN = make_component_evidence(_ITEM, key=_INPUTS.key, inputs=asdict(_INPUTS), stored=_IMAGE.digest)
_NAMED = {_INPUTS.key_image: _IMAGE, _ITEM.names[0]: _IMAGE}
_FAILURE = Failure(failure_class=FailureClass.FIT, code="wrong-label", detail="d")


def _decide(known: ComponentEvidence | None, images: dict[str, Image], **options: Any) -> ComponentDecision:
    candidate = ComponentCandidate(item=_ITEM, inputs=_INPUTS)
    evidence = {_ITEM.id: known} if known else {}
    (decision,) = plan_of([candidate], evidence=evidence, images=images, **options).decisions
    return decision


def test_what_is_up_to_date_is_left_alone() -> None:
    decision = _decide(_KNOWN, _NAMED)
    assert (decision.action, decision.reason, decision.digest) == (Action.SKIP, Reason.UP_TO_DATE, _KNOWN.digest)
    assert (decision.key, decision.image, decision.known) == (_INPUTS.key, _ITEM.names[0], _KNOWN)


@pytest.mark.parametrize(
    ("known", "images", "action", "reason"),
    [
        (None, {}, Action.BUILD, Reason.NEVER_BUILT),
        (_KNOWN, {}, Action.BUILD, Reason.IMAGE_GONE),
        (_KNOWN, {_ITEM.names[0]: _IMAGE}, Action.BUILD, Reason.IMAGE_GONE),
        (replace(_KNOWN, key="other"), {}, Action.BUILD, Reason.FORMAT_CHANGED),
        (replace(_KNOWN, outcome=CellOutcome.FAILED, failure=_FAILURE), {}, Action.BUILD, Reason.FAILED_BEFORE),
        (replace(_KNOWN, outcome=CellOutcome.FAILED), {}, Action.BUILD, Reason.FAILED_BEFORE),
        (None, _NAMED, Action.PROVE, Reason.NOT_ON_RECORD),
        (replace(_KNOWN, key="other"), _NAMED, Action.PROVE, Reason.NOT_ON_RECORD),
        (replace(_KNOWN, stored=_OTHER.digest), _NAMED, Action.PROVE, Reason.NOT_ON_RECORD),
        (replace(_KNOWN, outcome=CellOutcome.FAILED, failure=_FAILURE), _NAMED, Action.PROVE, Reason.NOT_ON_RECORD),
        (_KNOWN, {_INPUTS.key_image: _IMAGE}, Action.TAG, Reason.NAME_MISSING),
        (_KNOWN, {**_NAMED, _ITEM.names[0]: _OTHER}, Action.TAG, Reason.NAME_MISSING),
    ],
)
def test_each_state_has_its_action_and_reason(
    known: ComponentEvidence | None, images: dict[str, Image], action: Action, reason: Reason
) -> None:
    decision = _decide(known, images)
    assert (decision.action, decision.reason) == (action, reason)
    forced = _decide(known, images, force=True)
    assert (forced.action, forced.reason) == (Action.BUILD, Reason.FORCED)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("source", Reason.SOURCE_CHANGED), ("containerfile", Reason.CONTAINERFILE_CHANGED),
        ("wheels", Reason.WHEELS_CHANGED), ("recipe", Reason.RECIPE_CHANGED), ("component", Reason.RECIPE_CHANGED),
        ("licenses", Reason.SOURCE_CHANGED), ("base", Reason.BASE_CHANGED), ("build", Reason.TOOLKIT_CHANGED),
    ],
)  # fmt: skip
def test_what_changed_is_the_reason(field: str, reason: Reason) -> None:
    changed = replace(_KNOWN, inputs={**_KNOWN.inputs, field: "before"}, key="before")
    decision = _decide(changed, {})
    assert (decision.action, decision.reason) == (Action.BUILD, reason)
    assert decision.explanation.endswith("changed")


def test_several_causes_are_told_and_the_first_counts() -> None:
    changed = replace(_KNOWN, inputs={**_KNOWN.inputs, "base": "b", "source": "s"}, key="before")
    decision = _decide(changed, {})
    assert (decision.reason, decision.explanation) == (
        Reason.SOURCE_CHANGED, "its source changed and its base image changed",
    )  # fmt: skip


def test_evidence_of_nothing_is_of_everything_that_changed() -> None:
    """A journal of an older kmodsmith, or of somebody who edited it."""
    assert _decide(replace(_KNOWN, inputs={}, key=""), {}).action is Action.BUILD


def test_without_inputs_an_image_is_refused() -> None:
    refusal = (Reason.NO_BASE_IMAGE, "the lock has no python3.11")
    refused, unknown = plan_of(
        [
            ComponentCandidate(item=_ITEM, inputs=None, refusal=refusal),
            ComponentCandidate(item=_ITEM, inputs=None),
        ],
        evidence={},
        images={},
    ).decisions
    assert (refused.action, refused.reason, refused.explanation, refused.key) == (Action.REFUSE, *refusal, "")
    assert (unknown.action, unknown.reason) == (Action.REFUSE, Reason.NO_BASE_IMAGE)


def test_only_what_is_to_be_done_is_work() -> None:
    candidates = [ComponentCandidate(item=_ITEM, inputs=_INPUTS), ComponentCandidate(item=_ITEM, inputs=None)]
    assert len(plan_of(candidates, evidence={}, images={}).work) == 1
    assert plan_of(candidates, evidence={_ITEM.id: _KNOWN}, images=_NAMED).work == []


_BOTH = [declare(arches=["x86_64", "aarch64"]), declare(name="tools")]


@pytest.mark.parametrize(
    ("selector", "ids"),
    [
        (ComponentSelector(), ["plugin-0.1.0/x86_64", "plugin-0.1.0/aarch64", "tools-0.1.0/x86_64"]),
        (ComponentSelector(names=("t*",)), ["tools-0.1.0/x86_64"]),
        (ComponentSelector(names=("t*", "plugin")), ["plugin-0.1.0/x86_64", "plugin-0.1.0/aarch64", "tools-0.1.0/x86_64"]),
        (ComponentSelector(arches=(Arch.AARCH64,)), ["plugin-0.1.0/aarch64"]),
        (ComponentSelector(names=("tools",), arches=(Arch.AARCH64,)), []),
    ],
)  # fmt: skip
def test_who_is_chosen(selector: ComponentSelector, ids: list[str]) -> None:
    assert [item.id for item in selector.choose(_BOTH)] == ids


def test_what_is_made_on_request_is_made_where_it_is_named_and_only_there() -> None:
    components = [*_BOTH, declare(name="large", on_request=True)]
    by_default = {item.declaration.name for item in ComponentSelector().choose(components)}
    assert by_default == {"plugin", "tools"}
    for names in (("large",), ("*",)):
        assert "large" in {item.declaration.name for item in ComponentSelector(names=names).choose(components)}


def test_a_name_that_fits_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="no component is called 'p'") as caught:
        ComponentSelector(names=("p",)).choose(_BOTH)
    assert caught.value.hint == "versions.yaml has: plugin, tools"
    with pytest.raises(UsageError) as caught:
        ComponentSelector(names=("*",)).choose([])
    assert caught.value.hint == "versions.yaml has: none"
