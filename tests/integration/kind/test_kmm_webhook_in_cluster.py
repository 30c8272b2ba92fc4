"""What ``emit kmm`` writes goes through KMM's own webhook, which runs in the cluster as it does in one of OpenShift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.kmm import change_module

from integration.kind.client import Client, Refused, wait_until
from integration.kind.kmm_webhook import webhook_in_cluster
from integration.kind.rollout import NAMESPACE, apply_files, kernel_of_nodes, make_facts, remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind
_LABEL = "kmm.node.k8s.io/contains-modules"


@pytest.fixture(scope="module")
def webhook(operator: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with webhook_in_cluster(operator, tmp_path_factory.mktemp("webhook")) as deployment:
        yield deployment


def _good(registry: Registry) -> Any:
    return make_facts(registry, {f"{kernel_of_nodes()}.none": f"sha256:{'0' * 64}"})


def test_emitted_files_pass_it(operator: Cluster, webhook: dict[str, Any], registry: Registry) -> None:
    module = apply_files(operator.client, _good(registry), registry.pull_secret)
    remove(operator.client, module)


def test_it_refuses_what_lint_calls_a_mistake(operator: Cluster, webhook: dict[str, Any], registry: Registry) -> None:
    """Nothing of a Module that was refused is there."""
    client = operator.client
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "e2e-webhook"}})
    wrong = change_module("spec/moduleLoader/container/kernelMappings/0/literal", ...)
    wrong["metadata"]["namespace"] = "e2e-webhook"
    with pytest.raises(Refused, match="admission webhook .* denied the request: .*regexp or literal must be set"):
        client.create(wrong)
    assert not client.find(wrong["apiVersion"], "Module", "e2e-webhook")


def test_a_namespace_with_a_module_stays(operator: Cluster, webhook: dict[str, Any], registry: Registry) -> None:
    """The namespace that is emitted, whose end would leave modules on nodes that nobody knows of."""
    client = operator.client
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    module = apply_files(client, _good(registry), registry.pull_secret)
    try:
        wait_until(lambda: _LABEL in _labels(client), what="that KMM has labelled the namespace")
        with pytest.raises(Refused, match="namespace contains one or more Module resources"):
            client.delete(namespace)
    finally:
        remove(client, module)


def _labels(client: Client) -> dict[str, str]:
    found: dict[str, str] = client.get("v1", "Namespace", NAMESPACE)["metadata"]["labels"]
    return found


def test_without_its_server_nothing_passes(operator: Cluster, webhook: dict[str, Any], registry: Registry) -> None:
    """The negative of the first: that files pass says that it was asked."""
    client, facts = operator.client, _good(registry)
    client.patch(webhook, {"spec": {"replicas": 0}})
    try:
        wait_until(lambda: _is_gone(client, webhook), seconds=120, what="the end of the webhook")
        with pytest.raises(Refused, match="failed calling webhook"):
            apply_files(client, facts, registry.pull_secret)
    finally:
        client.patch(webhook, {"spec": {"replicas": 1}})
    wait_until(lambda: not _is_gone(client, webhook), seconds=120, what="the webhook")


def _is_gone(client: Client, deployment: dict[str, Any]) -> bool:
    labels = deployment["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    return not client.find("v1", "Pod", deployment["metadata"]["namespace"], labelSelector=selector)
