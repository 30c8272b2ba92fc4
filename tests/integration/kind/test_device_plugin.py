"""The device plugin in the cluster, as ``emit device-plugin`` writes it: pods get devices of their own.

Once by the container runtime's file (CDI), once by device files that kubelet is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.kind.client import wait_until
from integration.kind.plugin_site import DEVICES, READY, RESOURCE, PublishedPlugin, Site, serve_site
from integration.kind.rollout import set_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind


@pytest.fixture(scope="module", params=["cdi", "nodes"])
def site(
    request: pytest.FixtureRequest, cluster: Cluster, registry: Registry, plugin: PublishedPlugin
) -> Iterator[Site]:
    emitted = plugin.emit(injection=request.param)
    assert list(emitted) == ["device-plugin/10-access.yaml", "device-plugin/20-daemonset.yaml"]
    with serve_site(cluster, registry, emitted) as found:
        yield found


def test_it_waits_for_the_driver_and_runs_without_privilege(site: Site) -> None:
    assert not site.plugins(), "nowhere, as long as KMM has not loaded the driver"
    set_label(site.client, site.node, READY, "")
    site.wait_for(2)
    pod = site.wait_until_ready()
    mounts = [mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]]
    assert mounts == ["device-plugins", "cdi"], "and no token"
    facts = site.process()
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert (facts["NoNewPrivs"].strip(), facts["Seccomp"].strip()) == ("1", "2")


def test_each_pod_has_a_device_of_its_own(site: Site) -> None:
    script = "ls /dev/probe-*; head -c 4 /dev/probe-* | wc -c; echo x >/dev/probe-* && sleep 600"
    pods = [site.start(f"user-{number}", script) for number in range(2)]
    try:
        logs = [site.lines(f"user-{number}", 2) for number in range(2)]
        assert sorted(log[0] for log in logs) == ["/dev/probe-0", "/dev/probe-1"], "two pods, never the same device"
        assert [log[1] for log in logs] == ["4", "4"], "and it is read"
        # Past the scheduler, as a static pod is: kubelet itself has to refuse it.
        third = site.start("user-2", nodeName=site.node)
        wait_until(lambda: site.phase("user-2") == "Failed", what="that a third is refused")
        site.end(third)
        site.say(probe_0="well", probe_1="sick")
        site.wait_for(1)
        assert [site.phase(f"user-{number}") for number in range(2)] == ["Running", "Running"], "who has it keeps it"
        site.say(probe_0="well")
        site.wait_for(1)
        capacity = site.client.get("v1", "Node", site.node)["status"]["capacity"][RESOURCE]
        assert capacity == "2", "a device that is gone and in use stays, and is unwell"
    finally:
        site.end(*pods)
    site.say(probe_0="well", probe_1="well")
    site.wait_for(2)


def test_its_limit_of_memory_fits_64_devices(site: Site) -> None:
    idle = site.memory_mib()
    site.say(**{f"probe_{number}": "well" for number in range(DEVICES)})
    site.wait_for(DEVICES)
    full = site.memory_mib()
    print(f"start {site.starts_in_s('registered with kubelet'):.2f} s, MiB idle {idle}, with {DEVICES} devices {full}")
    (container,) = site.plugins()[0]["spec"]["containers"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert full[1] < 0.8 * limit
    assert full[0] < int(container["resources"]["requests"]["memory"].removesuffix("Mi")), (
        "the scheduler is told the truth"
    )
    site.say(probe_0="well", probe_1="well")


def test_it_leaves_with_the_driver(site: Site) -> None:
    set_label(site.client, site.node, READY, None)
    wait_until(lambda: not site.plugins(), what="the end of the plugin")
    site.wait_for(0)
