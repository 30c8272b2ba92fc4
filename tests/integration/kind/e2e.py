"""``nox -s e2e``: a cluster from package registries, the tests that need one, and nothing left of it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from integration.kind.cluster import CONTEXT, KUBECONFIG, create_cluster
from integration.kind.make import BuildError, cache_dir, make, minutes, say
from integration.kind.node_image import make_node_image
from integration.kind.recipe import API_LEVEL, CLUSTER
from integration.kind.world import World, WorldError, end_world, engine_dir, enter, find_world, start_world

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[3]
_TESTS = Path(__file__).parent
# It starts and ends worlds itself, so it cannot be in one.
_OUTSIDE = _TESTS / "test_world.py"
_ROOM_BYTES = 15 * 1024**3


@dataclass
class _Times:
    """How long each phase took: what to prune is known only from that."""

    phases: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.phases[phase] = time.monotonic() - begun

    def __str__(self) -> str:
        return "\n".join(f"  {phase:<10} {minutes(seconds):>6}" for phase, seconds in self.phases.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s e2e --", description=__doc__, epilog="Further words are pytest's.")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running; later runs use it")
    parser.add_argument("--shell", action="store_true", help="open a shell beside a cluster that is kept")
    parser.add_argument("--delete", action="store_true", help="end a cluster that was kept")
    parser.add_argument("--kubeconfig", type=Path, help="use this cluster instead of one that is made here")
    parser.add_argument("--context", help="which of the kubeconfig's contexts; it must be named")
    known, words = parser.parse_known_args()
    if known.delete:
        end_world()
        return 0
    if known.kubeconfig or known.context:
        return _test_elsewhere(parser, known.kubeconfig, known.context, words)
    if os.geteuid() != 0:
        parser.error("a cluster needs root: namespaces, mounts, a container engine of its own")
    if known.shell:
        return _open_shell()
    return _test_here(words, keep=known.keep)


def _test_elsewhere(
    parser: argparse.ArgumentParser, kubeconfig: Path | None, context: str | None, words: list[str]
) -> int:
    """Test with a cluster that is not ours: only where its owner said which."""
    if not kubeconfig or not context:
        parser.error("--kubeconfig and --context go together: which cluster is used is said, never guessed")
    try:
        data = yaml.safe_load(kubeconfig.read_text())
        names = [entry["name"] for entry in data["contexts"]]
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        parser.error(f"{kubeconfig} is no kubeconfig: {error}")
    if context not in names:
        parser.error(f"{kubeconfig} has no context {context!r}, only {', '.join(map(repr, names))}")
    say(f"using the cluster of context {context!r}")
    return _run_pytest(
        [], words, {"KMODSMITH_E2E_KUBECONFIG": str(kubeconfig.resolve()), "KMODSMITH_E2E_CONTEXT": context}
    )


def _test_here(words: list[str], *, keep: bool) -> int:
    times = _Times()
    try:
        code = _run_phases(times, words, keep=keep)
    except (BuildError, WorldError, subprocess.CalledProcessError) as error:
        say(str(error))
        code = 1
    finally:
        say(f"time in minutes:\n{times}")
    return code


def _run_phases(times: _Times, words: list[str], *, keep: bool) -> int:
    _look_for_room()
    with times.measure("programs"):
        make([*CLUSTER, *API_LEVEL])
    with contextlib.nullcontext() if words else build_beside():
        return _run_tests(times, words, keep=keep)


@contextlib.contextmanager
def build_beside() -> Iterator[None]:
    """Build the peers while tests run that wait for timers and for the cluster, until the end of the block."""
    command = ["setpriv", "--pdeathsig", "INT", "--", sys.executable, "-m", "integration.kind.make"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as child:
        try:
            yield
        finally:
            child.send_signal(signal.SIGINT)  # where it still builds, nobody waits for it any more


def _run_tests(times: _Times, words: list[str], *, keep: bool) -> int:
    kept = find_world()
    code = 0
    if not kept and not words:
        with times.measure("leaks"):
            code = _run_pytest([], [str(_OUTSIDE)], {})
    try:
        world = kept or _start(times, keep=keep)
        with times.measure("tests"):
            code = (
                _run_pytest(world.command(), [*(words or [str(_TESTS)]), f"--ignore={_OUTSIDE}"], _inside(world))
                or code
            )
    finally:
        if not kept and not keep:
            with times.measure("end"):
                end_world()
    if keep or kept:
        say("the cluster is kept: nox -s e2e -- --shell opens a shell beside it, --delete ends it")
    return code


def _start(times: _Times, *, keep: bool) -> World:
    programs = make(CLUSTER)
    with times.measure("engine"):
        world = start_world(engine_dir(), stays=keep)
    with times.measure("image"):
        image = make_node_image(world, programs)
    with times.measure("cluster"):
        create_cluster(world, programs, image)
    return world


def _inside(world: World) -> dict[str, str]:
    names = {"KMODSMITH_E2E_KUBECONFIG": str(KUBECONFIG), "KMODSMITH_E2E_CONTEXT": CONTEXT}
    return names | enter(world) | world.environment


def _run_pytest(prefix: list[str], words: list[str], environment: dict[str, str]) -> int:
    failure = _ROOT / ".kmodsmith" / "e2e" / time.strftime("failure-%Y%m%d-%H%M%S")
    command = [*prefix, sys.executable, "-m", "pytest", "-m", "kind", *(words or [str(_TESTS)])]
    ours = {
        "CI": os.environ.get("CI") or "1",
        "KMODSMITH_E2E_FAILURE": str(failure),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    code = subprocess.run(command, cwd=_ROOT, env=os.environ | ours | environment, check=False).returncode
    if failure.is_dir():
        say(f"what there is to know of the failure is in {failure}")
    return code


def _open_shell() -> int:
    world = find_world()
    if world is None:
        say("no cluster is kept: nox -s e2e -- --keep leaves one")
        return 2
    programs = make(CLUSTER)
    path = os.pathsep.join([*sorted({str(program.parent) for program in programs.values()}), os.environ["PATH"]])
    environment = os.environ | world.environment | {"KUBECONFIG": str(KUBECONFIG), "PATH": path}
    say("kubectl, kind and docker are those of the cluster; leave by 'exit'")
    return subprocess.run(world.command(os.environ.get("SHELL", "sh")), env=environment, check=False).returncode


def _look_for_room() -> None:
    cache_dir().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache_dir()).free
    if free < _ROOM_BYTES and not engine_dir().is_dir():
        say(f"only {free / 1024**3:.0f} GiB are free at {cache_dir()}: a first run needs 15")


if __name__ == "__main__":
    sys.exit(main())
