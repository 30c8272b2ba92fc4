"""``python -m kmod_operator device-plugin`` runs on each node that has the driver, in whatever mode.

``operator`` runs once in a cluster: it brings drivers to nodes; ``explain NODE`` says why a node has its driver, or has
it not. ``try-devices`` runs in a pod that was given a device, and says whether it works. ``self-test`` proves the
device plugin's image, and ``self-test operator`` the operator's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_operator.devices.source import NoSourceError
from kmod_operator.kubernetes.errors import ApiError, NoApiError
from kmod_operator.log import log_to_stderr
from kmod_operator.settings import (
    SettingError,
    read_explain_settings,
    read_operator_settings,
    read_settings,
    read_source,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_LOG = logging.getLogger(__name__)
_BAD_SETTING = 2
_SAVED = "a file or folder of objects that somebody saved, JSON or YAML, instead of a cluster"
_EPILOG = """Settings come from the environment:
  KMOD_RESOURCE      what pods ask for, like drivers.example.com/ptemplate
  KMOD_SOURCE        the class that knows the devices, module:Class
  KMOD_INJECTION     cdi (default): by the runtime's file; nodes: for runtimes without CDI
  KMOD_MODE          DevicePlugin (default); DRA: dynamic resources; Auto: DRA where the cluster has resource.k8s.io/v1
  KMOD_NODE          this node's name, for DRA and Auto
  KMOD_REPLICAS      how many pods share a device; more than 1 puts .shared behind the resource
  KMOD_SCAN_SECONDS  from one look to the next (2)
  KMOD_GOOD_LOOKS    good looks in a row that make a device healthy again (3)
  KMOD_LISTEN        port of /metrics, /healthz, /readyz (8080)
  KMOD_PLUGIN_DIR, KMOD_REGISTRY_DIR, KMOD_CDI_DIR, KMOD_ROOT   folders, where they are not the usual ones
of the operator:
  KMOD_TEMPLATES     the file that says what it was made for
  KMOD_NAMESPACE     its own namespace
  KMOD_POD           its own name
  KMOD_LISTEN        as above
of explain, in the operator's pod or elsewhere (without KMOD_TEMPLATES the cluster says what the operator was made for):
  KMOD_NAMESPACE     the operator's namespace
  KUBECONFIG         whose cluster, as kubectl takes it
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m kmod_operator",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parsers = parser.add_subparsers(dest="verb", required=True)
    verbs = {name: parsers.add_parser(name) for name in _VERBS}
    verbs["explain"].add_argument("node")
    verbs["explain"].add_argument("--driver", default="", metavar="OBJECT", help="one object of the kind alone")
    verbs["explain"].add_argument("--from", dest="saved", type=Path, metavar="PLACE", help=_SAVED)
    verbs["explain"].add_argument("--json", action="store_true", help="for programs")
    verbs["self-test"].add_argument("of", nargs="?", choices=["device-plugin", "operator"], default="device-plugin")
    asked = parser.parse_args()
    log_to_stderr()
    try:
        return _VERBS[asked.verb](asked)
    except ApiError as error:
        _LOG.error("%s", error)
        return 1
    except (SettingError, NoSourceError, NoApiError) as error:
        _LOG.error("%s", error)
        return _BAD_SETTING
    except ModuleNotFoundError as error:
        _LOG.error("this image is not for %s: it has no %s", asked.verb, error.name)
        return _BAD_SETTING
    except OSError as error:
        _LOG.error("it cannot begin: %s", error)
        return 1


# gRPC and the client of Kubernetes take 10 MB of memory each: a program loads the one that it needs. What verifies
# signatures is in the operator's image alone.


def _run_plugin(_: argparse.Namespace) -> int:
    settings = read_settings(os.environ)
    from kmod_operator.on_node import run_on_node  # noqa: PLC0415

    return asyncio.run(_until_told(lambda stop: run_on_node(settings, stop)))


def _run_operator(_: argparse.Namespace) -> int:
    settings = read_operator_settings(os.environ)
    from kmod_operator.in_cluster import run_in_cluster  # noqa: PLC0415

    return asyncio.run(_until_told(lambda stop: run_in_cluster(settings, stop)))


def _explain(asked: argparse.Namespace) -> int:
    settings = read_explain_settings(os.environ)
    logging.getLogger().setLevel(logging.ERROR)  # it is people who read this
    from kmod_operator.explaining import explain_node  # noqa: PLC0415
    from kmod_operator.saved.folder import SavedError  # noqa: PLC0415

    try:
        found = asyncio.run(explain_node(settings, asked.node, asked.driver, asked.saved))
    except SavedError as error:
        _LOG.error("%s", error)
        return _BAD_SETTING
    print(json.dumps(found.as_json()) if asked.json else "\n".join(found.lines()))  # noqa: T201 - it is asked for
    return 0 if found.found else 1


def _try_devices(_: argparse.Namespace) -> int:
    from kmod_operator.devices.source import load_source  # noqa: PLC0415
    from kmod_operator.devices.trying import TryError, try_devices  # noqa: PLC0415

    root = Path(os.environ.get("KMOD_ROOT", "/"))
    try:
        found = try_devices(load_source(read_source(os.environ), root), root)
    except TryError as error:
        _LOG.error("%s", error)
        return 1
    _LOG.info("%s: tried, and well", ", ".join(found))
    return 0


def _test_itself(asked: argparse.Namespace) -> int:
    passed = asyncio.run(_try_operator() if asked.of == "operator" else _try_plugin())
    _LOG.info("self-test %s", "passed" if passed else "failed")
    return 0 if passed else 1


async def _try_operator() -> bool:
    from kmod_operator.in_cluster import try_in_cluster  # noqa: PLC0415

    return await try_in_cluster(Path("/none"))


async def _try_plugin() -> bool:
    from kmod_operator.on_node import try_on_node  # noqa: PLC0415

    return await try_on_node()


async def _until_told(work: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await work(stop)


_VERBS = {
    "device-plugin": _run_plugin,
    "operator": _run_operator,
    "explain": _explain,
    "try-devices": _try_devices,
    "self-test": _test_itself,
}


if __name__ == "__main__":
    sys.exit(main())
