"""What starts pipelines."""

from __future__ import annotations

import yaml
from fakes.tekton_facts import hold_to_schema, tekton_facts

from builder.emit.tekton.runs import make_run
from builder.emit.tekton.starts import make_forge_runs, make_nightly, make_repository


def test_the_nightly_creates_the_run_that_people_would_create() -> None:
    told, job = make_nightly(tekton_facts(schedule="5 4 * * 1", time_zone="Europe/Prague"))
    assert yaml.safe_load(told["data"]["run.yaml"]) == make_run(tekton_facts(), "nightly")
    spec = job["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("5 4 * * 1", "Europe/Prague", "Forbid")
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["submit", "/etc/kmodsmith/run.yaml"]
    assert pod["volumes"][0]["configMap"]["name"] == told["metadata"]["name"]


def test_the_forge_starts_pipelines_of_the_cluster_and_not_of_a_change() -> None:
    runs = make_forge_runs(tekton_facts())
    assert list(runs) == ["pull-request", "build", "release"]
    for run in runs.values():
        hold_to_schema(run, "1.3")
        assert run["spec"]["pipelineRef"]["resolver"] == "cluster"
    assert make_repository(tekton_facts())["spec"]["settings"] == {"pipelinerun_provenance": "default_branch"}


def test_each_event_starts_one_of_them() -> None:
    events = {
        word: (marks["pipelinesascode.tekton.dev/on-event"], marks["pipelinesascode.tekton.dev/on-target-branch"])
        for word, run in make_forge_runs(tekton_facts(revision="stable")).items()
        for marks in [run["metadata"]["annotations"]]
    }
    assert events == {
        "pull-request": ("[pull_request]", "[stable]"),
        "build": ("[push]", "[stable]"),
        "release": ("[push]", "[refs/tags/*]"),
    }


def test_the_forge_fills_in_what_it_knows_and_nothing_else_looks_like_it() -> None:
    for run in make_forge_runs(tekton_facts()).values():
        assert [param["value"] for param in run["spec"]["params"]] == ["{{ repo_url }}", "{{ revision }}"]
        assert str(run).count("{{") == 3, "the third is the Secret of a repository that is not public"


def test_the_repository_is_named_as_browsers_know_it() -> None:
    assert make_repository(tekton_facts())["spec"]["url"] == "https://git.test/org/drivers"
