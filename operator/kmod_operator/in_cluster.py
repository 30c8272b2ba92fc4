"""What runs once in a cluster: begun, ended, and tried."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from kmod_operator.cluster.client import client_of_nobody, open_client
from kmod_operator.cluster.looker import Looker
from kmod_operator.cluster.program import Operator
from kmod_operator.rollout.decide import decide
from kmod_operator.rollout.explain import explain
from kmod_operator.rollout.names import MANAGER
from kmod_operator.rollout.template import TemplateError, Templates, read_templates
from kmod_operator.settings import OperatorSettings, SettingError
from kmod_operator.status_server import serve_status

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logging.getLogger(__name__)
_SELF_TEST_S = 5.0
_KNOWS_WITHIN_S = 30.0
_MOST_BYTES = 4 << 20


async def run_in_cluster(settings: OperatorSettings, stop: asyncio.Event) -> int:
    """Work until told to stop; return the process's exit code.

    Raises:
        SettingError: the file of templates cannot be used.
        NoApiError: nothing says where the API server is.
    """
    templates = replace(_read(settings.templates), namespace=settings.namespace)
    async with open_client(MANAGER) as client:
        operator = Operator(settings, templates, client, decide=decide)
        with serve_status(settings.port, operator.registry, is_alive=operator.is_alive, is_ready=operator.is_ready):
            return await operator.run(stop)


async def explain_node(settings: OperatorSettings, node: str, driver: str = "") -> tuple[int, list[str]]:
    """Return why a node has its driver, or has it not, in sentences, and the process's exit code. Nothing is written.

    Args:
        settings: where the operator is; its name plays no part.
        node: name of a node.
        driver: name of one of the vendor's objects; empty: all of them.

    Raises:
        SettingError: the file of templates cannot be used.
        NoApiError: nothing says where the API server is.
        ApiError: it does not answer what must be known.
    """
    templates = replace(_read(settings.templates), namespace=settings.namespace)
    async with open_client(MANAGER) as client:
        looker = Looker(client, templates)
        async with looker.looking(_KNOWS_WITHIN_S):
            found = [
                (name, explain(node, item, templates, await looker.world(item, node)))
                for name, item in looker.items().items()
                if driver in {"", name}
            ]
    if not found:
        which = f"no {templates.kind} {driver}" if driver else f"no {templates.kind}"
        return 1, [f"The cluster has {which}: nothing asks for a driver."]
    return 0, [line for name, lines in found for line in ([f"{name}:"] if len(found) > 1 else []) + lines]


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


def _read(path: Path) -> Templates:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingError(f"KMOD_TEMPLATES is {str(path)!r}, which cannot be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise SettingError(f"KMOD_TEMPLATES is {str(path)!r}, which has more than {_MOST_BYTES >> 20} MiB")
    try:
        return read_templates(content)
    except TemplateError as error:
        raise SettingError(f"KMOD_TEMPLATES is {str(path)!r}, which cannot be used: {error}") from error
