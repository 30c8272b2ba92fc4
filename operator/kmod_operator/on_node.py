"""What runs on each node that has the driver: begun, ended, and tried."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import tempfile
from pathlib import Path

from kmod_operator.devices.source import load_source
from kmod_operator.modes import Program
from kmod_operator.settings import Settings
from kmod_operator.status_server import serve_status

_LOG = logging.getLogger(__name__)
_SELF_TEST_S = 5.0


async def run_on_node(settings: Settings, stop: asyncio.Event) -> int:
    """Work until told to stop; return the process's exit code."""
    program = Program(settings, load_source(settings.source, settings.root))
    with serve_status(settings.port, program.registry, is_alive=program.is_alive, is_ready=program.is_ready):
        await program.run(stop)
    return 0


async def try_on_node() -> bool:
    """Run a plugin of no device beside no kubelet: that all of its parts are there, and begin and end."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = Settings(
            resource="selftest.example/none", plugin_dir=root, cdi_dir=root, root=root, port=0, scan_s=0.1
        )
        stop = asyncio.Event()
        importlib.import_module("kmod_operator.dra.api")  # what else is loaded only where it is needed
        program = Program(settings, load_source(settings.source, root))
        with serve_status(0, program.registry, is_alive=program.is_alive, is_ready=program.is_ready):
            running = asyncio.create_task(program.run(stop))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SELF_TEST_S):
                    while not settings.socket.is_socket() and not running.done():  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            listens = settings.socket.is_socket()
            stop.set()
            await running
    if not listens:
        _LOG.error("the device plugin does not listen")
    return listens
