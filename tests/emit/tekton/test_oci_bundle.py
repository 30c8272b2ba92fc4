"""Bundles as Tekton's resolver reads them: one object a layer, and Pipelines that name Tasks by digest."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
from fakes.tekton_facts import EVERYTHING, hold_to_schema, tekton_facts

from builder.digest import sha256_of
from builder.emit.tekton.oci_bundle import MOST_OBJECTS, Bundle, make_pipeline_bundle, make_task_bundle
from builder.emit.tekton.tasks import make_tasks

_TASKS = f"quay.test/org/pipelines@sha256:{'c' * 64}"


def _objects(bundle: Bundle) -> list[dict[str, Any]]:
    blobs = {sha256_of(blob): blob for blob in bundle.blobs}
    found = []
    for layer in json.loads(bundle.manifest)["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blobs[layer["digest"]])) as archive:
            (member,) = archive.getmembers()
            stream = archive.extractfile(member)
            assert stream is not None
            content = json.loads(stream.read())
        assert layer["annotations"] == {
            "dev.tekton.image.apiVersion": "v1",
            "dev.tekton.image.kind": content["kind"].lower(),
            "dev.tekton.image.name": content["metadata"]["name"],
        }
        found.append(content)
    return found


@pytest.mark.parametrize("settings", [{}, EVERYTHING, {"isolation": "privileged"}], ids=["least", "all", "privileged"])
def test_bundles_hold_all_objects_and_no_more_than_a_resolver_reads(settings: dict[str, Any]) -> None:
    facts = tekton_facts(**settings)
    tasks, pipelines = _objects(make_task_bundle(facts)), _objects(make_pipeline_bundle(facts, _TASKS))
    assert {item["metadata"]["name"] for item in tasks} == {
        item["metadata"]["name"] for item in make_tasks(facts).values()
    }
    assert max(len(tasks), len(pipelines)) <= MOST_OBJECTS
    for item in (*tasks, *pipelines):
        assert "namespace" not in item["metadata"]
        for version in ("1.3", "1.15"):
            hold_to_schema(item, version)


def test_pipelines_take_their_tasks_of_the_bundle_that_is_named() -> None:
    for pipeline in _objects(make_pipeline_bundle(tekton_facts(), _TASKS)):
        for task in (*pipeline["spec"]["tasks"], *pipeline["spec"].get("finally", [])):
            said = {item["name"]: item["value"] for item in task["taskRef"]["params"]}
            assert task["taskRef"].keys() == {"resolver", "params"}
            assert (said["bundle"], said["kind"]) == (_TASKS, "task")
            assert said["secret"] == "kmodsmith-registry"
            assert said["name"].startswith("kmodsmith-")


def test_equal_settings_are_equal_digests_and_others_are_not() -> None:
    assert make_task_bundle(tekton_facts()).digest == make_task_bundle(tekton_facts()).digest
    assert make_task_bundle(tekton_facts()).digest != make_task_bundle(tekton_facts(kvm="example.com/kvm")).digest
    assert make_task_bundle(tekton_facts()).digest == make_task_bundle(tekton_facts(namespace="other")).digest


def test_what_is_emitted_is_not_changed_by_it() -> None:
    facts = tekton_facts()
    first = make_pipeline_bundle(facts, _TASKS).digest
    assert make_pipeline_bundle(facts, _TASKS).digest == first


def test_layers_are_those_that_the_configuration_names() -> None:
    bundle = make_task_bundle(tekton_facts())
    config = json.loads(bundle.blobs[-1])
    layers = [layer["digest"] for layer in json.loads(bundle.manifest)["layers"]]
    assert config["rootfs"]["diff_ids"] == layers
    assert json.loads(bundle.manifest)["config"]["digest"] == sha256_of(bundle.blobs[-1])
