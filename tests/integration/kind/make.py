"""Builds the programs of a cluster once for each state of their recipe, and keeps them outside of the checkout."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from programs import find_go

from builder.host.locks import alone
from integration.kind.recipe import PEERS, QUICK, Part

if TYPE_CHECKING:
    from collections.abc import Iterable

Say = Callable[[str], None]
_TOLD_EVERY_S = 30.0
BEYOND = "KMODSMITH_E2E_BEYOND"
"""Words before a command that needs the network around a world; set for programs inside of one."""


class BuildError(AssertionError):
    """A program cannot be built: the compiler's own words."""


def cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodsmith" / "e2e"


def say(text: str) -> None:
    """Tell whoever waits, also past pytest's capture."""
    print(f"e2e: {text}", file=sys.__stderr__, flush=True)


def make(parts: Iterable[Part], tell: Say = say) -> dict[str, Path]:
    """Return where each program of the parts is; builds what is missing, one part after another."""
    compiler = find_go()
    version = subprocess.run([compiler, "version"], check=True, capture_output=True, text=True).stdout.strip()
    wanted = {part: cache_dir() / f"{part.name}-{part.key(version)}" for part in parts}
    missing = [part for part, folder in wanted.items() if not folder.is_dir()]
    if missing:
        tell(f"to build: {', '.join(part.name for part in missing)}; {predict(missing)}")
    for part, folder in wanted.items():
        _make_one(part, folder, compiler, tell)
    return {name: folder / name for part, folder in wanted.items() for name in part.packages}


def sources_of(part: Part) -> Path:
    """Return where the compiler keeps the files of the module that a part reads; fetched where they are not there.

    Kept programs do not bring the sources that they were made of: another may have removed those, or never had them.
    """
    command = [*_beyond(), find_go(), "mod", "download", "-json", part.reads]
    done = subprocess.run(command, cwd=part.sources, check=False, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{part.reads} cannot be fetched:\n{done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def predict(parts: Iterable[Part]) -> str:
    cores = len(os.sched_getaffinity(0))
    seconds = sum(part.cpu_s for part in parts) / min(cores, 8)
    return f"about {minutes(seconds)} minutes on {cores} idle cores"


def minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def _make_one(part: Part, folder: Path, compiler: str, tell: Say) -> None:
    cache_dir().mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if folder.is_dir():
            return
        fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
        fresh.mkdir()
        _compile(part, fresh, compiler, tell)
        fresh.rename(folder)


def _compile(part: Part, fresh: Path, compiler: str, tell: Say) -> None:
    # One program gets its name by -o; several get the last word of their package.
    target = f"{fresh}/{next(iter(part.packages))}" if len(part.packages) == 1 else f"{fresh}/"
    command = [*_beyond(), "nice", compiler, "build", QUICK, "-tags", part.tags, "-ldflags", part.link, "-o", target]
    environment = os.environ | {
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly",
    }
    begun = time.monotonic()
    log = fresh / "log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [*command, *part.packages.values()], cwd=part.sources, env=environment, stdout=stream, stderr=stream
        )
        try:
            _wait(child, lambda: tell(f"building {part.name}: {minutes(time.monotonic() - begun)}; {predict([part])}"))
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode:
        raise BuildError(f"{part.name} cannot be built:\n{log.read_text(errors='replace')[-4000:]}")
    tell(f"built {part.name} in {minutes(time.monotonic() - begun)}")


def _beyond() -> list[str]:
    """Return what comes before a command that fetches: a test may need a part before anybody has begun to build it."""
    return shlex.split(os.environ.get(BEYOND, ""))


def main() -> None:
    """Build what runs in a cluster beside it: whoever needs a part meanwhile waits for it, or builds it."""
    # Who starts us in the background of a shell hands an ignored SIGINT on, and by it we are told to end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    make(PEERS)


def _wait(child: subprocess.Popen[bytes], tick: Callable[[], None]) -> None:
    while True:
        try:
            child.wait(_TOLD_EVERY_S)
        except subprocess.TimeoutExpired:
            tick()
        else:
            return


if __name__ == "__main__":
    main()
