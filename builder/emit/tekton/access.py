"""Who the pods are, and what they may do: nearly nothing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.tekton.material import PART_OF, named, new_object
from builder.emit.tekton.pods import CAPABILITIES

if TYPE_CHECKING:
    from builder.emit.tekton.material import TektonFacts

_Dict = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


def make_namespace(facts: TektonFacts) -> _Dict:
    """Return the namespace: shards need more than the restricted rules let in."""
    space = new_object(facts, "v1", "Namespace", facts.settings.namespace_name, cluster=True)
    space["metadata"]["labels"] |= {"pod-security.kubernetes.io/enforce": "privileged"}
    return space


def make_accounts(facts: TektonFacts) -> list[_Dict]:
    """Return the accounts: of small pods, of shards, of strangers' changes, and of the nightly.

    Only the nightly's has a right, and a token: it starts pipelines, and may do nothing else.
    """
    pull = {"imagePullSecrets": [{"name": facts.settings.registry_secret}]}
    accounts = [
        new_object(facts, "v1", "ServiceAccount", name) | {"automountServiceAccountToken": False} | more
        for name, more in (
            (facts.settings.name, pull),
            (named(facts, "shard"), pull),
            # Kubelet pulls the builder image for it with this Secret; its pods see none of it.
            (named(facts, "untrusted"), pull),
            (named(facts, "nightly"), pull),
        )
    ]
    rules = [{"apiGroups": ["tekton.dev"], "resources": ["pipelineruns"], "verbs": ["create"]}]
    role = new_object(facts, f"{_RBAC}/v1", "Role", named(facts, "nightly")) | {"rules": rules}
    return [*accounts, role, _bind(facts, "nightly", "Role", named(facts, "nightly"), ["nightly"])]


def _bind(facts: TektonFacts, word: str, kind: str, role: str, accounts: list[str]) -> _Dict:
    binding = new_object(facts, f"{_RBAC}/v1", "RoleBinding", named(facts, word))
    namespace = facts.settings.namespace_name
    subjects = [{"kind": "ServiceAccount", "name": named(facts, item), "namespace": namespace} for item in accounts]
    return binding | {"roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role}, "subjects": subjects}


def make_network_policy(facts: TektonFacts) -> _Dict:
    """Return that nobody may speak to the pods; they speak to registries and archives, which have no fixed address."""
    selector = {"matchLabels": {PART_OF: facts.settings.name}}
    return new_object(facts, "networking.k8s.io/v1", "NetworkPolicy", facts.settings.name) | {
        "spec": {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": []}
    }


def make_constraints(facts: TektonFacts) -> list[_Dict]:
    """Return what lets OpenShift run shards: the constraints, and who may use them."""
    apart = facts.settings.isolation == "user-namespaces"
    name = named(facts, "shard")
    untrusted = ["untrusted"] if apart else []
    constraints = new_object(facts, "security.openshift.io/v1", "SecurityContextConstraints", name, cluster=True)
    constraints["metadata"]["annotations"] = {
        "kubernetes.io/description": f"Shards of {facts.settings.name}: {_WHY[apart]}"
    }
    constraints |= {
        "allowHostDirVolumePlugin": False,
        "allowHostIPC": False,
        "allowHostNetwork": False,
        "allowHostPID": False,
        "allowHostPorts": False,
        "allowPrivilegeEscalation": True,
        "allowPrivilegedContainer": not apart,
        "allowedCapabilities": list(CAPABILITIES) if apart else ["*"],
        "defaultAddCapabilities": None,
        "fsGroup": {"type": "RunAsAny"},
        "priority": None,
        "readOnlyRootFilesystem": False,
        "requiredDropCapabilities": None,
        "runAsUser": {"type": "RunAsAny"},
        # The type under which containers may mount inside of themselves.
        "seLinuxContext": {"type": "MustRunAs", "seLinuxOptions": {"type": "container_engine_t"}}
        if apart
        else {"type": "RunAsAny"},
        "seccompProfiles": ["runtime/default"] if apart else ["*"],
        "supplementalGroups": {"type": "RunAsAny"},
        "userNamespaceLevel": "RequirePodLevel" if apart else "AllowHostLevel",
        "users": [],
        "groups": [],
        "volumes": ["configMap", "downwardAPI", "emptyDir", "projected", "secret"],
    }
    use = {
        "apiGroups": ["security.openshift.io"], "resources": ["securitycontextconstraints"],
        "resourceNames": [name], "verbs": ["use"],
    }  # fmt: skip
    role = new_object(facts, f"{_RBAC}/v1", "Role", name) | {"rules": [use]}
    return [constraints, role, _bind(facts, "shard", "Role", name, ["shard", *untrusted])]


_WHY = {
    True: "root in a user namespace of the pod's own, and nobody outside of it",
    False: "root of the node, as 'isolation: privileged' of versions.yaml asks",
}
