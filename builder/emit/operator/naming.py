"""How objects of the operator are called, and told from others. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builder.config.model.operator import OperatorSettings

RBAC = "rbac.authorization.k8s.io"


def name_labels(settings: OperatorSettings) -> dict[str, str]:
    """Return labels of what belongs to the operator; the first one also chooses its pods."""
    return {"app.kubernetes.io/name": settings.name}


def new_object(
    api_version: str, kind: str, name: str, settings: OperatorSettings, *, cluster: bool = False
) -> dict[str, Any]:
    """Return the beginning of an object: of the operator's namespace, or of the cluster."""
    metadata: dict[str, Any] = {"name": name}
    if not cluster:
        metadata["namespace"] = settings.namespace_name
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata | {"labels": name_labels(settings)}}


def bind(
    settings: OperatorSettings, name: str, rules: list[dict[str, Any]], *, namespace: str = ""
) -> list[dict[str, Any]]:
    """Return a role and its binding to the operator's account, in a namespace or in the cluster."""
    kind = "Role" if namespace else "ClusterRole"
    metadata: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata |= {"labels": name_labels(settings)}
    account = {"kind": "ServiceAccount", "name": settings.name, "namespace": settings.namespace_name}
    api = f"{RBAC}/v1"
    return [
        {"apiVersion": api, "kind": kind, "metadata": metadata, "rules": rules},
        {
            "apiVersion": api,
            "kind": f"{kind}Binding",
            "metadata": {**metadata, "labels": dict(metadata["labels"])},
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [account],
        },
    ]
