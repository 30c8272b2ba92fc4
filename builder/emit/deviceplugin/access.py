"""The account of a device plugin, and what it may do: on its nodes, and in the cluster. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from builder.emit.deviceplugin.dra import cluster_role
from builder.emit.kmm.version import Flavour

SELINUX_TYPE = "container_device_plugin_t"  # of container-selinux: may make sockets in kubelet's folder
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account; ``cluster_name`` names what it has in no namespace, and ``asks_api`` says that it needs rights."""

    name: str
    namespace: str
    cluster_name: str
    asks_api: bool


def make_access(account: Account, flavour: Flavour) -> list[dict[str, Any]]:
    """Return the account, its rights in the cluster where it needs any, and on OpenShift its constraint."""
    name, namespace = account.name, account.namespace
    # Also where the pod has one: its own word counts, and no other pod of the account gets a token by chance.
    found = [_object("v1", "ServiceAccount", name, namespace) | {"automountServiceAccountToken": False}]
    if account.asks_api:
        role = account.cluster_name
        found += [
            cluster_role(role),
            _object(f"{_RBAC}/v1", "ClusterRoleBinding", role) | _bound(account, "ClusterRole", role),
        ]
    if flavour is Flavour.UPSTREAM:
        return found
    rule = {
        "apiGroups": ["security.openshift.io"],
        "resources": ["securitycontextconstraints"],
        "resourceNames": [account.cluster_name],
        "verbs": ["use"],
    }
    return [
        *found,
        _constraint(account),
        _object(f"{_RBAC}/v1", "Role", name, namespace) | {"rules": [rule]},
        _object(f"{_RBAC}/v1", "RoleBinding", name, namespace) | _bound(account, "Role", name),
    ]


def _object(api: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def _bound(account: Account, kind: str, role: str) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}],
    }


def _constraint(account: Account) -> dict[str, Any]:
    """Return what the pod needs and nothing else: folders of the node, root's files in them, its token."""
    return _object("security.openshift.io/v1", "SecurityContextConstraints", account.cluster_name) | {
        "allowHostDirVolumePlugin": True,
        "allowHostIPC": False,
        "allowHostNetwork": False,
        "allowHostPID": False,
        "allowHostPorts": False,
        "allowPrivilegeEscalation": False,
        "allowPrivilegedContainer": False,
        "allowedCapabilities": [],
        "defaultAddCapabilities": [],
        # The schema wants it; where it is absent, OpenShift's own admission alone may put a null there.
        "priority": None,
        "requiredDropCapabilities": ["ALL"],
        "readOnlyRootFilesystem": True,
        "runAsUser": {"type": "MustRunAs", "uid": 0},
        "seLinuxContext": {"type": "MustRunAs", "seLinuxOptions": {"type": SELINUX_TYPE}},
        "seccompProfiles": ["runtime/default"],
        "fsGroup": {"type": "MustRunAs"},
        "supplementalGroups": {"type": "MustRunAs"},
        "volumes": ["hostPath", *(["projected"] if account.asks_api else [])],
        "users": [],
        "groups": [],
    }
