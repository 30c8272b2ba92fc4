"""The file that says what an operator was made for: read as it is written, and nothing else believed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from fakes.operator_facts import driver_facts, operator_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from kmod_operator.rollout.template import LARGEST_BYTES, TemplateError, read_templates

from builder.emit.operator.templates import make_templates

_GOOD = make_templates(operator_facts(driver_facts(smoke=True)))
_PLACE = "drivers/drv"
_SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "drv"}}


def _changed(path: str, value: Any) -> bytes:
    data: Any = copy.deepcopy(_GOOD)
    place = data
    *steps, last = path.split("/")
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    key = int(last) if last.isdigit() else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return json.dumps(data).encode()


def test_it_is_read() -> None:
    found = read_templates(json.dumps(_GOOD).encode())
    assert found.drivers["drv"].resource == "drivers.example.com/drv"
    assert found.drivers["drv"].module == _GOOD["drivers"]["drv"]["module"]
    assert found.drivers["drv"].smoke == _GOOD["drivers"]["drv"]["smoke"]


@pytest.mark.parametrize("path", ["later", f"{_PLACE}/later"])
def test_fields_of_a_later_release_are_left_alone(path: str) -> None:
    assert read_templates(_changed(path, {"a": 1})).group == "drivers.example.com"


@pytest.mark.parametrize("name", ["plugin", "rules", "smoke"])
def test_a_driver_may_lack_what_not_every_driver_has(name: str) -> None:
    assert not getattr(read_templates(_changed(f"{_PLACE}/{name}", ...)).drivers["drv"], name)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("format", 2, "format is 2, and this operator reads format 1"),
        ("format", True, "format is True"),
        ("format", ..., "format is None"),
        ("group", ..., "group is absent"),
        ("group", "example", "group is 'example', which it cannot be"),
        ("group", 1, "group is 1"),
        ("kind", "Kernel Driver", "kind is 'Kernel Driver'"),
        ("plural", "kernel/drivers", "plural is 'kernel/drivers'"),
        ("namespace", "../x", "namespace is"),
        ("keys", [], "keys is empty"),
        ("keys", "-----BEGIN PUBLIC KEY-----", "and no list"),
        ("keys", ["-----BEGIN PRIVATE KEY-----"], r"keys\[0\] is no public key in PEM"),
        ("keys", ["-----BEGIN PUBLIC KEY-----"] * 257, "keys has 257 items, and may have 256"),
        ("drivers", {}, "drivers has 0 entries"),
        ("drivers", [], r"drivers is \[\], and no mapping"),
        ("drivers", {"A B": {}}, "drivers.A B is no name"),
        (_PLACE, None, "drivers.drv is absent"),
        (f"{_PLACE}/namespace", 1, "drivers.drv.namespace is 1"),
        (f"{_PLACE}/module", ..., "drivers.drv.module is absent"),
        (f"{_PLACE}/module/kind", "Pod", "module is a Pod of kmm.sigs.x-k8s.io/v1beta1, and no Module"),
        (f"{_PLACE}/module/apiVersion", "v1", "module is a Module of v1, and no Module"),
        (f"{_PLACE}/module/metadata", ..., "drivers.drv.module.metadata is absent"),
        (f"{_PLACE}/module/metadata/name", "a/b", "module.metadata.name is 'a/b'"),
        (f"{_PLACE}/module/metadata/namespace", "kube-system", "is in namespace 'kube-system', and not in drv"),
        (f"{_PLACE}/module/metadata/namespace", ..., "is in namespace None, and not in drv"),
        (f"{_PLACE}/module/spec", "x", r"module\.spec is 'x', and no mapping"),
        (f"{_PLACE}/module/spec/moduleLoader", ..., "moduleLoader is absent"),
        (f"{_PLACE}/module/spec/selector", ..., r"module\.spec\.selector is absent"),
        (f"{_PLACE}/module/spec/selector", ["a"], r"module\.spec\.selector is \['a'\], and no mapping"),
        (f"{_PLACE}/module/spec/selector", {"a": 1}, r"module\.spec\.selector has 1 for 'a', and no text"),
        (f"{_PLACE}/module/metadata/labels", ["a"], r"module\.metadata\.labels is \['a'\], and no mapping"),
        (f"{_PLACE}/plugin", {}, "plugin is {}, and no list"),
        (f"{_PLACE}/plugin/0/kind", "ClusterRoleBinding", "plugin has a ClusterRoleBinding"),
        (f"{_PLACE}/plugin/0/metadata/namespace", "kube-system", "it has DaemonSets of namespace drv"),
        (f"{_PLACE}/plugin/0/metadata/name", ..., "metadata.name is absent"),
        (f"{_PLACE}/plugin/0", _SERVICE, "plugin has a Service of v1: it has DaemonSets of namespace drv"),
        (f"{_PLACE}/plugin/0/spec/template/spec", ..., r"plugin\[0\]\.spec\.template\.spec is absent"),
        (f"{_PLACE}/plugin/0/spec/selector", 1, r"plugin\[0\]\.spec\.selector is 1, and no mapping"),
        (f"{_PLACE}/rules/0/kind", "Secret", "rules has a Secret"),
        (f"{_PLACE}/rules/0/apiVersion", "v1", "rules has a NodeFeatureRule of v1"),
        (f"{_PLACE}/rules/0/apiVersion", [], r"apiVersion is \[\], and no text"),
        (f"{_PLACE}/resource", "no slash", "resource is 'no slash'"),
        (f"{_PLACE}/resource", None, "resource is None"),
        (f"{_PLACE}/resource", ..., r"smoke\.spec\.containers has none that asks for a device"),
        (f"{_PLACE}/smoke", [], r"drivers\.drv\.smoke is \[\], and no mapping"),
        (f"{_PLACE}/smoke/kind", "Job", "smoke is a Job of v1, and no Pod"),
        (f"{_PLACE}/smoke/metadata/namespace", "kube-system", "is in namespace 'kube-system', and not in drv"),
        (f"{_PLACE}/smoke/spec/containers", [], "has none that asks for drivers.example.com/drv"),
        (f"{_PLACE}/smoke/spec/containers/0", 1, "smoke is 1, and no mapping"),
        (f"{_PLACE}/smoke/spec/containers/0/resources", ..., "has none that asks for drivers.example.com/drv"),
        (f"{_PLACE}/smoke/spec/activeDeadlineSeconds", ..., "smoke.spec has no activeDeadlineSeconds"),
        (f"{_PLACE}/smoke/spec/activeDeadlineSeconds", True, "smoke.spec has no activeDeadlineSeconds"),
        (f"{_PLACE}/smoke/spec/restartPolicy", "Always", "or a restartPolicy that is not Never"),
        (f"{_PLACE}/smoke/spec/tolerations", {}, "tolerations is no list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(path: str, value: Any, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        read_templates(_changed(path, value))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[]", "and no mapping"),
        (b"null", "the file is absent"),
        (b'{"format": NaN}', "it has NaN, which is no number of JSON"),
        (b'{"format": 1, "format": 1}', "it says 'format' twice"),
        (b'{"format": 1' + b"0" * 5000 + b"}", "it is no JSON|and this operator reads format 1"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested deeper"),
        (b" " * (LARGEST_BYTES + 1), f"and may have {LARGEST_BYTES}"),
    ],
    ids=range(10),
)
def test_what_is_no_such_file_ends_in_a_sentence(content: bytes, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        read_templates(content)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_PATHS = [
    "format", "group", "keys", "drivers", _PLACE, *(f"{_PLACE}/{name}" for name in ("module", "plugin", "rules", "resource", "namespace", "smoke")),
    f"{_PLACE}/smoke/spec", f"{_PLACE}/smoke/spec/containers", f"{_PLACE}/smoke/metadata",
    f"{_PLACE}/module/metadata", f"{_PLACE}/module/spec", f"{_PLACE}/plugin/0", f"{_PLACE}/rules/0", f"{_PLACE}/rules/0/metadata/name",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_PATHS), _JSON)
def test_wrong_types_never_end_in_anything_else(path: str, value: Any) -> None:
    try:
        read_templates(_changed(path, value))
    except TemplateError as error:
        assert str(error)
