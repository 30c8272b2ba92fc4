"""What the operator may do: each right is named here, and a further one is a decision."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.operator_facts import driver_facts, operator_facts, operator_settings

from builder.emit.kmm.version import Flavour
from builder.emit.operator.access import (
    make_cluster_rules,
    make_drain_rules,
    make_driver_rules,
    make_own_rules,
    make_pool_rules,
)

_READ = {"get", "list", "watch"}


def _all_rules() -> list[dict[str, Any]]:
    facts = operator_facts(driver_facts(), driver_facts(name="second"))
    return [
        *make_cluster_rules(facts), *make_own_rules(facts.settings), *make_driver_rules(facts.drivers),
        *make_drain_rules(), *make_pool_rules(),
    ]  # fmt: skip


def _verbs(rules: list[dict[str, Any]], resource: str) -> dict[tuple[str, ...], set[str]]:
    return {tuple(rule.get("resourceNames", ())): set(rule["verbs"]) for rule in rules if resource in rule["resources"]}


def test_no_star_stands_anywhere() -> None:
    for rule in _all_rules():
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"], *rule.get("resourceNames", ())]


@pytest.mark.parametrize(
    "resource",
    [
        "roles", "rolebindings", "clusterroles", "clusterrolebindings", "serviceaccounts", "namespaces",
        "securitycontextconstraints", "customresourcedefinitions", "deployments", "pods/exec", "nodes/proxy",
    ],
)  # fmt: skip
def test_what_could_make_it_anything_is_not_in_its_hands(resource: str) -> None:
    assert not [rule for rule in _all_rules() if resource in rule["resources"]]


@pytest.mark.parametrize("verb", ["escalate", "bind", "impersonate", "deletecollection"])
def test_no_verb_goes_past_its_own_rights(verb: str) -> None:
    assert not [rule for rule in _all_rules() if verb in rule["verbs"]]


def test_the_one_secret_is_named_and_never_listed() -> None:
    rules = make_own_rules(operator_settings(pull_secret="mine"))
    assert _verbs(rules, "secrets") == {("mine",): {"get"}}


def test_what_it_makes_is_named() -> None:
    drivers = [driver_facts(), driver_facts(name="second", plugin=False)]
    rules = make_driver_rules(drivers)
    write = {"create", "patch", "delete"}
    assert _verbs(rules, "modules") == {(): _READ, ("drv", "second"): write}
    assert _verbs(rules, "daemonsets") == {(): _READ, ("drv-plugin",): write}
    assert _verbs(rules, "podmonitors") == {(): _READ, ("drv-plugin",): write}
    assert _verbs(make_cluster_rules(operator_facts(*drivers)), "nodefeaturerules") == {
        (): _READ,
        ("drv", "second"): write,
    }


def test_pods_are_made_where_a_driver_has_a_smoke_test_and_nowhere_else() -> None:
    assert _verbs(make_driver_rules([driver_facts(smoke=True)]), "pods") == {(): _READ | {"create", "delete"}}
    assert _verbs(make_driver_rules([driver_facts()]), "pods") == {}


def test_without_a_plugin_there_are_no_rights_to_one() -> None:
    rules = make_driver_rules([driver_facts(plugin=False)])
    assert {resource for rule in rules for resource in rule["resources"]} == {"modules"}


def test_only_the_lease_is_replaced_and_indexes_are_nobody_s_to_delete() -> None:
    replaced = [rule["resources"] for rule in _all_rules() if "update" in rule["verbs"]]
    assert replaced == [["leases"]]
    assert _verbs(make_own_rules(operator_settings()), "configmaps") == {(): _READ | {"create", "patch"}}


def test_of_its_own_kind_it_changes_finalizers_and_the_status() -> None:
    rules = make_cluster_rules(operator_facts())
    assert _verbs(rules, "kerneldrivers") == {(): _READ | {"patch"}}
    assert _verbs(rules, "kerneldrivers/status") == {(): {"patch"}}
    assert _verbs(rules, "events") == {(): {"create", "list"}}


def test_nodes_are_patched_and_never_made_or_removed() -> None:
    assert _verbs(make_cluster_rules(operator_facts()), "nodes") == {(): _READ | {"patch"}}


def test_openshift_s_kinds_are_read_there_alone() -> None:
    there = make_cluster_rules(operator_facts(flavour=Flavour.OPENSHIFT))
    assert _verbs(there, "machineconfigpools") == _verbs(there, "clusterversions") == {(): _READ}
    elsewhere = make_cluster_rules(operator_facts(flavour=Flavour.UPSTREAM))
    assert not _verbs(elsewhere, "machineconfigpools") | _verbs(elsewhere, "clusterversions")


def test_optional_rights_are_what_they_say() -> None:
    assert [(rule["resources"], rule["verbs"]) for rule in make_drain_rules()] == [
        (["pods"], ["list"]),
        (["pods/eviction"], ["create"]),
    ]
    assert [(rule["resources"], rule["verbs"]) for rule in make_pool_rules()] == [(["machineconfigpools"], ["patch"])]
    facts = operator_facts()
    without = [*make_cluster_rules(facts), *make_own_rules(facts.settings), *make_driver_rules(facts.drivers)]
    assert not [rule for rule in without if {"pods", "pods/eviction"} & set(rule["resources"])]
