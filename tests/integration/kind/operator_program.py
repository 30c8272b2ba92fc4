"""The operator with limits that tests can wait for, and nothing else of its own."""

from __future__ import annotations

import asyncio
import cProfile
import os
import signal
import sys
import time
from datetime import datetime, tzinfo
from typing import Self

from kmod_operator.cluster import worlds
from kmod_operator.cluster.cache import Limits
from kmod_operator.cluster.client import open_client
from kmod_operator.cluster.program import Operator
from kmod_operator.log import log_to_stderr
from kmod_operator.rollout.decide import decide
from kmod_operator.rollout.template import read_templates
from kmod_operator.settings import read_operator_settings
from kmod_operator.status_server import serve_status


def set_clock(seconds: float) -> None:
    """Have this machine's time of day be another one."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time.time() + seconds, tz)

    worlds.datetime = Clock  # type: ignore[attr-defined]


async def work() -> int:
    settings = read_operator_settings(os.environ)
    templates = read_templates(settings.templates.read_bytes())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    set_clock(float(os.environ.get("TEST_CLOCK_S", "0")))
    silence = float(os.environ.get("TEST_SILENCE_S", "270"))
    limits = Limits(silence_s=silence, bookmarked_silence_s=silence, look_again_s=1.0, longest_wait_s=5.0)
    async with open_client() as client:
        operator = Operator(settings, templates, client, decide=decide, limits=limits)
        with serve_status(settings.port, operator.registry, is_alive=operator.is_alive, is_ready=operator.is_ready):
            return await operator.run(stop)


if __name__ == "__main__":
    log_to_stderr()
    profiler = cProfile.Profile() if "TEST_PROFILE" in os.environ else None
    code = profiler.runcall(asyncio.run, work()) if profiler else asyncio.run(work())
    if profiler:
        profiler.dump_stats(os.environ["TEST_PROFILE"])
    sys.exit(code)
