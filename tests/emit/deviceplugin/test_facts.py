"""The digest of what is published: nothing is written of an image that nodes could not pull, or that nobody signed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest

from builder.emit.artefact import Order
from builder.emit.deviceplugin import facts
from builder.emit.deviceplugin.artefact import ARTEFACT
from builder.emit.deviceplugin.facts import read_kmm_plugin, read_plugin_facts
from builder.emit.deviceplugin.files import FILES
from builder.errors import UsageError
from builder.host.progress import no_progress
from builder.plan.matrix import Selector
from builder.plan.project import open_project
from builder.publish.reading import TaggedImage
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from builder.plan.project import Project

_DIGEST = f"sha256:{'d' * 64}"
_COMPONENTS = """
components:
  - name: plugin
    version: 0.1.0+7
    source: plugin
    containerfile: plugin/Containerfile
    image: quay.test/org/plugin
    licenses: [plugin/LICENSE]
    device_plugin: {driver: demo, resource: drivers.example.com/demo}
    vendor: V
    summary: S
    description: D
    maintainer: M
"""


class _Reader:
    """A registry that has an image, a list, or nothing."""

    def __init__(self, found: TaggedImage | None, *, signed: bool = True) -> None:
        self._found, self._signed = found, signed
        self.asked: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def find(self, name: Any) -> Any:
        self.asked.append(str(name))
        return (parse_pullspec("quay.test/org/plugin:0.1.0_7"), self._found) if self._found else None

    def is_signed(self, place: Any, digest: str, *, name: Any) -> bool:
        assert (digest, str(name), str(place)) == (
            _DIGEST,
            "quay.test/org/plugin:0.1.0_7",
            "quay.test/org/plugin:0.1.0_7",
        )
        return self._signed


def _list(*, is_list: bool = True) -> TaggedImage:
    return TaggedImage(b"", _DIGEST, "application/vnd.oci.image.index.v1+json", "k", is_list)


@pytest.fixture
def project(project_dir: Path) -> Project:
    (project_dir / "plugin").mkdir()
    for name in ("Containerfile", "LICENSE"):
        (project_dir / "plugin" / name).write_text("x")
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text() + _COMPONENTS)
    return open_project(project_dir)


def _serve(monkeypatch: pytest.MonkeyPatch, reader: _Reader) -> None:
    def open_it(_: object) -> AbstractContextManager[_Reader]:
        return reader

    monkeypatch.setattr(facts, "open_reader", open_it)


def test_the_published_list_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = _Reader(_list())
    _serve(monkeypatch, reader)
    (found,) = read_plugin_facts(project)
    assert (found.component.name, found.driver.name, found.digest) == ("plugin", "demo", _DIGEST)
    assert reader.asked == ["quay.test/org/plugin:0.1.0_7"], "the tag as registries have it"
    order = Order(project=project, selector=Selector(), progress=no_progress, options={"flavour": "openshift"})
    assert list(ARTEFACT.emit(order).files) == ["plugin/10-access.yaml", "plugin/20-daemonset.yaml"]


def _change(project: Project, before: str, after: str) -> Project:
    assert before in project.file.read_text()
    project.file.write_text(project.file.read_text().replace(before, after))
    return open_project(project.file.parent)


def test_what_kmm_runs_is_read_for_emit_kmm_and_nowhere_else(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_kmm_plugin(project, "demo") is None
    project = _change(project, "{driver: demo, ", "{driver: demo, managed_by: kmm, ")
    _serve(monkeypatch, _Reader(_list()))
    assert read_plugin_facts(project) == []
    found = read_kmm_plugin(project, "demo")
    assert found is not None
    assert found.image == f"quay.test/org/plugin@{_DIGEST}"
    assert read_kmm_plugin(project, "other") is None
    _serve(monkeypatch, _Reader(None))
    with pytest.raises(UsageError, match="is not published"):
        read_kmm_plugin(project, "demo")


@pytest.mark.parametrize(
    ("said", "files", "words"),
    [
        ("managed_by: kmm", [], "plugin: KMM runs it, privileged: 'emit kmm' writes it into the Module"),
        ("mode: Auto", list(FILES), "plugin: 15-dynamic-resources.yaml is for clusters that have resource.k8s.io/v1"),
        ("mode: DRA", list(FILES), ""),
    ],
)
def test_people_are_told_what_is_not_as_they_may_think(
    project: Project, monkeypatch: pytest.MonkeyPatch, said: str, files: list[str], words: str
) -> None:
    _serve(monkeypatch, _Reader(_list()))
    project = _change(project, "{driver: demo, ", f"{{driver: demo, {said}, ")
    emitted = ARTEFACT.emit(
        Order(project=project, selector=Selector(), progress=no_progress, options={"flavour": "upstream"})
    )
    assert list(emitted.files) == [f"plugin/{name}" for name in files]
    assert [text.startswith(words) for text in emitted.told] == [True] * bool(words)
    assert list(emitted.owned) == [f"plugin/{name}" for name in FILES], "files of another way of running it are removed"


@pytest.mark.parametrize(
    ("found", "signed", "words"),
    [
        (None, True, "is not published"),
        (_list(is_list=False), True, "is not published"),
        (_list(), False, "is not signed by publish.signer"),
    ],
)
def test_nothing_is_said_of_another_image(
    project: Project, monkeypatch: pytest.MonkeyPatch, found: TaggedImage | None, signed: bool, words: str
) -> None:
    _serve(monkeypatch, _Reader(found, signed=signed))
    with pytest.raises(UsageError, match=words):
        read_plugin_facts(project)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            "    device_plugin: {driver: demo, resource: drivers.example.com/demo}\n",
            "",
            "no component of versions.yaml",
        ),
        ("    image: quay.test/org/plugin\n", "", "component plugin has no image in a registry"),
    ],
)
def test_what_is_not_there_is_named(project: Project, before: str, after: str, words: str) -> None:
    file = project.file
    file.write_text(file.read_text().replace(before, after))
    with pytest.raises(UsageError, match=words):
        read_plugin_facts(open_project(file.parent))


def test_a_driver_that_is_not_there_is_a_mistake_with_its_place(project: Project) -> None:
    project.file.write_text(project.file.read_text().replace("driver: demo, resource", "driver: dem, resource"))
    with pytest.raises(Exception, match="dem") as caught:
        _ = open_project(project.file.parent).config
    assert SimpleNamespace(text=str(caught.value)).text.count("device_plugin") == 1
