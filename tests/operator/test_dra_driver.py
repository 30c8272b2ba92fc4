"""The driver of dynamic resources beside a kubelet and an API server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.dra_kubelet import DraKubelet
from fakes.kube_api import FakeApi
from kmod_operator.dra.metrics import DriverMetrics
from kmod_operator.kubernetes.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fakes.node import FakeNode

_WELL, _UNWELL = 1, 2
_NAME = "drivers.example.com/ptemplate=ptemplate-"


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _kubelet(node: FakeNode) -> DraKubelet:
    return DraKubelet(node.settings.registry_socket)


def test_it_is_ready_when_kubelet_took_it_and_slices_are_there(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0, 1, numa=1)
        api, kubelet, metrics = FakeApi(), _kubelet(node), DriverMetrics()
        async with node.driver(api, metrics) as agent:
            assert "has just begun" in agent.is_ready().words
            await _until(lambda: "kubelet has not found" in agent.is_ready().words)
            assert api.asked == [], "no pod gets a device that kubelet cannot prepare"
            await kubelet.register()
            await _until(lambda: agent.is_ready().well)
            assert set(api.devices()) == {"ptemplate-0", "ptemplate-1"}
            assert agent.is_ready().words == "the cluster is told of 2 devices"
            assert kubelet.info.type == "DRAPlugin"
            assert kubelet.info.name == "ptemplate.drivers.example.com"
            assert kubelet.info.endpoint == ""
            assert list(kubelet.info.supported_versions) == [
                "v1.DRAPlugin", "v1beta1.DRAPlugin", "v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth",
            ]  # fmt: skip
            assert api.devices()["ptemplate-0"]["attributes"] == {"resource.kubernetes.io/numaNode": {"int": 1}}
            assert json.loads(node.cdi_file.read_text())["devices"][1]["name"] == "ptemplate-1"
            taken = metrics.registry.get_sample_value("kmod_dra_registrations_total", {"result": "taken"})
            assert taken == 1
        assert not node.settings.registry_socket.exists()
        assert node.cdi_file.exists(), "pods that run need it when they are restarted"
        assert api.devices(), "another instance may come: kubelet removes them if none does"

    _run(work())


def test_kubelet_that_refuses_is_told_of(node: FakeNode) -> None:
    async def work() -> None:
        api, kubelet = FakeApi(), _kubelet(node)
        async with node.driver(api) as agent:
            await kubelet.register("none of your versions")
            await _until(lambda: "kubelet refuses ptemplate.drivers.example.com: none of" in agent.is_ready().words)
            assert api.asked == []
            await kubelet.register()
            await _until(lambda: agent.is_ready().well)

    _run(work())


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_claim_is_prepared_as_often_as_kubelet_asks(node: FakeNode, version: str) -> None:
    async def work() -> None:
        node.plug(0, 1)
        api, kubelet = FakeApi(), _kubelet(node)
        async with node.driver(api):
            await kubelet.register()
            uid = api.allocate("c", "ptemplate-0", "ptemplate-1")
            for _ in range(2):
                assert await kubelet.prepare(("c", uid), version=version) == {uid: [f"{_NAME}0", f"{_NAME}1"]}
            for _ in range(2):
                assert await kubelet.unprepare(("c", uid), ("nobody's", "x"), version=version) == {uid: "", "x": ""}
            assert await kubelet.prepare(version=version) == {}

    _run(work())


def test_each_claim_has_an_error_of_its_own(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0, 1)
        api, kubelet, metrics = FakeApi(), _kubelet(node), DriverMetrics()
        async with node.driver(api, metrics):
            await kubelet.register()
            node.break_(1)
            await _until(lambda: "taints" in api.devices().get("ptemplate-1", {}))
            good = api.allocate("good", "ptemplate-0")
            refused = {
                api.allocate("unknown", "ptemplate-7"): "has no device 'ptemplate-7' on this node",
                api.allocate("path", "../ptemplate-0"): "has no device '../ptemplate-0'",
                api.allocate("sick", "ptemplate-0", "ptemplate-1"): "ptemplate-1 is not healthy: its driver answers",
                api.allocate("elsewhere", "ptemplate-0", pool="other"): "of the pool 'other'; this node has 'worker'",
                api.allocate("foreign", "ptemplate-0", driver="gpu.example.com"): "no device of ptemplate.drivers",
                "uid-gone": "the claim default/gone cannot be read",
            }
            api.claims["default", "odd"] = {"metadata": {"uid": "uid-odd"}, "status": [3]}
            refused["uid-odd"] = "is not understood"
            asked = [(uid.removeprefix("uid-"), uid) for uid in (good, *refused)]
            found = await kubelet.prepare(*asked, ("good", "another UID"))
            assert found.pop(good) == [f"{_NAME}0"]
            assert "has the UID 'uid-good', and is not the one" in found.pop("another UID")
            assert found.keys() == refused.keys()
            for uid, words in refused.items():
                assert words in found[uid]
            count = metrics.registry.get_sample_value("kmod_dra_claims_prepared_total", {"result": "refused"})
            assert count == len(refused) + 1

    _run(work())


def test_what_nobody_expected_is_one_claims_error(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        api, kubelet = FakeApi(), _kubelet(node)
        async with node.driver(api):
            await kubelet.register()
            uid = api.allocate("c", "ptemplate-0")
            await _until(lambda: bool(api.devices()))
            api.refuses["claim"] = RuntimeError("a fault")
            assert await kubelet.prepare(("c", uid)) == {uid: "the driver failed: RuntimeError: a fault"}
            api.refuses["claim"] = ApiError("the API server cannot be reached")
            assert await kubelet.prepare(("c", uid)) == {uid: "the API server cannot be reached"}
            api.refuses.clear()
            assert await kubelet.prepare(("c", uid)) == {uid: [f"{_NAME}0"]}

    _run(work())


def test_a_device_that_the_runtime_does_not_know_is_not_prepared(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kmod_operator.node.cdi_folder.os.fsync", sync)

    async def work() -> None:
        node.plug(0)
        api, kubelet = FakeApi(), _kubelet(node)
        async with node.driver(api) as agent:
            await kubelet.register()
            uid = api.allocate("c", "ptemplate-0")
            assert "the container runtime cannot be told of it" in (await kubelet.prepare(("c", uid)))[uid]
            assert "No space left" in agent.is_ready().words
            await _until(lambda: "taints" in api.devices().get("ptemplate-0", {}))

    _run(work())


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_health_is_told_with_its_reason(node: FakeNode, version: str) -> None:
    async def work() -> None:
        node.plug(0, 1)
        api, kubelet = FakeApi(), _kubelet(node)
        async with node.driver(api):
            await kubelet.register()
            async with kubelet.watch(version):
                await kubelet.until({"ptemplate-0": _WELL, "ptemplate-1": _WELL})
                node.break_(1)
                await kubelet.until({"ptemplate-0": _WELL, "ptemplate-1": _UNWELL})
                assert "where numbers are expected" in kubelet.health["ptemplate-1"][1]
                node.plug(1)
                await kubelet.until({"ptemplate-0": _WELL, "ptemplate-1": _WELL})

    _run(work())


def test_health_is_told_again_before_kubelet_takes_it_for_old(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmod_operator.dra.driver._TELL_AGAIN_S", 0.01)

    async def work() -> None:
        node.plug(0)
        kubelet = _kubelet(node)
        async with node.driver(FakeApi()):
            await kubelet.register()
            async with kubelet.watch():
                for _ in range(3):
                    kubelet.health = {}
                    await kubelet.until({"ptemplate-0": _WELL})

    _run(work())


def test_a_device_that_goes_away_while_a_claim_has_it(node: FakeNode) -> None:
    """The status of its pod can say so; the scheduler does not see it, and it is forgotten when it is given back."""

    async def work() -> None:
        node.plug(0, 1)
        api, kubelet = FakeApi(), _kubelet(node)
        async with node.driver(api):
            await kubelet.register()
            uid = api.allocate("c", "ptemplate-0")
            await kubelet.prepare(("c", uid))
            async with kubelet.watch():
                node.unplug(0)
                await kubelet.until({"ptemplate-0": _UNWELL, "ptemplate-1": _WELL})
                await _until(lambda: set(api.devices()) == {"ptemplate-1"})
                assert "is not healthy: it is gone" in (await kubelet.prepare(("c", uid)))[uid]
                await kubelet.unprepare(("c", uid))
                await kubelet.until({"ptemplate-1": _WELL})

    _run(work())


def test_a_socket_that_is_gone_or_anothers_is_made_again(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        api, kubelet = FakeApi(), _kubelet(node)
        socket = node.settings.registry_socket
        async with node.driver(api) as agent:
            await kubelet.register()
            await _until(lambda: agent.is_ready().well)
            socket.unlink()
            await _until(lambda: not agent.is_ready().well)
            await kubelet.register()
            await _until(lambda: agent.is_ready().well)
            socket.unlink()
            socket.symlink_to("/dev/null")
            await _until(lambda: not socket.is_symlink())
            await kubelet.register()
            await _until(lambda: agent.is_ready().well)

    _run(work())


def test_a_folder_that_is_not_there_is_told(node: FakeNode) -> None:
    async def work() -> None:
        folder = node.root / "later"
        async with node.driver(FakeApi(), registry_dir=folder) as agent:
            await _until(lambda: "ptemplate.drivers.example.com.sock cannot be made" in agent.is_ready().words)
            folder.mkdir()
            await DraKubelet(folder / node.settings.registry_socket.name).register()
            await _until(lambda: agent.is_ready().well)

    _run(work())


def test_one_instance_works_at_a_time_in_whatever_mode(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        api = FakeApi()
        async with node.driver(api) as first:
            await _kubelet(node).register()
            await _until(lambda: first.is_ready().well)
            async with node.driver(api) as second, node.agent(replicas=2) as third:
                await asyncio.sleep(0.1)
                for waiting in (second, third):
                    assert waiting.is_ready().words.startswith("another instance serves this resource")
                    assert waiting.is_alive().well
                assert first.is_ready().well
                assert node.settings.registry_socket.is_socket()
                assert not list(node.settings.plugin_dir.iterdir())

    _run(work())


def test_the_end_is_told(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        kubelet = _kubelet(node)
        async with node.driver(FakeApi()):
            await kubelet.register()
            listening = kubelet.watch()
            await listening.__aenter__()
            await kubelet.until({"ptemplate-0": _WELL})
        await listening.__aexit__(None, None, None)

    _run(work())
