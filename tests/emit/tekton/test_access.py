"""Accounts and what they may do."""

from __future__ import annotations

from fakes.tekton_facts import hold_to_schema, tekton_facts

from builder.emit.tekton.access import make_accounts, make_constraints, make_namespace, make_network_policy
from builder.emit.tekton.pods import CAPABILITIES
from builder.emit.tekton.starts import make_nightly


def test_one_right_and_one_account_that_has_it() -> None:
    objects = make_accounts(tekton_facts())
    (role,) = [item for item in objects if item["kind"] == "Role"]
    assert role["rules"] == [{"apiGroups": ["tekton.dev"], "resources": ["pipelineruns"], "verbs": ["create"]}]
    (binding,) = [item for item in objects if item["kind"] == "RoleBinding"]
    assert [subject["name"] for subject in binding["subjects"]] == ["kmodsmith-nightly"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    accounts = [item for item in objects if item["kind"] == "ServiceAccount"]
    assert {item["automountServiceAccountToken"] for item in accounts} == {False}
    job = make_nightly(tekton_facts())[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert (job["serviceAccountName"], job["automountServiceAccountToken"]) == ("kmodsmith-nightly", True)


def test_constraints_let_in_what_shards_ask_for_and_no_more() -> None:
    constraints, role, binding = make_constraints(tekton_facts())
    hold_to_schema(constraints, "1.3")
    assert constraints["allowedCapabilities"] == list(CAPABILITIES)
    assert (constraints["allowPrivilegedContainer"], constraints["userNamespaceLevel"]) == (False, "RequirePodLevel")
    assert role["rules"][0]["resourceNames"] == [constraints["metadata"]["name"]]
    assert [subject["name"] for subject in binding["subjects"]] == ["kmodsmith-shard", "kmodsmith-untrusted"]


def test_strangers_are_never_root_of_a_node() -> None:
    constraints, _, binding = make_constraints(tekton_facts(isolation="privileged"))
    hold_to_schema(constraints, "1.3")
    assert constraints["allowPrivilegedContainer"]
    assert [subject["name"] for subject in binding["subjects"]] == ["kmodsmith-shard"]


def test_nobody_speaks_to_the_pods() -> None:
    spec = make_network_policy(tekton_facts())["spec"]
    assert (spec["policyTypes"], spec["ingress"]) == (["Ingress"], [])
    assert spec["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "kmodsmith"}


def test_the_namespace_is_named_as_the_settings_say() -> None:
    assert make_namespace(tekton_facts(namespace="drivers"))["metadata"]["name"] == "drivers"
