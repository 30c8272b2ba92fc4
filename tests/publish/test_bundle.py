"""What goes into a bundle, and where what a bundle needs lies meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.publishing import use_image_signer
from fakes.registry import FakeRegistry, pretend_registry

from builder.errors import FormatError, SourceError, UsageError
from builder.image.manifests import OCI_MANIFEST
from builder.plan.matrix import Selector
from builder.plan.project import open_project
from builder.publish.airgap import AirgapWriter, LoadStatus
from builder.publish.bundle import load_bundle, write_bundle
from builder.publish.index_document import is_index_tag
from builder.pullspec import parse_pullspec
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench

    from builder.config.model.registry import RegistrySettings

_ONE = "6.1.0-10-amd64"
_NAME = f"quay.test/demo:1.2.0-{_ONE}"
_SELECTED = Selector(kernels=(_ONE, "6.12*"))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """The registry that bundles are loaded into."""
    server = FakeRegistry()

    def open_pretended(settings: RegistrySettings, _root: Path, cache_dir: Path) -> RegistryAccess:
        registry = pretend_registry(server, cache_dir, plain_http=frozenset(settings.plain_http))
        return RegistryAccess(registry, Credentials(), frozenset())

    monkeypatch.setattr("builder.publish.bundle.open_registries", open_pretended)
    return server


def _publish_one(bench: Bench) -> None:
    bench.build("--kernel", _ONE)
    assert bench.run("publish", "--kernel", _ONE)[0] == 0


def test_what_is_published_goes_from_one_registry_into_another(
    bench: Bench, registry: FakeRegistry, site: FakeRegistry, tmp_path: Path
) -> None:
    _publish_one(bench)
    project = open_project(bench.folder)
    done: list[tuple[int, int]] = []
    report, left_out = write_bundle(project, _SELECTED, tmp_path / "b.tar", progress=lambda *it: done.append(it))
    digest = bench.digest(_ONE)
    assert (report.images, done) == (((_NAME, digest),), [(1, 1)])
    assert [(cell.cell, cell.why) for cell in left_out] == [
        ("demo-1.2.0/6.12.5+deb12-amd64", "quay.test/demo:1.2.0-6.12.5_deb12-amd64 is not published")
    ]
    assert not list(project.work_dir.glob("bundle-*")), "blobs do not stay"
    (loaded,) = load_bundle(project, tmp_path / "b.tar", "mirror.test/site", plain_http=False)
    assert (loaded.name, loaded.digest, loaded.status) == (f"mirror.test/site/demo:1.2.0-{_ONE}", digest, LoadStatus.LOADED)  # fmt: skip
    assert site.manifests["site/demo", digest] == registry.manifests["demo", digest]
    assert not list(tmp_path.glob(".bundle-*")), "nor do those of the bundle"


def test_nothing_is_bundled_where_nothing_is_published(bench: Bench, registry: FakeRegistry, tmp_path: Path) -> None:
    assert registry.final_tags == set()
    with pytest.raises(UsageError, match="no image is published"):
        write_bundle(open_project(bench.folder), _SELECTED, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_an_image_of_which_a_part_is_gone_makes_no_bundle(bench: Bench, registry: FakeRegistry, tmp_path: Path) -> None:
    _publish_one(bench)
    registry.blobs.clear()
    project = open_project(bench.folder)
    (tmp_path / "cache").rename(tmp_path / "forgotten")
    with pytest.raises(SourceError, match="does not exist"):
        write_bundle(project, _SELECTED, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()
    assert not list(project.work_dir.glob("bundle-*"))


def _bundle(folder: Path) -> Path:
    """Write a bundle of one image without layers."""
    server = FakeRegistry()
    data = {"mediaType": OCI_MANIFEST, "config": server.put_blob("org/drv", b"{}"), "layers": []}
    registry, _, attachments = server.open(folder / "cache")
    (folder / "blobs").mkdir()
    writer = AirgapWriter(registry, attachments, folder / "blobs")
    writer.add(parse_pullspec("quay.test/org/drv:1"), server.put_manifest("org/drv", data))
    writer.write(folder / "b.tar")
    return folder / "b.tar"


@pytest.mark.parametrize("place", ["", "elsewhere"])
def test_a_bundle_is_unpacked_beside_it_or_where_tmpdir_says(
    tmp_path: Path, site: FakeRegistry, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / place) if place else "")
    there: list[Path] = []
    load_bundle(
        open_project(tmp_path), _bundle(tmp_path), "mirror.test", plain_http=False,
        progress=lambda *_: there.extend(tmp_path.rglob(".bundle-*")),
    )  # fmt: skip
    assert [folder.parent for folder in there] == [tmp_path / place]
    assert site.final_tags == {"1"}


@pytest.mark.parametrize(("plain_http", "scheme"), [(False, "https"), (True, "http")])
def test_a_registry_is_spoken_to_without_tls_only_where_that_is_said(
    tmp_path: Path, site: FakeRegistry, plain_http: bool, scheme: str
) -> None:
    seen: set[str] = set()
    site.faults.append(lambda request: seen.add(request.url.scheme))
    load_bundle(open_project(tmp_path), _bundle(tmp_path), "mirror.test/site", plain_http=plain_http)
    assert seen == {scheme}


def test_of_a_bundle_that_is_none_nothing_stays(tmp_path: Path, site: FakeRegistry) -> None:
    (tmp_path / "b.tar").write_bytes(b"rubbish" * 1000)
    with pytest.raises(FormatError, match="is no bundle"):
        load_bundle(open_project(tmp_path), tmp_path / "b.tar", "mirror.test", plain_http=False)
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]
    assert site.log == []


def test_a_target_that_is_no_registry_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'no registry' is no registry"):
        load_bundle(open_project(tmp_path), tmp_path / "absent.tar", "no registry", plain_http=False)


def test_the_index_goes_along_where_images_are_signed(
    bench: Bench, registry: FakeRegistry, site: FakeRegistry, tmp_path: Path
) -> None:
    use_image_signer(bench)
    _publish_one(bench)
    project = open_project(bench.folder)
    report, _ = write_bundle(project, _SELECTED, tmp_path / "b.tar")
    tags = {name.rpartition(":")[2] for name, _ in report.images}
    assert {tag for tag in tags if is_index_tag(tag)} == {tag for tag in registry.final_tags if is_index_tag(tag)}
    loaded = load_bundle(project, tmp_path / "b.tar", "mirror.test/site", plain_http=False)
    assert {item.status for item in loaded} == {LoadStatus.LOADED}
    assert site.manifests["site/demo", "index"] == registry.manifests["demo", "index"]


def test_a_bundle_of_some_images_says_which_the_index_has_besides(
    bench: Bench, registry: FakeRegistry, tmp_path: Path
) -> None:
    """Operators of the site take for covered what the index names, whatever its mirror has."""
    use_image_signer(bench)
    bench.build()
    assert bench.run("publish")[0] == 0
    project = open_project(bench.folder)
    _, left_out = write_bundle(project, Selector(kernels=(_ONE,)), tmp_path / "b.tar")
    (told,) = left_out
    assert (told.cell, told.why.partition(" of them")[0]) == ("demo/index", "it names 4 images, and 3")
    assert "that of version 1.2.0 for 6." in told.why
    _, left_out = write_bundle(project, Selector(), tmp_path / "all.tar")
    assert [item for item in left_out if item.cell == "demo/index"] == []


@pytest.mark.parametrize("content", [None, b"{}"])
def test_a_bundle_without_an_index_says_so(
    bench: Bench, registry: FakeRegistry, tmp_path: Path, content: bytes | None
) -> None:
    use_image_signer(bench)
    _publish_one(bench)
    del registry.manifests["demo", "index"]
    registry.manifests |= {("demo", "index"): content} if content else {}
    report, left_out = write_bundle(open_project(bench.folder), _SELECTED, tmp_path / "b.tar")
    assert [name for name, _ in report.images] == [_NAME]
    (why,) = [item.why for item in left_out if item.cell == "demo/index"]
    assert why.startswith("quay.test/demo:index")
