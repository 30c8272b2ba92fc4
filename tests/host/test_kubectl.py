"""A cluster by kubectl or oc: what is asked, and what its refusals become."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.pipeline_runs import FakeCluster, add_cluster, describe_run

from builder.errors import FormatError, HostError, SourceError, UsageError
from builder.host.kubectl import check_name, find_kubectl

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


@pytest.fixture
def cluster(fake_tools: FakeTools, tmp_path: Path) -> FakeCluster:
    return add_cluster(fake_tools, tmp_path / "cluster")


def test_an_object_is_asked_for_by_name_in_its_place(cluster: FakeCluster, fake_tools: FakeTools) -> None:
    cluster.say(describe_run())
    found = find_kubectl("builds", "prod", {}).get("pipelineruns.tekton.dev", "r")
    assert found == describe_run()
    (words,) = fake_tools.calls("kubectl")
    assert words[:2] == ["--namespace=builds", "--context=prod"]
    assert words[-2:] == ["--", "r"]


def test_without_a_context_it_is_the_current_one(cluster: FakeCluster, fake_tools: FakeTools) -> None:
    cluster.say(describe_run())
    find_kubectl("builds", "", {}).find("taskruns.tekton.dev", "a=b")
    assert not [word for word in fake_tools.calls("kubectl")[0] if word.startswith("--context")]


def test_oc_will_do(fake_tools: FakeTools, tmp_path: Path) -> None:
    add_cluster(fake_tools, tmp_path / "cluster", "oc").say(describe_run())
    assert find_kubectl("n", "", {}).get("pipelineruns.tekton.dev", "r")["metadata"]["name"] == "r"


@pytest.mark.usefixtures("fake_tools")
def test_without_either_it_is_said() -> None:
    with pytest.raises(HostError, match="neither kubectl nor oc"):
        find_kubectl("n", "", {})


def test_of_the_environment_only_what_log_in_programs_need_is_handed_on(cluster: FakeCluster) -> None:
    del cluster
    given = {"KUBECONFIG": "k", "AWS_PROFILE": "p", "SECRET": "s", "LD_PRELOAD": "x"}
    assert find_kubectl("n", "", given).environment == {"KUBECONFIG": "k", "AWS_PROFILE": "p"}


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ('Error from server (NotFound): pipelineruns.tekton.dev "r" not found', UsageError, "not found"),
        ("Error from server (Forbidden): no", SourceError, "Forbidden"),
        ("Unable to connect to the server: dial tcp", SourceError, "Unable to connect"),
    ],
)
def test_refusals_are_told_in_the_clusters_words(
    cluster: FakeCluster, said: str, kind: type[Exception], words: str
) -> None:
    cluster.write("refusal", f"a warning\n{said}\n")
    with pytest.raises(kind, match=words):
        find_kubectl("n", "", {}).get("pipelineruns.tekton.dev", "r")


def test_what_is_no_json_is_damage(cluster: FakeCluster) -> None:
    cluster.write("run", "{")
    with pytest.raises(FormatError, match="what kubectl says of pipelineruns"):
        find_kubectl("n", "", {}).get("pipelineruns.tekton.dev", "r")


def test_an_object_is_created_strictly_and_once(cluster: FakeCluster, fake_tools: FakeTools) -> None:
    cluster.write("created", '{"metadata": {"name": "r-1"}}')
    assert find_kubectl("n", "", {}).create({"kind": "PipelineRun", "x": "ü"})["metadata"]["name"] == "r-1"
    assert json.loads((cluster.folder / "sent").read_text()) == {"kind": "PipelineRun", "x": "ü"}
    assert "--validate=strict" in fake_tools.calls("kubectl")[0]
    cluster.write("refusal", "Error from server (BadRequest): strict decoding error\n")
    with pytest.raises(SourceError, match="strict decoding"):
        find_kubectl("n", "", {}).create({"kind": "PipelineRun"})
    assert len(fake_tools.calls("kubectl")) == 2


def test_a_log_that_is_gone_is_empty(cluster: FakeCluster) -> None:
    cluster.write("log", "line\n")
    assert find_kubectl("n", "", {}).log("pod", "step-a") == "line\n"
    cluster.write("refusal", "gone")
    assert find_kubectl("n", "", {}).log("pod", "step-a") == ""


@pytest.mark.parametrize("name", ["", "-o=yaml", "../x", "A", "a b", "a\n", "a" * 300])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        check_name(name)
