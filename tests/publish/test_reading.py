"""What a name stands for in a registry, and what it does not say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.list_place import LIST, LIST_REPOSITORY, LIST_SIGNER, Place, own_names
from fakes.registry import FakeRegistry, pretend_registry

from builder.config.model.registry import RegistrySettings
from builder.errors import FormatError, SignerError, SourceError, UsageError
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST
from builder.plan.project import open_project
from builder.publish.attachments import Attachments
from builder.publish.reading import RegistryReader, open_reader, settings_for
from builder.pullspec import parse_pullspec
from builder.registry.tags import Tags

if TYPE_CHECKING:
    from pathlib import Path

_NAME = parse_pullspec("quay.test/org/drv:1.0")
_MIRROR = parse_pullspec("mirror.test/copies/drv:1.0")


@pytest.fixture
def server() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def reader(server: FakeRegistry, tmp_path: Path) -> RegistryReader:
    registry = pretend_registry(server, tmp_path / "cache", mirrors={"quay.test/org": ["mirror.test/copies"]})
    tags = Tags(registry.transport)
    return RegistryReader(registry=registry, tags=tags, attachments=Attachments(registry, tags), keys=[])


def _put(server: FakeRegistry, config: object = None, repository: str = "org/drv", **manifest: Any) -> str:
    described = server.put_blob(repository, json.dumps({} if config is None else config).encode())
    data = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": []}
    return server.put_manifest(repository, data | manifest, "1.0")


@pytest.mark.parametrize(
    ("config", "annotations", "key"),
    [
        ({}, {}, ""),
        ({"config": None}, {}, ""),
        ({"config": {"Labels": {KEY_LABEL: "label"}}}, {}, "label"),
        ({"config": {"Labels": {KEY_LABEL: "label"}}}, {KEY_LABEL: "annotation"}, "annotation"),
    ],
)
def test_the_key_of_an_image_is_on_its_manifest_or_in_its_labels(
    server: FakeRegistry, reader: RegistryReader, config: object, annotations: dict[str, str], key: str
) -> None:
    digest = _put(server, config, annotations=annotations)
    found = reader.read_tag(_NAME)
    assert found is not None
    assert (found.key, found.digest, found.media_type, found.is_list) == (key, digest, OCI_MANIFEST, False)
    assert found.content == server.manifests["org/drv", digest]


def test_a_list_is_told_from_an_image_also_where_it_does_not_say_what_it_is(
    server: FakeRegistry, reader: RegistryReader
) -> None:
    server.put_manifest("org/drv", {"manifests": [], "annotations": {KEY_LABEL: "k"}}, "1.0")
    found = reader.read_tag(_NAME)
    assert found is not None
    assert (found.key, found.media_type, found.is_list) == ("k", OCI_INDEX, True)


def test_only_no_such_tag_is_none(server: FakeRegistry, reader: RegistryReader) -> None:
    assert reader.read_tag(_NAME) is None
    server.faults.append(lambda _: httpx.Response(403))
    with pytest.raises(SourceError, match="quay.test"):
        reader.read_tag(_NAME)


@pytest.mark.parametrize("config", [[], {"config": {"Labels": {KEY_LABEL: 5}}}, {"config": "text"}])
def test_a_configuration_that_is_none_is_refused_with_the_name(
    server: FakeRegistry, reader: RegistryReader, config: object
) -> None:
    _put(server, config)
    with pytest.raises(FormatError, match="^quay.test/org/drv:1.0: it is no configuration of an image"):
        reader.read_tag(_NAME)


def test_what_is_no_image_is_refused(server: FakeRegistry, reader: RegistryReader) -> None:
    _put(server, mediaType="text/html")
    with pytest.raises(FormatError, match="^quay.test/org/drv:1.0: it says that it is 'text/html', which is no image"):
        reader.read_tag(_NAME)


def test_the_first_place_that_has_an_image_is_where_it_is(server: FakeRegistry, reader: RegistryReader) -> None:
    assert reader.find(_NAME) is None
    _put(server)
    assert _where(reader) == _NAME
    _put(server, repository="copies/drv")
    assert _where(reader) == _MIRROR


def _where(reader: RegistryReader) -> object:
    found = reader.find(_NAME)
    return found and found[0]


def test_a_place_that_does_not_answer_hides_no_other_and_is_not_a_place_without_it(
    server: FakeRegistry, reader: RegistryReader
) -> None:
    server.faults.append(lambda request: httpx.Response(503) if request.url.host == "mirror.test" else None)
    with pytest.raises(SourceError, match="HTTP 503"):
        reader.find(_NAME)
    _put(server)
    assert _where(reader) == _NAME


def test_an_image_is_signed_for_a_name_and_a_mirror_has_it_for_the_same(tmp_path: Path) -> None:
    place = Place(FakeRegistry(lists_referrers=True), tmp_path)
    digest = place.put("amd64")
    own = parse_pullspec(own_names("amd64").own[0])
    reader = place.reader()
    assert reader.is_signed(own, digest)
    assert not reader.is_signed(own.at("another"), digest)
    assert not reader.is_signed(own, f"sha256:{'0' * 64}")
    copies = {("copies/drv", tag): content for (_, tag), content in place.server.manifests.items()}
    place.server.manifests |= copies
    mirror = parse_pullspec(f"mirror.test/copies/drv:{own.reference}")
    assert not reader.is_signed(mirror, digest)
    assert reader.is_signed(mirror, digest, name=own)


def test_where_images_are_not_signed_each_is_as_it_should_be(tmp_path: Path) -> None:
    place = Place(FakeRegistry(), tmp_path, is_signing=False)
    assert place.reader().is_signed(parse_pullspec(LIST), place.put("amd64", signer=None))


def test_signatures_that_cannot_be_read_are_not_absent(tmp_path: Path) -> None:
    place = Place(FakeRegistry(), tmp_path)
    digest = place.put("amd64")
    place.server.faults.append(lambda _: httpx.Response(503))
    with pytest.raises(SourceError, match="HTTP 503"):
        place.reader().is_signed(parse_pullspec(f"quay.test/{LIST_REPOSITORY}:x"), digest)


def _write(project_dir: Path, text: str) -> None:
    with (project_dir / "versions.yaml").open("a") as file:
        file.write(text)


def test_a_reader_believes_the_key_of_versions_yaml(project_dir: Path) -> None:
    with open_reader(open_project(project_dir)) as reader:
        assert list(reader.keys) == []
    _write(project_dir, "publish: {signer: {public_key: images.pub, key_file: ~/images.key}}\n")
    with pytest.raises(SignerError, match="images.pub cannot be read"), open_reader(open_project(project_dir)):
        pass
    (project_dir / "images.pub").write_text(LIST_SIGNER.key.pem)
    with open_reader(open_project(project_dir)) as reader:
        assert [key.fingerprint for key in reader.keys] == [LIST_SIGNER.key.fingerprint]


def test_a_file_of_pull_secrets_that_is_none_is_told(project_dir: Path) -> None:
    _write(project_dir, "registry: {auth_files: [secrets.json]}\n")
    (project_dir / "secrets.json").write_text("[]")
    with pytest.raises(UsageError, match=r"secrets.json"), open_reader(open_project(project_dir)):
        pass


def test_registry_settings_are_those_of_versions_yaml_where_there_is_one(project_dir: Path) -> None:
    _write(project_dir, "registry: {timeout: 7, plain_http: [a.test]}\n")
    settings = settings_for(open_project(project_dir), "quay.test", plain_http=False)
    assert (settings.timeout, settings.plain_http, settings.is_anonymous) == (7, ("a.test",), False)
    plain = settings_for(open_project(project_dir), "quay.test", plain_http=True)
    assert plain.plain_http == ("a.test", "quay.test")
    assert settings_for(open_project(project_dir / "src"), "quay.test", plain_http=False) == RegistrySettings()


def test_a_project_that_is_not_trusted_uses_no_secret(project_dir: Path) -> None:
    for folder in (project_dir, project_dir / "src"):  # with versions.yaml, and without
        untrusted = open_project(folder, project_dir.parent / "work").distrust()
        for plain_http in (False, True):
            assert settings_for(untrusted, "quay.test", plain_http=plain_http).is_anonymous
