"""What starts pipelines: the nightly's CronJob, and Pipelines-as-Code. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.tekton.material import labels_of, named, new_object
from builder.emit.tekton.pods import PROGRAM, TMP, plain_rights
from builder.emit.tekton.runs import make_run
from builder.writing import emit_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.emit.tekton.material import TektonFacts

_Dict = dict[str, Any]
_PLACE, _FILE = "/etc/kmodsmith", "run.yaml"
_PAC = "pipelinesascode.tekton.dev"
_KEPT = "5"
# On which event of the forge, and with which revision.
_EVENTS: Mapping[str, Mapping[str, str]] = {
    "pull-request": {"on-event": "[pull_request]", "cancel-in-progress": "true"},
    "build": {"on-event": "[push]"},
    "release": {"on-event": "[push]"},
}


def make_nightly(facts: TektonFacts) -> list[_Dict]:
    """Return the nightly's CronJob, and the run that it creates. Tekton itself has no clock."""
    settings = facts.settings
    name = named(facts, "nightly")
    text = emit_yaml(make_run(facts, "nightly"))
    container = {
        "name": "start",
        "image": settings.builder,
        "command": [PROGRAM],
        "args": ["submit", f"{_PLACE}/{_FILE}"],
        "env": [{"name": "HOME", "value": TMP}, {"name": "KMODSMITH_WORK_DIR", "value": f"{TMP}/kmodsmith"}],
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": plain_rights(),
        "volumeMounts": [
            {"name": "run", "mountPath": _PLACE, "readOnly": True}, {"name": "tmp", "mountPath": TMP},
        ],
    }  # fmt: skip
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": True,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "run", "configMap": {"name": name}}, {"name": "tmp", "emptyDir": {}}],
    }
    job = {
        "schedule": settings.schedule,
        "timeZone": settings.time_zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 3,
                "activeDeadlineSeconds": 600,
                "template": {"metadata": {"labels": labels_of(facts)}, "spec": pod},
            }
        },
    }
    return [
        new_object(facts, "v1", "ConfigMap", name) | {"data": {_FILE: text}},
        new_object(facts, "batch/v1", "CronJob", name) | {"spec": job},
    ]


def make_forge_runs(facts: TektonFacts) -> dict[str, _Dict]:
    """Return what Pipelines-as-Code runs on events of the forge, by pipeline.

    Pipelines are read out of the cluster: a change cannot propose the pipeline that judges it.
    """
    targets = {"pull-request": facts.settings.revision, "build": facts.settings.revision, "release": "refs/tags/*"}
    found = {}
    for word, events in _EVENTS.items():
        params = {"repo-url": "{{ repo_url }}", "revision": "{{ revision }}"}
        run = make_run(facts, word, params=params, git_credentials="{{ git_auth_secret }}", by_name=False)
        # One name for each file: of two runs with one name, neither is found.
        run["metadata"] |= {
            "annotations": {
                f"{_PAC}/on-target-branch": f"[{targets[word]}]",
                f"{_PAC}/max-keep-runs": _KEPT,
                **{f"{_PAC}/{key}": value for key, value in events.items()},
            }
        }
        found[word] = run
    return found


def make_repository(facts: TektonFacts) -> _Dict:
    """Return the Repository of Pipelines-as-Code: what is run is what the main branch says, not what a change says."""
    return new_object(facts, f"{_PAC}/v1alpha1", "Repository", facts.settings.name) | {
        "spec": {
            "url": facts.settings.source.removesuffix(".git"),
            "concurrency_limit": 1,
            "settings": {"pipelinerun_provenance": "default_branch"},
        }
    }
