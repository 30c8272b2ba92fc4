from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from fakes.bundle import bundle_files
from fakes.registry import FakeRegistry, pretend_registry
from fakes.rpm import rpm_database
from fakes.samples import GOOD_ENTRIES, LABELS, write_sample_image

from builder.certify import subjects
from builder.certify.bundle_files import MEDIATYPE_LABEL
from builder.certify.policies import CheckState, Policy, PolicyCheck
from builder.certify.subjects import Certified, certify_named
from builder.errors import DamagedError, FormatError, SourceError, SourceGoneError
from builder.image.layout import LayerEntry
from builder.plan.project import open_project
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

_REPOSITORY = "mycompany/demo"
_NAME = f"docker://quay.test/{_REPOSITORY}:1.0"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    found = FakeRegistry()

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        return RegistryAccess(pretend_registry(found, cache_dir / "registry"), Credentials(), frozenset())

    monkeypatch.setattr(subjects, "open_registries", open_pretended)
    return found


def _layer(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


_BASE = _layer({"etc/os-release": b"", "var/lib/rpm/rpmdb.sqlite": rpm_database("bash")})


def _put(
    server: FakeRegistry, *tags: str, labels: dict[str, str] = LABELS, files: dict[str, bytes] | None = None
) -> str:
    layers = [_BASE, _layer(files or {"licenses/GPL": b"GPL", "x": b",".join(tag.encode() for tag in tags)})]
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": labels, "User": "1001"}}
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": server.put_blob(_REPOSITORY, json.dumps(config).encode()),
        "layers": [server.put_blob(_REPOSITORY, layer) for layer in layers],
    }  # fmt: skip
    return server.put_manifest(_REPOSITORY, manifest, *tags)


def _certify(tmp_path: Path, *names: str, **options: Any) -> Certified:
    project = open_project(tmp_path, tmp_path / "work")
    given: dict[str, Any] = {"bundles": [], "policy": None, "plain_http": False, **options}
    return certify_named(project, names, given.pop("bundles"), **given)


def _states(certified: Certified, number: int = 0) -> dict[PolicyCheck, CheckState]:
    return {item.check: item.state for item in certified.certifications[number].checks}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_image_of_a_registry_by_tag_and_by_digest(server: FakeRegistry, tmp_path: Path) -> None:
    digest = _put(server, "1.0")
    found = _certify(tmp_path, _NAME, f"docker://quay.test/{_REPOSITORY}@{digest}")
    assert [item.digest for item in found.certifications] == [digest, digest]
    assert [item.policy for item in found.certifications] == [Policy.CONTAINER] * 2
    assert [item.tags for item in found.certifications] == [[_NAME.removeprefix("docker://")], []]
    for number in (0, 1):
        states = _states(found, number)
        assert {check for check, state in states.items() if state is not CheckState.PASSED} == {
            PolicyCheck.BASED_ON_UBI
        }


def test_a_name_by_digest_asks_for_the_tags(server: FakeRegistry, tmp_path: Path) -> None:
    digest = _put(server, "latest")
    found = _states(_certify(tmp_path, f"docker://quay.test/{_REPOSITORY}@{digest}"))
    assert found[PolicyCheck.HAS_UNIQUE_TAG] is CheckState.FAILED
    assert (
        _states(_certify(tmp_path, f"docker://quay.test/{_REPOSITORY}:latest"))[PolicyCheck.HAS_UNIQUE_TAG]
        is CheckState.FAILED
    )


def test_layers_that_images_share_are_fetched_once(server: FakeRegistry, tmp_path: Path) -> None:
    _put(server, "1.0")
    _put(server, "2.0")
    _certify(tmp_path, _NAME, f"docker://quay.test/{_REPOSITORY}:2.0")
    base = f"sha256:{hashlib.sha256(_BASE).hexdigest()}"
    assert server.log.count(f"GET /v2/{_REPOSITORY}/blobs/{base}") == 1


def test_of_a_list_each_image_is_judged(server: FakeRegistry, tmp_path: Path) -> None:
    members = [_put(server, tag) for tag in ("a", "b")]
    entries = [
        {"digest": digest, "size": 1, "platform": {"os": "linux", "architecture": arch}}
        for digest, arch in zip(members, ("amd64", "arm64"), strict=True)
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    server.put_manifest(_REPOSITORY, {"schemaVersion": 2, "mediaType": kind, "manifests": entries}, "1.0")
    assert [item.digest for item in _certify(tmp_path, _NAME).certifications] == members
    server.put_manifest(_REPOSITORY, {"schemaVersion": 2, "mediaType": kind, "manifests": []}, "1.0")
    with pytest.raises(FormatError, match="names no platform"):
        _certify(tmp_path, _NAME)


def test_an_image_of_a_bundle_is_judged_as_one(server: FakeRegistry, tmp_path: Path) -> None:
    _put(server, "1.0", labels={MEDIATYPE_LABEL: "registry+v1"}, files=bundle_files())
    assert _certify(tmp_path, _NAME).certifications[0].policy is Policy.OPERATOR
    assert _certify(tmp_path, _NAME, policy=Policy.ROOT).certifications[0].policy is Policy.ROOT


def test_what_a_registry_does_not_give_is_no_verdict(server: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(SourceGoneError):
        _certify(tmp_path, _NAME)
    _put(server, "1.0")
    base = f"sha256:{hashlib.sha256(_BASE).hexdigest()}"
    server.blobs[_REPOSITORY, base] = b"x" * len(_BASE)
    with pytest.raises(DamagedError, match="damaged"):
        _certify(tmp_path, _NAME)
    del server.blobs[_REPOSITORY, base]
    with pytest.raises(SourceError):
        _certify(tmp_path, _NAME)


def test_a_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a full image name"):
        _certify(tmp_path, "docker://demo")


def test_a_layout_and_a_bundle_in_a_folder(tmp_path: Path) -> None:
    layout = write_sample_image(tmp_path / "image", [[*GOOD_ENTRIES, LayerEntry(path="etc/os-release", content=b"")]])
    for name, content in bundle_files().items():
        (tmp_path / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bundle" / name).write_bytes(content)
    found = _certify(tmp_path, f"oci:{layout}", bundles=[tmp_path / "bundle"])
    assert [item.policy for item in found.certifications] == [Policy.SCRATCH_ROOT, Policy.OPERATOR]
    assert _states(found)[PolicyCheck.CONTAINER_NAME] is CheckState.NOT_JUDGED
