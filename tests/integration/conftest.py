"""Real tools: a container store of its own for the whole run, so that nothing of the user's is touched."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from programs import REAL_MARKS, give_up, need, refuse_unlisted

from builder.host.locks import alone

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_FOREIGN = ("BUILDAH_", "CONTAINERS_", "DOCKER_", "REGISTRY_", "STORAGE_")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Watch what is started, if real tests are among those that run: a hook sees every event, and fast tests pay for it.

    What a file starts while it is imported is seen by ``started_by`` alone.
    """
    if any(item.get_closest_marker(mark) for item in session.items for mark in REAL_MARKS):
        sys.addaudithook(refuse_unlisted)


@dataclass(frozen=True)
class Machine:
    """A container store, a package cache and the environment that selects them; ``prefix`` comes before each command."""

    folder: Path
    environment: dict[str, str]
    prefix: tuple[str, ...] = ()

    def builder(
        self, project: Path, *arguments: str, check: bool = False, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        # Tests keep certificates, public keys and unpacked sources beside their project.
        outside = ("--allow-outside", str(self.folder.parent))
        command = [*self.prefix, sys.executable, "-m", "builder", "--project", str(project), *arguments, *outside]
        return subprocess.run(
            command, env=self.environment, text=True, capture_output=True, check=check, timeout=900, **more
        )

    def with_environment(self, changes: dict[str, str]) -> Machine:
        return replace(self, environment=self.environment | changes)

    def tell(self, project: Path, *arguments: str) -> tuple[int, Any]:
        """Return the exit code of a verb, and what it says in JSON."""
        done = self.builder(project, *arguments, "--json")
        assert done.stdout, done.stderr
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    def build(self, project: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
        return self.tell(project, "build", *arguments)

    def buildah(self, *arguments: str) -> str:
        done = subprocess.run(
            ["buildah", *arguments], env=self.environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        container = self.buildah("from", "--pull-never", image).strip()
        try:
            yield Path(self.buildah("mount", container).strip())
        finally:
            self.buildah("umount", container)
            self.buildah("rm", container)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh store; the package cache is the user's, because it only holds what can be checked by digest."""
    need("buildah")
    if os.geteuid() != 0:
        give_up("root for overlay storage and a tmpfs")
    with open_machine(tmp_path_factory.mktemp("machine")) as opened:
        yield opened


@contextlib.contextmanager
def open_machine(folder: Path) -> Iterator[Machine]:
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    # What a developer set for containers is not what is tested.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    yield Machine(folder, ours | {"CONTAINERS_STORAGE_CONF": str(storage)})
    subprocess.run(["umount", f"{folder}/graph/overlay"], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def lock_text(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the archive serves today: a committed lock would age, and these tests with it. Read once for all workers."""
    ours = tmp_path_factory.getbasetemp()
    shared = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "archive"
    with alone(shared):
        if not (shared / "versions.lock.yaml").exists():
            project = copy_project(tmp_path_factory.mktemp("discover"))
            done = machine.builder(project, "discover", "--source", "debian")
            assert done.returncode == 0, done.stderr
            shared.mkdir()
            shutil.copy(project / "versions.lock.yaml", shared)
    return (shared / "versions.lock.yaml").read_text()


@pytest.fixture
def project(tmp_path: Path, lock_text: str) -> Path:
    folder = copy_project(tmp_path)
    (folder / "versions.lock.yaml").write_text(lock_text)
    return folder


def copy_project(folder: Path) -> Path:
    target = folder / "project"
    target.mkdir()
    for name in ("kernel-module", "driver-container"):
        shutil.copytree(ROOT / name, target / name)
    # Boots take a guest's time, and images beside drivers are not there, nor the operator that is one of them, nor the
    # pipelines that run in another; the tests that are about them ask for them.
    text = (ROOT / "versions.yaml").read_text()
    parts = {
        "Images that run beside": "components",
        "The operator's own words": "operator",
        "The same plan on a cluster": "tekton",
    }
    for title, key in parts.items():
        text, count = re.subn(rf"(?ms)^# {title}[^\n]*\n(#[^\n]*\n)*{key}:\n.*?(?=^\S)", "", text)
        assert count == 1, key
    assert "boot: changed" in text
    (target / "versions.yaml").write_text(text.replace("boot: changed", "boot: never"))
    shutil.copy(ROOT / "versions.lock.yaml", target)
    return target
