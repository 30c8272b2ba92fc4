"""Kubelet's own device manager, alone: the other side of every device plugin."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
from typing import TYPE_CHECKING, Any

from integration.kind.make import make
from integration.kind.recipe import DEVICE_MANAGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_ANSWERS_WITHIN_S = 30.0


class DeviceManager:
    """A running manager, which serves kubelet's socket in ``folder`` / ``device-plugins``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def capacity(self, resource: str) -> tuple[int, int]:
        """Return how many devices there are, and how many of them are healthy."""
        found = await self._ask(do="capacity", resource=resource)
        return found["capacity"], found["allocatable"]

    async def allocate(self, pod: str, resource: str, count: int = 1) -> dict[str, Any]:
        """Start a pod; ``error`` is kubelet's own word where it cannot."""
        return await self._ask(do="allocate", pod=pod, resource=resource, count=count)

    async def remove(self, pod: str) -> None:
        await self._ask(do="remove", pod=pod)

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _ask(self, **words: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), _ANSWERS_WITHIN_S)
        found: dict[str, Any] = json.loads(line)
        return found


@contextlib.asynccontextmanager
async def run_device_manager(folder: Path) -> AsyncIterator[DeviceManager]:
    """Run one until the end of the block; it takes ``folder`` for /var/lib/kubelet, which nobody else sees."""
    program = make([DEVICE_MANAGER])["device-manager"]
    (folder / "device-plugins").mkdir(exist_ok=True)
    words = "mount -t tmpfs none /var/lib && mkdir /var/lib/kubelet && mount --bind {} /var/lib/kubelet && exec setpriv --pdeathsig KILL {}"
    script = words.format(shlex.quote(str(folder)), shlex.quote(str(program)))
    with (folder / "manager.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            "unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    manager = DeviceManager(process)
    try:
        for _ in range(200):
            if (folder / "device-plugins" / "kubelet.sock").is_socket() or process.returncode is not None:
                break
            await asyncio.sleep(0.05)
        yield manager
    finally:
        await manager.kill()
        (folder / "device-plugins" / "kubelet.sock").unlink(missing_ok=True)
