"""The device plugin beside a kubelet: what it tells, what it gives, and what it does when things go away."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from grpclib.exceptions import GRPCError
from kmod_operator.deviceplugin.metrics import Metrics
from kmod_operator.devices.model import Description, Device, DeviceNode, Health
from kmod_operator.kubelet_api import deviceplugin_v1beta1_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fakes.kubelet import FakeKubelet
    from fakes.node import FakeNode

_WELL, _UNWELL = "Healthy", "Unhealthy"


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def _last(**wanted: str) -> Callable[[FakeKubelet], bool]:
    names = {f"ptemplate-{name[1:]}": health for name, health in wanted.items()}
    return lambda kubelet: bool(kubelet.lists) and kubelet.lists[-1] == names


def test_devices_are_told_as_they_come_and_go(node: FakeNode) -> None:
    async def work() -> None:
        async with node.kubelet() as kubelet, node.agent() as agent:
            await kubelet.until(lambda kubelet: kubelet.lists == [{}])
            node.plug(0, 1)
            await kubelet.until(_last(n0=_WELL, n1=_WELL))
            assert agent.is_ready().well
            node.unplug(0)
            await kubelet.until(_last(n1=_WELL))
            (request,) = kubelet.registered
            assert (request.version, request.resource_name) == ("v1beta1", "drivers.example.com/ptemplate")
            assert request.endpoint == "drivers.example.com_ptemplate.sock"
            assert request.options.get_preferred_allocation_available
            assert not request.options.pre_start_required

    _run(work())


def test_a_sick_device_is_well_again_only_after_several_good_looks(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        async with node.kubelet() as kubelet, node.agent(good_looks=3):
            await kubelet.until(_last(n0=_WELL))
            node.break_(0)
            await kubelet.until(_last(n0=_UNWELL))
            with pytest.raises(GRPCError, match=r"ptemplate-0 is not healthy: its driver answers '\?'"):
                await kubelet.allocate("ptemplate-0")
            node.plug(0)
            await kubelet.until(_last(n0=_WELL))

    _run(work())


def test_a_device_is_given_by_the_runtimes_file(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0, 1, numa=1)
        async with node.kubelet() as kubelet, node.agent():
            await kubelet.until(_last(n0=_WELL, n1=_WELL))
            assert [device.topology.nodes[0].ID for device in kubelet.told] == [1, 1]
            given = await kubelet.allocate("ptemplate-1")
            assert [device.name for device in given.cdi_devices] == ["drivers.example.com/ptemplate=ptemplate-1"]
            assert not given.devices
            assert dict(given.envs) == {"PTEMPLATE_DEVICES": "ptemplate-1"}
            spec = json.loads(node.cdi_file.read_text())
            assert spec["kind"] == "drivers.example.com/ptemplate"
            assert spec["devices"][1] == {
                "name": "ptemplate-1",
                "containerEdits": {"deviceNodes": [{"path": "/dev/ptemplate-1", "permissions": "rw"}]},
            }

    _run(work())


def test_a_device_is_given_by_its_files_where_the_runtime_does_not_know_of_it(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0, 1)
        async with node.kubelet() as kubelet, node.agent(injection="nodes"):
            await kubelet.until(_last(n0=_WELL, n1=_WELL))
            given = await kubelet.allocate("ptemplate-0", "ptemplate-1")
            assert not given.cdi_devices
            assert [(spec.host_path, spec.container_path, spec.permissions) for spec in given.devices] == [
                ("/dev/ptemplate-0", "/dev/ptemplate-0", "rw"),
                ("/dev/ptemplate-1", "/dev/ptemplate-1", "rw"),
            ]
            assert not node.cdi_file.exists()

    _run(work())


def test_what_is_not_there_is_not_given(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        metrics = Metrics()
        async with node.kubelet() as kubelet, node.agent(metrics):
            await kubelet.until(_last(n0=_WELL))
            for name in ("ptemplate-1", "", "ptemplate-0::0", "../ptemplate-0"):
                with pytest.raises(GRPCError, match=f"has no device '{name}' on this node"):
                    await kubelet.allocate(name)
            assert metrics.registry.get_sample_value("kmod_device_plugin_allocations_total", {"result": "refused"}) == 4

    _run(work())


def test_shares_of_a_device_are_given_one_a_container(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        async with node.kubelet() as kubelet, node.agent(replicas=2):
            await kubelet.until(
                lambda kubelet: kubelet.lists[-1:] == [{"ptemplate-0::0": _WELL, "ptemplate-0::1": _WELL}]
            )
            assert kubelet.registered[0].resource_name == "drivers.example.com/ptemplate.shared"
            given = await kubelet.allocate("ptemplate-0::1")
            assert [device.name for device in given.cdi_devices] == ["drivers.example.com/ptemplate=ptemplate-0"]
            with pytest.raises(GRPCError, match="one of drivers.example.com/ptemplate.shared, not 2"):
                await kubelet.allocate("ptemplate-0::0", "ptemplate-0::1")
            with pytest.raises(GRPCError, match="no device 'ptemplate-0::7'"):
                await kubelet.allocate("ptemplate-0::7")

    _run(work())


def test_those_near_each_other_are_preferred(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0, 2, numa=0)
        node.plug(1, 3, 5, numa=1)
        async with node.kubelet() as kubelet, node.agent():
            await kubelet.until(lambda kubelet: bool(kubelet.lists) and len(kubelet.lists[-1]) == 5)
            names = [f"ptemplate-{number}" for number in (0, 1, 2, 3, 5)]

            async def ask(size: int, *must: str) -> list[str]:
                asked = api.ContainerPreferredAllocationRequest(
                    available_deviceIDs=names, must_include_deviceIDs=must, allocation_size=size
                )
                request = api.PreferredAllocationRequest(container_requests=[asked])
                answer = await kubelet.plugin().GetPreferredAllocation(request)
                return list(answer.container_responses[0].deviceIDs)

            assert await ask(2) == ["ptemplate-0", "ptemplate-2"]
            assert await ask(3) == ["ptemplate-1", "ptemplate-3", "ptemplate-5"]
            assert await ask(2, "ptemplate-5") == ["ptemplate-5", "ptemplate-1"]
            with pytest.raises(GRPCError, match="6 devices are asked for"):
                await ask(6)

    _run(work())


def test_a_device_that_a_pod_has_stays_listed_when_it_is_gone(node: FakeNode) -> None:
    """Where kubelet's own file says who has what, a device is forgotten when its pod is gone, and not before."""

    def write(*names: str) -> None:
        entry = {"ResourceName": "drivers.example.com/ptemplate", "DeviceIDs": {"-1": list(names)}}
        fresh = node.settings.plugin_dir / "fresh"
        fresh.write_text(json.dumps({"Data": {"PodDeviceEntries": [entry]}, "Checksum": 1}))
        fresh.rename(node.settings.plugin_dir / "kubelet_internal_checkpoint")

    async def work() -> None:
        node.plug(0, 1, 2)
        async with node.kubelet() as kubelet, node.agent() as agent:
            await kubelet.until(_last(n0=_WELL, n1=_WELL, n2=_WELL))
            await kubelet.allocate("ptemplate-0")  # kubelet says nothing of it yet: what was given counts
            node.unplug(0)
            await kubelet.until(_last(n0=_UNWELL, n1=_WELL, n2=_WELL))
            write("ptemplate-1")
            await kubelet.until(_last(n1=_WELL, n2=_WELL))
            node.unplug(1)
            await kubelet.until(_last(n1=_UNWELL, n2=_WELL))
            assert json.loads(node.cdi_file.read_text())["devices"][0]["name"] == "ptemplate-2"
            node.plug(1)
            await kubelet.until(_last(n1=_WELL, n2=_WELL))
            node.unplug(1)
            await kubelet.until(_last(n1=_UNWELL, n2=_WELL))
            write()
            await kubelet.until(_last(n2=_WELL))
            file = node.settings.plugin_dir / "kubelet_internal_checkpoint"
            for put in (
                lambda: file.write_bytes(b"[[["),
                lambda: os.mkfifo(file),
                lambda: file.symlink_to("/dev/zero"),
            ):
                file.unlink()
                put()
                node.plug(3)
                await kubelet.until(_last(n2=_WELL, n3=_WELL))
                node.unplug(3)
                await kubelet.until(_last(n2=_WELL))
            assert agent.is_ready().well

    _run(work())


def test_kubelet_that_begins_again_hears_of_everything_again(node: FakeNode) -> None:
    """Its start empties its folder; ten times, and no list is missing."""

    async def work() -> None:
        node.plug(0)
        async with node.agent() as agent:
            for _ in range(10):
                async with node.kubelet() as kubelet:
                    await kubelet.until(_last(n0=_WELL))
                    assert agent.is_ready().well
            for _ in range(100):
                if not agent.is_ready().well:
                    break
                await asyncio.sleep(0.01)
            assert not agent.is_ready().well

    _run(work())


def test_the_end_is_told(node: FakeNode) -> None:
    """Kubelet's stream ends: it gives nothing of a resource whose plugin it takes for running."""

    async def work() -> None:
        node.plug(0)
        async with node.kubelet() as kubelet:
            async with node.agent():
                await kubelet.until(_last(n0=_WELL))
                assert kubelet.open_streams == 1
            await kubelet.until(lambda kubelet: kubelet.open_streams == 0)

    _run(work())


def test_a_socket_that_is_gone_or_anothers_is_made_again(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        socket = node.settings.plugin_dir / node.settings.socket_name
        async with node.kubelet() as kubelet, node.agent():
            await kubelet.until(_last(n0=_WELL))
            socket.unlink()
            await kubelet.until(lambda kubelet: len(kubelet.registered) == 2 and len(kubelet.lists) == 2)
            socket.unlink()
            socket.symlink_to("/dev/null")
            await kubelet.until(lambda kubelet: len(kubelet.registered) == 3 and len(kubelet.lists) == 3)
            assert socket.is_socket()
            assert not socket.is_symlink()
            (await kubelet.allocate("ptemplate-0"))
        assert not socket.exists()

    _run(work())


def test_kubelet_that_refuses_or_does_not_dial_is_asked_again(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kmod_operator.deviceplugin.agent._STREAM_WITHIN_S", 0.05)

    async def work() -> None:
        node.plug(0)
        metrics = Metrics()
        async with node.kubelet() as kubelet, node.agent(metrics) as agent:
            kubelet.refuses = "v1beta1 is not for me"
            failed: dict[str, Any] = {"name": "kmod_device_plugin_registrations_total", "labels": {"result": "failed"}}
            await kubelet.until(lambda _: (metrics.registry.get_sample_value(**failed) or 0) > 2)
            assert agent.is_ready().words == "kubelet refuses drivers.example.com/ptemplate: v1beta1 is not for me"
            kubelet.refuses, kubelet.dials = "", False
            await kubelet.until(lambda kubelet: len(kubelet.registered) >= 3)
            assert "has not asked for devices yet" in agent.is_ready().words
            kubelet.dials = True
            await kubelet.until(_last(n0=_WELL))
            assert agent.is_ready().well

    _run(work())
    assert sum("is not for me" in record.message for record in caplog.records) == 1, "said once, not with every look"


def test_two_instances_work_one_after_the_other(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        async with node.kubelet() as kubelet:
            async with node.agent() as first:
                await kubelet.until(_last(n0=_WELL))
                async with node.agent() as second:
                    await asyncio.sleep(0.1)
                    assert second.is_ready().words.startswith("another instance serves this resource")
                    assert second.is_alive().well
                    assert first.is_ready().well
                    assert len(kubelet.registered) == 1
            async with node.agent() as third:
                await kubelet.until(lambda kubelet: len(kubelet.registered) == 2 and len(kubelet.lists) == 2)
                assert third.is_ready().well

    _run(work())


def test_a_disk_that_is_full_makes_what_the_runtime_does_not_know_unwell(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_full = False
    whole = os.fsync

    def sync(descriptor: int) -> None:
        if is_full:
            raise OSError(28, "No space left on device")
        whole(descriptor)

    monkeypatch.setattr("kmod_operator.node.cdi_folder.os.fsync", sync)

    async def work() -> None:
        nonlocal is_full
        node.plug(0)
        async with node.kubelet() as kubelet, node.agent() as agent:
            await kubelet.until(_last(n0=_WELL))
            is_full = True
            node.plug(1)
            await kubelet.until(_last(n0=_WELL, n1=_UNWELL))
            assert "No space left on device" in agent.is_ready().words
            is_full = False
            await kubelet.until(_last(n0=_WELL, n1=_WELL))
            node.cdi_file.unlink()
            await kubelet.until(lambda _: node.cdi_file.exists())

    _run(work())


def test_what_the_runtime_lost_while_the_disk_is_full_is_unwell(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        node.plug(0)
        async with node.kubelet() as kubelet, node.agent(good_looks=1):
            await kubelet.until(_last(n0=_WELL))

            def sync(_descriptor: int) -> None:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as full:
                full.setattr("kmod_operator.node.cdi_folder.os.fsync", sync)
                node.cdi_file.unlink()
                await kubelet.until(_last(n0=_UNWELL))
            await kubelet.until(_last(n0=_WELL))

    _run(work())


@pytest.mark.parametrize(("injection", "health"), [("cdi", _UNWELL), ("nodes", _WELL)])
def test_a_device_with_which_a_container_gets_nothing_is_not_the_runtimes(
    node: FakeNode, injection: str, health: str
) -> None:
    """For its sake the runtime would leave out the whole file, and with it the devices beside it."""

    class Bare(_Difficult):
        def describe(self, device: Device) -> Description:
            return Description() if device.id == "bare" else super().describe(device)

    async def work() -> None:
        source = Bare()
        source.found = [Device(id="a"), Device(id="bare")]
        async with node.kubelet() as kubelet, node.agent(source=source, injection=injection):
            await kubelet.until(lambda kubelet: kubelet.lists[-1:] == [{"a": _WELL, "bare": health}])
            if injection == "cdi":
                assert [one["name"] for one in json.loads(node.cdi_file.read_text())["devices"]] == ["a"]
                with pytest.raises(GRPCError, match="bare is not healthy: its class describes nothing"):
                    await kubelet.allocate("bare")

    _run(work())


class _Difficult:
    """A source that does as it is told."""

    def __init__(self) -> None:
        self.found: list[Any] = [Device(id="a")]
        self.fails = False

    def discover(self) -> list[Any]:
        if self.fails:
            raise RuntimeError("no bus")
        return self.found

    def check(self, device: Device) -> Health:
        return Health(well=device.id != "sick", reason="it is sick")

    def describe(self, device: Device) -> Description:
        if device.id == "odd":
            raise ValueError("odd one")
        return Description(nodes=(DeviceNode(path="/dev/null"),))


def test_what_a_source_raises_makes_devices_unwell_and_nothing_ends(
    node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        source = _Difficult()
        async with node.kubelet() as kubelet, node.agent(source=source, good_looks=1) as agent:
            await kubelet.until(lambda kubelet: kubelet.lists[-1:] == [{"a": _WELL}])
            source.fails = True
            await kubelet.until(lambda kubelet: kubelet.lists[-1] == {"a": _UNWELL})
            assert agent.is_ready().words == "which devices there are is not known: RuntimeError: no bus"
            source.found = [
                Device(id="a"),
                Device(id="odd"),
                Device(id="sick"),
                Device(id="a"),
                Device(id="../b"),
                "c",
                None,
            ]
            source.fails = False
            await kubelet.until(lambda kubelet: kubelet.lists[-1] == {"a": _WELL, "odd": _UNWELL, "sick": _UNWELL})
            with pytest.raises(
                GRPCError, match="odd is not healthy: how well it is, is not known: ValueError: odd one"
            ):
                await kubelet.allocate("odd")
            assert agent.is_ready().well

    _run(work())
    (told,) = [record.message for record in caplog.records if "found twice" in record.message]
    assert "'../b' cannot be a device's name" in told
    assert "discover returned 'c', which is no Device" in told


def test_many_changes_of_health_end_in_the_last(node: FakeNode) -> None:
    async def work() -> None:
        source = _Difficult()
        async with node.kubelet() as kubelet, node.agent(source=source, good_looks=1, scan_s=0.001):
            await kubelet.until(lambda kubelet: kubelet.lists[-1:] == [{"a": _WELL}])
            for _ in range(30):
                source.fails = True
                await kubelet.until(lambda kubelet: kubelet.lists[-1] == {"a": _UNWELL})
                source.fails = False
                await kubelet.until(lambda kubelet: kubelet.lists[-1] == {"a": _WELL})
            assert len(kubelet.registered) == 1

    _run(work())
