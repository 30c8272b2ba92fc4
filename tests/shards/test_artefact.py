"""Plans and evidence in a registry: by digest, checked, and nothing of it believed that is not what it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.plans import make_evidence, open_plans, push_sample
from fakes.registry import FakeRegistry, digest_of

from builder.errors import DamagedError, FormatError, SourceGoneError, SourceUnreachableError, UsageError
from builder.pullspec import parse_pullspec
from builder.shards.artefact import (
    GATE,
    ArtifactFile,
    evidence_tag,
    parse_plan_name,
    parse_repository,
    write_name,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def server() -> FakeRegistry:
    return FakeRegistry()


def test_a_plan_comes_back_with_its_project(server: FakeRegistry, tmp_path: Path, project_dir: Path) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    root = open_plans(server, tmp_path).lay_out_project(plan, tmp_path / "plans")
    assert (root / "src" / "demo.c").read_text() == "int demo;\n"
    assert plan.document.numbers() == ["0", "1"]
    assert not server.final_tags, "a plan has no tag that could be moved"
    assert parse_plan_name(write_name(plan.name)) == plan.name


def test_the_same_plan_is_the_same_digest(server: FakeRegistry, tmp_path: Path, project_dir: Path) -> None:
    first = push_sample(server, tmp_path, project_dir)
    assert push_sample(server, tmp_path, project_dir).name == first.name
    assert push_sample(server, tmp_path, project_dir, run="other").name != first.name


def _replace(server: FakeRegistry, plan: str, **changes: Any) -> str:
    """Put another manifest beside a plan's; returns its digest."""
    data = json.loads(server.manifests["plans", plan]) | changes
    content = json.dumps(data).encode()
    server.manifests["plans", digest_of(content)] = content
    return digest_of(content)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"artifactType": "application/vnd.oci.image.config.v1+json"}, "is wanted"),
        ({"layers": []}, "it has no plan.json"),
        ({"layers": [{"mediaType": "a/b", "digest": "sha256:" + "0" * 64, "size": 1}]}, "have no names"),
        ({"layers": [{"mediaType": "a/b", "digest": "../../etc", "size": 1}]}, "digest"),
        ({"layers": [{"mediaType": "a/b", "digest": "sha256:" + "0" * 64, "size": -1}]}, "size"),
        ({"layers": "none"}, "layers"),
        ({"layers": [7]}, "layers"),
    ],
)
def test_what_is_no_plan_is_refused(
    server: FakeRegistry, tmp_path: Path, project_dir: Path, changes: dict[str, Any], words: str
) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    other = _replace(server, plan.name.reference, **changes)
    with pytest.raises(FormatError, match=words):
        open_plans(server, tmp_path).fetch_plan(plan.name.at(other))


@pytest.mark.parametrize("size", [2**40, 65 * 1024**2])
def test_a_plan_that_claims_to_be_huge_is_not_read(
    server: FakeRegistry, tmp_path: Path, project_dir: Path, size: int
) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    layers = json.loads(server.manifests["plans", plan.name.reference])["layers"]
    layers[0]["size"] = size
    other = _replace(server, plan.name.reference, layers=layers)
    with pytest.raises(FormatError, match="claims"):
        open_plans(server, tmp_path).fetch_plan(plan.name.at(other))


def test_a_damaged_plan_is_told(server: FakeRegistry, tmp_path: Path, project_dir: Path) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    layers = json.loads(server.manifests["plans", plan.name.reference])["layers"]
    for place in server.blobs:
        if place[1] == layers[0]["digest"]:
            server.blobs[place] = server.blobs[place].replace(b"demo", b"evil")
    with pytest.raises(DamagedError):
        open_plans(server, tmp_path / "elsewhere").fetch_plan(plan.name)
    server.manifests["plans", plan.name.reference] += b" "
    with pytest.raises(DamagedError):
        open_plans(server, tmp_path / "elsewhere").fetch_plan(plan.name)


def test_a_plan_that_is_not_there_is_told(server: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(SourceGoneError):
        open_plans(server, tmp_path).fetch_plan(parse_pullspec(f"quay.test/plans@sha256:{'0' * 64}"))


def test_a_project_that_is_none_is_refused(server: FakeRegistry, tmp_path: Path, project_dir: Path) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    content = b"no archive" * 100
    server.blobs["plans", digest_of(content)] = content
    layers = json.loads(server.manifests["plans", plan.name.reference])["layers"]
    layers[1] |= {"digest": digest_of(content), "size": len(content)}
    plans = open_plans(server, tmp_path)
    other = plans.fetch_plan(plan.name.at(_replace(server, plan.name.reference, layers=layers)))
    with pytest.raises(FormatError, match="its project is not as it should be"):
        plans.lay_out_project(other, tmp_path / "plans")
    assert not any((tmp_path / "plans").iterdir())


def test_evidence_is_found_by_plan_and_shard(server: FakeRegistry, tmp_path: Path, project_dir: Path) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    plans = open_plans(server, tmp_path)
    assert plans.find_evidence(plan, "0") is None
    name = plans.push_evidence(
        plan, "0", make_evidence(plan.name.reference), [ArtifactFile(name="a.json", content=b"{}")]
    )
    found = plans.find_evidence(plan, "0")
    assert found is not None
    assert (found.name, found.evidence.cells[0].status) == (name, "built")
    assert plans.find_evidence(plan, "1") is None
    assert plans.find_evidence(plan, GATE) is None
    manifest = json.loads(server.manifests["plans", name.reference])
    assert manifest["subject"]["digest"] == plan.name.reference


def test_a_shard_that_ran_again_has_the_last_word(server: FakeRegistry, tmp_path: Path, project_dir: Path) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    plans = open_plans(server, tmp_path)
    for code in (11, 0):
        plans.push_evidence(plan, "0", make_evidence(plan.name.reference, exit_code=code))
    found = plans.find_evidence(plan, "0")
    assert found is not None
    assert found.evidence.exit_code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"who": "1"}, "it is that of '1'"), ({"plan": f"sha256:{'0' * 64}"}, "it says that it is that of")],
)
def test_evidence_of_another_shard_or_plan_does_not_count(
    server: FakeRegistry, tmp_path: Path, project_dir: Path, changes: dict[str, Any], words: str
) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    plans = open_plans(server, tmp_path)
    plans.push_evidence(plan, "0", make_evidence(plan.name.reference, **changes))
    with pytest.raises(FormatError, match=words):
        plans.find_evidence(plan, "0")


def test_evidence_about_another_subject_does_not_count(server: FakeRegistry, tmp_path: Path, project_dir: Path) -> None:
    plan, other = push_sample(server, tmp_path, project_dir), push_sample(server, tmp_path, project_dir, run="other")
    plans = open_plans(server, tmp_path)
    plans.push_evidence(other, "0", make_evidence(plan.name.reference))
    there = server.manifests["plans", evidence_tag(other.name.reference, "0")]
    server.manifests["plans", evidence_tag(plan.name.reference, "0")] = there
    with pytest.raises(FormatError, match="about something else"):
        plans.find_evidence(plan, "0")


def test_no_answer_is_not_no_evidence(server: FakeRegistry, tmp_path: Path, project_dir: Path) -> None:
    plan = push_sample(server, tmp_path, project_dir)
    server.faults.append(lambda _: httpx.Response(503))
    with pytest.raises(SourceUnreachableError):
        open_plans(server, tmp_path).find_evidence(plan, "0")


@pytest.mark.parametrize(
    "text", ["quay.test/plans:v1", "plans", "", "quay.test/", "https://quay.test/plans", "quay.test/Plans"]
)
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no repository"):
        parse_repository(text)


@pytest.mark.parametrize("text", ["", "oci:", "oci:quay.test/plans:v1", "quay.test/plans", f"plans@sha256:{'0' * 64}"])
def test_what_names_no_plan_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no plan"):
        parse_plan_name(text)


def test_tags_of_evidence_are_tags() -> None:
    digest = f"sha256:{'a' * 64}"
    for who in ("0", "255", GATE):
        assert parse_pullspec(f"quay.test/plans:{evidence_tag(digest, who)}").reference == evidence_tag(digest, who)
