"""Dynamic resources in the cluster, as ``emit device-plugin`` writes them: scheduler, kubelet and runtime are the real ones.

What kubelet's own manager does of it alone is in test_dra_manager.py, what the API server does in test_dra_slices.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from integration.kind.client import wait_until
from integration.kind.dra_manager import devices_of, slices_of, wait_for_devices
from integration.kind.gates import features
from integration.kind.plugin_site import (
    DEVICES,
    DRIVER,
    NAMESPACE,
    READY,
    RESOURCE,
    PublishedPlugin,
    Site,
    serve_site,
)
from integration.kind.rollout import set_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind
_API = "resource.k8s.io/v1"
_BOTH = {"probe-0", "probe-1"}
# What a pod has, and that it may be read; it stays until it is ended.
_SCRIPT = "ls /dev/probe-*; head -c 4 /dev/probe-* | wc -c; exec sleep 600"
_BY_CLAIM = {"container": {"resources": {"claims": [{"name": "device"}]}}}
_FILES = ["10-access.yaml", "15-dynamic-resources.yaml", "20-daemonset.yaml"]


@pytest.fixture(scope="module")
def site(cluster: Cluster, registry: Registry, plugin: PublishedPlugin) -> Iterator[Site]:
    emitted = plugin.emit(mode="DRA")
    assert list(emitted) == [f"device-plugin/{name}" for name in _FILES]
    with serve_site(cluster, registry, emitted) as found:
        found.client.apply(_claim("ResourceClaimTemplate", "one", {"spec": _request()}))
        yield found


def _request(**more: Any) -> dict[str, Any]:
    return {"devices": {"requests": [{"name": "probe", "exactly": {"deviceClassName": DRIVER, **more}}]}}


def _claim(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def _start(site: Site, name: str, claim: str = "", script: str = _SCRIPT) -> dict[str, Any]:
    """Start a pod with a claim of its own, or with one that is there."""
    of = {"resourceClaimName": claim} if claim else {"resourceClaimTemplateName": "one"}
    return site.start(name, script, **_BY_CLAIM, resourceClaims=[{"name": "device", **of}])


def _claims(site: Site) -> list[dict[str, Any]]:
    return site.client.find(_API, "ResourceClaim", NAMESPACE)


def _waits(site: Site, name: str, why: str = "cannot allocate all claims") -> bool:
    """Tell whether the scheduler has said that there is no device for a pod."""
    status = site.client.get("v1", "Pod", name, NAMESPACE)["status"]
    return any(
        item["type"] == "PodScheduled" and item["status"] == "False" and why in item["message"]
        for item in status.get("conditions", ())
    )


def _wait_for(site: Site, devices: set[str]) -> None:
    wait_for_devices(site.client, site.node, devices, seconds=90.0)


def test_slices_appear_when_the_driver_is_loaded(site: Site) -> None:
    assert not site.plugins(), "nowhere, as long as KMM has not loaded the driver"
    set_label(site.client, site.node, READY, "")
    _wait_for(site, _BOTH)
    site.wait_until_ready()
    assert not site.free(), "kubelet counts none: both ways at once would count a device twice"
    facts = site.process()
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert (facts["NoNewPrivs"].strip(), facts["Seccomp"].strip()) == ("1", "2")


def test_each_pod_has_a_device_of_its_own_and_gives_it_back(site: Site) -> None:
    pods = [_start(site, f"user-{number}") for number in range(2)]
    try:
        logs = [site.lines(f"user-{number}", 2) for number in range(2)]
        assert sorted(log[0] for log in logs) == ["/dev/probe-0", "/dev/probe-1"], "two pods, never the same device"
        assert [log[1] for log in logs] == ["4", "4"], "and it is read"
        pods.append(_start(site, "user-2"))
        wait_until(lambda: _waits(site, "user-2"), what="that a third waits")
        site.end(pods.pop(0))
        assert site.lines("user-2", 2)[0] == logs[0][0], "it gets what was given back"
    finally:
        site.end(*pods)
    wait_until(lambda: not _claims(site), what="the end of claims whose pods are gone")


def test_a_claim_that_outlives_its_pod_is_released(site: Site) -> None:
    """And devices are chosen by what ``describe`` says of them."""
    by_number = {"cel": {"expression": f'device.attributes["{DRIVER}"].number == 1'}}
    claim = site.client.apply(_claim("ResourceClaim", "kept", _request(selectors=[by_number])))
    for name in ("first", "second"):
        pod = _start(site, name, "kept")
        assert site.lines(name, 2)[0] == "/dev/probe-1"
        site.end(pod)
        free = lambda: not site.client.get(_API, "ResourceClaim", "kept", NAMESPACE)["status"].get("allocation")  # noqa: E731
        wait_until(free, what="that the claim has no device")
    site.client.delete(claim)


def test_a_sick_device_is_given_to_nobody(site: Site) -> None:
    holder = site.client.apply(_claim("ResourceClaim", "holder", _request()))
    pods = [_start(site, "holder", "holder")]
    try:
        mine = site.lines("holder", 2)[0].removeprefix("/dev/")
        (other,) = _BOTH - {mine}
        site.say(**{mine.replace("-", "_"): "well", other.replace("-", "_"): "sick"})
        _wait_for(site, {mine})
        pods.append(_start(site, "next"))
        wait_until(lambda: _waits(site, "next"), what="that nobody gets a sick device")
        site.say(**{mine.replace("-", "_"): "sick", other.replace("-", "_"): "well"})
        assert site.lines("next", 2)[0] == f"/dev/{other}", "it is well again, and given"
        assert site.phase("holder") == "Running", "who has one that falls sick goes on"
        site.end(pods.pop(0))
        pods.append(_start(site, "late"))
        wait_until(lambda: _waits(site, "late"), what="that what is given back sick is given to nobody")
        site.say(probe_0="well", probe_1="well")
        assert site.lines("late", 2)[0] == f"/dev/{mine}"
    finally:
        site.end(*pods)
        site.client.delete(holder)
        site.say(probe_0="well", probe_1="well")
    _wait_for(site, _BOTH)


def test_its_limit_of_memory_fits_64_devices(site: Site) -> None:
    idle = site.memory_mib()
    site.say(**{f"probe_{number}": "well" for number in range(DEVICES)})
    _wait_for(site, {f"probe-{number}" for number in range(DEVICES)})
    full = site.memory_mib()
    begun = site.starts_in_s("the cluster is told of devices")
    print(f"start {begun:.2f} s, MiB idle {idle}, with {DEVICES} devices {full}")
    (container,) = site.plugins()[0]["spec"]["containers"]
    limit, request = (int(container["resources"][key]["memory"].removesuffix("Mi")) for key in ("limits", "requests"))
    assert full[1] < 0.8 * limit
    assert full[0] < request, "the scheduler is told the truth"
    site.say(probe_0="well", probe_1="well")
    _wait_for(site, _BOTH)


def test_features_of_later_releases(site: Site, plugin: PublishedPlugin) -> None:
    """In 1.34 behind gates: pods that ask for the resource need no claim, and a sick device stays, with a taint."""
    with features(site.cluster, "DRAExtendedResource", "DRADeviceTaints", api="resource.k8s.io/v1alpha3"):
        dynamic = plugin.emit(mode="DRA")["device-plugin/15-dynamic-resources.yaml"]
        applied = [site.client.apply(item) for item in yaml.safe_load_all(dynamic)]
        assert applied[-1]["spec"]["extendedResourceName"] == RESOURCE
        # One that met a sick device before has learned that this API server keeps no taints, and asks once in its life.
        site.end(*({"apiVersion": "v1", "kind": "Pod", **pod} for pod in site.plugins()))  # lists do not say it of each
        site.wait_until_ready()
        _wait_for(site, _BOTH)
        # Kubelet leaves a resource at 0 where a device plugin was, and 1.34 then asks no class: docs/devices.md.
        site.count("0")
        pods = [site.start(f"plain-{number}", _SCRIPT) for number in range(2)]
        try:
            wait_until(
                lambda: _waits(site, "plain-0", f"Insufficient {RESOURCE}"), what="that a count of 0 is believed"
            )
            site.count(None)
            pods = [_again_if_refused(site, f"plain-{number}") for number in range(2)]
            logs = [site.lines(f"plain-{number}", 2) for number in range(2)]
            assert sorted(log[0] for log in logs) == ["/dev/probe-0", "/dev/probe-1"]
            assert [log[1] for log in logs] == ["4", "4"]
            site.end(pods.pop())
            site.say(probe_0="sick", probe_1="sick")
            wait_until(lambda: _tainted(site) == _BOTH, seconds=90, what="taints of both")
            assert devices_of(site.client, site.node) == _BOTH, "they stay"
            pods.append(_start(site, "claims"))
            wait_until(lambda: _waits(site, "claims"), what="that nobody gets a tainted device")
            assert site.phase("plain-0") == "Running", "the taint is not for those who have one"
            site.say(probe_0="well", probe_1="well")
            assert site.lines("claims", 2)[0] == logs[1][0]
        finally:
            site.end(*pods)
            site.say(probe_0="well", probe_1="well")


def _again_if_refused(site: Site, name: str) -> dict[str, Any]:
    """Return a pod that runs, or one in its place: kubelet may refuse the first.

    Where pods had devices by a device plugin before, kubelet 1.34 still counts those of pods that are gone, takes the
    resource for a device plugin's, refuses, and forgets them by that.
    """
    wait_until(lambda: site.phase(name) in {"Running", "Failed"}, what=f"a verdict on {name}")
    pod = site.client.get("v1", "Pod", name, NAMESPACE)
    if pod["status"]["phase"] == "Running":
        return pod
    assert pod["status"]["reason"] == "UnexpectedAdmissionError", pod["status"]
    site.end({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}})
    return site.start(name, _SCRIPT)


def _tainted(site: Site) -> set[str]:
    devices = [device for item in slices_of(site.client, site.node) for device in item["spec"].get("devices", ())]
    return {device["name"] for device in devices if device.get("taints")}


def test_it_leaves_with_the_driver(site: Site) -> None:
    set_label(site.client, site.node, READY, None)
    wait_until(lambda: not site.plugins(), what="the end of the plugin")
    wait_until(lambda: not slices_of(site.client, site.node), seconds=90, what="that kubelet removes its slices")


def test_auto_chooses_them(site: Site, plugin: PublishedPlugin) -> None:
    for content in plugin.emit(mode="Auto").values():
        for item in yaml.safe_load_all(content):
            site.client.apply(item)
    set_label(site.client, site.node, READY, "")
    _wait_for(site, _BOTH)
    site.wait_until_ready()
    assert not site.free()
    pod = _start(site, "user")
    assert site.lines("user", 2)[1] == "4"
    site.end(pod)
