"""Rights that are wider than what an operator of drivers needs, or that are rights to give oneself others. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.kmm.documents import as_mapping
from builder.emit.kmm.problem import Problem, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.emit.kmm.documents import KubernetesObject
    from builder.emit.kmm.problem import Path

_WRITE = frozenset({"create", "update", "patch", "*"})
_READ = frozenset({"get", "list", "watch", "*"})
# Resource, by its group, that who writes it becomes more than he was.
_POWER: Mapping[str, str] = {
    "rbac.authorization.k8s.io/roles": "rights", "rbac.authorization.k8s.io/rolebindings": "rights",
    "rbac.authorization.k8s.io/clusterroles": "rights", "rbac.authorization.k8s.io/clusterrolebindings": "rights",
    "security.openshift.io/securitycontextconstraints": "what pods may be",
    "admissionregistration.k8s.io/mutatingwebhookconfigurations": "what others write",
    "admissionregistration.k8s.io/validatingwebhookconfigurations": "what others may write",
    "apiextensions.k8s.io/customresourcedefinitions": "kinds, which are OLM's to install",
    "/serviceaccounts/token": "tokens of any account", "/pods/exec": "any pod", "/nodes/proxy": "any node",
    "/pods/attach": "any pod",
}  # fmt: skip
_STRONG_VERBS = {
    "escalate": "give itself any right",
    "bind": "give itself any role",
    "impersonate": "be somebody else",
}


def check_role(item: KubernetesObject) -> Iterator[Problem]:
    """Check a role of a bundle, or whom it is bound to."""
    data = as_mapping(item.data)
    if item.kind.endswith("Binding"):
        name = as_mapping(data.get("roleRef")).get("name")
        if name in ("cluster-admin", "admin", "edit"):
            yield warn(("roleRef", "name"), "all-rights", f"it gives the role {name}, which may do nearly everything")
        return
    rules = data.get("rules")
    if not isinstance(rules, list):
        yield Problem(path=(), code="rights", message="has no rules")
        return
    yield from check_rules(rules, ("rules",), is_cluster=item.kind == "ClusterRole")


def check_rules(rules: Sequence[Any], path: Path, *, is_cluster: bool) -> Iterator[Problem]:
    """Check rules that stand at ``path``; those of a namespace reach less far."""
    for number, one in enumerate(rules):
        yield from _check_rule(as_mapping(one), (*path, number), is_cluster=is_cluster)


def _check_rule(rule: Mapping[str, Any], path: Path, *, is_cluster: bool) -> Iterator[Problem]:
    verbs, groups = _words(rule.get("verbs")), _words(rule.get("apiGroups"))
    resources = _words(rule.get("resources"))
    if not verbs:
        yield Problem(path=path, code="rights", message="a rule without verbs allows nothing, and is refused")
    if not resources and not _words(rule.get("nonResourceURLs")):
        yield Problem(path=path, code="rights", message="a rule names resources, or paths that are none")
        return
    if resources and not groups:
        yield Problem(path=path, code="rights", message="a rule of resources names their apiGroups; '' is the core's")
    wild = [name for name, found in (("apiGroups", groups), ("resources", resources), ("verbs", verbs)) if "*" in found]
    if len(wild) == 3:  # noqa: PLR2004 - all three
        yield warn(path, "all-rights", "it may do everything")
        return
    for name in wild:
        yield warn((*path, name), "wildcard", f"{name} is '*': also what comes with later releases")
    for verb, what in _STRONG_VERBS.items():
        if verb in verbs:
            yield warn((*path, "verbs"), "power", f"{verb!r}: it can {what}")
    named = bool(_words(rule.get("resourceNames")))
    for group in groups:
        for resource in resources:
            yield from _check_resource(f"{group}/{resource}", verbs, path, named=named, is_cluster=is_cluster)


def _check_resource(
    resource: str, verbs: frozenset[str], path: Path, *, named: bool, is_cluster: bool
) -> Iterator[Problem]:
    what = _POWER.get(resource)
    if what and verbs & _WRITE and not named:
        yield warn((*path, "resources"), "power", f"who writes {resource.lstrip('/')} decides {what}")
    if resource == "/secrets" and verbs & _READ and not named:
        where = "all namespaces" if is_cluster else "its namespace"
        yield warn((*path, "resources"), "secrets", f"it reads all Secrets of {where}: name those that it needs")
    if resource in {"policy/podsecuritypolicies", "extensions/podsecuritypolicies"}:
        yield warn((*path, "resources"), "removed-api", "Kubernetes 1.25 and later have no PodSecurityPolicy")


def _words(found: Any) -> frozenset[str]:
    return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list) else frozenset()
