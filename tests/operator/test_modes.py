"""Which way devices are told, and that the other way's traces go first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.dra_kubelet import DraKubelet
from fakes.kube_api import FakeApi
from fakes.node import running
from kmod_operator.devices.ptemplate import PtemplateDevices
from kmod_operator.dra.handover import DriverAway
from kmod_operator.kubernetes.errors import ApiError, NoApiError
from kmod_operator.modes import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fakes.node import FakeNode


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _program(node: FakeNode, mode: str, api: FakeApi | None) -> Program:
    return Program(replace(node.settings, mode=mode), PtemplateDevices(node.root), api)


@pytest.mark.parametrize("mode", ["Auto", "DRA"])
def test_devices_are_dynamic_resources_where_the_cluster_has_them(node: FakeNode, mode: str) -> None:
    async def work() -> None:
        node.plug(0)
        api = FakeApi()
        program = _program(node, mode, api)
        assert (program.is_alive().well, program.is_ready().well) == (True, False)
        async with node.kubelet() as kubelet, running(program):
            await DraKubelet(node.settings.registry_socket).register()
            await _until(lambda: program.is_ready().well)
            assert set(api.devices()) == {"ptemplate-0"}
            assert not kubelet.registered
            assert not node.settings.socket.exists()
            assert program.registry.get_sample_value("kmod_dra_devices", {"health": "healthy"}) == 1
            assert program.registry.get_sample_value("kmod_device_plugin_devices", {"health": "healthy"}) is None

    _run(work())


@pytest.mark.parametrize("mode", ["Auto", "DevicePlugin"])
def test_devices_are_told_by_a_plugin_where_the_cluster_has_no_dynamic_resources(node: FakeNode, mode: str) -> None:
    async def work() -> None:
        node.plug(0)
        api = FakeApi()
        api.has_slices = False
        program = _program(node, mode, api)
        async with node.kubelet() as kubelet, running(program):
            await kubelet.until(lambda kubelet: kubelet.lists[-1:] == [{"ptemplate-0": "Healthy"}])
            assert program.is_ready().well
            assert not node.settings.registry_socket.exists()
            assert api.writes == []
            assert program.registry.get_sample_value("kmod_device_plugin_devices", {"health": "healthy"}) == 1

    _run(work())


@pytest.mark.parametrize(
    ("question", "status"),
    [("slices", 403), ("slices", 500), ("slices", 0), ("node_uid", 404), ("node_uid", 401), ("node_uid", 429)],
)
def test_unknown_is_not_absent(
    node: FakeNode, question: str, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a proxy answers "not found" to everything: a server that does not know this node is not believed."""
    monkeypatch.setattr("kmod_operator.modes._FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("kmod_operator.modes._LONGEST_WAIT_S", 0.01)

    async def work() -> None:
        node.plug(0)
        api = FakeApi()
        api.refuses[question] = ApiError("the API server says no", status=status)
        program = _program(node, "Auto", api)
        async with node.kubelet() as kubelet, running(program):
            await _until(lambda: len(api.asked) > 10)
            assert program.is_ready().words == (
                "whether the cluster has dynamic resources is not known: the API server says no"
            )
            assert program.is_alive().well
            assert not kubelet.registered
            assert not node.settings.registry_socket.exists()
            api.refuses.clear()
            await DraKubelet(node.settings.registry_socket).register()
            await _until(lambda: set(api.devices()) == {"ptemplate-0"})
        api.refuses[question] = ApiError("the API server says no", status=status)
        async with running(_program(node, "Auto", api)):
            await asyncio.sleep(0.05)  # it ends also where nothing was ever known

    _run(work())
    assert sum("says no" in record.message for record in caplog.records) == 2, "said once by each, not with every look"


def test_who_is_asked_to_wait_waits(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmod_operator.modes._FIRST_WAIT_S", 0.001)

    async def work() -> None:
        api = FakeApi()
        api.refuses["slices"] = ApiError("429", status=429, wait_s=100.0)
        async with running(_program(node, "Auto", api)):
            await asyncio.sleep(0.1)
            assert api.asked == ["node_uid", "slices"]

    _run(work())


@pytest.mark.parametrize("mode", ["Auto", "DRA"])
def test_a_mode_that_needs_the_api_server_says_so(node: FakeNode, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")

    async def work() -> None:
        with pytest.raises(NoApiError, match="where the API server is, is not known"):
            await _program(node, mode, None).run(asyncio.Event())

    _run(work())


def test_a_plugin_needs_none(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")

    async def work() -> None:
        node.plug(0)
        async with node.kubelet() as kubelet, running(_program(node, "DevicePlugin", None)):
            await kubelet.until(lambda kubelet: kubelet.lists[-1:] == [{"ptemplate-0": "Healthy"}])

    _run(work())


def test_a_switch_takes_the_other_ways_traces_away_first(node: FakeNode) -> None:
    """As they are left by an instance that was killed: sockets where nobody listens, and slices."""

    async def work() -> None:
        node.plug(0)
        api = FakeApi()
        shared = node.settings.plugin_dir / "drivers.example.com_ptemplate.shared.sock"
        other = node.settings.plugin_dir / "other.example.com_x.sock"
        async with node.kubelet() as kubelet:
            for left in (node.settings.socket, shared, other):
                left.touch()
            async with running(_program(node, "DRA", api)):
                await DraKubelet(node.settings.registry_socket).register()
                await _until(lambda: bool(api.devices()))
                assert not node.settings.socket.exists()
                assert not shared.exists()
                assert other.exists()
            assert api.items, "they stay, for the next of its kind"
            node.settings.registry_socket.touch()
            api.refuses["slices"] = ApiError("the API server cannot be reached")
            program = _program(node, "DevicePlugin", api)
            async with running(program):
                await _until(lambda: "may be there still: the API server cannot" in program.is_ready().words)
                assert not kubelet.registered
                api.refuses.clear()
                await kubelet.until(lambda kubelet: kubelet.lists[-1:] == [{"ptemplate-0": "Healthy"}])
                assert not api.items
                assert not node.settings.registry_socket.exists()

    _run(work())


def test_a_socket_that_cannot_be_removed_is_told(node: FakeNode) -> None:
    async def work() -> None:
        node.settings.socket.mkdir()
        program = _program(node, "DRA", FakeApi())
        async with running(program):
            await _until(lambda: "the device plugin's socket" in program.is_ready().words)
            assert not node.settings.registry_socket.exists()
        node.settings.registry_socket.mkdir()
        assert "the driver's socket" in await DriverAway(node.settings, None)()

    _run(work())


def test_a_plugin_waits_for_slices_as_long_as_kubelet_leaves_them(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        api = FakeApi()
        for status in (404, 403):
            api.refuses["slices"] = ApiError("no", status=status)
            assert await DriverAway(node.settings, api)() == "", "who may not see slices never wrote any"
        api.refuses["slices"] = ApiError("no", status=500)
        away = DriverAway(node.settings, api)
        assert "may be there still: no" in await away()
        monkeypatch.setattr("kmod_operator.dra.handover._KUBELET_REMOVES_WITHIN_S", -1.0)
        assert await away() == ""

    _run(work())
