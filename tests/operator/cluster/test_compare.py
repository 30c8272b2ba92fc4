"""Whether to apply an object would change anything."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kmod_operator.cluster.compare import content_digest, is_as_applied, marked

_MARK = "drivers.example.com/applied"
_MODULE: dict[str, Any] = {
    "apiVersion": "kmm.sigs.x-k8s.io/v1beta1",
    "kind": "Module",
    "metadata": {"name": "m", "namespace": "d", "labels": {"a": "b"}, "ownerReferences": [{"uid": "u", "name": "x"}]},
    "spec": {
        "selector": {"x": "y"},
        "count": 3,
        "mappings": [{"literal": "k1", "image": "i1"}, {"literal": "k2", "image": "i2"}],
        "containers": [{"name": "c", "args": ["-v"], "ports": [{"containerPort": 80}]}],
        "words": ["one", "two"],
    },
}
_OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}}, "f:ownerReferences": {'k:{"uid":"u"}': {}}},
    "f:spec": {
        "f:selector": {}, "f:count": {}, "f:mappings": {},
        "f:containers": {'k:{"name":"c"}': {
            ".": {}, "f:name": {}, "f:args": {}, "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {}},
        }},
        "f:words": {'v:"one"': {}, 'v:"two"': {}},
    },
}  # fmt: skip


def _there(**changes: Any) -> dict[str, Any]:
    item = copy.deepcopy(marked(_MODULE, _MARK))
    item["metadata"] |= {
        "resourceVersion": "7", "uid": "1", "generation": 3,
        "managedFields": [
            {"manager": "kmm", "operation": "Apply", "fieldsV1": {}},
            {"manager": "kmod-operator", "operation": "Update", "fieldsV1": {}},
            {"manager": "kmod-operator", "operation": "Apply", "subresource": "status", "fieldsV1": {}},
            {"manager": "kmod-operator", "operation": "Apply", "fieldsV1": copy.deepcopy(_OWNED)},
        ],
    }  # fmt: skip
    item["spec"] |= changes
    return item


def _is_so(there: dict[str, Any], wanted: dict[str, Any] = _MODULE) -> bool:
    return is_as_applied(marked(wanted, _MARK), there, manager="kmod-operator", annotation=_MARK)


def test_what_is_there_is_not_written() -> None:
    assert _is_so(_there())


@pytest.mark.parametrize(
    "added",
    [
        {"defaulted": "by the server"},
        {"mappings": [{"literal": "k1", "image": "i1", "tls": {}}, {"literal": "k2", "image": "i2"}]},
        {"words": ["theirs", "two", "one"]},
        {"containers": [
            {"name": "sidecar"},
            {"name": "c", "args": ["-v"], "image": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
        ]},
    ],
    ids=["field", "default-in-item", "set", "list-by-name"],
)  # fmt: skip
def test_what_others_add_is_theirs(added: dict[str, Any]) -> None:
    assert _is_so(_there(**added))


@pytest.mark.parametrize(
    "changed",
    [
        {"count": 4},
        {"count": True},
        {"count": None},
        {"selector": {"x": "z"}},
        {"selector": {}},
        {"mappings": [{"literal": "k1", "image": "i1"}]},
        {"mappings": [{"literal": "k2", "image": "i2"}, {"literal": "k1", "image": "i1"}]},
        {"mappings": [*_MODULE["spec"]["mappings"], {"literal": "k3", "image": "i3"}]},
        {"mappings": "none"},
        {"containers": [{"name": "other"}]},
        {"containers": [{"name": "c", "args": ["-q"], "ports": [{"containerPort": 80}]}]},
        {"containers": [{"name": "c", "args": ["-v"], "ports": [{"containerPort": 81}]}]},
        {"words": ["one"]},
        {"words": None},
    ],
)
def test_what_others_changed_of_ours_is_written_again(changed: dict[str, Any]) -> None:
    assert not _is_so(_there(**changed))


def test_a_label_that_was_taken_away_is_written_again() -> None:
    there = _there()
    there["metadata"]["labels"] = {}
    assert not _is_so(there)


def test_a_field_that_is_not_wanted_any_more_is_seen() -> None:
    """Also in a list that is one value, where the server says nothing of its parts."""
    less = copy.deepcopy(_MODULE)
    del less["spec"]["mappings"][1]["image"]
    assert not _is_so(_there(), less)
    assert not _is_so(_there(), {**_MODULE, "spec": {**_MODULE["spec"], "more": 1}})


def test_what_is_not_owned_by_us_is_written() -> None:
    there = _there()
    there["metadata"]["managedFields"] = there["metadata"]["managedFields"][:3]
    assert not _is_so(there), "a field that we take back later would stay for ever"
    del there["metadata"]["managedFields"]
    assert not _is_so(there)


def test_tuples_and_lists_are_the_same() -> None:
    wanted = {**_MODULE, "spec": {**_MODULE["spec"], "words": ("one", "two")}}
    assert marked(wanted, _MARK) == marked(_MODULE, _MARK)
    with pytest.raises(TypeError):
        marked({**_MODULE, "spec": {1, 2}}, _MARK)


@pytest.mark.parametrize("entry", ["k:nonsense", 'k:{"name":"c"', "k:[1]", "k:null"])
def test_entries_that_cannot_be_read_are_no_proof(entry: str) -> None:
    there = _there()
    owned = there["metadata"]["managedFields"][3]["fieldsV1"]["f:spec"]
    owned["f:containers"] = {entry: {}}
    assert not _is_so(there)


def test_a_digest_of_the_content_leaves_out_what_changes_by_itself() -> None:
    there = _there()
    before = content_digest(there)
    there["metadata"] |= {"resourceVersion": "8", "generation": 4, "managedFields": []}
    there["status"] = {"x": 1}
    assert content_digest(there) == before
    there["spec"]["count"] = 4
    assert content_digest(there) != before


@pytest.mark.parametrize(
    ("wanted", "there", "same"),
    [
        ("0.01", "10m", True), ("1024Mi", "1Gi", True), ("1", 1, True), ("1k", "1000", True), ("1500m", "1.5", True),
        ("0.01", "11m", False), ("1Gi", "1G", False), ("many", "more", False), ("1", None, False), ("1", [], False),
    ],
)  # fmt: skip
def test_quantities_are_compared_as_such(wanted: Any, there: Any, same: bool) -> None:
    def item(value: Any, name: str = "limits") -> dict[str, Any]:
        return {**_MODULE, "spec": {"resources": {name: {"cpu": value}}}}

    found = {**_there(), "spec": item(there)["spec"]}
    found["metadata"]["annotations"] = marked(item(wanted), _MARK)["metadata"]["annotations"]
    assert _is_so(found, item(wanted)) is same
    other = {**found, "spec": item(there, "other")["spec"]}
    other["metadata"]["annotations"] = marked(item(wanted, "other"), _MARK)["metadata"]["annotations"]
    assert not _is_so(other, item(wanted, "other")), "elsewhere words are words"
