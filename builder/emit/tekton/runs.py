"""PipelineRuns: who runs, on which nodes, and until when. Pure.

The same run is created by hand, by the nightly, and by Pipelines-as-Code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.tekton.material import TEKTON, labels_of, lane, minutes, named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.emit.tekton.material import TektonFacts
    from builder.kernel import Arch

_Dict = dict[str, Any]
_SLACK = 10
"""Minutes in which pods get nodes and images."""


def make_run(
    facts: TektonFacts,
    word: str,
    *,
    params: Mapping[str, str] | None = None,
    git_credentials: str = "",
    by_name: bool = True,
) -> _Dict:
    """Return a run of a pipeline.

    Args:
        facts: what is known.
        word: which pipeline.
        params: of the run; others have their defaults.
        git_credentials: the Secret for a repository that is not public.
        by_name: the pipeline is named; else it is read by the cluster resolver, for runs that are not made by us.
    """
    full = named(facts, word)
    reference: _Dict = {"name": full}
    if not by_name:
        told = {"kind": "pipeline", "name": full, "namespace": facts.settings.namespace_name}
        reference = {"resolver": "cluster", "params": [{"name": key, "value": value} for key, value in told.items()]}
    spec: _Dict = {
        "pipelineRef": reference,
        "params": [{"name": key, "value": value} for key, value in (params or {}).items()],
        "timeouts": _timeouts(facts),
    }
    if word == "pull-request":
        spec["taskRunTemplate"] = {"serviceAccountName": named(facts, "untrusted"), "podTemplate": _pod(facts)}
        if facts.settings.isolation != "privileged":
            arch = facts.settings.arches[0]
            spec["taskRunSpecs"] = [{"pipelineTaskName": "build", "podTemplate": _building_pod(facts, arch)}]
    else:
        spec["taskRunTemplate"] = {"serviceAccountName": facts.settings.name, "podTemplate": _pod(facts)}
        spec["taskRunSpecs"] = [
            {
                "pipelineTaskName": lane(arch),
                "serviceAccountName": named(facts, "shard"),
                "podTemplate": _building_pod(facts, arch),
            }
            for arch in facts.settings.arches
        ]
    if git_credentials:
        spec["workspaces"] = [{"name": "git-credentials", "secret": {"secretName": git_credentials}}]
    metadata = {"generateName": f"{full}-", "namespace": facts.settings.namespace_name, "labels": labels_of(facts)}
    return {"apiVersion": TEKTON, "kind": "PipelineRun", "metadata": metadata, "spec": spec}


def _timeouts(facts: TektonFacts) -> _Dict:
    """Return all three: one that is left out is an hour, and a run that builds takes longer."""
    times, tries = facts.settings.minutes, facts.settings.retries + 1
    tasks, last = 2 * times.plan + tries * times.shard + _SLACK, times.gate + _SLACK
    return {"pipeline": minutes(tasks + last), "tasks": minutes(tasks), "finally": minutes(last)}


def _pod(facts: TektonFacts) -> _Dict:
    """Return what all pods have in common: no token of the cluster, no variables of its services."""
    del facts
    return {"automountServiceAccountToken": False, "enableServiceLinks": False}


def _building_pod(facts: TektonFacts, arch: Arch) -> _Dict:
    nodes = {"kubernetes.io/arch": arch.oci, **facts.settings.node_selectors.get(arch, {})}
    apart = {"hostUsers": False} if facts.settings.isolation == "user-namespaces" else {}
    return _pod(facts) | {"nodeSelector": nodes} | apart
