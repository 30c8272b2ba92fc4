"""A project with a source of OpenShift whose graph is a file, and a pretended registry."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from builder.__main__ import run_cli
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials
from builder.sources.lock_file import read_lock
from fakes.locks import openshift_of
from fakes.openshift_world import World
from fakes.registry import pretend_registry

if TYPE_CHECKING:
    from pathlib import Path

    from builder.registry.reader import Registry
    from builder.sources.openshift.lock import LockedOpenShift
    from fakes.tools import FakeTools

_K1 = "5.14.0-427.50.1.el9_4.x86_64"


@dataclass
class Site:
    """A project with a source of OpenShift whose graph is a file."""

    folder: Path
    world: World
    capsys: pytest.CaptureFixture[str]
    opened: list[Registry] = field(default_factory=list)

    def release(self, version: str, kernel: str = _K1, *, node: str | None = None, toolkit: bool = True) -> None:
        tags = {
            "rhel-coreos": self.world.os_image(node or kernel, build=version),
            "rhel-coreos-extensions": self.world.extensions(),
        }
        if toolkit:
            tags["driver-toolkit"] = self.world.toolkit(kernel, rt=f"{kernel}+rt")
        self.world.promote(self.world.release(version, tags), version, "fast-4.17")
        self.write_graph()

    def write_graph(self) -> None:
        (self.folder / "fast-4.17_amd64.json").write_bytes(self.world.graph("fast-4.17", "amd64"))

    def edit(self, **changes: Any) -> None:
        file = self.folder / "versions.yaml"
        file.write_text(yaml.dump(yaml.load(file.read_text(), yaml.CSafeLoader) | changes, Dumper=yaml.CSafeDumper))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = run_cli(["--project", str(self.folder), *arguments])
        printed = self.capsys.readouterr()
        return code, printed.out, printed.err

    def json(self, *arguments: str) -> tuple[int, Any]:
        code, out, _ = self.run(*arguments, "--json")
        return code, json.loads(out)

    @property
    def locked(self) -> LockedOpenShift:
        return openshift_of(read_lock(self.folder / "versions.lock.yaml"), "ocp")


@pytest.fixture
def site(
    project_dir: Path, fake_tools: FakeTools, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Site:
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir.parent / "cache"))
    monkeypatch.setattr("builder.host.http._PAUSE_S", 0.0)
    fake_tools.add("buildah", 'case "$1" in images) echo "[]";; *) exit 9;; esac')
    made = Site(project_dir, World(), capsys)

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        registry = pretend_registry(made.world, cache_dir / "registry")
        return RegistryAccess(registry, Credentials(), frozenset())

    monkeypatch.setattr("builder.registry.access.open_registries", open_pretended)
    monkeypatch.setattr("builder.publish.reading.open_registries", open_pretended)
    made.edit(
        sources={"debian": {"provider": "debian"},
                 "ocp": {"provider": "openshift", "channels": ["fast-4.17"], "graph": "{channel}_{arch}.json"}},
        groups={"few": {"source": "debian", "newest": True, "arches": ["x86_64"]}, "ocp": {"source": "ocp"},
                "ocp-1": {"source": "ocp", "releases": ["4.17.1"], "variants": ["standard"]}},
    )  # fmt: skip
    return made
