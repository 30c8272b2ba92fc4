"""The verb gate: what it writes for those who read it, and that nobody sees a traceback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.registry import FakeRegistry


def _plan(bench: Bench, *arguments: str) -> str:
    code, out, err = bench.run(
        "plan", "--boot", "never", "--to", "quay.test/plans", "--shards", "2", "--json", *arguments
    )
    assert code == 0, err
    name: str = json.loads(out)["artifact"]
    return name


@pytest.fixture
def name(bench: Bench, registry: FakeRegistry) -> str:
    del registry
    return _plan(bench)


def _shard(bench: Bench, name: str, *numbers: int) -> None:
    for number in numbers:
        bench.run("shard", "--plan", name, "--shard", str(number))


def test_results_are_those_of_a_build(bench: Bench, name: str, tmp_path: Path) -> None:
    _shard(bench, name, 0, 1)
    work = tmp_path / "gate"
    code, out, _ = bench.run("--work-dir", str(work), "gate", "--plan", name)
    assert code == 0
    assert "6.12.5+deb12-amd64" in out
    told = json.loads((work / "results.json").read_text())
    built = bench.build("--boot", "never")[1]
    assert {cell["cell"]: (cell["key"], cell["digest"]) for cell in told["cells"]} == {
        cell["cell"]: (cell["key"], cell["digest"]) for cell in built["cells"]
    }
    assert (work / "junit.xml").read_text().count("<testcase") == 4


def test_a_gate_needs_no_container_store(bench: Bench, name: str, tmp_path: Path) -> None:
    """An unprivileged pod has none."""
    _shard(bench, name, 0, 1)
    before = len(bench.calls("images"))
    assert bench.run("--work-dir", str(tmp_path / "gate"), "gate", "--plan", name)[0] == 0
    assert len(bench.calls("images")) == before


def test_what_a_gate_found_is_kept_beside_the_plan(
    bench: Bench, registry: FakeRegistry, name: str, tmp_path: Path
) -> None:
    _shard(bench, name, 0)
    code, _, err = bench.run(
        "--work-dir", str(tmp_path / "gate"), "gate", "--plan", name, "--results", str(tmp_path / "r")
    )
    assert code == 17
    assert "shard 1 left no evidence: it was killed, or never ran: run it again" in err
    told = json.loads((tmp_path / "r" / "TEST_OUTPUT").read_text())
    assert (told["result"], told["successes"], told["failures"], told["warnings"]) == ("FAILURE", 2, 2, 1)
    (tag,) = [tag for place, tag in registry.manifests if place == "plans" and tag.endswith(".gate")]
    assert json.loads(registry.manifests["plans", tag])["subject"]["digest"] in name


def test_a_plan_that_is_not_there_is_told(bench: Bench, registry: FakeRegistry) -> None:
    del registry
    code, _, err = bench.run("gate", "--plan", f"oci:quay.test/plans@sha256:{'0' * 64}")
    assert code == 7
    assert "Traceback" not in err


def test_watching_tells_each_shard_once_and_then_judges(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    numbers = [1]
    _shard(bench, name, 0)
    monkeypatch.setattr("builder.shards.watching.sleep", lambda _: _shard(bench, name, numbers.pop()))
    code, _, err = bench.run("--work-dir", str(tmp_path / "gate"), "gate", "--plan", name, "--watch")
    assert code == 0
    assert "shard 1: 2 built; exit 0" in err
    assert not numbers


def test_who_stops_watching_is_told_how_to_come_back(bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("builder.shards.watching.sleep", interrupt)
    code, _, err = bench.run("gate", "--plan", name, "--watch")
    assert code == 130
    assert f"the shards go on; look again: python -m builder gate --plan {name} --watch" in err


def test_watching_ends_when_it_was_told_to(bench: Bench, name: str) -> None:
    code, _, err = bench.run("gate", "--plan", name, "--watch", "--for", "0")
    assert code == 17
    assert "shard 0 left no evidence" in err
    code, _, err = bench.run("gate", "--plan", name, "--for", "3")
    assert (code, "--for is for --watch" in err) == (2, True)
