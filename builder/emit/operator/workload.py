"""The operator's pods, and what is around them. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from builder.emit.operator.naming import name_labels, new_object
from builder.emit.probes import make_probes

if TYPE_CHECKING:
    from builder.config.model.operator import OperatorSettings
    from builder.emit.operator.material import OperatorFacts

TEMPLATES_NAME, TEMPLATES_KEY = "operator-templates", "templates.json"
STATUS_PORT_NAME = "status"
_FOLDER = "/etc/kmod-operator"
_PORT = 8080
_PRIORITY = 1_000_000
"""Above what people run, below what the cluster itself is made of (2,000,000,000)."""
_API_PORTS = (443, 6443)
_DNS_PORTS = (53, 5353)


def make_deployment(facts: OperatorFacts, templates: str) -> dict[str, Any]:
    """Return the Deployment: one pod works, by a Lease, and the other one takes over where it ends."""
    settings = facts.settings
    labels = name_labels(settings)
    apart = {
        "weight": 100,
        "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": dict(labels)}},
    }
    pod = {
        "serviceAccountName": settings.name,
        "priorityClassName": settings.name,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "affinity": {
            "nodeAffinity": _with_image(facts),
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [apart]},
        },
        "terminationGracePeriodSeconds": 15,
        "containers": [_container(facts)],
        # Kubelet passes over one that is not there: the operator's image may lie where anybody may read.
        "imagePullSecrets": [{"name": settings.pull_secret}],
        "volumes": [{"name": "templates", "configMap": {"name": TEMPLATES_NAME}}],
    }
    # A pod reads them when it begins: others in their place are other pods.
    marks = {f"{settings.group}/templates": hashlib.sha256(templates.encode()).hexdigest()[:32]}
    return new_object("apps/v1", "Deployment", settings.name, settings) | {
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": {"labels": dict(labels), "annotations": marks}, "spec": pod},
        }
    }


def _with_image(facts: OperatorFacts) -> dict[str, Any]:
    """Return which nodes there is an image for."""
    known = {"kubernetes.io/os": ["linux"], "kubernetes.io/arch": [arch.oci for arch in facts.component.arches]}
    found = [{"key": key, "operator": "In", "values": values} for key, values in known.items()]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": found}]}}


def _container(facts: OperatorFacts) -> dict[str, Any]:
    def from_pod(name: str, path: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    return {
        "name": "operator",
        "image": facts.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["operator"],
        "env": [
            {"name": "KMOD_TEMPLATES", "value": f"{_FOLDER}/{TEMPLATES_KEY}"},
            from_pod("KMOD_NAMESPACE", "metadata.namespace"),
            from_pod("KMOD_POD", "metadata.name"),
            {"name": "KMOD_LISTEN", "value": str(_PORT)},
        ],
        "ports": [{"name": STATUS_PORT_NAME, "containerPort": _PORT}],
        **make_probes(STATUS_PORT_NAME, ready_s=10),
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "templates", "mountPath": _FOLDER, "readOnly": True}],
    }


def make_service(settings: OperatorSettings) -> dict[str, Any]:
    """Return the Service by which Prometheus finds the pods."""
    port = {"name": STATUS_PORT_NAME, "port": _PORT, "targetPort": STATUS_PORT_NAME}
    return new_object("v1", "Service", f"{settings.name}-metrics", settings) | {
        "spec": {"selector": name_labels(settings), "ports": [port]}
    }


def make_network_policy(facts: OperatorFacts) -> dict[str, Any]:
    """Return who may speak to the pods, and to whom they speak: the API server, names, and registries, wherever."""
    settings = facts.settings
    outward = [{"protocol": "TCP", "port": port} for port in sorted({*_API_PORTS, *facts.registry_ports})]
    names = [{"protocol": protocol, "port": port} for port in _DNS_PORTS for protocol in ("UDP", "TCP")]
    return new_object("networking.k8s.io/v1", "NetworkPolicy", settings.name, settings) | {
        "spec": {
            "podSelector": {"matchLabels": name_labels(settings)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": _PORT}]}],
            "egress": [{"ports": names}, {"ports": outward}],
        }
    }


def make_budget(settings: OperatorSettings) -> dict[str, Any]:
    """Return the PodDisruptionBudget: a drain takes one pod at a time."""
    return new_object("policy/v1", "PodDisruptionBudget", settings.name, settings) | {
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": name_labels(settings)}}
    }


def make_priority(settings: OperatorSettings) -> dict[str, Any]:
    """Return the PriorityClass: a node that is full of people's pods does not stop upgrades in the middle."""
    return new_object("scheduling.k8s.io/v1", "PriorityClass", settings.name, settings, cluster=True) | {
        "value": _PRIORITY,
        "globalDefault": False,
        "description": "The operator of drivers: not the first to go where a node is full.",
    }
