"""How objects are called."""

from __future__ import annotations

from fakes.operator_facts import operator_settings

from builder.emit.operator.naming import bind, new_object


def test_a_role_of_the_cluster_and_one_of_a_namespace() -> None:
    settings = operator_settings(name="gpu", namespace="far")
    cluster = bind(settings, "gpu-drain", [])
    assert [(item["kind"], item["metadata"].get("namespace")) for item in cluster] == [
        ("ClusterRole", None),
        ("ClusterRoleBinding", None),
    ]
    near = bind(settings, "gpu", [], namespace="drv")
    assert [(item["kind"], item["metadata"]["namespace"]) for item in near] == [("Role", "drv"), ("RoleBinding", "drv")]
    assert near[1]["subjects"] == [{"kind": "ServiceAccount", "name": "gpu", "namespace": "far"}]
    assert near[1]["roleRef"]["name"] == near[0]["metadata"]["name"]


def test_objects_are_in_the_operator_s_namespace_or_in_none() -> None:
    settings = operator_settings()
    assert new_object("v1", "Service", "x", settings)["metadata"]["namespace"] == "kmod-operator"
    assert "namespace" not in new_object("v1", "PriorityClass", "x", settings, cluster=True)["metadata"]
