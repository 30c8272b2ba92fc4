"""The verb shard, with plan before it and gate after it: one plan, carried out by machines that share a registry alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.publishing import use_image_signer

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.registry import FakeRegistry

_BROKEN = "/src/demo.c:7:12: error: implicit declaration of function 'strlcpy'"


def _send(bench: Bench, *arguments: str) -> tuple[str, list[dict[str, Any]]]:
    code, out, err = bench.run(
        "plan", "--boot", "never", "--to", "quay.test/plans", "--shards", "2", "--json", *arguments
    )
    assert code == 0, err
    told = json.loads(out)
    return told["artifact"], told["shards"]


def _shard(bench: Bench, name: str, number: int, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a shard as another machine does: with a work folder of its own."""
    folder = bench.folder.parent / f"machine-{number}"
    code, out, err = bench.run(
        "--work-dir", str(folder), "shard", "--plan", name, "--shard", str(number), "--json", *arguments
    )
    return code, json.loads(out) if out else {}, err


def _gate(bench: Bench, name: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    folder = bench.folder.parent / "gate"
    code, out, err = bench.run("--work-dir", str(folder), "gate", "--plan", name, "--json", *arguments)
    return code, json.loads(out) if out else {}, err


def _statuses(told: dict[str, Any]) -> dict[str, str]:
    return {cell["kernel"]: cell["status"] for cell in told["cells"]}


def _results(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_shards_make_what_a_build_would_make(bench: Bench, registry: FakeRegistry) -> None:
    name, shards = _send(bench)
    assert [len(shard["cells"]) for shard in shards] == [2, 2]
    for number in range(2):
        code, told, err = _shard(bench, name, number)
        assert code == 0, err
        assert set(_statuses(told).values()) == {"built"}
    code, told, err = _gate(bench, name, "--results", str(bench.folder.parent / "results"))
    assert code == 0, err
    digests = {cell["cell"]: cell["digest"] for cell in told["cells"]}
    assert digests == {cell["cell"]: cell["digest"] for cell in bench.build("--boot", "never")[1]["cells"]}
    assert len(registry.final_tags & {f"1.2.0-{kernel}".replace("+", "_") for kernel in _statuses(told)}) == 4
    results = _results(bench.folder.parent / "results")
    assert json.loads(results["TEST_OUTPUT"])["result"] == "SUCCESS"
    assert results["EVIDENCE_ARTIFACT"].startswith("oci:quay.test/plans@sha256:")


@pytest.mark.usefixtures("registry")
def test_equal_projects_are_one_plan(bench: Bench) -> None:
    first = _send(bench)
    assert _send(bench) == first
    bench.build("--boot", "never")
    again = _send(bench)[1]
    assert [shard["cells"] for shard in again] == [shard["cells"] for shard in first[1]], (
        "what is built here does not count"
    )
    assert _send(bench, "--run", "nightly-7")[0] != first[0]


@pytest.mark.usefixtures("registry")
def test_what_is_published_is_not_planned_again(bench: Bench) -> None:
    bench.build("--boot", "never")
    assert bench.run("publish")[0] == 0
    folder = bench.folder.parent / "results"
    name, shards = _send(bench, "--results", str(folder))
    assert shards == []
    results = _results(folder)
    assert (results["shards"], results["count"], results["count-amd64"]) == ("[]", "0", "0")
    code, told, err = _gate(bench, name)
    assert code == 0, err
    assert set(_statuses(told).values()) == {"skipped"}


def test_a_plan_without_work_is_not_green_when_an_image_is_gone(bench: Bench, registry: FakeRegistry) -> None:
    bench.build("--boot", "never")
    assert bench.run("publish")[0] == 0
    name, _ = _send(bench)
    del registry.manifests["demo", "1.2.0-6.1.0-10-amd64"]
    code, told, _ = _gate(bench, name)
    assert code == 16
    assert _statuses(told)["6.1.0-10-amd64"] == "failed"
    failure = next(cell["failure"] for cell in told["cells"] if cell["failure"])
    assert failure["code"] == "not-published"


@pytest.mark.usefixtures("registry")
def test_a_shard_that_left_nothing_is_never_green(bench: Bench) -> None:
    name, shards = _send(bench)
    assert _shard(bench, name, 0)[0] == 0
    code, told, err = _gate(bench, name)
    assert code == 17
    assert "shard 1 left no evidence" in err
    failed = {cell["cell"] for cell in told["cells"] if cell["status"] == "failed"}
    assert failed == set(shards[1]["cells"])
    assert {cell["failure"]["code"] for cell in told["cells"] if cell["failure"]} == {"no-evidence"}


@pytest.mark.usefixtures("registry")
def test_a_cell_that_does_not_compile_is_told_by_the_gate(bench: Bench) -> None:
    bench.break_kernel("6.1.0-10-rt-amd64", _BROKEN)
    name, _ = _send(bench)
    codes = [_shard(bench, name, number)[0] for number in range(2)]
    assert sorted(codes) == [0, 11]
    code, told, _ = _gate(bench, name)
    assert code == 11
    assert (
        told["failures"][0]["detail"].startswith("implicit declaration") or "strlcpy" in told["failures"][0]["detail"]
    )
    assert sum(status == "failed" for status in _statuses(told).values()) == 1


@pytest.mark.usefixtures("registry")
def test_a_shard_goes_on_where_another_machine_was_killed(bench: Bench) -> None:
    """The other machine has nothing but what is in the registry."""
    name, shards = _send(bench)
    assert _shard(bench, name, 0)[0] == 0
    before = bench.started_builds()
    code, told, _ = bench.run(
        "--work-dir", str(bench.folder.parent / "again"), "shard", "--plan", name, "--shard", "0", "--json"
    )
    assert code == 0
    assert bench.started_builds() == before
    assert {cell["reason"] for cell in json.loads(told)["cells"]} <= {"published", "not-on-record", "up-to-date"}
    assert len(shards) == 2


def test_a_registry_that_is_away_makes_no_plan_green(bench: Bench, registry: FakeRegistry) -> None:
    name, _ = _send(bench)
    for number in range(2):
        assert _shard(bench, name, number)[0] == 0
    registry.faults.append(lambda _: httpx.Response(503))
    code, _, err = _gate(bench, name)
    assert code == 7
    assert "error:" in err
    assert _shard(bench, name, 0)[0] == 7


def test_images_and_index_are_signed(bench: Bench, registry: FakeRegistry) -> None:
    use_image_signer(bench)
    name, _ = _send(bench)
    for number in range(2):
        code, _, err = _shard(bench, name, number)
        assert code == 0, err
    assert "index" not in registry.final_tags
    code, _, err = _gate(bench, name)
    assert code == 0, err
    assert "index" in registry.final_tags


@pytest.mark.usefixtures("registry")
def test_what_is_not_trusted_leaves_evidence_alone(bench: Bench, registry: FakeRegistry) -> None:
    name, _ = _send(bench, "--untrusted")
    for number in range(2):
        code, _, err = _shard(bench, name, number)
        assert code == 0, err
    assert not [place for place in registry.manifests if place[0] == "demo"]
    code, told, _ = _gate(bench, name)
    assert code == 0
    assert set(_statuses(told).values()) == {"built"}


@pytest.mark.usefixtures("registry")
def test_another_kmodsmith_makes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _ = _send(bench)
    monkeypatch.setattr("builder.plan.decide.KEY_FORMAT", "4")
    monkeypatch.setattr("builder.plan.decide.CellInputs.key", property(lambda self: "f" * 64))
    code, _, err = _shard(bench, name, 0)
    assert code == 2
    assert "of other inputs than the plan says" in err
    code, _, err = _gate(bench, name)
    assert code == 2


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("shard", "--plan", "quay.test/plans:latest", "--shard", "0"), "names no plan"),
        (("shard", "--plan", "nonsense", "--shard", "0"), "names no plan"),
        (("gate", "--plan", "oci:"), "names no plan"),
        (("plan", "--to", "quay.test/plans:v1"), "is no repository"),
        (("plan", "--to", "localhost/plans"), "go through a registry"),
        (("plan", "--shards", "3"), "are for plans that are sent"),
        (("plan", "--to", "quay.test/plans", "--force"), "no --force"),
    ],
)  # fmt: skip
def test_wrong_words_are_explained(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = bench.run(*arguments)
    assert code == 2
    assert words in err


def test_drivers_without_a_registry_are_not_sent_away(bench: Bench) -> None:
    code, _, err = bench.run("plan", "--to", "quay.test/plans")
    assert code == 2
    assert "no 'image' in a registry: driver demo" in err


@pytest.mark.usefixtures("registry")
def test_a_shard_that_is_not_there_is_told(bench: Bench) -> None:
    name, _ = _send(bench)
    code, _, err = _shard(bench, name, 7)
    assert code == 8
    assert "the plan has no shard 7; it has 0 to 1" in err
