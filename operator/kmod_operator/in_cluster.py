"""What runs once in a cluster: begun, ended, and tried."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from kmod_operator.cluster.client import client_of_nobody, open_client
from kmod_operator.cluster.program import Operator
from kmod_operator.rollout.decide import decide
from kmod_operator.rollout.names import MANAGER
from kmod_operator.rollout.template import Templates
from kmod_operator.settings import OperatorSettings
from kmod_operator.status_server import serve_status
from kmod_operator.template_file import read_template_file

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logging.getLogger(__name__)
_SELF_TEST_S = 5.0


async def run_in_cluster(settings: OperatorSettings, stop: asyncio.Event) -> int:
    """Work until told to stop; return the process's exit code.

    Raises:
        SettingError: the file of templates cannot be used.
        NoApiError: nothing says where the API server is.
    """
    templates = replace(read_template_file(settings.templates), namespace=settings.namespace)
    async with open_client(MANAGER) as client:
        operator = Operator(settings, templates, client, decide=decide)
        with serve_status(settings.port, operator.registry, is_alive=operator.is_alive, is_ready=operator.is_ready):
            return await operator.run(stop)


async def try_in_cluster(path: Path) -> bool:
    """Run an operator for nothing beside no API server: that all of its parts are there, and begin and end."""
    settings = OperatorSettings(templates=path, namespace="default", pod="self-test", port=0)
    templates = Templates(
        group="selftest.example", version="v1", kind="None", plural="nones", namespace="default", keys=(), drivers={}
    )
    operator = Operator(settings, templates, client_of_nobody(), decide=decide)
    stop = asyncio.Event()
    with serve_status(0, operator.registry, is_alive=operator.is_alive, is_ready=operator.is_ready):
        running = asyncio.create_task(operator.run(stop))
        await asyncio.sleep(0.2)
        waits = not running.done() and operator.is_alive().well and operator.is_ready().well
        stop.set()
        async with asyncio.timeout(_SELF_TEST_S):
            ended = await running
    if not waits or ended:
        _LOG.error("the operator does not wait for its turn, or does not end")
    return waits and ended == 0
