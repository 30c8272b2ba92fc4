"""What is known of the operator: only what is published and signed, and what is missing has a sentence."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self

import pytest

from builder.emit.artefact import Order
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.emit.nfd.files import NfdFacts
from builder.emit.operator import facts
from builder.emit.operator.artefact import ARTEFACT
from builder.emit.operator.facts import read_operator_facts
from builder.errors import UsageError
from builder.host.progress import no_progress
from builder.kernel import parse_kernel_version
from builder.plan.matrix import Selector
from builder.plan.project import open_project
from builder.publish.published import LeftOutCell
from builder.publish.reading import TaggedImage
from builder.pullspec import parse_pullspec
from builder.signing.create import create_image_key

if TYPE_CHECKING:
    from pathlib import Path

    from builder.emit.operator.material import OperatorFacts
    from builder.plan.project import Project

_DIGEST = f"sha256:{'d' * 64}"
_PLUGIN = "    device_plugin: {driver: demo, resource: drivers.example.com/demo}\n"
_COMPONENT = """
  - name: NAME
    version: 0.1.0
    source: .
    containerfile: Containerfile
    licenses: [LICENSE]
    image: quay.test:5000/org/NAME
    vendor: V
    summary: S
    description: D
    maintainer: M <m@example.com>
"""
_OPERATOR = "operator: {component: operator, group: drivers.example.com, documentation: https://example.com/d}\n"


class _Reader:
    """A registry that has every list but those that are named."""

    def __init__(self, without: tuple[str, ...] = ()) -> None:
        self._without = without

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def find(self, name: Any) -> Any:
        if any(word in str(name) for word in self._without):
            return None
        found = TaggedImage(b"", _DIGEST, "application/vnd.oci.image.index.v1+json", "k", is_list=True)
        return parse_pullspec(str(name)), found

    def is_signed(self, *_: Any, **__: Any) -> bool:
        return True


@pytest.fixture
def project(project_dir: Path) -> Project:
    for name in ("Containerfile", "LICENSE"):
        (project_dir / name).write_text("x")
    file = project_dir / "versions.yaml"
    text = file.read_text().replace("    vendor: V", "    image: quay.test:5000/org/demo\n    vendor: V", 1)
    made = create_image_key("images", key_folder=project_dir.parent, public_folder=project_dir / "keys")
    components = "components:" + "".join(_COMPONENT.replace("NAME", name) for name in ("operator", "plugin"))
    file.write_text(text + made.versions_yaml(project_dir) + components.rstrip("\n") + "\n" + _PLUGIN + _OPERATOR)
    return open_project(project_dir)


def _read(
    project: Project, monkeypatch: pytest.MonkeyPatch, *, without: tuple[str, ...] = (), published: bool = True
) -> OperatorFacts:
    def known(asked: Project, *_: Any, **__: Any) -> Any:
        kernels = [parse_kernel_version("6.1.0-10-amd64")]
        found = [NfdFacts(driver=item, aliases=["pci:a"], kernels=kernels) for item in asked.config.drivers]
        return (found if published else []), (LeftOutCell(cell="demo/6.1.0-9-amd64", why="it is not published"),)

    monkeypatch.setattr(facts, "open_reader", lambda _: _Reader(without))
    monkeypatch.setattr(facts, "read_nfd_facts", known)
    found, left_out = read_operator_facts(project, Selector(), flavour=Flavour.UPSTREAM, kmm_version=KmmVersion.V2_6)
    assert [item.cell for item in left_out] == ["demo/6.1.0-9-amd64"]
    return found


def _change(project: Project, before: str, after: str) -> Project:
    text = project.file.read_text()
    assert before in text
    project.file.write_text(text.replace(before, after))
    return open_project(project.file.parent)


def test_all_is_known(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _read(project, monkeypatch)
    assert found.images == {
        "kmod-operator": f"quay.test:5000/org/operator@{_DIGEST}", "plugin": f"quay.test:5000/org/plugin@{_DIGEST}",
    }  # fmt: skip
    assert [key.splitlines()[0] for key in found.keys] == ["-----BEGIN PUBLIC KEY-----"]
    (driver,) = found.drivers
    assert (driver.driver.name, driver.aliases, driver.kmm.modules) == ("demo", ["pci:a"], ("demo",))
    assert driver.driver.kmm.ordered_upgrade, "KMM waits for each node's label"
    assert (found.registry_ports, list(found.releases)) == ([5000], [])


def test_the_artefact_has_all_formats(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    _read(project, monkeypatch)
    options: dict[str, Any] = {"flavour": "openshift", "version": "2.6", "bundle": ()}
    order = Order(project=project, selector=Selector(), progress=no_progress, options=options)
    emitted = ARTEFACT.emit(order)
    assert {name.partition("/")[0] for name in emitted.files} == {"plain", "bundle", "chart", "example.yaml"}
    assert emitted.told == ("There is no catalog: it names the bundle's image, by --bundle-image.",)
    assert emitted.left_out == ("demo/6.1.0-9-amd64: it is not published",)
    order.options["bundle"] = (f"quay.test/org/bundle@{_DIGEST}",)  # type: ignore[index]
    again = ARTEFACT.emit(order)
    assert ("catalog/kmod-operator/catalog.yaml" in again.files, again.told) == (True, ())
    catalog = [name for name in again.files if name.startswith("catalog/")]
    assert all(any(fnmatchcase(name, glob) for glob in emitted.owned) for name in catalog), "the next run removes them"


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (("quay.test/org/bundle:v1",), "does not name an image by digest"),
        ((f"a@{_DIGEST}", f"b@{_DIGEST}"), "--bundle-image is given twice"),
    ],
)
def test_a_bundle_is_one_image_by_digest(project: Project, images: tuple[str, ...], words: str) -> None:
    options = {"flavour": "openshift", "version": "2.6", "bundle": images}
    order = Order(project=project, selector=Selector(), progress=no_progress, options=options)
    with pytest.raises(UsageError, match=words):
        ARTEFACT.emit(order)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (_OPERATOR, "", "versions.yaml has no operator"),
        ("publish:", "x_publish:", "images are not signed, and the operator believes only what is"),
        ("image: quay.test:5000/org/demo", "kmm: {module: demo}", "no driver has an image in a registry"),
        ("    image: quay.test:5000/org/operator\n", "", "component operator has no image in a registry"),
        ("    image: quay.test:5000/org/plugin\n", "", "component plugin has no image in a registry"),
    ],
)
def test_what_is_missing_in_versions_yaml_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, before: str, after: str, words: str
) -> None:
    if before == "publish:":
        text = project.file.read_text()
        start = text.index("publish:")
        before = text[start : text.index("components:")]
        after = ""
    with pytest.raises(UsageError, match=words):
        _read(_change(project, before, after), monkeypatch)


def test_a_named_driver_that_nodes_cannot_pull_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    named = _change(project, "component: operator,", "component: operator, drivers: [demo],")
    assert [item.driver.name for item in _read(named, monkeypatch).drivers] == ["demo"]
    local = _change(named, "    image: quay.test:5000/org/demo\n", "")
    with pytest.raises(UsageError, match="driver demo has no image in a registry, and nodes could not pull it"):
        _read(local, monkeypatch)


@pytest.mark.parametrize("name", ["operator", "plugin"])
def test_an_image_that_is_not_published_is_told(project: Project, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(UsageError, match=f"quay.test:5000/org/{name}:0.1.0 is not published"):
        _read(project, monkeypatch, without=(f"org/{name}",))


def test_a_driver_without_an_image_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no image of driver demo is published"):
        _read(project, monkeypatch, published=False)


def test_two_plugins_of_one_driver_are_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = _change(
        project, "    image: quay.test:5000/org/operator\n", "    image: quay.test:5000/org/operator\n" + _PLUGIN
    )
    with pytest.raises(UsageError, match="operator and plugin are both a device plugin of driver demo"):
        _read(twice, monkeypatch)


def test_a_registry_without_tls_is_asked_at_its_port(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _change(project, _OPERATOR, _OPERATOR + "registry: {plain_http: ['quay.test:5000']}\n")
    found = _read(plain, monkeypatch)
    assert (found.registry_ports, found.drivers[0].kmm.registry_tls) == ([80, 5000], {"insecure": True})
