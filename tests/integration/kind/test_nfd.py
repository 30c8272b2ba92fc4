"""What ``emit nfd`` writes, held against NFD's own CRDs, and carried out by NFD's own matcher on nodes of a cluster."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.nfd_facts import LABEL, PCI_ALIASES, STRANGE_ALIASES, USB_ALIASES, nfd_facts

from builder.emit.kmm.version import Flavour
from builder.emit.nfd.files import EXAMPLE_FILE, RULE_FILE, emit_nfd
from integration.kind.client import Client, Refused, wait_until
from integration.kind.kmm import installed
from integration.kind.nfd_operator import API, NAMESPACE, crds, install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.emit.nfd.files import NfdFacts
    from integration.kind.api_server import ApiServer
    from integration.kind.cluster import Cluster

pytestmark = pytest.mark.kind
_CARD = {"vendor": "1af4", "device": "fff1", "subsystem_vendor": "0000", "subsystem_device": "0000", "class": "0200"}
_STICK = {"vendor": "0403", "device": "6001", "class": "00"}


@pytest.fixture(scope="module")
def nfd(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """NFD in the cluster. Whoever brings a cluster brings NFD as well."""
    if cluster.world is not None:
        install(cluster, tmp_path_factory.mktemp("nfd"))
    return cluster.client


@pytest.fixture(scope="module")
def node(nfd: Client) -> str:
    """A node whose worker of NFD runs."""
    return min(str(item["metadata"]["name"]) for item in nfd.find(API, "NodeFeature", NAMESPACE))


def _rule(facts: NfdFacts) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(emit_nfd(facts, Flavour.UPSTREAM).files[RULE_FILE])
    return found


@pytest.fixture
def rule(nfd: Client) -> Iterator[dict[str, Any]]:
    """The rule of a driver with devices, as it is emitted."""
    item = _rule(nfd_facts(*PCI_ALIASES, *USB_ALIASES, *STRANGE_ALIASES))
    nfd.apply(item)
    yield item
    nfd.delete(item)


def _devices(node: str, **instances: dict[str, str]) -> dict[str, Any]:
    """What a node's worker would say of devices that no machine here has."""
    listed = {f"{bus}.device": {"elements": [{"attributes": device}]} for bus, device in instances.items()}
    return _feature(node, {"attributes": {}, "flags": {}, "instances": listed})


def _feature(node: str, features: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        "name": f"e2e-{node}",
        "namespace": NAMESPACE,
        "labels": {"nfd.node.kubernetes.io/node-name": node},
    }
    return {"apiVersion": API, "kind": "NodeFeature", "metadata": metadata, "spec": {"features": features}}


def _labels(client: Client, node: str) -> dict[str, str]:
    found: dict[str, str] = client.get("v1", "Node", node)["metadata"]["labels"]
    return found


def _is_labelled(client: Client, node: str, label: str = LABEL) -> bool:
    return label in _labels(client, node)


@pytest.mark.parametrize(
    "devices",
    [{"pci": _CARD}, {"usb": _STICK}, {"usb": {"vendor": "dead", "device": "beef", "class": "08"}}],
    ids=["pci", "usb", "class"],
)
def test_a_node_with_the_device_gets_the_label_of_the_module(
    nfd: Client, node: str, rule: dict[str, Any], devices: dict[str, dict[str, str]]
) -> None:
    """And loses it with the device; other nodes never have it."""
    assert not _is_labelled(nfd, node)
    item = _devices(node, **devices)
    nfd.apply(item)
    try:
        wait_until(lambda: _is_labelled(nfd, node), what="the label")
        assert _labels(nfd, node)[LABEL] == nfd_facts().driver.kmm.selector[LABEL]
        others = [found["metadata"]["name"] for found in nfd.find("v1", "Node", labelSelector=LABEL)]
        assert others == [node]
    finally:
        nfd.delete(item)
    wait_until(lambda: not _is_labelled(nfd, node), what="the end of the label")


@pytest.mark.parametrize(
    "changed",
    [
        {"pci": _CARD | {"device": "fff2"}},
        {"pci": _CARD | {"vendor": "1af5"}},
        {"pci": {"vendor": "8086", "device": "1234", "subsystem_vendor": "103c", "subsystem_device": "0008", "class": "0200"}},
        {"pci": {"vendor": "8086", "device": "1234", "subsystem_vendor": "103c", "subsystem_device": "0007", "class": "0300"}},
        {"pci": _CARD | {"vendor": "abcd", "class": "0604"}},
        {"usb": _STICK | {"device": "6002"}},
    ],
    ids=["device", "vendor", "subsystem", "class", "bridge", "usb"],
)  # fmt: skip
def test_a_node_with_another_device_does_not(
    nfd: Client, node: str, rule: dict[str, Any], changed: dict[str, dict[str, str]]
) -> None:
    """That NFD has looked is seen by a label of the same round."""
    item = _devices(node, **changed)
    item["spec"]["labels"] = {"feature.node.kubernetes.io/e2e-seen": "true"}
    nfd.apply(item)
    try:
        wait_until(lambda: _is_labelled(nfd, node, "feature.node.kubernetes.io/e2e-seen"), what="that NFD has looked")
        assert not _is_labelled(nfd, node)
    finally:
        nfd.delete(item)
    wait_until(lambda: not _is_labelled(nfd, node, "feature.node.kubernetes.io/e2e-seen"), what="that it looked again")


def test_a_driver_without_a_device_waits_for_the_administrators_word(nfd: Client, node: str) -> None:
    """The skeleton that is emitted, with the node's name in place of NODE."""
    facts = nfd_facts("char-major-10-130")
    item = _rule(facts)
    text = emit_nfd(facts, Flavour.UPSTREAM).files[EXAMPLE_FILE]
    word = yaml.safe_load(text.replace("NODE", node))
    nfd.apply(item)
    try:
        kernel = f"{LABEL}-kernel"
        _add_kernel(item, nfd.get("v1", "Node", node)["status"]["nodeInfo"]["kernelVersion"])
        nfd.apply(item)
        wait_until(lambda: _is_labelled(nfd, node, kernel), what="that NFD has looked")
        assert not _is_labelled(nfd, node)
        nfd.apply(word)
        wait_until(lambda: _is_labelled(nfd, node), what="the label")
        nfd.delete(word)
        wait_until(lambda: not _is_labelled(nfd, node), what="the end of the label")
    finally:
        nfd.delete(item)
    wait_until(lambda: not _is_labelled(nfd, node, kernel), what="the end of the rule")


def _add_kernel(rule: dict[str, Any], raw: str) -> None:
    """Kernels of test machines have names of their own; that the label comes shows how NFD tells a kernel."""
    (entry,) = [entry for entry in rule["spec"]["rules"] if entry["name"].endswith("with an image")]
    entry["matchFeatures"][0]["matchExpressions"]["full"]["value"].append(raw)


def test_a_label_that_somebody_set_by_hand_stays(nfd: Client, node: str, rule: dict[str, Any]) -> None:
    """NFD takes away what it gave, and nothing else: an administrator may name a node by the label itself."""
    item = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}
    nfd.patch(item, {"metadata": {"labels": {LABEL: "true"}}})
    try:
        other = _devices(node, pci=_CARD | {"device": "fff2"})
        other["spec"]["labels"] = {"feature.node.kubernetes.io/e2e-seen": "true"}
        nfd.apply(other)
        wait_until(lambda: _is_labelled(nfd, node, "feature.node.kubernetes.io/e2e-seen"), what="that NFD has looked")
        assert _is_labelled(nfd, node)
        nfd.delete(other)
    finally:
        nfd.patch(item, {"metadata": {"labels": {LABEL: None}}})


def test_the_crds_take_what_is_emitted_and_nothing_else(api_server: ApiServer) -> None:
    """Both flavours: OpenShift has the kind in namespaces, which is the only difference of its definition."""
    for flavour in Flavour:
        definitions = copy.deepcopy(crds())
        for definition in definitions:
            if flavour is Flavour.OPENSHIFT and definition["spec"]["names"]["kind"] == "NodeFeatureRule":
                definition["spec"]["scope"] = "Namespaced"
        with installed(api_server.client, definitions):
            for facts in (nfd_facts(*PCI_ALIASES, *USB_ALIASES, *STRANGE_ALIASES), nfd_facts()):
                for content in emit_nfd(facts, flavour).files.values():
                    _take(api_server.client, yaml.safe_load(content.replace("NODE", "node")))


def _take(client: Client, item: dict[str, Any]) -> None:
    if namespace := item["metadata"].get("namespace"):
        client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    client.create(item, dry_run=True)
    wrong = copy.deepcopy(item)
    wrong["spec"]["unknown"] = True
    with pytest.raises(Refused, match='unknown field "spec.unknown"'):
        client.create(wrong, dry_run=True)
    if item["kind"] == "NodeFeatureRule":
        wrong = copy.deepcopy(item)
        wrong["spec"]["rules"][-1]["matchFeatures"][0]["matchExpressions"]["MODULE_SIG_FORCE"]["value"] = [8]
        with pytest.raises(Refused, match="must be of type string"):
            client.create(wrong, dry_run=True)
