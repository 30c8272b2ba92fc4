"""A run as a table, and as lines."""

from __future__ import annotations

from typing import Any

from fakes.pipeline_runs import describe_run, describe_task
from fakes.plans import make_evidence, make_plan
from rich.console import Console

from builder.pullspec import parse_pullspec
from builder.shards.artefact import FoundEvidence
from builder.shards.following import Seen
from builder.shards.judging import Collected
from builder.shards.pipeline_run import parse_run
from builder.show.pipeline_run import emit_run, tell_changes

_ABOUT = f"sha256:{'a' * 64}"


def _seen(*tasks: dict[str, Any], done: bool = False) -> Seen:
    found = FoundEvidence(name=parse_pullspec(f"quay.test/plans@{_ABOUT}"), evidence=make_evidence(_ABOUT))
    collected = Collected(found={0: found} if done else {}, wrong={1: "it is damaged"} if done else {})
    return Seen(state=parse_run(describe_run(), {"items": list(tasks)}), collected=collected)


def _print(seen: Seen, *, planned: bool = True) -> str:
    console = Console(width=150, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(emit_run(seen, make_plan() if planned else None))
    return capture.get()


def test_each_shard_has_a_row_also_before_its_pod_is_there() -> None:
    text = _print(
        _seen(describe_task("plan", "True", reason="Succeeded"), describe_task("s", shard="0", reason="Pending"))
    )
    assert "plan" in text
    assert "shard 0 (x86_64)" in text
    assert "Pending" in text
    assert "shard 1 (aarch64)" in text
    assert "waits" in text
    assert text.count("no evidence yet") == 2


def test_evidence_says_what_came_of_it() -> None:
    text = _print(_seen(describe_task("s", "True", shard="0", reason="Succeeded"), done=True))
    assert "1 built; exit 0" in text
    assert "it is damaged" in text


def test_before_there_is_a_plan_tasks_are_shown() -> None:
    assert "shard" not in _print(_seen(describe_task("plan", reason="Running")), planned=False)


def test_only_what_changed_is_a_line() -> None:
    told: dict[str, str] = {}
    task = describe_task("s", shard="0", reason="Running")
    assert list(tell_changes(_seen(task), told)) == ["shard 0: Running"]
    assert list(tell_changes(_seen(task), told)) == []
    assert list(tell_changes(_seen(task, done=True), told)) == ["shard 0: Running; 1 built; exit 0"]
