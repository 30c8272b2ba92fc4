"""``python -m kmod_operator device-plugin`` runs on each node that has the driver, in whatever mode.

``device-class`` prints the object by which pods ask for devices as dynamic resources; ``self-test`` proves an image.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from kmod_operator.devices.source import NoSourceError, load_source
from kmod_operator.dra.cluster import NoApiError
from kmod_operator.dra.objects import device_class
from kmod_operator.log import log_to_stderr
from kmod_operator.modes import Program
from kmod_operator.settings import SettingError, Settings, read_settings
from kmod_operator.status_server import serve_status

_LOG = logging.getLogger(__name__)
_BAD_SETTING = 2
_SELF_TEST_S = 5.0
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
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m kmod_operator",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=["device-plugin", "device-class", "self-test"])
    verb = parser.parse_args().verb
    log_to_stderr()
    try:
        if verb == "self-test":
            return asyncio.run(_test_itself())
        settings = read_settings(os.environ)
        if verb == "device-class":
            print(json.dumps(device_class(settings.resource, settings.driver), indent=2))  # noqa: T201 - it is asked for
            return 0
        return asyncio.run(_run(settings))
    except (SettingError, NoSourceError, NoApiError) as error:
        _LOG.error("%s", error)
        return _BAD_SETTING
    except OSError as error:
        _LOG.error("it cannot begin: %s", error)
        return 1


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    program = Program(settings, load_source(settings.source, settings.root))
    with serve_status(settings.port, program.registry, is_alive=program.is_alive, is_ready=program.is_ready):
        await program.run(stop)
    return 0


async def _test_itself() -> int:
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
    _LOG.info("self-test %s", "passed" if listens else "failed: nothing listens")
    return 0 if listens else 1


if __name__ == "__main__":
    sys.exit(main())
