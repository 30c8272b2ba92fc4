"""The verb follow: a run on a cluster ends here as a build would have ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.pipeline_runs import FakeCluster, add_cluster, describe_run, describe_task

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.registry import FakeRegistry
    from fakes.tools import FakeTools

_GREEN = describe_run("True", "Succeeded", "all is done")
_RED = describe_run("False", "Failed", "tasks failed")
_BROKEN = "/src/demo.c:7:12: error: implicit declaration of function 'strlcpy'"


@pytest.fixture
def cluster(fake_tools: FakeTools, tmp_path: Path) -> FakeCluster:
    return add_cluster(fake_tools, tmp_path / "cluster")


class _Site:
    """A plan in a registry, and machines that carry it out."""

    def __init__(self, bench: Bench, cluster: FakeCluster) -> None:
        self.bench, self.cluster = bench, cluster
        code, out, err = bench.run("plan", "--boot", "never", "--to", "quay.test/plans", "--shards", "2", "--json")
        assert code == 0, err
        self.plan: str = json.loads(out)["artifact"]

    def carry_out(self, *numbers: int) -> None:
        for number in numbers:
            work = str(self.bench.folder.parent / f"machine-{number}")
            self.bench.run("--work-dir", work, "shard", "--plan", self.plan, "--shard", str(number))

    def gate(self) -> int:
        return self.bench.run("--work-dir", str(self.bench.folder.parent / "gate"), "gate", "--plan", self.plan)[0]

    def tasks(self, **gate: Any) -> list[dict[str, Any]]:
        shards = [describe_task("shards-amd64", "True", shard=str(n), reason="Succeeded") for n in range(2)]
        plan = describe_task("plan", "True", reason="Succeeded", results={"PLAN_ARTIFACT": self.plan})
        return [plan, *shards, describe_task("gate", **({"status": "True"} | gate))]

    def follow(self, *more: str) -> tuple[int, str, str]:
        work = str(self.bench.folder.parent / "here")
        return self.bench.run("--work-dir", work, "follow", "r", "--namespace", "builds", *more)

    @property
    def work(self) -> Path:
        return self.bench.folder.parent / "here"


@pytest.fixture
def site(bench: Bench, registry: FakeRegistry, cluster: FakeCluster) -> _Site:
    del registry
    return _Site(bench, cluster)


def test_a_run_that_ended_is_told_as_a_build_is(site: _Site) -> None:
    site.carry_out(0, 1)
    assert site.gate() == 0
    site.cluster.say(_GREEN, *site.tasks())
    code, out, err = site.follow("--json")
    assert code == 0, err
    told = json.loads(out)
    built = site.bench.build("--boot", "never")[1]
    assert {(item["cell"], item["key"], item["digest"]) for item in told["cells"]} == {
        (item["cell"], item["key"], item["digest"]) for item in built["cells"]
    }
    assert (site.work / "junit.xml").read_text().count("<testcase") == 4
    assert (site.work / "results.json").read_text() == out
    assert sorted(item.name for item in (site.work / "runs" / "r").iterdir()) == ["gate", "shard-0", "shard-1"]
    assert "shard 1: Succeeded; 2 built; exit 0" in err


def test_a_cell_that_fails_has_its_exit_code_and_its_log_here(site: _Site) -> None:
    site.bench.break_kernel("6.1.0-10-amd64", _BROKEN)
    site.carry_out(0, 1)
    code_of_gate = site.gate()
    site.cluster.say(_RED, *site.tasks(status="False", step=code_of_gate, message="step gate exited"))
    site.cluster.write("log", "the last words\x1b]0;x\n")
    code, out, err = site.follow()
    assert code == code_of_gate == 11
    assert "strlcpy" in out
    assert "gate failed: step gate exited\n  the last words" in err
    assert "\x1b" not in err
    logs = list((site.work / "runs" / "r").glob("shard-*/logs/*.log"))
    assert any("strlcpy" in file.read_text() for file in logs)


def test_a_green_run_without_its_gate_is_not_green(site: _Site) -> None:
    site.carry_out(0, 1)
    site.cluster.say(_GREEN, *site.tasks())
    assert site.follow()[0] == 17


def test_a_green_run_whose_tasks_were_pruned_is_told_by_its_evidence_or_not_green(site: _Site) -> None:
    site.cluster.say(_GREEN)
    assert site.follow()[0] == 17, "nobody knows which plan it had"
    site.carry_out(0, 1)
    site.gate()
    run = json.loads(json.dumps(_GREEN))
    run["status"]["results"] = [{"name": "PLAN_ARTIFACT", "value": site.plan}]
    site.cluster.say(run)
    assert site.follow()[0] == 0


def test_a_change_that_was_only_checked_is_green(site: _Site) -> None:
    site.cluster.say(_GREEN, describe_task("lint", "True"))
    assert site.follow()[0] == 0


def test_a_gate_that_is_content_in_a_run_that_failed_is_not_green(site: _Site) -> None:
    site.carry_out(0, 1)
    site.gate()
    site.cluster.say(_RED, *site.tasks())
    assert site.follow()[0] == 17
    site.cluster.say(_RED, *site.tasks(), describe_task("sources", "False", step=1))
    assert site.follow()[0] == 7


def test_a_run_that_could_not_plan_has_that_steps_exit_code(site: _Site) -> None:
    site.cluster.say(_RED, describe_task("plan", "False", step=3, message="step plan exited with 3"))
    site.cluster.write("log", "versions.yaml:3: what is this\n")
    code, _, err = site.follow()
    assert code == 3
    assert "versions.yaml:3: what is this" in err


@pytest.mark.parametrize("code", [256, 65536, -256, -1])
def test_a_code_that_no_process_has_makes_no_run_green(site: _Site, code: int) -> None:
    """Of an exit code a shell sees eight bits: 256 is success there."""
    site.cluster.say(_RED, describe_task("plan", "False", step=code, message="failed"))
    assert site.follow()[0] == 17


def test_it_looks_again_until_the_run_ended(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.carry_out(0, 1)
    site.gate()
    site.cluster.say(describe_run(), describe_task("plan", reason="Running"))
    states = [(_GREEN, *site.tasks()), (describe_run(), *site.tasks()[:1])]

    def go_on(_: float) -> None:
        site.cluster.say(*states.pop())

    monkeypatch.setattr("builder.shards.following.sleep", go_on)
    code, _, err = site.follow()
    assert code == 0
    assert "plan: Running" in err
    assert "plan: Succeeded" in err


def test_who_stops_is_told_how_to_come_back(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    site.cluster.say(describe_run(), describe_task("plan", reason="Running"))
    monkeypatch.setattr("builder.shards.following.sleep", interrupt)
    code, _, err = site.follow("--context", "prod")
    assert code == 130
    assert "the run goes on; look again: python -m builder follow r --namespace builds --context prod" in err


def test_a_cluster_that_is_silent_is_asked_again_and_not_for_ever(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("builder.shards.following.sleep", pauses.append)
    site.cluster.write("refusal", "Unable to connect to the server\n")
    code, _, err = site.follow()
    assert code == 7
    assert "Unable to connect" in err
    assert len(pauses) == 60


def test_a_run_that_is_not_there_is_told_at_once(site: _Site) -> None:
    site.cluster.write("refusal", 'Error from server (NotFound): pipelineruns "r" not found\n')
    code, _, err = site.follow()
    assert code == 2
    assert "not found" in err


def test_a_pipeline_is_started_as_it_was_emitted(site: _Site, fake_tools: FakeTools) -> None:
    _use_tekton(site.bench)
    site.carry_out(0, 1)
    site.gate()
    site.cluster.say(_GREEN, *site.tasks())
    site.cluster.write("created", '{"metadata": {"name": "r"}}')
    work = str(site.work)
    code, _, err = site.bench.run("--work-dir", work, "follow", "--start", "build", "--revision", "v1")
    assert code == 0, err
    assert "started  r" in err
    sent = json.loads((site.cluster.folder / "sent").read_text())
    assert sent["spec"]["params"] == [{"name": "revision", "value": "v1"}]
    assert sent["metadata"]["namespace"] == "kmodsmith"
    assert fake_tools.calls("kubectl")[0][0] == "--namespace=kmodsmith"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a run"),
        (("r", "--start", "build"), "name a run"),
        (("r", "--namespace", "n", "--revision", "v1"), "--revision is for --start"),
        (("r",), "in which namespace"),
        (("--namespace", "n", "--", "-o=yaml"), "no name"),
    ],
)
@pytest.mark.usefixtures("cluster")
def test_what_makes_no_sense_is_said(bench: Bench, words: tuple[str, ...], said: str) -> None:
    code, _, err = bench.run("follow", *words)
    assert code == 2
    assert said in err


def _use_tekton(bench: Bench) -> None:
    file = bench.folder / "versions.yaml"
    settings = {
        "builder": f"quay.test/org/builder@sha256:{'b' * 64}",
        "repository": "quay.test/plans",
        "source": "https://git.test/org/drivers.git",
    }
    file.write_text(f"{file.read_text()}\ntekton: {json.dumps(settings)}\n")
