"""The verb submit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from builder.host.cluster import ApiServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from fakes.bench import Bench

_TEXT = "apiVersion: tekton.dev/v1\nkind: PipelineRun\nmetadata: {generateName: a-, namespace: n}\n"


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Mapping[str, Any]]:
    made: list[Mapping[str, Any]] = []

    def create(_: ApiServer, document: Mapping[str, Any]) -> str:
        made.append(document)
        return "n/a-x7"

    server = ApiServer(address="https://a", token="t", authority=tmp_path)
    monkeypatch.setattr("builder.verbs.submit.find_api_server", lambda: server)
    monkeypatch.setattr(ApiServer, "create", create)
    return made


def test_the_run_is_named(bench: Bench, created: list[Mapping[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(_TEXT)
    assert bench.run("submit", str(tmp_path / "run.yaml"))[:2] == (0, "n/a-x7\n")
    code, out, _ = bench.run("submit", str(tmp_path / "run.yaml"), "--json")
    assert (code, json.loads(out)) == (0, {"format": 1, "run": "n/a-x7"})
    assert [item["kind"] for item in created] == ["PipelineRun"] * 2


@pytest.mark.parametrize("text", ["- a\n", "a: &x 1\n", "\x00", "a: 1\na: 2\n"])
def test_a_file_that_is_none_is_told(bench: Bench, created: list[Mapping[str, Any]], text: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    code, _, err = bench.run("submit", str(tmp_path / "run.yaml"))
    assert (code, "run.yaml" in err, created) == (3, True, [])


def test_outside_of_a_cluster_it_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / "run.yaml").write_text(_TEXT)
    code, _, err = bench.run("submit", str(tmp_path / "run.yaml"))
    assert (code, "no pod of a cluster" in err) == (6, True)


def test_who_is_not_trusted_starts_nothing(bench: Bench, tmp_path: Path) -> None:
    assert bench.run("submit", str(tmp_path / "run.yaml"), "--untrusted")[0] == 2
