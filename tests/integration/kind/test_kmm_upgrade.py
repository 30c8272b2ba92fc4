"""Upgrades in the order of version labels, and KMM's own word on a kernel that no node runs yet."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from builder.emit.kmm.files import ReleaseKernel, emit_kmm
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.kernel import parse_kernel_version
from integration.kind.client import Client, Refused, wait_until
from integration.kind.rollout import (
    TOLERATIONS,
    apply_files,
    have_authorities,
    image_on,
    kernel_of_nodes,
    loader_status,
    make_facts,
    push_driver,
    remove,
    set_label,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from builder.emit.kmm.files import KmmFacts
    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind
_VERSION_LABEL = "kmm.node.kubernetes.io/version-module.drv.drv"
_PREFLIGHT = ("kmm.sigs.x-k8s.io/v1beta2", "PreflightValidation")


def test_each_node_gets_a_version_when_its_label_says_so(
    operator: Cluster, registry: Registry, both: tuple[str, str], tmp_path: Path
) -> None:
    """``ordered_upgrade`` of versions.yaml: nothing without the label, and with it the image of that version there alone."""
    client, kernel = operator.client, kernel_of_nodes()
    first, second = both
    images = {}
    for version in ("1.4.0", "1.5.0"):
        digest = push_driver(operator, registry, tmp_path, version)
        images[version] = f"{registry.host}/org/drv@{digest}"

    def apply(version: str) -> dict[str, Any]:
        digests = {kernel: images[version].partition("@")[2]}
        facts = make_facts(registry, digests, version=version, ordered_upgrade=True, tolerations=TOLERATIONS)
        return apply_files(client, facts, registry.pull_secret)

    def shown() -> tuple[str, str]:
        return image_on(client, first), image_on(client, second)

    module = apply("1.4.0")
    try:
        have_authorities(client)
        wait_until(lambda: loader_status(client)["nodesMatchingSelectorNumber"] == 2, what="that KMM has seen both")
        _holds(lambda: shown() == ("", ""))
        set_label(client, first, _VERSION_LABEL, "1.4.0")
        wait_until(lambda: shown() == (images["1.4.0"], ""), what="the first version on the first node alone")
        set_label(client, second, _VERSION_LABEL, "1.4.0")
        wait_until(lambda: shown() == (images["1.4.0"],) * 2, what="the first version on both")
        module = apply("1.5.0")
        _holds(lambda: shown() == (images["1.4.0"],) * 2)
        set_label(client, first, _VERSION_LABEL, "1.5.0")
        wait_until(
            lambda: shown() == (images["1.5.0"], images["1.4.0"]), what="the new version on the first node alone"
        )
        set_label(client, first, _VERSION_LABEL, None)
        wait_until(lambda: shown() == ("", images["1.4.0"]), what="that a node without the label has no version")
    finally:
        for node in both:
            set_label(client, node, _VERSION_LABEL, None)
        remove(client, module)


def _holds(ask: Callable[[], bool]) -> None:
    """Hold that nothing happens: KMM answers a change within a second, and is given some."""
    for _ in range(25):
        assert ask()
        time.sleep(0.2)


@pytest.fixture
def published(operator: Cluster, registry: Registry, worker: str, tmp_path: Path) -> Iterator[KmmFacts]:
    """A Module that maps three kernels to one image, which has a module of the first two, in two places."""
    kernel = kernel_of_nodes()
    digest = push_driver(operator, registry, tmp_path, "preflight", f"{kernel}.plain/drv.ko")
    facts = make_facts(registry, {f"{kernel}{suffix}": digest for suffix in (".plain", "", ".other")})
    module = apply_files(operator.client, facts, registry.pull_secret)
    have_authorities(operator.client)
    yield facts
    remove(operator.client, module)


@pytest.mark.parametrize(
    ("suffix", "status", "reason"),
    [
        (".plain", "True", "image accessible and verified"),
        # Where published images have it. Releases since the middle of 2025 look no further than whether there is an image.
        ("", "False", "does not contain kernel module for kernel"),
        (".other", "False", "does not contain kernel module for kernel"),
        (".none", "False", "failed to process kernel mapping in the module drv for kernel version"),
    ],
)
def test_kmm_says_whether_a_kernel_is_ready(
    operator: Cluster, published: KmmFacts, suffix: str, status: str, reason: str
) -> None:
    """The preflight as it is emitted; KMM itself reads the registry, by the Module's secret and with verified TLS."""
    client = operator.client
    kernel = dataclasses.replace(parse_kernel_version("6.1.0-9-amd64"), raw=f"{kernel_of_nodes()}{suffix}")
    facts = dataclasses.replace(published, releases=[ReleaseKernel(release="", kernel=kernel)])
    item = _preflight(facts, Flavour.UPSTREAM)
    client.apply(item)
    try:
        found = wait_until(lambda: _verdict(client, item["metadata"]["name"], reason), seconds=90, what=reason)
        assert found["verificationStatus"] == status
        assert found["verificationStage"] == ("Done" if status == "True" else "Requeued")
    finally:
        client.delete(item)


def _preflight(facts: KmmFacts, flavour: Flavour) -> dict[str, Any]:
    files = emit_kmm(facts, KmmVersion.V2_4, flavour)
    (text,) = [content for name, content in files.items() if name.startswith("preflight/")]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _verdict(client: Client, name: str, reason: str) -> dict[str, Any]:
    """Return what KMM says of the Module, when it says what is waited for, and after that the stage of it."""
    for entry in client.get(*_PREFLIGHT, name)["status"]["modules"]:
        is_over = entry["verificationStage"] in {"Done", "Requeued"}
        if entry["name"] == "drv" and is_over and reason in entry.get("statusReason", ""):
            found: dict[str, Any] = entry
            return found
    return {}


def test_openshifts_preflight_of_this_commit_names_releases_yet(operator: Cluster, published: KmmFacts) -> None:
    """Later releases take a kernel, which is what is emitted (test_kmm_admission); the commit that runs here wants the release."""
    kernel = parse_kernel_version("6.1.0-9-amd64")
    facts = dataclasses.replace(published, releases=[ReleaseKernel(release="4.18.30-x86_64", kernel=kernel)])
    with pytest.raises(Refused, match="kernelVersion"):
        operator.client.apply(_preflight(facts, Flavour.OPENSHIFT), dry_run=True)
