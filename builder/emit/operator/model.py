"""What the operator consists of in a cluster: one list of objects, of which every format is made. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builder.emit.deviceplugin.access import make_access as make_plugin_access
from builder.emit.kmm.files import make_access, make_namespace
from builder.emit.operator.access import (
    make_cluster_rules,
    make_drain_rules,
    make_driver_rules,
    make_own_rules,
    make_pool_rules,
)
from builder.emit.operator.crd import API_VERSION, make_crd
from builder.emit.operator.naming import bind, name_labels, new_object
from builder.emit.operator.templates import make_templates
from builder.emit.operator.workload import (
    TEMPLATES_KEY,
    TEMPLATES_NAME,
    make_budget,
    make_deployment,
    make_network_policy,
    make_priority,
    make_service,
)
from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.config.model.operator import OperatorSettings
    from builder.emit.operator.material import DriverFacts, OperatorFacts

# etcd takes 1.5 MiB for a request, and Kubernetes 1 MiB for what is in a ConfigMap.
_MOST_TEMPLATES = 1_000_000

_Objects = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionalRole:
    """Rights that the operator does without, in a file of their own.

    Attributes:
        name: as the conditions of the operator call it.
        objects: ClusterRole and ClusterRoleBinding.
        because: what it is for, a sentence.
    """

    name: str
    objects: _Objects
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorObjects:
    """Objects in the order in which they are applied.

    Attributes:
        crd: the vendor's kind.
        namespace: the operator's own.
        account: ServiceAccount.
        cluster_rules, own_rules: what it may in the cluster, and in its namespace.
        access: roles and bindings of these.
        drivers: what drivers' namespaces have before the operator comes, and what an administrator alone may give:
            the namespaces, accounts, roles to be privileged, and what the operator may do there.
        workload: ConfigMap, Deployment and what belongs to it.
        optional: further roles.
        example: an object of the vendor's kind for each driver.
    """

    crd: dict[str, Any]
    namespace: dict[str, Any]
    account: dict[str, Any]
    cluster_rules: _Objects
    own_rules: _Objects
    access: _Objects
    drivers: _Objects
    workload: _Objects
    optional: tuple[OptionalRole, ...] = ()
    example: _Objects = field(default_factory=list)

    @property
    def all(self) -> _Objects:
        """All objects but the optional ones."""
        return [self.crd, self.namespace, self.account, *self.access, *self.drivers, *self.workload]

    @property
    def deployment(self) -> dict[str, Any]:
        return next(item for item in self.workload if item["kind"] == "Deployment")


def make_operator(facts: OperatorFacts) -> OperatorObjects:
    """Return all objects; equal facts give equal objects.

    Raises:
        UsageError: a driver is one that the operator cannot bring, or has something that is called as the operator's,
            because of what versions.yaml says.
    """
    settings = facts.settings
    templates = json.dumps(make_templates(facts), indent=1, sort_keys=True) + "\n"
    if len(templates.encode()) > _MOST_TEMPLATES:
        raise UsageError(
            f"what the operator is told of its drivers has {len(templates.encode())} bytes, and a ConfigMap takes "
            f"{_MOST_TEMPLATES}",
            hint="name fewer drivers under operator.drivers in versions.yaml, the others want an operator of theirs",
        )
    config = new_object("v1", "ConfigMap", TEMPLATES_NAME, settings) | {"data": {TEMPLATES_KEY: templates}}
    cluster_rules, own_rules = make_cluster_rules(facts), make_own_rules(settings)
    made = OperatorObjects(
        crd=make_crd(settings, [item.driver.name for item in facts.drivers]),
        namespace=_namespace(facts),
        account=new_object("v1", "ServiceAccount", settings.name, settings),
        cluster_rules=cluster_rules,
        own_rules=own_rules,
        access=[
            *bind(settings, settings.name, cluster_rules),
            *bind(settings, settings.name, own_rules, namespace=settings.namespace_name),
        ],
        drivers=_drivers(facts),
        workload=[
            config,
            make_priority(settings),
            make_deployment(facts, templates),
            make_service(settings),
            make_network_policy(facts),
            make_budget(settings),
        ],
        optional=_optional(facts),
        example=[_example(settings, item) for item in facts.drivers],
    )
    _check_names(made.all)
    return made


def _check_names(objects: _Objects) -> None:
    """Refuse two objects of one name: that which is applied last would take the place of the other."""
    seen: set[str] = set()
    for item in objects:
        metadata = item["metadata"]
        called = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
        name = f"{item['kind']} {called}"
        if name in seen:
            raise UsageError(
                f"two objects would be called {name}, and the one that is applied last would take the other's place",
                hint="give the operator a namespace and name that no driver and component has (operator.namespace, "
                "operator.name), or change the driver's kmm.namespace in versions.yaml",
            )
        seen.add(name)


def _namespace(facts: OperatorFacts) -> dict[str, Any]:
    settings = facts.settings
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace"}
    return found | {"metadata": {"name": settings.namespace_name, "labels": name_labels(settings) | labels}}


def _drivers(facts: OperatorFacts) -> _Objects:
    """Return what is in drivers' namespaces: several drivers may share one."""
    found: _Objects = []
    names: set[str] = set()
    for item in facts.drivers:
        if item.kmm.namespace not in names:
            found.append(make_namespace(item.kmm))
        names.add(item.kmm.namespace)
    for item in facts.drivers:
        found += make_access(item.kmm, facts.flavour)
        if item.plugin:
            found += make_plugin_access(item.plugin.account, facts.flavour)
    for namespace in sorted(names):
        rules = make_driver_rules([item for item in facts.drivers if item.kmm.namespace == namespace])
        found += bind(facts.settings, facts.settings.name, rules, namespace=namespace)
    return found


def _optional(facts: OperatorFacts) -> tuple[OptionalRole, ...]:
    settings = facts.settings
    roles: Sequence[tuple[str, _Objects, str]] = [
        ("drain", make_drain_rules(), "spec.rollout.drain: pods with devices are evicted before a driver goes"),
        ("hold-pools", make_pool_rules(), "clusterUpdate.policy HoldPools: pools of machines are paused and let go"),
    ]
    if not facts.is_openshift:
        roles = roles[:1]
    return tuple(
        OptionalRole(name=name, objects=bind(settings, f"{settings.name}-{name}", rules), because=because)
        for name, rules, because in roles
    )


def _example(settings: OperatorSettings, item: DriverFacts) -> dict[str, Any]:
    """Return the object of a driver as people write it first."""
    driver = item.driver
    spec: dict[str, Any] = {
        "driver": {"name": driver.name, "version": driver.version},
        "index": {"image": f"{driver.image_name}:index"},
        "devices": {"mode": "DevicePlugin" if item.plugin else "None"},
        "rollout": {"maxUnavailable": "10%"},
        "clusterUpdate": {"policy": "Warn"},
    }
    api = f"{settings.group}/{API_VERSION}"
    return {"apiVersion": api, "kind": settings.kind, "metadata": {"name": driver.name}, "spec": spec}
