"""Files of pipelines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.tekton.access import make_accounts, make_constraints, make_namespace, make_network_policy
from builder.emit.tekton.pipelines import make_pipelines
from builder.emit.tekton.readme import emit_readme
from builder.emit.tekton.runs import make_run
from builder.emit.tekton.starts import make_forge_runs, make_nightly, make_repository
from builder.emit.tekton.tasks import make_tasks
from builder.writing import emit_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.emit.tekton.material import TektonFacts

FOLDER, FORGE_FOLDER = "pipelines", ".tekton"
_HEAD = "# Written by 'emit tekton' from versions.yaml; change that, not this file.\n"


def emit_tekton_files(facts: TektonFacts) -> dict[str, str]:
    """Return files by path; equal facts give equal files."""
    tasks, pipelines = make_tasks(facts), make_pipelines(facts)
    applied: dict[str, Sequence[Mapping[str, Any]]] = {
        "namespace.yaml": [make_namespace(facts)],
        "access.yaml": make_accounts(facts),
        "network-policy.yaml": [make_network_policy(facts)],
        **{f"tasks/{word}.yaml": [task] for word, task in tasks.items()},
        **{f"{word}.yaml": [pipeline] for word, pipeline in pipelines.items()},
        "nightly-cronjob.yaml": make_nightly(facts),
    }
    constraints = {"constraints.yaml": make_constraints(facts)}
    others: dict[str, Sequence[Mapping[str, Any]]] = {
        "kustomization.yaml": [_kustomization(applied)],
        **{f"openshift/{name}": objects for name, objects in constraints.items()},
        "openshift/kustomization.yaml": [_kustomization(["../", *constraints])],
        "pipelines-as-code/repository.yaml": [make_repository(facts)],
        **{f"runs/{word}.yaml": [make_run(facts, word)] for word in pipelines},
    }
    files = {f"{FOLDER}/{name}": _HEAD + emit_yaml(*objects) for name, objects in (applied | others).items()}
    for word, run in make_forge_runs(facts).items():
        files[f"{FORGE_FOLDER}/{facts.settings.name}-{word}.yaml"] = _HEAD + emit_yaml(run)
    files[f"{FOLDER}/README.md"] = emit_readme(facts, tasks, pipelines, folder=FOLDER)
    return files


def _kustomization(files: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(files)}
