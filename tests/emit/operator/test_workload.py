"""The pods: no privilege, no tag, nothing that can be written."""

from __future__ import annotations

from fakes.operator_facts import OPERATOR_DIGEST, operator_facts, operator_settings
from kmod_operator.rollout import template

from builder.emit.operator.workload import (
    TEMPLATES_KEY,
    TEMPLATES_NAME,
    make_budget,
    make_deployment,
    make_network_policy,
    make_priority,
    make_service,
)


def test_the_image_is_named_by_digest_and_runs_the_operator() -> None:
    (container,) = make_deployment(operator_facts(), "{}")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"quay.test/org/operator@{OPERATOR_DIGEST}"
    assert container["args"] == ["operator"]
    assert [item["name"] for item in container["env"]] == [
        "KMOD_TEMPLATES",
        "KMOD_NAMESPACE",
        "KMOD_POD",
        "KMOD_LISTEN",
    ]


def test_the_pod_is_a_restricted_one() -> None:
    pod = make_deployment(operator_facts(), "{}")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False, "readOnlyRootFilesystem": True,
    }  # fmt: skip
    assert [list(volume) for volume in pod["volumes"]] == [["name", "configMap"]]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert container["resources"]["limits"].keys() == {"memory"}


def test_other_templates_are_other_pods() -> None:
    def marks(text: str) -> object:
        return make_deployment(operator_facts(), text)["spec"]["template"]["metadata"]["annotations"]

    assert marks("a") == marks("a") != marks("b")


def test_a_second_pod_waits_elsewhere_and_a_drain_takes_one() -> None:
    deployment = make_deployment(operator_facts(), "{}")["spec"]
    assert deployment["replicas"] == 2
    (apart,) = deployment["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert apart["podAffinityTerm"]["labelSelector"] == deployment["selector"]
    budget = make_budget(operator_settings())["spec"]
    assert budget == {"maxUnavailable": 1, "selector": deployment["selector"]}


def test_it_goes_to_nodes_that_its_image_is_for() -> None:
    """In a cluster of several architectures it would wait on the others for an image that there is not."""
    affinity = make_deployment(operator_facts(), "{}")["spec"]["template"]["spec"]["affinity"]
    (term,) = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {item["key"]: item["values"] for item in term["matchExpressions"]} == {
        "kubernetes.io/os": ["linux"], "kubernetes.io/arch": ["amd64", "arm64"],
    }  # fmt: skip


def test_it_speaks_to_the_api_server_names_and_registries() -> None:
    policy = make_network_policy(operator_facts(registry_ports=[5000]))["spec"]
    ports = {(port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {("TCP", 443), ("TCP", 6443), ("TCP", 5000)} | {
        (name, port) for name in ("TCP", "UDP") for port in (53, 5353)
    }
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"protocol": "TCP", "port": 8080}]]
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_prometheus_finds_it_by_its_labels() -> None:
    service = make_service(operator_settings())["spec"]
    template = make_deployment(operator_facts(), "{}")["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    (port,) = template["spec"]["containers"][0]["ports"]
    assert service["ports"][0]["targetPort"] == port["name"]


def test_its_priority_is_below_the_cluster_s_own() -> None:
    found = make_priority(operator_settings())
    assert 0 < found["value"] <= 1_000_000_000
    assert not found["globalDefault"]
    assert (
        make_deployment(operator_facts(), "{}")["spec"]["template"]["spec"]["priorityClassName"]
        == found["metadata"]["name"]
    )


def test_who_explains_from_elsewhere_finds_the_templates() -> None:
    """The operator is another distribution, and has the names again."""
    assert (template.CONFIG_MAP, template.KEY) == (TEMPLATES_NAME, TEMPLATES_KEY)
