"""The driver beside kubelet's own manager of dynamic resources and a real API server: the real process, by its settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from fakes.node import FakeNode
from kmod_operator.settings import Settings

from integration.kind.api_server import serve_api
from integration.kind.device_manager import run_device_manager
from integration.kind.dra_manager import (
    delete_claim,
    devices_of,
    make_claim,
    make_driver,
    run_dra_manager,
    slices_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from integration.kind.api_server import ApiServer

pytestmark = pytest.mark.kind
_RESOURCE = "drivers.example.com/ptemplate"
_DRIVER = "ptemplate.drivers.example.com"
_OPERATOR = Path(__file__).parents[3] / "operator"


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with TemporaryDirectory(prefix="node") as folder:  # sockets have short names
        root = Path(folder)
        for name in ("kubelet", "cdi", "kubelet/plugins", "kubelet/device-plugins"):
            (root / name).mkdir()
        settings = Settings(
            resource=_RESOURCE,
            good_looks=1,
            mode="DRA",
            node=root.name.lower().replace("_", "x"),
            plugin_dir=root / "kubelet" / "device-plugins",
            registry_dir=root / "kubelet" / "plugins",
            cdi_dir=root / "cdi",
            root=root,
            port=0,
        )
        yield FakeNode(root=root, settings=settings)


@contextlib.asynccontextmanager
async def _program(node: FakeNode, kubeconfig: Path, **changes: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the program, as root without a capability, until the end of the block: then SIGTERM ends it, or it is dead."""
    settings = replace(node.settings, **changes)
    environment = {
        "PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "KMOD_RESOURCE": settings.resource,
        "KMOD_MODE": settings.mode, "KMOD_NODE": settings.node, "KMOD_SCAN_SECONDS": "1", "KMOD_GOOD_LOOKS": "1",
        "KMOD_LISTEN": "0", "KMOD_PLUGIN_DIR": str(settings.plugin_dir), "KMOD_CDI_DIR": str(settings.cdi_dir),
        "KMOD_REGISTRY_DIR": str(settings.registry_dir), "KMOD_ROOT": str(node.root),
    }  # fmt: skip
    with (node.root / "program.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--pdeathsig", "KILL", "--",
            sys.executable, "-m", "kmod_operator", "device-plugin", cwd=_OPERATOR, env=environment, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 15)
        text = (node.root / "program.log").read_text()
        assert code in {0, -signal.SIGKILL}, text
        assert "Traceback" not in text


def _status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 300))


async def _until(ask: Callable[[], Awaitable[bool]], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if await ask():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")


async def _devices(api: ApiServer, node: FakeNode, wanted: set[str], seconds: float = 30.0) -> None:
    async def ask() -> bool:
        return await asyncio.to_thread(devices_of, api.client, node.settings.node) == wanted

    await _until(ask, f"{wanted} in slices", seconds)


def test_a_pod_gets_its_devices_and_no_sick_one(node: FakeNode, api_server: ApiServer) -> None:
    """Registered, prepared, given back; a device that gets sick is seen in the pod's status, and not prepared again."""
    client, name = api_server.client, node.settings.node

    async def work() -> None:
        node.plug(0, 1, numa=0)
        kubeconfig = make_driver(api_server, name, node.root / "kubeconfig")
        async with (
            run_dra_manager(api_server, node.root / "kubelet", name) as manager,
            _program(node, kubeconfig) as process,
        ):
            assert (await manager.prepare("early", "none")).get("error")
            await _until(lambda: manager.is_registered(_DRIVER), "the driver")
            assert "CapEff:\t0000000000000000\n" in _status_of(process.pid)
            await _devices(api_server, node, {"ptemplate-0", "ptemplate-1"})
            make_claim(client, "both", _DRIVER, name, ["ptemplate-0", "ptemplate-1"], "pod", "second")
            given = await manager.prepare("pod", "both")
            assert given.get("cdi") == [f"{_RESOURCE}=ptemplate-0", f"{_RESOURCE}=ptemplate-1"], given
            assert (await manager.prepare("second", "both"))["cdi"] == given["cdi"]
            healthy = {f"{_RESOURCE}=ptemplate-{number}": "Healthy" for number in (0, 1)}

            async def is_said(wanted: dict[str, str]) -> bool:
                return await manager.health("pod", "both") == wanted

            await _until(lambda: is_said(healthy), "health")
            node.break_(1)
            await _until(lambda: is_said(healthy | {f"{_RESOURCE}=ptemplate-1": "Unhealthy"}), "bad health")
            await _devices(api_server, node, {"ptemplate-0"})
            for pod in ("pod", "second"):
                assert await manager.unprepare(pod, "both") == ""
            refused = await manager.prepare("second", "both")
            assert "ptemplate-1 is not healthy: its driver answers" in refused["error"]
            node.plug(1)
            await _devices(api_server, node, {"ptemplate-0", "ptemplate-1"})
            assert (await manager.prepare("second", "both"))["cdi"] == given["cdi"]
            assert await manager.unprepare("second", "both") == ""
            delete_claim(client, "both")

    _run(work())


def test_kubelets_words_for_what_cannot_be_prepared(node: FakeNode, api_server: ApiServer) -> None:
    client, name = api_server.client, node.settings.node

    async def work() -> None:
        node.plug(0)
        kubeconfig = make_driver(api_server, name, node.root / "kubeconfig")
        async with run_dra_manager(api_server, node.root / "kubelet", name) as manager, _program(node, kubeconfig):
            await _until(lambda: manager.is_registered(_DRIVER), "the driver")
            for claim, device, pool, words in (
                ("unknown", "ptemplate-9", name, "has no device 'ptemplate-9' on this node"),
                ("elsewhere", "ptemplate-0", "other", f"of the pool 'other'; this node has '{name}'"),
            ):
                make_claim(client, claim, _DRIVER, pool, [device], "pod")
                assert words in (await manager.prepare("pod", claim))["error"]
                assert await manager.unprepare("pod", claim) == ""
                delete_claim(client, claim)

    _run(work())


def test_kubelet_begins_again(node: FakeNode, api_server: ApiServer) -> None:
    """Killed three times: it removes all slices when it begins, they come again, and a claim that it prepared is whole."""
    client, name = api_server.client, node.settings.node

    async def work() -> None:
        node.plug(0, 1)
        kubeconfig = make_driver(api_server, name, node.root / "kubeconfig")
        make_claim(client, "kept", _DRIVER, name, ["ptemplate-0"], "pod")
        async with _program(node, kubeconfig):
            for _ in range(3):
                async with run_dra_manager(api_server, node.root / "kubelet", name) as manager:
                    await _until(lambda: manager.is_registered(_DRIVER), "the driver")
                    # This kubelet puts devices that it remembers beside those that it is given: claiminfo.go, addDevice.
                    assert set((await manager.prepare("pod", "kept"))["cdi"]) == {f"{_RESOURCE}=ptemplate-0"}
                    await asyncio.sleep(2)  # whatever it removes when it begins, it has removed
                    await _devices(api_server, node, {"ptemplate-0", "ptemplate-1"})
            async with run_dra_manager(api_server, node.root / "kubelet", name) as manager:
                await _until(lambda: manager.is_registered(_DRIVER), "the driver")
                assert await manager.unprepare("pod", "kept") == ""
        delete_claim(client, "kept")

    _run(work())


def test_the_program_killed_at_any_moment(node: FakeNode, api_server: ApiServer) -> None:
    """Kill -9 with a second instance beside it, and alone: kubelet finds the next, and no slice is written again."""
    client, name = api_server.client, node.settings.node

    async def work() -> None:
        node.plug(0)
        kubeconfig = make_driver(api_server, name, node.root / "kubeconfig")
        make_claim(client, "late", _DRIVER, name, ["ptemplate-0"], "pod")

        async def prepared(pod: str) -> bool:
            found = await manager.prepare(pod, "late")
            if "error" not in found:
                assert found["cdi"] == [f"{_RESOURCE}=ptemplate-0"]
                assert await manager.unprepare(pod, "late") == ""
            return "error" not in found

        async with (
            run_dra_manager(api_server, node.root / "kubelet", name) as manager,
            contextlib.AsyncExitStack() as held,
        ):
            process = await held.enter_async_context(_program(node, kubeconfig))
            await _until(lambda: prepared("pod"), "a device")
            await _devices(api_server, node, {"ptemplate-0"})
            await asyncio.sleep(6)  # slices that kubelet removed when it began are there again
            versions = [one["metadata"]["resourceVersion"] for one in slices_of(client, name)]
            for beside in (True, False, True):
                if beside:
                    second = await held.enter_async_context(_program(node, kubeconfig))
                    await asyncio.sleep(2)
                process.kill()
                await process.wait()
                process = second if beside else await held.enter_async_context(_program(node, kubeconfig))
                await _until(lambda: manager.is_registered(_DRIVER), "the driver")
                await _until(lambda: prepared("pod"), "a device")
            assert [one["metadata"]["resourceVersion"] for one in slices_of(client, name)] == versions
        assert not list(node.settings.registry_dir.iterdir())
        assert node.cdi_file.exists(), "pods that run need it when they are restarted"
        delete_claim(client, "late")

    _run(work())


def test_an_api_server_that_hangs(node: FakeNode, tmp_path: Path) -> None:
    """Claims are refused with a sentence, health goes on, and slices are right when it answers again."""
    name = node.settings.node

    async def work(api: ApiServer) -> None:
        node.plug(0, 1)
        kubeconfig = make_driver(api, name, node.root / "kubeconfig")
        make_claim(api.client, "held", _DRIVER, name, ["ptemplate-0"], "pod")
        async with run_dra_manager(api, node.root / "kubelet", name) as manager, _program(node, kubeconfig):
            await _devices(api, node, {"ptemplate-0", "ptemplate-1"})
            assert (await manager.prepare("pod", "held"))["cdi"] == [f"{_RESOURCE}=ptemplate-0"]
            (_, server) = api.pids
            os.kill(server, signal.SIGSTOP)
            try:
                node.break_(0)
                node.unplug(1)

                async def is_sick() -> bool:
                    return await manager.health("pod", "held") == {f"{_RESOURCE}=ptemplate-0": "Unhealthy"}

                await _until(is_sick, "bad health")
                log = node.root / "program.log"

                async def is_told() -> bool:
                    return "the API server has not answered for 10 s" in log.read_text()

                await _until(is_told, "a sentence")
                assert await manager.unprepare("pod", "held") == "", "to give back needs no server"
            finally:
                os.kill(server, signal.SIGCONT)
            await _devices(api, node, set(), 90)
            node.plug(0, 1)
            await _devices(api, node, {"ptemplate-0", "ptemplate-1"})

    with serve_api(tmp_path) as api:
        _run(work(api))


def test_a_driver_that_ended_is_offered_for_half_a_minute(node: FakeNode, api_server: ApiServer) -> None:
    """Kubelet removes its slices: who takes the node over without seeing slices counts on that."""
    client, name = api_server.client, node.settings.node

    async def work() -> None:
        node.plug(0)
        kubeconfig = make_driver(api_server, name, node.root / "kubeconfig")
        async with run_dra_manager(api_server, node.root / "kubelet", name):
            async with _program(node, kubeconfig):
                await _devices(api_server, node, {"ptemplate-0"})
                await asyncio.sleep(6)  # slices that kubelet removed when it began are there again
            await asyncio.sleep(15)
            assert devices_of(client, name) == {"ptemplate-0"}
            await _devices(api_server, node, set(), 30)

    _run(work())


def test_a_switch_of_mode_and_back(node: FakeNode, api_server: ApiServer) -> None:
    """A device plugin, dynamic resources, a device plugin: a device is told of in one way, in kubelet and in slices."""
    client, name = api_server.client, node.settings.node

    async def work() -> None:
        node.plug(0)
        kubeconfig = make_driver(api_server, name, node.root / "kubeconfig")
        folder = node.root / "kubelet"
        async with run_device_manager(folder) as plugins, run_dra_manager(api_server, folder, name) as manager:

            async def is_told(wanted: tuple[int, int]) -> bool:
                return await plugins.capacity(_RESOURCE) == wanted

            async with _program(node, kubeconfig, mode="DevicePlugin") as process:
                await _until(lambda: is_told((1, 1)), "the device plugin")
                assert not await manager.is_registered(_DRIVER)
                process.kill()  # its socket stays
                await process.wait()
            async with _program(node, kubeconfig, mode="Auto") as process:
                await _until(lambda: manager.is_registered(_DRIVER), "the driver")
                await _devices(api_server, node, {"ptemplate-0"})
                assert await plugins.capacity(_RESOURCE) == (1, 0)
                assert not node.settings.socket.exists()
                process.kill()  # its socket and slices stay
                await process.wait()
            assert devices_of(client, name) == {"ptemplate-0"}
            async with _program(node, kubeconfig, mode="DevicePlugin"):
                await _until(lambda: is_told((1, 1)), "the device plugin")
                assert slices_of(client, name) == []
                assert not node.settings.registry_socket.exists()

    _run(work())
