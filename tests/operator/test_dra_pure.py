"""Devices as the resource API takes them: names, attributes, slices, claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kmod_operator.devices.inventory import Entry, Inventory
from kmod_operator.devices.model import Description, Device, Health, Version
from kmod_operator.dra.claims import Allocated, ClaimError, ClaimName, read_allocation
from kmod_operator.dra.offers import Offer, device_name, offer
from kmod_operator.dra.pool import Pool, keeps_taints, plan_writes, slice_devices, slice_name

_DRIVER = "ptemplate.drivers.example.com"
_POOL = Pool(driver=_DRIVER, node="worker", node_uid="u")


def _inventory(*names: str, description: Description | None = None) -> Inventory:
    entries = {
        name: Entry(
            device=Device(id=name), description=description or Description(), health=Health(well=True), good_looks=1
        )
        for name in names
    }
    return Inventory(entries=entries)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("ptemplate-0", "ptemplate-0"),
        ("edu-0000_00.04-0", "edu-0000-00-04-0"),
        ("A", "a"),
        ("a" * 63, "a" * 63),
        ("a" * 64, ""),
    ],
)
def test_a_device_has_a_name_that_the_api_takes(device: str, name: str) -> None:
    assert device_name(device) == name


def test_devices_that_cannot_be_told_are_named() -> None:
    offers, refused = offer(_inventory("a_b", "a.b", "c" * 64, "d"))
    assert [(one.name, one.id) for one in offers] == [("a-b", "a_b"), ("d", "d")]
    assert refused[0] == "'a.b' would have the name of 'a_b' in a resource slice"
    assert refused[1].endswith("cannot be a device's name in a resource slice: at most 63 characters")


def test_what_is_worth_telling_is_an_attribute() -> None:
    properties: dict[str, str | int | bool] = {
        "model": "x1",
        "lanes": 4,
        "fast": True,
        "firmware": Version("1.2.3-rc.1+b"),
    }
    ((one,), refused) = offer(_inventory("a", description=Description(numa_node=1, properties=properties)))
    assert refused == []
    assert one.attributes == {
        "fast": {"bool": True},
        "firmware": {"version": "1.2.3-rc.1+b"},
        "lanes": {"int": 4},
        "model": {"string": "x1"},
        "resource.kubernetes.io/numaNode": {"int": 1},
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bus-id", "x"),
        ("1st", "x"),
        ("", "x"),
        ("n" * 33, "x"),
        ("é", "x"),
        ("a", "v" * 65),
        ("a", "é" * 33),
        ("a", "\ud800"),
        ("a", 2**63),
        ("a", 1.5),
        ("a", None),
        ("a", Version("1.2")),
        ("a", Version("01.2.3")),
    ],
)
def test_what_the_api_would_refuse_is_left_out_and_told(name: str, value: Any) -> None:
    properties: dict[Any, Any] = {name: value, "good": 1}
    ((one,), (refused,)) = offer(_inventory("a", description=Description(properties=properties)))
    assert one.attributes == {"good": {"int": 1}}
    assert refused.startswith("a: ")


def test_a_device_has_so_many_attributes_and_no_more() -> None:
    properties = {f"a{number:02}": number for number in range(33)}
    ((one,), (refused,)) = offer(_inventory("a", description=Description(properties=properties)))
    assert len(one.attributes) == 32
    assert refused == "a: more than 32 attributes: a32 is left out"


def _offers(count: int, *sick: int) -> list[Offer]:
    return [
        Offer(name=f"d-{number:03}", id=f"d-{number:03}", well=number not in sick, reason="it is sick")
        for number in range(count)
    ]


def _devices(count: int, *sick: int) -> list[dict[str, Any]]:
    return slice_devices(_offers(count, *sick), _DRIVER, keeps_taints=True)


def _stored(count: int, *sick: int) -> list[dict[str, Any]]:
    written = list(plan_writes([], _devices(count, *sick), _POOL).create)
    for item in written:
        item["metadata"]["resourceVersion"] = "1"
    return written


def test_a_sick_device_is_tainted_or_left_out_and_one_that_is_gone_is_not_listed() -> None:
    offers = [*_offers(2, 1), replace(_offers(1)[0], name="gone", present=False, well=False)]
    tainted = slice_devices(offers, _DRIVER, keeps_taints=True)
    assert tainted == [
        {"name": "d-000"},
        {"name": "d-001", "taints": [{"key": f"{_DRIVER}/unhealthy", "value": "true", "effect": "NoSchedule"}]},
    ]
    assert slice_devices(offers, _DRIVER, keeps_taints=False) == [{"name": "d-000"}]


@pytest.mark.parametrize(("devices", "slices"), [(0, 0), (1, 1), (64, 1), (65, 2), (1024, 16)])
def test_slices_are_as_many_as_devices_need(devices: int, slices: int) -> None:
    writes = plan_writes([], _devices(devices), _POOL)
    assert len(writes.create) == slices
    assert [item["spec"]["pool"] for item in writes.create] == [
        {"name": "worker", "generation": 1, "resourceSliceCount": slices}
    ] * slices
    assert sum(len(item["spec"]["devices"]) for item in writes.create) == devices
    assert all(0 < len(item["spec"]["devices"]) <= 64 for item in writes.create)


def test_a_slice_is_the_nodes() -> None:
    (item,) = plan_writes([], _devices(1), _POOL).create
    assert (item["apiVersion"], item["kind"]) == ("resource.k8s.io/v1", "ResourceSlice")
    assert item["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": "worker", "uid": "u", "controller": True}
    ]
    assert (item["spec"]["driver"], item["spec"]["nodeName"]) == (_DRIVER, "worker")


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 200), sick=st.sets(st.integers(0, 199)))
def test_a_second_pass_writes_nothing(count: int, sick: set[int]) -> None:
    stored = _stored(count, *sick)
    for item in stored:
        item["metadata"] |= {"uid": "x", "managedFields": [{}], "creationTimestamp": "now"}
        for device in item["spec"]["devices"]:
            for taint in device.get("taints", ()):
                taint["timeAdded"] = "now"
    writes = plan_writes(stored, _devices(count, *sick), _POOL)
    assert not writes
    assert writes.generation == (1 if count else 0)


def test_a_change_raises_the_generation_of_all_slices() -> None:
    stored = _stored(65)
    writes = plan_writes(stored, _devices(65, 64), _POOL)
    assert [item["spec"]["pool"]["generation"] for item in writes.replace] == [2, 2]
    assert [item["metadata"]["resourceVersion"] for item in writes.replace] == ["1", "1"]
    assert (writes.create, writes.delete, writes.generation) == ([], [], 2)


def test_fewer_devices_remove_slices_and_more_add_some() -> None:
    fewer = plan_writes(_stored(65), _devices(64), _POOL)
    assert (len(fewer.replace), fewer.delete) == (1, [slice_name(_POOL, 1)])
    assert fewer.replace[0]["spec"]["pool"] == {"name": "worker", "generation": 2, "resourceSliceCount": 1}
    more = plan_writes(_stored(64), _devices(65), _POOL)
    assert (len(more.replace), len(more.create), more.generation) == (1, 1, 2)
    assert plan_writes(_stored(64), [], _POOL).delete == [slice_name(_POOL, 0)]


def test_a_taint_keeps_the_time_since_when_it_is_there() -> None:
    stored = _stored(2, 0)
    stored[0]["spec"]["devices"][0]["taints"][0]["timeAdded"] = "long ago"
    (item,) = plan_writes(stored, _devices(2, 0, 1), _POOL).replace
    times = [device["taints"][0].get("timeAdded") for device in item["spec"]["devices"]]
    assert times == ["long ago", None]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "devices"), [{"name": "d-000", "capacity": {}}]),
        (("spec", "devices"), None),
        (("spec", "devices"), "x"),
        (("spec", "devices"), [7, {"name": "d-000", "taints": 3}]),
        (("spec", "devices"), [{"name": "d-000", "taints": [3]}]),
        (("spec", "pool", "resourceSliceCount"), 2),
        (("metadata", "ownerReferences"), None),
        (("metadata", "ownerReferences"), 3),
        (("metadata", "ownerReferences"), [{"uid": "of another node of this name"}]),
    ],
)
def test_what_somebody_changed_is_set_right(path: tuple[str, ...], value: Any) -> None:
    stored = _stored(1)
    place: Any = stored[0]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (item,) = plan_writes(stored, _devices(1), _POOL).replace
    assert item["spec"]["devices"] == [{"name": "d-000"}]
    assert item["spec"]["pool"] == {"name": "worker", "generation": 2, "resourceSliceCount": 1}
    assert item["metadata"]["ownerReferences"][0]["uid"] == "u"


@pytest.mark.parametrize(
    "strange",
    [
        {"metadata": {"name": "of-an-older-version"}, "spec": {"pool": {"generation": 7}}},
        {"metadata": {"name": slice_name(_POOL, 0)}, "spec": {"pool": {"name": "other", "generation": "x"}}},
        {"metadata": {"name": "odd"}, "spec": 3},
    ],
)
def test_slices_that_are_not_as_ours_go(strange: dict[str, Any]) -> None:
    writes = plan_writes([strange], _devices(1), _POOL)
    assert writes.delete == [strange["metadata"]["name"]]
    assert len(writes.create) == 1


def test_a_generation_is_never_given_twice() -> None:
    """Kubelet removes all slices when it begins; who has an older list must not take it for the new one."""
    assert plan_writes([], _devices(1), _POOL, after=7).generation == 8


def test_taints_that_a_server_does_not_know_are_missed() -> None:
    (item,) = _stored(2, 0)
    (without,) = _stored(2)
    assert keeps_taints(item, item)
    assert not keeps_taints(item, without)
    assert keeps_taints(without, without)


@pytest.mark.parametrize("node", ["worker", "n" * 253, f"{'n' * 186}.x", "a.b"])
def test_names_of_slices_are_names(node: str) -> None:
    pool = replace(_POOL, node=node)
    name = slice_name(pool, 15)
    assert len(name) <= 253
    assert all(part and part.strip("-") == part for part in name.split("."))
    assert name != slice_name(replace(pool, driver=f"x{_DRIVER}"), 15)


_CLAIM = ClaimName(namespace="default", name="c", uid="u-1")
_RESULT = {"request": "one/first", "driver": _DRIVER, "pool": "worker", "device": "d"}


def _claim(*results: Any, uid: str = "u-1") -> dict[str, Any]:
    return {"metadata": {"uid": uid}, "status": {"allocation": {"devices": {"results": list(results)}}}}


def test_a_claim_has_devices_of_several_drivers() -> None:
    found = read_allocation(_claim(_RESULT, _RESULT | {"driver": "gpu.example.com"}), _CLAIM, _DRIVER)
    assert found == [Allocated(request="one", pool="worker", device="d")]


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (_claim(_RESULT, uid="u-2"), "has the UID 'u-2', and is not the one"),
        (_claim(_RESULT | {"driver": "gpu.example.com"}), f"no device of {_DRIVER} is allocated"),
        (_claim(), f"no device of {_DRIVER} is allocated"),
        ({"metadata": {"uid": "u-1"}}, "no device is allocated to it"),
        ({"metadata": {"uid": "u-1"}, "status": None}, "no device is allocated to it"),
        ({"metadata": {"uid": "u-1"}, "status": 3}, "not understood: AttributeError"),
        ({"metadata": {"uid": "u-1"}, "status": {"allocation": {"devices": []}}}, "no device of"),
        ({"metadata": {"uid": "u-1"}, "status": {"allocation": 3}}, "not understood"),
        ({}, "not understood: KeyError"),
        ([], "not understood: TypeError"),
        (None, "not understood"),
        (_claim(3), "not understood"),
        (_claim(_RESULT | {"device": 3}), "names are text"),
        (_claim({"driver": _DRIVER}), "not understood: KeyError: 'request'"),
    ],
)
def test_a_claim_that_is_not_ours_or_not_understood_is_refused(claim: Any, words: str) -> None:
    with pytest.raises(ClaimError, match=words):
        read_allocation(claim, _CLAIM, _DRIVER)
