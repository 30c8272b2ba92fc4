"""The device plugin beside kubelet's own device manager: nothing is lost, and no sick device is given."""

from __future__ import annotations

import asyncio
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

from integration.kind.device_manager import DeviceManager, run_device_manager

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

pytestmark = pytest.mark.kind
_RESOURCE = "drivers.example.com/ptemplate"
_OPERATOR = Path(__file__).parents[3] / "operator"


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with TemporaryDirectory(prefix="node") as folder:  # sockets have short names
        root = Path(folder)
        for name in ("kubelet", "cdi"):
            (root / name).mkdir()
        settings = Settings(
            resource=_RESOURCE,
            scan_s=0.005,
            good_looks=1,
            plugin_dir=root / "kubelet" / "device-plugins",
            cdi_dir=root / "cdi",
            root=root,
            port=0,
        )
        yield FakeNode(root=root, settings=settings)


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 600))


async def _until(manager: DeviceManager, wanted: tuple[int, int], resource: str = _RESOURCE) -> None:
    end = time.monotonic() + 20
    found = None
    while time.monotonic() < end:
        found = await manager.capacity(resource)
        if found == wanted:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"kubelet knows {found}, not {wanted}")


def test_pods_get_devices_of_their_own_and_no_sick_one(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0, 1, 2, numa=0)
        async with run_device_manager(node.root / "kubelet") as manager, node.agent():
            await _until(manager, (3, 3))
            node.break_(2)
            await _until(manager, (3, 2))
            first, second = [await manager.allocate(pod, _RESOURCE) for pod in ("first", "second")]
            assert sorted(first["devices"] + second["devices"]) == ["ptemplate-0", "ptemplate-1"]
            assert first["cdi"] == [f"{_RESOURCE}={first['devices'][0]}"]
            assert first["environment"] == {"PTEMPLATE_DEVICES": first["devices"][0]}
            third = await manager.allocate("third", _RESOURCE)
            assert "requested number of devices unavailable" in third["error"]
            await manager.remove("first")
            assert (await manager.allocate("third", _RESOURCE))["devices"] == first["devices"]

    _run(work())


def test_a_device_that_is_gone_stays_until_its_pod_is(node: FakeNode) -> None:
    """By kubelet's own file, which says when a device is given back."""

    async def work() -> None:
        node.plug(0, 1)
        async with run_device_manager(node.root / "kubelet") as manager, node.agent():
            await _until(manager, (2, 2))
            (name,) = (await manager.allocate("first", _RESOURCE))["devices"]
            node.unplug(int(name[-1]))
            await _until(manager, (2, 1))
            await manager.remove("first")
            await manager.allocate("second", _RESOURCE)  # kubelet writes its file when it gives
            await _until(manager, (1, 1))

    _run(work())


def test_files_and_shares(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        shared = f"{_RESOURCE}.shared"
        async with (
            run_device_manager(node.root / "kubelet") as manager,
            node.agent(injection="nodes", replicas=2),
        ):
            await _until(manager, (2, 2), shared)
            given = [await manager.allocate(pod, shared) for pod in ("a", "b")]
            assert [one["nodes"] for one in given] == [["/dev/ptemplate-0"]] * 2
            await manager.remove("a")
            await manager.remove("b")
            both = await manager.allocate("c", shared, 2)
            assert "a container can have one of" in both["error"]

    _run(work())


def test_kubelet_begins_again(node: FakeNode) -> None:
    """Killed ten times: devices are there again each time, and can be given."""

    async def work() -> None:
        node.plug(0, 1)
        node.settings.plugin_dir.mkdir()
        async with node.agent():
            for number in range(10):
                async with run_device_manager(node.root / "kubelet") as manager:
                    await _until(manager, (2, 2))
                    assert len((await manager.allocate(f"pod-{number}", _RESOURCE, 2))["devices"]) == 2

    _run(work())


def test_a_thousand_flips_of_health(node: FakeNode) -> None:
    async def work() -> None:
        node.plug(0)
        settings = replace(node.settings, scan_s=0.001)
        async with run_device_manager(node.root / "kubelet") as manager, FakeNode(node.root, settings).agent() as agent:
            await _until(manager, (1, 1))
            for number in range(1000):
                node.break_(0)
                await _until(manager, (1, 0))
                if number % 50 == 0:
                    assert "cannot allocate unhealthy" in (await manager.allocate(f"pod-{number}", _RESOURCE))["error"]
                node.plug(0)
                await _until(manager, (1, 1))
            assert (await manager.allocate("last", _RESOURCE))["devices"] == ["ptemplate-0"]
            assert agent.is_ready().well

    _run(work())


def test_a_thousand_restarts_of_the_plugin(node: FakeNode) -> None:
    """What a pod has it keeps, and after each restart the other device can be given."""

    async def work() -> None:
        node.plug(0, 1)
        async with run_device_manager(node.root / "kubelet") as manager:
            async with node.agent():
                await _until(manager, (2, 2))
                (kept,) = (await manager.allocate("keeps", _RESOURCE))["devices"]
            for number in range(1000):
                await _until(manager, (2, 0))  # kubelet keeps the resource for minutes, and gives nothing of it
                async with node.agent():
                    await _until(manager, (2, 2))
                    if number % 50 == 0:
                        (other,) = (await manager.allocate(f"pod-{number}", _RESOURCE))["devices"]
                        assert other != kept
                        await manager.remove(f"pod-{number}")

    _run(work())


def _status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def test_the_program_killed_at_any_moment(node: FakeNode) -> None:
    """The real process by its real settings, root without a capability: kill -9, a second one beside it, SIGTERM."""

    async def work() -> None:
        node.plug(0)
        environment = {
            "PATH": os.environ["PATH"], "KMOD_RESOURCE": _RESOURCE, "KMOD_SCAN_SECONDS": "1", "KMOD_LISTEN": "0",
            "KMOD_PLUGIN_DIR": str(node.settings.plugin_dir), "KMOD_CDI_DIR": str(node.settings.cdi_dir),
            "KMOD_ROOT": str(node.root),
        }  # fmt: skip

        async def start() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--",
                sys.executable, "-m", "kmod_operator", "device-plugin", cwd=_OPERATOR, env=environment,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip

        async with run_device_manager(node.root / "kubelet") as manager:
            process = await start()
            await _until(manager, (1, 1))
            assert "CapEff:\t0000000000000000\n" in _status_of(process.pid)
            for _ in range(3):
                second = await start()
                process.kill()
                await process.wait()
                await _until(manager, (1, 1))
                process = second
            assert (await manager.allocate("pod", _RESOURCE))["devices"] == ["ptemplate-0"]
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 15) == 0
            assert not (node.settings.plugin_dir / node.settings.socket_name).exists()
            assert node.cdi_file.exists(), "pods that run need it when they are restarted"

    _run(work())
