"""Rights that are wide, and rights to more rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.operator_bundles import Mutation, check_told, mutations_of

from builder.config.yamlfile import YamlFile
from builder.emit.kmm.documents import KubernetesObject
from builder.emit.operator.access_rules import check_role


@pytest.mark.parametrize("mutation", mutations_of("access_rules"), ids=lambda mutation: mutation.id)
def test_a_mistake_is_told_where_it_is(mutation: Mutation, tmp_path: Path) -> None:
    check_told(mutation, tmp_path)


@pytest.mark.parametrize(
    ("role", "codes"),
    [
        ({"kind": "ClusterRole", "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}, ["secrets"]),
        ({"kind": "Role", "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}, []),
        ({"kind": "Role", "rules": [{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}]}, []),
        ({"kind": "Role", "rules": [{"resources": ["pods"], "verbs": ["get"]}]}, ["rights"]),
        ({"kind": "Role"}, ["rights"]),
        ({"kind": "ClusterRoleBinding", "roleRef": {"name": "cluster-admin"}}, ["all-rights"]),
        ({"kind": "RoleBinding", "roleRef": {"name": "view"}}, []),
        (
            {"kind": "Role", "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"]}]},
            [],
        ),
        (
            {"kind": "ClusterRole", "rules": [{"apiGroups": ["policy"], "resources": ["podsecuritypolicies"], "verbs": ["use"]}]},
            ["removed-api"],
        ),
    ],
)  # fmt: skip
def test_roles_beside_it_are_read_too(role: dict[str, Any], codes: list[str]) -> None:
    item = KubernetesObject(document=YamlFile(file=Path("x"), data=role), place=(), data=role)
    assert [problem.code for problem in check_role(item)] == codes
