"""A node of the sample driver: its /sys, kubelet's folder, the runtime's folder."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kmod_operator.deviceplugin.agent import Agent
from kmod_operator.deviceplugin.metrics import Metrics
from kmod_operator.devices.ptemplate import PtemplateDevices
from kmod_operator.dra.agent import DriverAgent
from kmod_operator.dra.metrics import DriverMetrics

from fakes.kubelet import FakeKubelet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kmod_operator.dra.cluster import Api
    from kmod_operator.modes import Program
    from kmod_operator.node.agent import NodeAgent
    from kmod_operator.settings import Settings


@dataclass(frozen=True)
class FakeNode:
    """Folders of a node, and the devices of the sample driver in them."""

    root: Path
    settings: Settings

    @property
    def cdi_file(self) -> Path:
        return self.settings.cdi_dir / "drivers.example.com-ptemplate.json"

    def plug(self, *numbers: int, numa: int | None = None) -> None:
        for number in numbers:
            folder = self.root / "sys" / "class" / "ptemplate" / f"ptemplate-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "dev").write_text(f"241:{number}\n")
            if numa is not None:
                (folder / "device").mkdir(exist_ok=True)
                (folder / "device" / "numa_node").write_text(f"{numa}\n")

    def unplug(self, number: int) -> None:
        folder = self.root / "sys" / "class" / "ptemplate" / f"ptemplate-{number}"
        for file in sorted(folder.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        folder.rmdir()

    def break_(self, number: int) -> None:
        (self.root / "sys" / "class" / "ptemplate" / f"ptemplate-{number}" / "dev").write_text("?\n")

    @contextlib.asynccontextmanager
    async def agent(self, metrics: Metrics | None = None, source: Any = None, **changes: Any) -> AsyncIterator[Agent]:
        """Have an agent until the end of the block; then it stops as it does at SIGTERM."""
        found = Agent(replace(self.settings, **changes), source or PtemplateDevices(self.root), metrics or Metrics())
        async with running(found):
            yield found

    @contextlib.asynccontextmanager
    async def driver(
        self, api: Api, metrics: DriverMetrics | None = None, source: Any = None, **changes: Any
    ) -> AsyncIterator[DriverAgent]:
        """Have a driver of dynamic resources until the end of the block."""
        settings = replace(self.settings, **changes)
        found = DriverAgent(settings, source or PtemplateDevices(self.root), metrics or DriverMetrics(), api)
        async with running(found):
            yield found

    @contextlib.asynccontextmanager
    async def kubelet(self) -> AsyncIterator[FakeKubelet]:
        found = FakeKubelet(self.settings.plugin_dir)
        await found.start()
        try:
            yield found
        finally:
            await found.stop()


@contextlib.asynccontextmanager
async def running(agent: NodeAgent | Program) -> AsyncIterator[None]:
    """Run it until the end of the block; then it stops as it does at SIGTERM."""
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task
