"""The vendor's kind, as a CustomResourceDefinition. Pure.

It has no defaults: the program has them (``operator/kmod_operator/rollout/spec.py``), so that a later release may
choose better ones, which a schema may not (``upgrade_safety.py``). Everything that a rule in CEL reads is bounded,
because the API server reckons with the longest that a field may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builder.config.model.operator import OperatorSettings

API_VERSION = "v1alpha1"
MIN_KUBE = "1.27.0"
"""OpenShift 4.14's; rules in CEL, by which the API server holds the kind, are there since 1.25."""
_LABEL = r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$"
_NAME = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
_MOST_LABELS = 16
_WEEK_S = 7 * 86_400
_MOST_LISTED = 64

_Schema = dict[str, Any]


def make_crd(settings: OperatorSettings, drivers: list[str]) -> dict[str, Any]:
    """Return the CustomResourceDefinition.

    Args:
        settings: group, kind and plural.
        drivers: names that people may ask for; they stand in a description, and bind nobody.
    """
    singular = settings.kind.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{settings.plural_name}.{settings.group}"},
        "spec": {
            "group": settings.group,
            "names": {
                "kind": settings.kind,
                "listKind": f"{settings.kind}List",
                "plural": settings.plural_name,
                "singular": singular,
            },
            "scope": "Cluster",
            "versions": [
                {
                    "name": API_VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": make_schema(drivers)},
                }
            ],
        },
    }


def _columns() -> list[dict[str, Any]]:
    ready = '.status.conditions[?(@.type=="Ready")]'
    return [
        {"name": "Driver", "type": "string", "jsonPath": ".spec.driver.name"},
        {"name": "Version", "type": "string", "jsonPath": ".spec.driver.version"},
        {"name": "Ready", "type": "string", "jsonPath": f"{ready}.status"},
        {"name": "Nodes", "type": "integer", "jsonPath": ".status.nodes.selected"},
        {"name": "Has It", "type": "integer", "jsonPath": ".status.nodes.ready", "priority": 1},
        {"name": "Reason", "type": "string", "jsonPath": f"{ready}.reason", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def make_schema(drivers: list[str]) -> _Schema:
    """Return the structural schema."""
    schema = _object(
        "A driver that is on nodes: which one, of which version, on which nodes, and how it gets there.",
        {
            "apiVersion": {"type": "string", "description": "Version of this schema."},
            "kind": {"type": "string", "description": "The kind."},
            "metadata": {"type": "object"},
            "spec": _spec(drivers),
            "status": _status(),
        },
        required=("spec",),
    )
    # Nodes carry the name in an annotation's key, and objects in a label.
    rule = "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')"
    return schema | _rules((rule, "the name has at most 63 characters and no dot: it becomes a label of objects"))


def _spec(drivers: list[str]) -> _Schema:
    return _object(
        "What is wanted.",
        {
            "driver": _driver(drivers),
            "index": _index(),
            "nodeSelector": _labels(
                "Labels of the nodes that get the driver; all must fit. Default: those that the vendor chose, which "
                "rules of Node Feature Discovery give to nodes with the device."
            ),
            "tolerations": {
                "type": "array",
                "maxItems": 16,
                "description": "Taints that those nodes may have. Default: what the vendor chose.",
                "items": _toleration(),
            },
            "devices": _object(
                "How pods get the devices.",
                {
                    "mode": _choice(
                        "DevicePlugin: kubelet is told of them, and a node is ready when they can be had. None: nobody "
                        "is told. Default: DevicePlugin.",
                        "DevicePlugin", "None",
                    ),
                    "smoke": _choice(
                        "Run: where a version arrives, a pod tries one device of the node before it counts as ready; "
                        "nodes that have the version already are not tried. None: nothing is tried. Plays no part "
                        "where the vendor has no test. Default: Run.",
                        "Run", "None",
                    ),
                },
            ),
            "rollout": _rollout(),
            "clusterUpdate": _object(
                "What is done about releases of the cluster that bring kernels without an image.",
                {
                    "policy": _choice(
                        "Ignore: nothing. Warn: the condition UpdateSafe, and an alert that 'oc adm upgrade recommend' "
                        "shows. HoldPools: besides, pools of machines are paused while their next kernel has no image, "
                        "which needs the role hold-pools, and OpenShift. Default: Warn.",
                        "Ignore", "Warn", "HoldPools",
                    )
                },
            ),
            "monitoring": _object(
                "Metrics of the device plugin.",
                {"enabled": _truth("Have Prometheus read them, by a PodMonitor. Default: false.")},
            ),
        },
        required=("driver", "index"),
    )  # fmt: skip


def _driver(drivers: list[str]) -> _Schema:
    known = f" This operator was made for {', '.join(drivers)}." if drivers else ""
    name = {
        "type": "string",
        "minLength": 1,
        "maxLength": 39,
        "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        "description": f"Which driver; it cannot be changed: make another object instead.{known}",
    } | _rules(("self == oldSelf", "a driver cannot become another one: make another object"))
    version = {
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "pattern": _LABEL,
        "description": "Which version of it, as the index has it. Changing it upgrades the nodes, step by step.",
    }
    return _object("The driver.", {"name": name, "version": version}, required=("name", "version"))


def _index() -> _Schema:
    schema = _object(
        "Where the signed list of published images is read. Exactly one of configMap and image.",
        {
            "configMap": _named(
                "ConfigMap in the operator's namespace, with the key index.json, or index.json.gz in binaryData: for "
                "sites without a registry. 'emit index' writes it."
            ),
            "image": {
                "type": "string",
                "minLength": 1,
                "maxLength": 512,
                "pattern": r"^[^\s]+$",
                "description": "Image of the index: registry, repository and tag, as in quay.io/vendor/driver:index.",
            },
            "pullSecret": _named(
                "Secret of type kubernetes.io/dockerconfigjson in the operator's namespace, for the registry of the "
                "image. The operator may read no other Secret than the one that its role names."
            ),
        },
    )
    return schema | _rules(
        ("has(self.configMap) != has(self.image)", "give either configMap or image, not both and not none"),
        ("!has(self.pullSecret) || has(self.image)", "pullSecret is for image: a ConfigMap needs none"),
    )


def _rollout() -> _Schema:
    canary = _object(
        "Nodes that get a new version before all others. Default: none.",
        {
            "nodeSelector": _labels("Labels of those nodes, among the selected ones."),
            "soakSeconds": _seconds(
                "How long the others wait after the last of them has the version and is well. Default: 600.", least=0
            ),
        },
    ) | _rules(
        (
            "!has(self.soakSeconds) || (has(self.nodeSelector) && self.nodeSelector.size() > 0)",
            "soakSeconds needs a nodeSelector: without canaries there is nothing to wait for",
        )
    )
    drain = _object(
        "Whether pods with devices are evicted before the driver is taken from a node.",
        {
            "enabled": _truth(
                "Needs the role drain. Where it is false, a node is upgraded when an administrator cordons it. "
                "Default: false."
            ),
            "timeoutSeconds": _seconds("How long pods may take to go. Default: 600."),
        },
    )
    unavailable = {
        "x-kubernetes-int-or-string": True,
        "minimum": 1,
        "maximum": 100_000,
        "maxLength": 4,
        "pattern": "^(100|[1-9][0-9]?)%$",
        "description": "How many nodes may be without the driver at once, those that are not well included: a number, "
        "or a share of the selected ones, at least one node. Default: 10%.",
    }
    return _object(
        "How nodes get a new version: one step at a time, derived again from the cluster, and never by a reboot.",
        {
            "paused": _truth("Begin nothing new; what is begun is ended. Default: false."),
            "maxUnavailable": unavailable,
            "canary": canary,
            "timeoutSeconds": _seconds("How long a node may take for one step until it has failed. Default: 900."),
            "drain": drain,
        },
    )


def _toleration() -> _Schema:
    fields = {
        "key": {"type": "string", "maxLength": 317, "description": "Key of the taint; empty: every one, with Exists."},
        "operator": _choice("Whether the value counts. Default: Equal.", "Equal", "Exists"),
        "value": {"type": "string", "maxLength": 63, "description": "Value of the taint."},
        "effect": _choice(
            "Effect of the taint. Default: every effect.", "NoSchedule", "PreferNoSchedule", "NoExecute"
        ),
        "tolerationSeconds": {
            "type": "integer", "format": "int64", "description": "For NoExecute: how long. Default: for ever.",
        },
    }  # fmt: skip
    exists = "has(self.operator) && self.operator == 'Exists'"
    return _object("A taint.", fields) | _rules(
        (f"({exists}) || (has(self.key) && self.key != '')", "key is needed, unless operator is Exists"),
        (f"!({exists}) || !has(self.value) || self.value == ''", "value says nothing where operator is Exists"),
    )


def _status() -> _Schema:
    counts = {
        "selected": "Nodes with the labels of the selector.",
        "ready": "Nodes on which the driver of this version is loaded, and its devices can be had.",
        "upgrading": "Nodes that are on their way.",
        "waiting": "Nodes whose turn has not come.",
        "failed": "Nodes that did not get through a step.",
        "uncovered": "Nodes with a kernel that has no image.",
        "notReady": "Nodes that are not Ready themselves.",
    }
    image = {"type": "string", "description": "Image by digest; empty where there is none."}
    reason = {"type": "string", "description": "Why it is not as it should be."}
    kernel = _object(
        "A kernel.",
        {
            "kernel": {"type": "string", "description": "What uname -r says."},
            "image": image,
            "nodes": _count("Nodes that run it."),
            "ready": _count("Nodes of those that have the driver."),
            "state": {"type": "string", "description": "Whether it has an image."},
            "reason": reason,
        },
        required=("kernel",),
    )
    release = _object(
        "A release that the cluster is offered.",
        {
            "release": {"type": "string", "description": "Its version."},
            "state": {"type": "string", "description": "Safe, Unsafe or Unknown; what the index lacks is Unknown."},
            "reason": reason,
        },
        required=("release",),
    )
    index = {
        "digest": {"type": "string", "description": "Digest of its bytes."},
        "made": {"type": "string", "description": "When it was made."},
        "signer": {"type": "string", "description": "SHA-256 of the public key that it was signed with."},
    }
    return _object(
        "What there is.",
        {
            "observedGeneration": {"type": "integer", "format": "int64", "description": "Of the spec that this is of."},
            "conditions": _conditions(),
            "nodes": _object("Counts of nodes.", {name: _count(words) for name, words in counts.items()}),
            "kernels": _map_list("Kernels of the nodes, at most 64.", kernel, "kernel"),
            "releases": _map_list("Releases that the cluster is offered, at most 64.", release, "release"),
            "index": _object("The index that is believed.", index),
        },
    )


def _conditions() -> _Schema:
    fields: dict[str, _Schema] = {
        "type": {
            "type": "string",
            "maxLength": 316,
            "description": "Ready, Progressing, Degraded, PrerequisitesMet, KernelsCovered, IndexTrusted or "
            "UpdateSafe.",
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Unknown is not False."},
        "observedGeneration": {"type": "integer", "format": "int64", "description": "Of the spec that it is of."},
        "lastTransitionTime": {"type": "string", "format": "date-time", "description": "Since when."},
        "reason": {"type": "string", "maxLength": 1024, "description": "One word, of the table in the documentation."},
        "message": {"type": "string", "maxLength": 32_768, "description": "A sentence: what is so, and what to do."},
    }
    required = ("type", "status", "lastTransitionTime", "reason", "message")
    item = _object("A condition.", fields, required=required)
    return _map_list("Conditions, by Kubernetes' conventions.", item, "type") | {"maxItems": 16}


def _object(description: str, fields: dict[str, _Schema], *, required: tuple[str, ...] = ()) -> _Schema:
    made: _Schema = {"type": "object", "description": description, "properties": fields}
    return made | ({"required": list(required)} if required else {})


def _rules(*pairs: tuple[str, str]) -> _Schema:
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def _map_list(description: str, item: _Schema, key: str) -> _Schema:
    return {
        "type": "array",
        "description": description,
        "maxItems": _MOST_LISTED,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [key],
        "items": item,
    }


def _labels(description: str) -> _Schema:
    value = {"type": "string", "maxLength": 63, "pattern": _LABEL}
    return {
        "type": "object", "maxProperties": _MOST_LABELS, "description": description, "additionalProperties": value,
    }  # fmt: skip


def _choice(description: str, *values: str) -> _Schema:
    return {"type": "string", "enum": list(values), "description": description}


def _truth(description: str) -> _Schema:
    return {"type": "boolean", "description": description}


def _seconds(description: str, *, least: int = 10) -> _Schema:
    return {"type": "integer", "minimum": least, "maximum": _WEEK_S, "description": description}


def _count(description: str) -> _Schema:
    return {"type": "integer", "minimum": 0, "description": description}


def _named(description: str) -> _Schema:
    return {"type": "string", "minLength": 1, "maxLength": 253, "pattern": _NAME, "description": description}
