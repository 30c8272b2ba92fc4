"""All objects: one of each name, none that another vendor's would fight with, each image by digest."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fakes.operator_facts import driver_facts, operator_facts

from builder.emit.kmm.version import Flavour
from builder.emit.operator.model import make_operator
from builder.errors import UsageError


def _names(**changes: Any) -> list[tuple[str, str, str]]:
    objects = make_operator(operator_facts(**changes))
    found = [*objects.all, *(item for role in objects.optional for item in role.objects)]
    return [(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in found]


@pytest.mark.parametrize("flavour", list(Flavour))
def test_no_two_objects_have_one_name(flavour: Flavour) -> None:
    shared = {"namespace": "both"}
    facts = operator_facts(driver_facts(shared), driver_facts(shared, name="second"), flavour=flavour)
    names = [
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in make_operator(facts).all
    ]
    assert len(set(names)) == len(names)
    assert [name for name in names if name[0] == "Namespace"] == [
        ("Namespace", None, "kmod-operator"),
        ("Namespace", None, "both"),
    ]


@pytest.mark.parametrize(
    ("driver", "settings", "words"),
    [
        ({"kmm": {"namespace": "kmod-operator"}}, {}, "Namespace kmod-operator"),
        ({}, {"namespace": "drv"}, "Namespace drv"),
        ({}, {"name": "drv-plugin"}, "Role drv/drv-plugin"),
    ],
)
def test_what_would_be_there_twice_is_told(driver: dict[str, Any], settings: dict[str, Any], words: str) -> None:
    """The one that is applied last would take the other's place, and the operator's rights with it."""
    facts = operator_facts(driver_facts(**driver), settings=settings, flavour=Flavour.OPENSHIFT)
    with pytest.raises(UsageError, match=f"two objects would be called {words}") as caught:
        make_operator(facts)
    assert caught.value.hint is not None
    assert "operator.namespace" in caught.value.hint


def test_two_vendors_operators_stand_beside_each_other() -> None:
    other = _names(settings={"name": "gpu", "group": "gpu.example.org", "kind": "GpuDriver"})
    mine = {name for name in _names() if not name[1]}
    drivers = {
        ("Namespace", "", "drv"),
        ("SecurityContextConstraints", "", "drv-drv-plugin"),
    }  # of one and the same driver
    assert mine & {name for name in other if not name[1]} == drivers


def test_a_fork_changes_words_and_nothing_else() -> None:
    facts = operator_facts(settings={"name": "gpu", "group": "gpu.example.org", "kind": "GpuDriver"})
    text = json.dumps(make_operator(facts).all)
    assert "kerneldriver" not in text.lower()
    assert set(re.findall(r"drivers\.example\.com[\w/]*", text)) == {"drivers.example.com/drv"}, "the devices' own name"


def test_every_image_is_named_by_digest() -> None:
    text = json.dumps(make_operator(operator_facts()).all)
    images = re.findall(r'\\?"image\\?": \\?"([^"\\]+)', text)
    assert len(images) == 2
    assert all(re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image) for image in images)


def test_equal_facts_give_equal_objects() -> None:
    assert make_operator(operator_facts()) == make_operator(operator_facts())


def test_the_operator_s_pods_may_not_be_privileged_and_the_drivers_may() -> None:
    spaces = {
        item["metadata"]["name"]: item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for item in make_operator(operator_facts()).all
        if item["kind"] == "Namespace"
    }
    assert spaces == {"kmod-operator": "restricted", "drv": "privileged"}


def test_optional_roles_are_not_among_the_others() -> None:
    objects = make_operator(operator_facts(flavour=Flavour.OPENSHIFT))
    assert [role.name for role in objects.optional] == ["drain", "hold-pools"]
    assert not [item for role in objects.optional for item in role.objects if item in objects.all]
    assert [role.name for role in make_operator(operator_facts(flavour=Flavour.UPSTREAM)).optional] == ["drain"]


def test_the_example_is_of_the_kind() -> None:
    (example,) = make_operator(operator_facts()).example
    assert (example["apiVersion"], example["kind"]) == ("drivers.example.com/v1alpha1", "KernelDriver")
    assert example["spec"]["driver"] == {"name": "drv", "version": "1.4.0"}
    assert example["spec"]["index"] == {"image": "quay.test/org/drv:index"}
    (without,) = make_operator(operator_facts(driver_facts(plugin=False))).example
    assert (example["spec"]["devices"], without["spec"]["devices"]) == ({"mode": "DevicePlugin"}, {"mode": "None"})


def test_more_than_a_configmap_holds_is_told() -> None:
    many = [
        driver_facts({"parameters": tuple(f"p{number}=x" for number in range(4000))}, name=f"d{number}")
        for number in range(40)
    ]
    with pytest.raises(UsageError, match="a ConfigMap takes 1000000"):
        make_operator(operator_facts(*many))
