"""What objects of KMM need of other objects, and of the rules that label nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.kmm import (
    SMALL_MODULE,
    found_in,
    lint_objects,
)

from builder.emit.kmm.documents import KubernetesObject

if TYPE_CHECKING:
    from pathlib import Path


def _signing(**names: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(SMALL_MODULE))
    data["spec"]["moduleLoader"]["container"]["sign"] = {
        "keySecret": {"name": "key"}, "certSecret": {"name": "cert"}, "unsignedImage": "a/b:c", "filesToSign": ["/opt/x.ko"],
        **{name: {"name": value} for name, value in names.items()},
    }  # fmt: skip
    return data


_KEY = {
    "kind": "Secret",
    "apiVersion": "v1",
    "metadata": {"name": "key", "namespace": "drivers"},
    "data": {"key": "eA=="},
}


_CERT = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "cert"}, "stringData": {"cert": "x"}}


def test_names_of_secrets_are_compared(tmp_path: Path) -> None:
    assert found_in(lint_objects(tmp_path, _signing(), _KEY, _CERT)) == set()
    near = lint_objects(tmp_path, _signing(certSecret="certs"), _KEY, _CERT)
    assert found_in(near) == {("reference", "warning")}
    assert "did you mean 'cert'?" in str(near.findings[0].mistake)
    assert found_in(lint_objects(tmp_path, _signing(certSecret="made-elsewhere"), _KEY, _CERT)) == set()
    elsewhere = {**_KEY, "metadata": {"name": "key", "namespace": "other"}, "data": {"wrong": "eA=="}}
    assert found_in(lint_objects(tmp_path, _signing(), elsewhere, _CERT)) == set(), (
        "another namespace's is another Secret"
    )


@pytest.mark.parametrize(
    ("value", "is_wrong"), [("eA==", False), ("e A = =", False), ("x y!", True), ("abc", True), (5, True)]
)
def test_values_of_secrets_are_base64(value: Any, is_wrong: bool, tmp_path: Path) -> None:
    result = lint_objects(tmp_path, SMALL_MODULE, {**_KEY, "data": {"key": value}})
    assert found_in(result) == ({("base64", "error")} if is_wrong else set())


@pytest.mark.parametrize(
    ("label", "found"), [("drv", set()), ("drw", {("label", "warning")}), ("vendor.io/drv", {("label", "warning")})]
)
def test_labels_are_compared_with_the_rules_that_make_them(label: str, found: Any, tmp_path: Path) -> None:
    rule = {
        "apiVersion": "nfd.k8s-sigs.io/v1alpha1", "kind": "NodeFeatureRule", "metadata": {"name": "r"},
        "spec": {"rules": [{"name": "x", "labels": {label: "true"}}]},
    }  # fmt: skip
    assert found_in(lint_objects(tmp_path, SMALL_MODULE, rule)) == found


def test_many_objects_are_looked_at_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the objects are twice the work: a file of 1 MiB once took more than a minute."""
    asked = 0
    kind = vars(KubernetesObject)["kind"].fget

    def count(item: KubernetesObject) -> str:
        nonlocal asked
        asked += 1
        return str(kind(item))

    monkeypatch.setattr(KubernetesObject, "kind", property(count))
    costs = []
    for number in (200, 400):  # more than the first hundred, with which names are compared
        asked = 0
        pairs = [
            (
                {**_signing(keySecret=f"k{n}"), "metadata": {"name": f"m{n}"}},
                {"kind": "Secret", "metadata": {"name": f"s{n}"}},
            )
            for n in range(number)
        ]
        assert lint_objects(tmp_path, *(item for pair in pairs for item in pair)).objects == number
        costs.append(asked)
    assert costs[1] == 2 * costs[0]
