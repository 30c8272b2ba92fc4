"""What came of a plan: evidence that lies, that is missing, and what is written in the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.plans import make_evidence, make_plan, open_plans, push_sample
from fakes.registry import FakeRegistry

from builder.build.runs import BuildReport
from builder.components.result import ComponentReport
from builder.errors import SourceError
from builder.publish.result import PublishResult, PublishStatus
from builder.shards.artefact import evidence_tag
from builder.shards.judging import Collected, Judgement, collect

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.components import Parts


def test_evidence_of_each_shard_is_found_and_what_is_wrong_is_told(tmp_path: Path, project_dir: Path) -> None:
    server = FakeRegistry()
    plan = push_sample(server, tmp_path, project_dir)
    plans = open_plans(server, tmp_path)
    plans.push_evidence(plan, "0", make_evidence(plan.name.reference))
    server.manifests["plans", evidence_tag(plan.name.reference, "1")] = b'{"layers": 7}'
    collected = collect(plans, plan)
    assert set(collected.found) == {0}
    (why,) = collected.missing(plan.document).values()
    assert "the evidence of shard 1 is not as it should be" in why


def test_a_shard_without_evidence_is_named() -> None:
    assert Collected().missing(make_plan()) == {
        0: "shard 0 left no evidence: it was killed, or never ran",
        1: "shard 1 left no evidence: it was killed, or never ran",
    }


def test_a_registry_without_an_answer_says_nothing_of_a_plan(tmp_path: Path, project_dir: Path) -> None:
    server = FakeRegistry()
    plan = push_sample(server, tmp_path, project_dir)
    server.faults.append(lambda _: httpx.Response(403))
    with pytest.raises(SourceError):
        collect(open_plans(server, tmp_path), plan)


def _judgement(**changes: Any) -> Judgement:
    return Judgement(build=BuildReport(results=(), wall_s=0.0, run_id=""), images=ComponentReport(), **changes)


@pytest.mark.parametrize(
    ("code", "status", "missing", "expected"),
    [
        (0, None, {}, 0),
        (11, None, {0: "gone"}, 11),
        (0, PublishStatus.THERE, {}, 0),
        (0, PublishStatus.WAITING, {}, 16),
        (0, PublishStatus.CONFLICT, {}, 16),
        (0, None, {0: "gone"}, 17),
    ],
)
def test_exit_codes(code: int, status: PublishStatus | None, missing: dict[int, str], expected: int) -> None:
    further = (PublishResult(title="list", names=(), status=status),) if status else ()
    assert _judgement(further=further, missing=missing).exit_code(code) == expected


def _run(bench: Bench, *arguments: str) -> tuple[int, dict[str, Any], str]:
    code, out, err = bench.run(*arguments, "--json")
    return code, json.loads(out) if out else {}, err


def _plan_and_run(bench: Bench, *arguments: str) -> str:
    code, told, err = _run(bench, "plan", "--boot", "never", "--to", "quay.test/plans", "--shards", "2", *arguments)
    assert code == 0, err
    for shard in told["shards"]:
        bench.run("shard", "--plan", told["artifact"], "--shard", str(shard["number"]))
    name: str = told["artifact"]
    return name


def test_evidence_that_lies_makes_nothing_green(bench: Bench, registry: FakeRegistry) -> None:
    """Everybody who may write plans may write evidence; images are looked at."""
    name = _plan_and_run(bench)
    for place in [place for place in registry.manifests if place[0] == "demo" and "6.1.0-10-amd64" in place[1]]:
        del registry.manifests[place]
    code, told, _ = _run(bench, "gate", "--plan", name)
    failed = [cell for cell in told["cells"] if cell["status"] == "failed"]
    assert (code, [cell["failure"]["code"] for cell in failed]) == (16, ["not-published"])


def test_an_image_of_other_inputs_is_not_the_image(bench: Bench, registry: FakeRegistry) -> None:
    name = _plan_and_run(bench)
    there = {place for place in registry.manifests if place[0] == "demo" and not place[1].startswith("sha256")}
    one, other = sorted(there)[:2]
    registry.manifests[one] = registry.manifests[other]
    code, told, _ = _run(bench, "gate", "--plan", name)
    assert code == 16
    assert sum(cell["status"] == "failed" for cell in told["cells"]) == 1


def test_lists_of_several_architectures_are_the_gate_s(bench: Bench, registry: FakeRegistry) -> None:
    with (bench.folder / "versions.yaml").open("a") as file:
        file.write("publish: {tags: [version-kernel, '{version}-{kernel_noarch}']}\n")
        file.write("exclude: [{kernel: '*-arm64', reason: this machine pretends images of one architecture}]\n")
    bench.offer_with_keys()
    name = _plan_and_run(bench, "--group", "all", "--kernel", "6.12*")
    shared = "1.2.0-6.12.5_deb12"
    assert shared not in registry.final_tags
    code, _, err = _run(bench, "gate", "--plan", name)
    assert (code, shared in registry.final_tags) == (0, True), err


@pytest.mark.usefixtures("registry")
def test_component_images_are_judged_too(parts: Parts, registry: FakeRegistry) -> None:
    parts.declare(image="quay.test/plugin")
    parts.offer()
    name = _plan_and_run(parts.bench, "--component", "plugin")
    assert "0.1.0" not in registry.final_tags
    code, told, err = _run(parts.bench, "gate", "--plan", name)
    assert code == 0, err
    assert [item["status"] for item in told["components"]] == ["built"]
    assert "0.1.0" in registry.final_tags, "the list of its architectures"
    del registry.manifests["plugin", "0.1.0-amd64"]
    assert _run(parts.bench, "gate", "--plan", name)[0] == 16
