"""What the operator may do, and nothing else. Pure.

It writes by server-side apply. For that the API server asks for 'patch', and where there is no such object yet for
'create' **with the name**, so that both can be bound to names; a POST has no name yet when it is judged. Only the Lease
is replaced ('update'). Roles, bindings, accounts, namespaces and security context constraints it may not write at all:
who writes those can be anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.config.model.operator import OperatorSettings
    from builder.emit.operator.material import DriverFacts, OperatorFacts

_READ = ("get", "list", "watch")
_WRITE = ("create", "patch", "delete")
LEASE_NAME = "kmod-operator"

_Rules = list[dict[str, Any]]


def make_cluster_rules(facts: OperatorFacts) -> _Rules:
    """Return what it may in the whole cluster."""
    settings = facts.settings
    kinds = settings.plural_name
    rules = [
        _rule(settings.group, [kinds], *_READ, "patch"),
        _rule(settings.group, [f"{kinds}/status"], "patch"),
        _rule("", ["nodes"], *_READ, "patch"),
        # Events of what is in no namespace, such as nodes, are kept in 'default'; a bundle gives no rights in another
        # namespace than its own, so these are in all.
        _rule("events.k8s.io", ["events"], "create", "list"),
    ]
    if named := sorted(item.driver.name for item in facts.drivers):
        rules.append(_rule("nfd.k8s-sigs.io", ["nodefeaturerules"], *_READ))
        rules.append(_rule("nfd.k8s-sigs.io", ["nodefeaturerules"], *_WRITE, names=named))
    if facts.is_openshift:
        rules.append(_rule("config.openshift.io", ["clusterversions"], *_READ))
        rules.append(_rule("machineconfiguration.openshift.io", ["machineconfigpools"], *_READ))
    return rules


def make_own_rules(settings: OperatorSettings) -> _Rules:
    """Return what it may in its own namespace: indexes, the last good one, one Secret, and the Lease."""
    return [
        # Indexes are named by people, so no name can stand here.
        _rule("", ["configmaps"], *_READ, "create", "patch"),
        _rule("", ["secrets"], "get", names=[settings.pull_secret]),
        _rule("coordination.k8s.io", ["leases"], "create"),
        _rule("coordination.k8s.io", ["leases"], "get", "update", names=[LEASE_NAME]),
    ]


def make_driver_rules(drivers: Sequence[DriverFacts]) -> _Rules:
    """Return what it may in a namespace of drivers: their Modules and device plugins, by name; pods of smoke tests."""
    modules = sorted(item.driver.name for item in drivers)
    plugins = sorted(item.plugin.component.name for item in drivers if item.plugin)
    rules = [
        _rule("kmm.sigs.x-k8s.io", ["modules"], *_READ),
        _rule("kmm.sigs.x-k8s.io", ["modules"], *_WRITE, names=modules),
    ]
    if plugins:
        for group, kind in (("apps", "daemonsets"), ("monitoring.coreos.com", "podmonitors")):
            rules += [_rule(group, [kind], *_READ), _rule(group, [kind], *_WRITE, names=plugins)]
    if any(item.plugin and item.plugin.plugin.smoke_test for item in drivers):
        # Of a POST no name is known when it is judged. Who may write the DaemonSets above can have any pod here anyhow.
        rules.append(_rule("", ["pods"], *_READ, "create", "delete"))
    return rules


def make_drain_rules() -> _Rules:
    """Return what draining takes: pods of a node, and their eviction, which budgets may refuse."""
    return [_rule("", ["pods"], "list"), _rule("", ["pods/eviction"], "create")]


def make_pool_rules() -> _Rules:
    """Return what pausing pools of machines takes."""
    return [_rule("machineconfiguration.openshift.io", ["machineconfigpools"], "patch")]


def _rule(group: str, resources: list[str], *verbs: str, names: Sequence[str] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {"apiGroups": [group], "resources": resources}
    return found | ({"resourceNames": list(names)} if names else {}) | {"verbs": list(verbs)}
