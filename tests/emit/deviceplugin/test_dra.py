"""What a cluster needs beside a driver of dynamic resources; the real API server has it in tests/integration/kind."""

from __future__ import annotations

from builder.emit.deviceplugin.dra import cluster_role, device_class, own_slices_policy

_DRIVER = "ptemplate.drivers.example.com"


def test_pods_that_ask_for_the_resource_get_a_device_of_the_class() -> None:
    found = device_class("drivers.example.com/ptemplate", _DRIVER)
    assert found["metadata"] == {"name": _DRIVER}
    assert found["spec"]["extendedResourceName"] == "drivers.example.com/ptemplate"
    assert found["spec"]["selectors"] == [{"cel": {"expression": f'device.driver == "{_DRIVER}"'}}]


def test_the_driver_may_do_what_it_does() -> None:
    rules = cluster_role("x")["rules"]
    assert {(rule["resources"][0], *rule["verbs"]) for rule in rules} == {
        ("nodes", "get"),
        ("resourceclaims", "get"),
        ("resourceslices", "list", "create", "update", "delete"),
    }


def test_the_policy_is_about_the_account_that_writes_slices() -> None:
    policy, binding = own_slices_policy("x", namespace="drv", account="dra")
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert "system:serviceaccount:drv:dra" in policy["spec"]["matchConditions"][0]["expression"]
