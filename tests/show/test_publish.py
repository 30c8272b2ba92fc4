"""What was published, and what registries have, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fakes.outcomes import shown

from builder.publish.airgap import BundleReport, Loaded, LoadStatus
from builder.publish.audit import Audit, TagState
from builder.publish.published import LeftOutCell
from builder.publish.result import PublishResult, PublishStatus
from builder.publish.verifier import Verification, VerifiedClaim, WaivedTest
from builder.show.publish import (
    emit_audit_json,
    emit_audit_summary,
    emit_audit_table,
    emit_bundle_json,
    emit_loaded_json,
    emit_publish_json,
    emit_publish_summary,
    emit_publish_table,
    emit_verification,
    emit_verification_json,
)


def _result(status: PublishStatus, **more: Any) -> PublishResult:
    return PublishResult(title=f"demo-1/{status}", kernel="6.1", names=("quay.test/a:1",), status=status, **more)


_RESULTS = [
    _result(PublishStatus.PUBLISHED, digest=f"sha256:{'a' * 64}", bytes_sent=10, blobs_sent=2, attached=3),
    _result(PublishStatus.UNKNOWN, why="no answer", bytes_sent=1, blobs_sent=1),
]


def test_why_something_is_not_published_stands_where_its_names_would() -> None:
    text = shown(emit_publish_table(_RESULTS, wide=True))
    assert "published aaaaaaaaaaaa quay.test/a:1" in " ".join(text.split())
    assert "no answer" in text
    assert "no answer" not in shown(emit_publish_table(_RESULTS, wide=False))


def test_a_run_in_one_sentence() -> None:
    assert emit_publish_summary(_RESULTS) == (
        "1 published, 1 unknown; 3 blobs with 11 bytes sent, 3 signatures and attestations added"
    )
    data = json.loads(emit_publish_json(_RESULTS))
    assert ([cell["status"] for cell in data["cells"]], data["advice"]) == (["published", "unknown"], "")
    data = json.loads(emit_publish_json([*_RESULTS, _result(PublishStatus.CONFLICT, digest="sha256:1")]))
    assert "--force demo-1/conflict --reason" in data["advice"]


def _audit(drift: TagState, **more: Any) -> Audit:
    return Audit(cell="c", name=f"quay.test/a:{drift}", drift=drift, **more)


def test_tags_that_are_right_are_only_counted() -> None:
    audits = [_audit(TagState.NONE), _audit(TagState.DIFFERENT, why="another", recorded="sha256:1", found="sha256:2")]
    text = shown(emit_audit_table(audits, wide=True))
    assert "quay.test/a:none" not in text
    assert "another (recorded sha256:1, found sha256:2)" in text
    assert emit_audit_summary(audits) == "2 tags: 1 as it should be, 1 different"
    assert emit_audit_summary([]) == "no tag was looked at"
    assert [tag["drift"] for tag in json.loads(emit_audit_json(audits))["tags"]] == ["none", "different"]


def _verification(*checks: VerifiedClaim) -> Verification:
    return Verification(image="quay.test/a:1", digest="sha256:1", checks=checks)


def test_one_wrong_check_is_enough() -> None:
    good = VerifiedClaim(subject="sha256:1", name="signature", passed=True, finding="by the key")
    bad = replace(good, name="provenance", passed=False, finding="of another")
    assert "the image is what was signed" in shown(emit_verification(_verification(good)))
    text = shown(emit_verification(_verification(good, bad)))
    assert "the image is NOT to be trusted" in text
    assert "WRONG" in text
    found = [json.loads(emit_verification_json(_verification(*checks)))["passed"] for checks in ((good,), (good, bad))]
    assert found == [True, False]


def test_what_was_waived_stands_beside_what_was_checked() -> None:
    good = VerifiedClaim(subject="sha256:1", name="signature", passed=True, finding="by the key")
    waived = (
        WaivedTest(test="module-signature", by="--without module-signature"),
        WaivedTest(test="boot", by="--without boot", demanded="publish.require_boot: signed"),
    )
    verification = replace(_verification(good), waived=waived)
    text = " ".join(shown(emit_verification(verification)).split())
    assert "waived test module-signature not demanded: --without module-signature waived" in text
    demanded = "though versions.yaml demands it (publish.require_boot: signed)"
    assert f"waived test boot not demanded: --without boot, {demanded}" in text
    assert text.endswith("the image is what was signed; waived: module-signature, boot")
    data = json.loads(emit_verification_json(verification))
    assert data["waived"][1] == {
        "test": "boot", "by": "--without boot", "demanded": "publish.require_boot: signed"
    }  # fmt: skip
    assert json.loads(emit_verification_json(_verification(good)))["waived"] == []
    assert "waived" not in shown(emit_verification(_verification(good)))


def test_bundles_for_programs() -> None:
    report = BundleReport(file="b.tar", images=(("quay.test/a:1", "sha256:1"),), blobs=2, size=3)
    data = json.loads(emit_bundle_json(report, [LeftOutCell(cell="c", why="not built")]))
    assert (data["images"], data["left_out"]) == (
        [{"name": "quay.test/a:1", "digest": "sha256:1"}],
        [{"cell": "c", "why": "not built"}],
    )
    loaded = [Loaded(name="m.test/a:1", digest="sha256:1", status=LoadStatus.THERE)]
    assert json.loads(emit_loaded_json(loaded))["names"][0]["status"] == "there"
