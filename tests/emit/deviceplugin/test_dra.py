"""The program and the files for it say the same of the cluster, and neither imports the other."""

from __future__ import annotations

import pytest
from kmod_operator.dra import objects

from builder.emit.deviceplugin import dra


def test_the_class_is_the_one_that_the_program_prints() -> None:
    words = ("drivers.example.com/drv", "drv.drivers.example.com")
    assert dra.device_class(*words) == objects.device_class(*words)


def test_the_rights_are_what_the_program_asks_for() -> None:
    assert dra.cluster_role("far-plugin") == objects.cluster_role("far-plugin")


@pytest.mark.parametrize(("namespace", "account"), [("far", "plugin"), ("a", "b")])
def test_the_policy_is_the_one_that_is_tried_on_a_real_api_server(namespace: str, account: str) -> None:
    ours = dra.own_slices_policy("p", namespace=namespace, account=account)
    assert ours == objects.own_slices_policy("p", namespace=namespace, account=account)
