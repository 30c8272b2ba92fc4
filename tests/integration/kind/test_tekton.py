"""Pipelines as they are emitted, run by Tekton's own controllers, with real builds in pods and a real registry.

How each run ends is what docs/tekton.md says, and never green with nothing published.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from integration.kind.client import Refused, wait_until
from integration.kind.make import make
from integration.kind.pipeline_site import (
    NAMESPACE,
    TEKTON,
    PipelineSite,
    make_builder_image,
    make_site,
    newest,
    without,
)
from integration.kind.recipe import API_SERVER
from integration.kind.served_in_cluster import serve
from integration.kind.tekton_controllers import install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Machine
    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind
_OLD, _NEW = "6.1.*-cloud-amd64", "6.12.*-cloud-amd64"
_REPOSITORY = "drivers/ptemplate"
# Of what compiles for one of the two kernels only.
_PICKY = "#include <linux/version.h>\n#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)\n#error not this one\n#endif\n"
_AT_WORK = "compiles run in a room of its own"


@pytest.fixture(scope="module")
def site(
    cluster: Cluster, machine: Machine, lock_text: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PipelineSite]:
    install(cluster, registry.authority_file)
    builder = make_builder_image(machine, lock_text, registry, tmp_path_factory.mktemp("builder"))
    folder = tmp_path_factory.mktemp("served")
    with serve(cluster, registry.host.partition(":")[0], folder) as served:
        kernels = newest(lock_text, _OLD, _NEW)
        place = tmp_path_factory.mktemp("pipelines")
        yield make_site(machine, lock_text, registry, served, cluster.client, builder, place, kernels=kernels)


def _digests(site: PipelineSite, version: str) -> dict[str, str]:
    """Return what the registry has of a version, by tag."""
    mine = [tag for tag in site.tags(_REPOSITORY) if tag.startswith(f"{version}-")]
    return {tag: site.digest(f"{_REPOSITORY}:{tag}") for tag in mine}


def _use(site: PipelineSite, version: str, source: str = "") -> None:
    """Declare a version of the driver; ``source`` is put at the head of one of its files."""
    site.change(version=version)
    code = next((site.project / "kernel-module").rglob("ptemplate_char*.c"))
    mark = "/* from here on */\n"
    text = code.read_text().partition(mark)
    code.write_text(f"{source}{mark}{text[2] or text[0]}")
    site.commit()


def _wait_for_work(site: PipelineSite, name: str) -> None:
    """Wait until each shard of a run is so far that it compiles."""

    def is_at_work() -> bool:
        conditions = site.client.get(TEKTON, "PipelineRun", name, NAMESPACE).get("status", {}).get("conditions", [])
        assert not conditions or conditions[0]["status"] == "Unknown", conditions
        shards = site.task_runs(name, "shards-amd64")
        return len(shards) == 2 and site.log(name, "shards-amd64").count(_AT_WORK) == 2

    wait_until(is_at_work, seconds=600, what="the work of both shards")


def test_images_of_a_cluster_are_those_of_a_laptop(site: PipelineSite) -> None:
    _use(site, "1.0.0")
    run = site.carry_out()
    assert run.is_green, run
    assert run.tasks["shards-amd64"] == ["Succeeded", "Succeeded"]
    assert json.loads(run.results["TEST_OUTPUT"])["result"] == "SUCCESS"
    if place := os.environ.get("KMODSMITH_E2E_TIMES"):
        Path(place).write_text(json.dumps(site.times(run.name)))
    code, built = site.laptop.build(site.project)
    assert code == 0
    told = {cell["digest"] for cell in built["cells"]}
    assert len(told) == 2
    assert set(_digests(site, "1.0.0").values()) == told
    assert run.results["PLAN_ARTIFACT"].startswith(f"oci:{site.registry.host}/plans@sha256:")


def test_what_is_there_is_not_made_again_and_the_gate_looks_all_the_same(site: PipelineSite) -> None:
    """An empty plan: Tekton skips the shards; without the gate, that would be green whatever the registry has."""
    before = _digests(site, "1.0.0")
    run = site.carry_out()
    assert run.is_green, run
    assert "shards-amd64" not in run.tasks
    assert run.tasks["gate"] == ["Succeeded"]
    assert _digests(site, "1.0.0") == before


def test_a_release_is_of_a_project_that_was_checked(site: PipelineSite) -> None:
    run = site.carry_out("release")
    assert run.is_green, run
    assert (run.tasks["lint"], run.tasks["gate"]) == (["Succeeded"], ["Succeeded"])


def test_an_empty_plan_is_red_where_an_image_is_gone(site: PipelineSite) -> None:
    """The plan was made while all was there; then an image goes, and only the gate can know."""
    (tag, digest), *_ = sorted(_digests(site, "1.0.0").items())
    name = site.start()
    wait_until(lambda: site.task_runs(name, "plan"), seconds=60, what="the plan's task")
    wait_until(
        lambda: [item for item in site.task_runs(name, "plan") if item.get("status", {}).get("results")],
        seconds=300,
        what="the plan",
    )
    site.forget(_REPOSITORY, tag, digest)
    run = site.wait(name)
    assert not run.is_green
    assert run.tasks["gate"] == ["Failed"]
    assert "not-published" in site.log(name, "gate") or "not in its registry" in site.log(name, "gate")
    healed = site.carry_out()
    assert healed.is_green, healed
    assert _digests(site, "1.0.0")[tag] == digest


def test_a_cell_that_does_not_compile_is_told_and_keeps_no_other_from_being_published(site: PipelineSite) -> None:
    _use(site, "1.1.0", _PICKY)
    run = site.carry_out()
    assert not run.is_green
    assert run.tasks["shards-amd64"] == ["Succeeded", "Succeeded"], "a cell that fails is no failure of Tekton's"
    assert run.tasks["gate"] == ["Failed"]
    assert "not this one" in site.log(run.name, "gate")
    (tag,) = _digests(site, "1.1.0")
    assert "6.1." in tag


def test_a_followed_run_ends_as_a_build_here(site: PipelineSite) -> None:
    """By the run before: its report, its exit code and its logs come here."""
    runs = site.client.find(TEKTON, "PipelineRun", NAMESPACE)
    last = max(runs, key=lambda item: item["metadata"]["creationTimestamp"])["metadata"]["name"]
    kubectl = make([API_SERVER])["kubectl"]
    reach = {"PATH": f"{kubectl.parent}:{os.environ['PATH']}", "KUBECONFIG": os.environ["KMODSMITH_E2E_KUBECONFIG"]}
    code, told = site.laptop.with_environment(reach).tell(site.project, "follow", last)
    assert code == 11, "a compile failed"
    assert sorted(cell["status"] for cell in told["cells"]) == ["built", "failed"]
    logs = (site.project / ".kmodsmith" / "runs" / last).glob("shard-*/logs/*.log")
    assert any("not this one" in file.read_text() for file in logs)


def test_a_pod_that_is_killed_in_the_middle_costs_nothing_but_time(site: PipelineSite) -> None:
    _use(site, "1.2.0")
    name = site.start()
    _wait_for_work(site, name)
    pod = site.task_runs(name, "shards-amd64")[0]["status"]["podName"]
    killed = site.kill_pod(pod)
    run = site.wait(name)
    assert run.is_green, run
    assert len(_digests(site, "1.2.0")) == 2
    # Tekton 1.6 makes a pod that was deleted again, and one that failed is tried again: it is another one.
    shards = site.task_runs(name, "shards-amd64")
    pods = [site.client.get("v1", "Pod", item["status"]["podName"], NAMESPACE)["metadata"]["uid"] for item in shards]
    assert killed not in pods


def test_a_registry_that_goes_away_leaves_no_green_run_and_the_next_one_goes_on(site: PipelineSite) -> None:
    _use(site, "1.3.0")
    name = site.start()
    _wait_for_work(site, name)
    with without(site.registry):
        run = site.wait(name)
        assert not run.is_green
        assert run.tasks["gate"] == ["Failed"]
    assert _digests(site, "1.3.0") == {}
    again = site.carry_out()
    assert again.is_green, again
    assert len(_digests(site, "1.3.0")) == 2


def test_a_lane_without_shards_is_skipped_and_the_gate_decides(site: PipelineSite) -> None:
    """Toolkits of Debian run on one architecture; the other lane's matrix is empty."""
    site.change(tekton={"arches": ["x86_64", "aarch64"]})
    _use(site, "1.4.0")
    site.apply()
    try:
        run = site.carry_out()
        assert run.is_green, run
        assert "shards-arm64" not in run.tasks
        assert len(_digests(site, "1.4.0")) == 2
    finally:
        site.change(tekton={"arches": ["x86_64"]})
        site.commit()
        site.apply()


def test_a_change_is_checked_without_a_secret(site: PipelineSite) -> None:
    run = site.carry_out("pull-request")
    assert run.is_green, run
    assert run.tasks == {"lint": ["Succeeded"]}
    file = site.project / "pipelines" / "build.yaml"
    kept = file.read_text()
    file.write_text(kept.replace("finally:", "finallyy:"))
    stale = site.carry_out("pull-request", revision=site.push())
    file.write_text(kept)
    assert not stale.is_green
    assert "pipelines/build.yaml" in site.log(stale.name, "lint")


def test_pipelines_that_are_referenced_by_digest_run_without_being_applied(site: PipelineSite) -> None:
    code, sent = site.laptop.tell(site.project, "bundle", "tekton", "--to", f"{site.registry.host}/pipelines")
    assert code == 0, sent
    run = yaml.safe_load((site.project / "pipelines" / "runs" / "pull-request.yaml").read_text())
    params = {
        "bundle": sent["pipelines"],
        "kind": "pipeline",
        "name": "kmodsmith-pull-request",
        "secret": "kmodsmith-registry",
    }
    run["spec"]["pipelineRef"] = {
        "resolver": "bundles",
        "params": [{"name": key, "value": value} for key, value in params.items()],
    }
    name = site.client.create(run)["metadata"]["name"]
    ended = site.wait(name)
    assert ended.is_green, ended
    (task,) = site.task_runs(name, "lint")
    assert task["status"]["provenance"]["refSource"]["digest"] == {"sha256": sent["tasks"].rpartition(":")[2]}


def test_a_nightly_builds_what_appeared_and_nothing_else_and_two_of_them_do_no_harm(site: PipelineSite) -> None:
    """The lock in git lacks a kernel that the archive has by now; OpenShift's graph is out of reach, and that is told last."""
    kept = site.forget_kernel("6.12.")
    _use(site, "1.5.0")
    assert site.carry_out().is_green
    (before,) = _digests(site, "1.5.0").items()
    names = [site.start_nightly(f"by-hand-{number}") for number in range(2)]
    runs = [site.wait(name) for name in names]
    assert [run.is_green for run in runs] == [False, False], runs
    assert all(run.tasks["gate"] == ["Succeeded"] for run in runs)
    assert all(run.tasks["sources"] == ["Failed"] for run in runs)
    assert [len(run.tasks.get("shards-amd64", [])) for run in runs] == [1, 1]
    after = _digests(site, "1.5.0")
    assert len(after) == 2
    assert before in after.items()
    assert "index" in site.tags(_REPOSITORY)
    (site.project / "versions.lock.yaml").write_text(kept)
    site.forget_source("openshift")
    site.commit()
    calm = site.wait(site.start_nightly("by-hand-2"))
    assert calm.is_green, calm
    assert "shards-amd64" not in calm.tasks
    assert _digests(site, "1.5.0") == after


def test_a_tekton_that_knows_no_host_users_runs_no_pod_as_root_of_its_node(site: PipelineSite) -> None:
    """1.6.0 is one: it refuses the run; told to pass over what it does not know, its pods are refused."""
    site.change(tekton={"isolation": "user-namespaces", "retries": 0})
    _use(site, "1.6.0")
    site.apply()
    try:
        with pytest.raises(Refused, match=r"unknown field .*hostUsers"):
            site.start()
        run = site.wait(site.start(is_strict=False))
        assert not run.is_green
        shards = site.task_runs(run.name, "shards-amd64")
        assert len(shards) == 2
        for item in shards:
            assert item["status"]["conditions"][0]["status"] == "False"
            assert not item["status"].get("podName")
        assert "procMount" in str([item["status"]["conditions"] for item in shards])
        assert _digests(site, "1.6.0") == {}
    finally:
        site.change(tekton={"isolation": "privileged", "retries": 1})
        site.commit()
        site.apply()


def test_a_pod_that_may_make_no_jail_compiles_nothing(site: PipelineSite) -> None:
    """As under constraints that let in root and nothing else: it says so, and leaves that as evidence."""
    _use(site, "1.7.0")
    site.apply()
    task = yaml.safe_load((site.project / "pipelines" / "tasks" / "shard.yaml").read_text())
    task["metadata"]["name"] = "weaker-shard"
    (step,) = task["spec"]["steps"]
    step["securityContext"] = {"runAsUser": 0, "runAsNonRoot": False}
    wait_until(lambda: site.client.apply(task), what="the weaker task")
    plan = site.plan()
    name = site.start_task("weaker-shard", plan=plan, shard="0")
    ended: dict[str, Any] = wait_until(lambda: _end_of(site, name), seconds=600, what="the weaker shard")
    (of_step,) = ended["status"]["steps"]
    assert of_step["terminated"]["exitCode"] == 6
    log = site.client.text(
        f"/api/v1/namespaces/{NAMESPACE}/pods/{ended['status']['podName']}/log", container=of_step["container"]
    )
    assert "cannot be locked up" in log
    assert _digests(site, "1.7.0") == {}


def _end_of(site: PipelineSite, name: str) -> dict[str, Any]:
    found = site.client.get(TEKTON, "TaskRun", name, NAMESPACE)
    conditions = found.get("status", {}).get("conditions", [])
    return found if conditions and conditions[0]["status"] != "Unknown" else {}


def test_what_an_account_may_not_do_it_cannot(site: PipelineSite) -> None:
    """The nightly's may create runs, and not so much as look at a Secret."""
    for verb, resource, allowed in (
        ("create", "pipelineruns", True),
        ("get", "secrets", False),
        ("create", "pods", False),
    ):
        attributes = {"namespace": NAMESPACE, "verb": verb, "resource": resource}
        attributes |= {"group": "tekton.dev"} if resource == "pipelineruns" else {}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {"name": ""},
            "spec": {
                "user": f"system:serviceaccount:{NAMESPACE}:kmodsmith-nightly",
                "resourceAttributes": attributes,
            },
        }
        try:
            answer = site.client.create(review)
        except Refused as error:
            pytest.fail(str(error))
        assert answer["status"].get("allowed", False) == allowed
