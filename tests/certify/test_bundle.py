"""Bundles good and bad, each judged as the operator policy of preflight's source says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.bundle import IMAGE, annotate, make_good_bundle, put
from fakes.operator_facts import operator_facts

from builder.certify.bundle import judge_bundle
from builder.certify.bundle_files import make_bundle
from builder.certify.policies import CHECKS, CheckState, Policy, PolicyCheck
from builder.emit.operator.bundle import emit_bundle
from builder.emit.operator.model import make_operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.certify.bundle_files import BundleFiles

_OPEN = {
    PolicyCheck.DEPLOYABLE: CheckState.NOT_JUDGED,
    PolicyCheck.VALIDATE_BUNDLE: CheckState.NOT_JUDGED,
    PolicyCheck.CERTIFIED_IMAGES: CheckState.NOT_JUDGED,
}
_FEATURES = "features.operators.openshift.io"
_CONTAINER = "spec.install.spec.deployments.0.spec.template.spec.containers.0"


def _not_passed(bundle: BundleFiles) -> dict[PolicyCheck, CheckState]:
    found = judge_bundle(bundle, "demo")
    assert [verdict.check for verdict in found.checks] == list(CHECKS[Policy.OPERATOR])
    return {verdict.check: verdict.state for verdict in found.checks if verdict.state is not CheckState.PASSED}


def test_a_good_bundle_leaves_open_what_only_others_can_tell() -> None:
    assert _not_passed(make_good_bundle()) == _OPEN
    assert not judge_bundle(make_good_bundle(), "demo").is_refused


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            put("spec.displayName", ""),
            {PolicyCheck.VALIDATE_BUNDLE: CheckState.FAILED, PolicyCheck.DEPLOYABLE: CheckState.ERROR},
        ),
        (annotate(f"{_FEATURES}/tls-profiles", None), {PolicyCheck.REQUIRED_ANNOTATIONS: CheckState.FAILED}),
        (annotate(f"{_FEATURES}/tls-profiles", "True"), {PolicyCheck.REQUIRED_ANNOTATIONS: CheckState.FAILED}),
        (annotate(f"{_FEATURES}/csi", "yes"), {PolicyCheck.REQUIRED_ANNOTATIONS: CheckState.FAILED}),
        (annotate(f"{_FEATURES}/disconnected", "false"), {PolicyCheck.RESTRICTED_NETWORK: CheckState.FAILED}),
        (put(f"{_CONTAINER}.env", []), {PolicyCheck.RESTRICTED_NETWORK: CheckState.FAILED}),
        (
            put("spec.relatedImages", [{"name": "x", "image": "quay.io/a/b:1"}]),
            {PolicyCheck.RESTRICTED_NETWORK: CheckState.FAILED, PolicyCheck.CERTIFIED_IMAGES: CheckState.FAILED},
        ),
        (put("spec.relatedImages", None), {PolicyCheck.RESTRICTED_NETWORK: CheckState.FAILED}),
    ],
)
def test_a_bundle_with_one_fault(
    change: Callable[[dict[str, Any]], object], found: dict[PolicyCheck, CheckState]
) -> None:
    assert _not_passed(make_good_bundle(change)) == {**_OPEN, **found}


def test_what_is_not_enforced_refuses_nothing() -> None:
    off = annotate(f"{_FEATURES}/disconnected", "false")
    assert not judge_bundle(make_good_bundle(off), "demo").is_refused
    assert judge_bundle(make_good_bundle(annotate(f"{_FEATURES}/tls-profiles", None)), "demo").is_refused


def test_a_bundle_may_say_that_it_works_without_a_network_in_the_old_way() -> None:
    def old(csv: dict[str, Any]) -> None:
        csv["metadata"]["annotations"][f"{_FEATURES}/disconnected"] = "false"
        csv["metadata"]["annotations"]["operators.openshift.io/infrastructure-features"] = '["Disconnected"]'

    assert _not_passed(make_good_bundle(old)) == _OPEN
    for text in ("x", "5", "[5]", '["proxy"]'):

        def other(csv: dict[str, Any], text: str = text) -> None:
            old(csv)
            csv["metadata"]["annotations"]["operators.openshift.io/infrastructure-features"] = text

        assert PolicyCheck.RESTRICTED_NETWORK in _not_passed(make_good_bundle(other))


@pytest.mark.parametrize(
    ("names", "state"),
    [(["a", "b"], CheckState.ERROR), (["a"], CheckState.PASSED), ([], CheckState.PASSED), ("a", CheckState.PASSED)],
)
def test_one_security_context_constraint_is_the_most(names: object, state: CheckState) -> None:
    rule = {
        "apiGroups": ["security.openshift.io"],
        "resources": ["securitycontextconstraints"],
        "resourceNames": names,
    }
    bundle = make_good_bundle(put("spec.install.spec.clusterPermissions", [{"rules": [{"apiGroups": 5}, rule]}]))
    assert _not_passed(bundle).get(PolicyCheck.SCC_IN_CSV, CheckState.PASSED) is state


def test_an_image_that_related_images_lack_is_a_warning() -> None:
    other = IMAGE.replace("operator@", "other@")
    found = judge_bundle(make_good_bundle(put(f"{_CONTAINER}.image", other)), "demo").checks
    (verdict,) = [item for item in found if item.check is PolicyCheck.RELATED_IMAGES]
    assert (verdict.state, "with a warning" in verdict.sentence) == (CheckState.PASSED, True)


def test_a_bundle_without_images() -> None:
    def bare(csv: dict[str, Any]) -> None:
        put("spec.relatedImages", None)(csv)
        put("spec.install.spec.deployments", [{"name": "x"}])(csv)

    assert _not_passed(make_good_bundle(bare))[PolicyCheck.CERTIFIED_IMAGES] is CheckState.FAILED


def test_what_cannot_be_loaded_is_an_error_of_every_check() -> None:
    found = judge_bundle(make_good_bundle(put("spec", 5)), "demo")
    assert {verdict.state for verdict in found.checks} == {CheckState.ERROR}
    assert "spec is no mapping" in found.checks[0].sentence


def test_what_is_not_read_here_is_not_judged() -> None:
    found = judge_bundle(make_good_bundle(more={"manifests/x.yaml": b"a: ["}), "demo")
    assert {verdict.state for verdict in found.checks} == {CheckState.NOT_JUDGED}


def test_the_bundle_that_is_emitted_here_would_be_taken() -> None:
    facts = operator_facts()
    files = {name: text.encode() for name, text in emit_bundle(facts, make_operator(facts)).items()}
    kept = {name: content for name, content in files.items() if name.startswith(("manifests/", "metadata/"))}
    found = judge_bundle(make_bundle(kept, [], []), "emitted")
    assert [f"{item.check}: {item.sentence}" for item in found.checks if item.is_refused] == []
    told = {item.check: item.sentence for item in found.checks}
    assert told[PolicyCheck.VALIDATE_BUNDLE].startswith("no rule that is known here is broken")
