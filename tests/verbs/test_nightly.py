"""The verb nightly."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from fakes.publishing import use_image_signer

from builder.build.runs import BuildReport
from builder.errors import FailureClass
from builder.evidence.journal import Journal
from builder.publish.attest.statements import PROVENANCE_PREDICATE

if TYPE_CHECKING:
    from fakes.bench import Bench
    from fakes.registry import FakeRegistry


_KERNEL = "6.1.0-10-amd64"


class _KilledError(BaseException):
    """In place of SIGKILL, which would take the tests along."""


@pytest.mark.parametrize("point", ["store.images.tag_image", "store.images.find_image", "build.cells.Journal.record"])
def test_a_run_that_is_killed_between_two_steps_is_finished_by_the_next_night(
    bench: Bench,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    def killed(*_: object) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(f"builder.{point}", killed)
        with pytest.raises(_KilledError):
            bench.run("build", "--kernel", _KERNEL)
    before = bench.started_builds()
    code, out, err = bench.run("nightly", "--json", "--kernel", _KERNEL)
    assert (code, [item["status"] for item in json.loads(out)["published"]]) == (0, ["published"]), err
    assert f"1.2.0-{_KERNEL}" in registry.final_tags
    assert bench.started_builds() == before + (point == "store.images.tag_image"), "what was proven is not built again"
    assert bench.run("nightly", "--kernel", _KERNEL)[0] == 0


def test_a_night_brings_the_index_up_to_date(bench: Bench, registry: FakeRegistry) -> None:
    use_image_signer(bench)
    code, out, err = bench.run("nightly", "--json", "--kernel", _KERNEL)
    told = {item["cell"]: item["status"] for item in json.loads(out)["published"]}
    assert (code, told["demo/index"]) == (0, "published"), err
    assert "index" in registry.final_tags


def test_a_night_after_the_work_folder_was_lost_publishes_what_the_store_has(
    bench: Bench,
    registry: FakeRegistry,
) -> None:
    bench.build("--kernel", _KERNEL)
    (bench.folder / ".kmodsmith" / "journal.jsonl").unlink()
    code, out, err = bench.run("nightly", "--json", "--kernel", _KERNEL)
    assert out, err
    assert (code, json.loads(out)["cells"]) == (0, {"proven": 1})
    assert f"1.2.0-{_KERNEL}" in registry.final_tags
    envelopes = [json.loads(blob)["dsseEnvelope"] for blob in registry.blobs.values() if b"dsseEnvelope" in blob]
    statements = [json.loads(base64.b64decode(envelope["payload"])) for envelope in envelopes]
    (predicate,) = [item["predicate"] for item in statements if item["predicateType"] == PROVENANCE_PREDICATE]
    assert predicate["runDetails"]["metadata"] == {}, "nobody knows which run built it"
    assert predicate["buildDefinition"]["internalParameters"]["derived"] == "yes"
    (evidence,) = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    assert evidence.derived
    assert json.loads(out)["freshness"] == []


def test_a_night_that_leaves_a_wanted_image_out_of_its_registry_is_no_success(
    bench: Bench,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "builder.publish.nightly.build_project", lambda *_, **__: BuildReport(results=[], wall_s=0.0, run_id="")
    )
    code, _, err = bench.run("nightly", "--kernel", _KERNEL)
    assert (code, registry.final_tags) == (FailureClass.PUBLISH.exit_code, set())
    assert f"not in its registry: quay.test/demo:1.2.0-{_KERNEL}: no build of it is known here" in err
