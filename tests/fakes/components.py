"""Component images: a project with one, its good image, and a machine that builds it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from builder.components import build as component_build
from builder.components.decide import ComponentSelector
from builder.components.inputs import ComponentInputs, ComponentItem
from builder.components.make import component_labels
from builder.components.planning import plan_components
from builder.config.model.component import Component
from builder.evidence.records import CellOutcome, ComponentEvidence, SelfTest, WheelRecord
from builder.image.contents import LayerCache, read_oci_layout
from builder.image.layout import LayerEntry, write_image, write_layer
from builder.image.packed import Packing, pack_image
from builder.kernel import Arch
from builder.plan.project import open_project
from fakes.samples import make_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.components.planning import PlannedComponents
    from builder.image.contents import ImageContents
    from builder.plan.project import Project
    from fakes.bench import Bench

SAID: Mapping[str, Any] = {
    "name": "plugin", "version": "0.1.0", "source": "plugin", "containerfile": "plugin/Containerfile",
    "licenses": ["plugin/LICENSE"], "vendor": "V", "summary": "S", "description": "D", "maintainer": "M",
}  # fmt: skip
MACHINES = {"amd64": 62, "arm64": 183}
LABELS = {
    "name": "plugin", "vendor": "V", "version": "0.1.0", "release": "0.1.0", "summary": "S", "description": "D",
    "maintainer": "M",
}  # fmt: skip


def declare(**changes: Any) -> Component:
    """Return a component as versions.yaml has it."""
    return Component.model_validate_json(json.dumps({**SAID, **changes}))


def write_component(project: Path, *more: Mapping[str, Any], **changes: Any) -> None:
    """Add a component, and others that differ from it, to a project's versions.yaml, and its files to the project."""
    folder = project / "plugin"
    folder.mkdir(exist_ok=True)
    for name, text in {"Containerfile": "FROM ${BASE_IMAGE}\n", "LICENSE": "MIT\n", "plugin.py": "print()\n"}.items():
        (folder / name).write_text(text)
    file = project / "versions.yaml"
    text = file.read_text().partition("components: ")[0]
    file.write_text(f"{text}components: {json.dumps([{**SAID, **changes}, *({**SAID, **item} for item in more)])}\n")


def make_item(arch: Arch = Arch.X86_64, **changes: Any) -> ComponentItem:
    return ComponentItem(declaration=declare(**changes), arch=arch)


def make_inputs(**changes: str) -> ComponentInputs:
    made = {name: name[0] * 64 for name in ("source", "containerfile", "recipe", "licenses", "base")}
    return ComponentInputs(**{"component": "plugin 0.1.0", "arch": "x86_64", **made, **changes})


WHEEL = WheelRecord(name="demo", version="1.0", file="demo-1.0-py3-none-any.whl", sha256="d" * 64)


def make_component_evidence(item: ComponentItem | None = None, **changes: Any) -> ComponentEvidence:
    """Return evidence of an image that is built, and passed its test."""
    item = item or make_item()
    tested = SelfTest(outcome="passed", by="native", command=("/bin/plugin", "self-test"), seconds=0.5)
    made: dict[str, Any] = {
        "component": item.id, "arch": item.arch, "key": "k" * 64, "outcome": CellOutcome.BUILT,
        "inputs": {"source": "s" * 64, "containerfile": "c" * 64, "base": "b" * 64, "recipe": "r", "format": "1"},
        "run": "run-1", "started": "2026-11-23T00:00:00Z", "finished": "2026-11-23T00:01:00Z", "image": item.names[0],
        "digest": f"sha256:{'1' * 64}", "stored": f"sha256:{'2' * 64}", "size": 3 * 1024**2, "wheels": (WHEEL,),
        "self_test": tested, "log": "components/plugin-0.1.0/x86_64/build.log",
    }  # fmt: skip
    return ComponentEvidence(**{**made, **changes})


def component_entries(arch: str = "amd64") -> list[LayerEntry]:
    """Return what a good image holds."""
    return [
        LayerEntry(path="bin/sh", content=make_program(MACHINES[arch]), mode=0o755),
        LayerEntry(path="bin/plugin", content=make_program(MACHINES[arch]), mode=0o755),
        LayerEntry(path="opt/lib/fast.so", content=make_program(MACHINES[arch]), mode=0o755),
        LayerEntry(path="licenses/LICENSE", content=b"MIT\n"),
    ]


def write_component_image(
    folder: Path, entries: Sequence[LayerEntry], labels: Mapping[str, str] = LABELS, *, arch: str = "amd64"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    layer = write_layer(folder / "0.tar", [], entries)
    write_image(folder / "oci", [layer], arch=arch, environment={"PATH": "/bin"}, labels=labels)
    return folder / "oci"


def read_component_image(
    folder: Path, entries: Sequence[LayerEntry], labels: Mapping[str, str] = LABELS, *, arch: str = "amd64"
) -> ImageContents:
    return read_oci_layout(write_component_image(folder, entries, labels, arch=arch), "test", LayerCache())


class Parts:
    """A project with a component, on a machine that builds it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.folder = bench.folder
        self.store = bench.store
        self.declare()

    def declare(self, *more: Mapping[str, Any], **changes: Any) -> None:
        write_component(self.folder, *more, **{"self_test": ["/bin/plugin", "self-test"], **changes})

    def edit(self, name: str, text: str) -> None:
        (self.folder / "plugin" / name).write_text(text)

    def hook(self, name: str, script: str) -> None:
        (self.store / name).write_text(script)

    def project(self, *, untrusted: bool = False) -> Project:
        project = open_project(self.folder)
        return project.distrust() if untrusted else project

    def plan(self, *, untrusted: bool = False, force: bool = False) -> PlannedComponents:
        return plan_components(self.project(untrusted=untrusted), ComponentSelector(), force=force)

    def reasons(self, **options: bool) -> list[str]:
        return [f"{item.action}: {item.reason}" for item in self.plan(**options).plan.decisions]

    def offer(
        self,
        *,
        untrusted: bool = False,
        entries: Sequence[LayerEntry] | None = None,
        labels: Mapping[str, str | None] | None = None,
    ) -> None:
        """Have buildah give images with the labels that they are to have, but for those that are said."""
        for decision in self.plan(untrusted=untrusted).plan.decisions:
            said = {**component_labels(decision, untrusted=untrusted), **(labels or {})}
            arch = decision.item.arch.oci
            place = self.store / decision.item.id.replace("/", "-")
            shutil.rmtree(place, ignore_errors=True)
            with TemporaryDirectory() as folder:
                kept = {name: value for name, value in said.items() if value is not None}
                layout = write_component_image(Path(folder), entries or component_entries(arch), kept, arch=arch)
                blobs = {file.name: file.read_bytes() for file in (layout / "blobs" / "sha256").iterdir()}
                digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].partition(":")[2]
            blobs["manifest.json"] = blobs.pop(digest)
            (place / "exported").mkdir(parents=True)
            for name, content in blobs.items():
                (place / "exported" / name).write_bytes(content)
            (place / "digest").write_text(f"{digest}\n")

    def digest(self, name: str = "plugin-0.1.0-x86_64") -> str:
        """Return an image's digest in registries."""
        return pack_image(self.store / name / "exported", Packing()).digest

    def names(self) -> dict[str, str]:
        """Return what the store has: names, and the images that they stand for."""
        return dict(line.split() for line in (self.store / "names").read_text().splitlines())

    def build(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        code, out, err = self.bench.run("build", "--json", "--component", "*", *arguments)
        assert out, err
        return code, json.loads(out)["components"]

    def started(self) -> int:
        """Return how many images were put together."""
        return sum("--iidfile" in call for call in self.bench.calls("build"))


@pytest.fixture
def parts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setattr(component_build, "_RETRY_PAUSE_S", 0.0)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "node", "6.1", "1", "x86_64")))
    monkeypatch.setattr(
        "builder.sources.debian.toolkit.DebianToolkits.ensure_packages", lambda _self, arch, _wanted: f"base:{arch}"
    )
    return Parts(bench)
