"""Bundles: what goes in comes out, and files that somebody made by hand harm nobody."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from fakes.driver_indexes import INDEX_PLACE, INDEX_SIGNER, IndexSite
from fakes.published_image import NAME, REPOSITORY, SIGNER, PublishedImage, make_published_image
from fakes.registry import FakeRegistry, digest_of

from builder.errors import FormatError, UsageError
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST, make_descriptor, referrers_tag
from builder.publish.airgap import AirgapLoader, AirgapWriter, LoadStatus, check_target
from builder.publish.attachments import Artifact
from builder.publish.attest.listed import SIGNATURE_ANNOTATION
from builder.publish.attest.simple_signing import PAYLOAD_TYPE, signature_tag
from builder.publish.index_place import IndexReader
from builder.publish.verifier import Verifier
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from pathlib import Path

_NAME = parse_pullspec("quay.test/org/drv:1.0")


def _put_image(server: FakeRegistry, marker: bytes = b"x") -> str:
    layer = server.put_blob("org/drv", b"layer of " + marker)
    config = server.put_blob("org/drv", b'{"config": {}}')
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
    return server.put_manifest("org/drv", manifest, "1.0")


def _write(server: FakeRegistry, folder: Path, digest: str) -> Path:
    registry, _, attachments = server.open(folder / "cache")
    (folder / "blobs").mkdir(exist_ok=True)
    writer = AirgapWriter(registry, attachments, folder / "blobs")
    writer.add(_NAME, digest)
    writer.write(folder / "bundle.tar")
    return folder / "bundle.tar"


def _load(server: FakeRegistry, file: Path, folder: Path) -> list[Any]:
    _, uploader, attachments = server.open(folder / "target-cache")
    (folder / "unpacked").mkdir(exist_ok=True)
    return AirgapLoader(uploader, attachments, folder / "unpacked").load(file, "mirror.test/site")


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    source, target = FakeRegistry(), FakeRegistry()
    digest = _put_image(source)
    file = _write(source, tmp_path, digest)
    (loaded,) = _load(target, file, tmp_path)
    assert (loaded.name, loaded.digest, loaded.status) == ("mirror.test/site/org/drv:1.0", digest, LoadStatus.LOADED)
    assert target.manifests["site/org/drv", "1.0"] == source.manifests["org/drv", digest]
    assert {name for _, name in target.blobs} == {name for _, name in source.blobs}
    assert _load(target, file, tmp_path)[0].status is LoadStatus.THERE


def test_a_name_that_stands_for_something_else_is_left_alone(tmp_path: Path) -> None:
    source, target = FakeRegistry(), FakeRegistry()
    file = _write(source, tmp_path, _put_image(source))
    target.put_manifest("site/org/drv", {"mediaType": OCI_MANIFEST, "layers": [], "config": {}}, "1.0")
    before = target.manifests["site/org/drv", "1.0"]
    (loaded,) = _load(target, file, tmp_path)
    assert loaded.status is LoadStatus.CONFLICT
    assert "final tags are never moved" in loaded.why
    assert target.manifests["site/org/drv", "1.0"] == before


def test_the_name_comes_last(tmp_path: Path) -> None:
    source, target = FakeRegistry(), FakeRegistry()
    _load(target, _write(source, tmp_path, _put_image(source)), tmp_path)
    writes = [line for line in target.log if line.startswith("PUT")]
    assert writes[-1] == "PUT /v2/site/org/drv/manifests/1.0"


def _forge(file: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = (len(content), kind) if kind == tarfile.REGTYPE else (0, kind)
            archive.addfile(member, io.BytesIO(content))
    return file


def _index(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode()


def _entry(content: bytes, **annotations: str) -> dict[str, Any]:
    notes = {"io.kmodsmith.bundle.role": "image", "io.kmodsmith.bundle.of": f"quay.test/org/drv@{digest_of(content)}"}
    return {
        "mediaType": OCI_MANIFEST,
        "digest": digest_of(content),
        "size": len(content),
        "annotations": notes | annotations,
    }


_BLOB = b'{"layers": []}'
_ODD = b'{"layers": [], "config": "text"}'
_BLOB_NAME = f"blobs/sha256/{digest_of(_BLOB).removeprefix('sha256:')}"
_LACKS = json.dumps({"layers": [{"digest": f"sha256:{'9' * 64}", "size": 1}]}).encode()


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"../../etc/passwd": b"x"}, "belongs into no bundle"),
        ({"blobs/sha256/../x": b"x"}, "belongs into no bundle"),
        ({f"blobs/sha256/{'0' * 64}": b"x"}, "is damaged: blob 000"),
        ({"oci-layout": b"{}"}, "it has no index.json"),
        ({"index.json": b"not json"}, "it is no list of manifests"),
        ({"index.json": _index({"digest": "../x", "size": 1})}, "it is no list of manifests"),
        ({"index.json": _index(_entry(b"[]")), f"blobs/sha256/{digest_of(b'[]')[7:]}": b"[]"}, "it is no manifest of an artefact"),
        ({"index.json": _index(_entry(_ODD)), f"blobs/sha256/{digest_of(_ODD)[7:]}": _ODD}, "it is no manifest of an artefact: config"),
        ({"index.json": _index(_entry(_BLOB))}, "does not have blob"),
        ({"index.json": _index(_entry(_BLOB, **{"io.kmodsmith.bundle.role": "x"}))}, "was not written by 'bundle'"),
        ({"index.json": _index(_entry(_BLOB, **{"io.kmodsmith.bundle.of": "x"})), _BLOB_NAME: _BLOB}, "is not a full image name"),
        (
            {"index.json": _index(_entry(_LACKS)), f"blobs/sha256/{digest_of(_LACKS)[7:]}": _LACKS},
            "does not have blob",
        ),
    ],
)  # fmt: skip
def test_forged_files_are_refused(tmp_path: Path, members: dict[str, bytes], sentence: str) -> None:
    server = FakeRegistry()
    with pytest.raises(FormatError, match=sentence):
        _load(server, _forge(tmp_path / "bundle.tar", members), tmp_path)
    assert not [line for line in server.log if line.startswith("PUT") and "manifests" in line]
    assert [
        file.name for file in tmp_path.iterdir() if file.name not in {"bundle.tar", "target-cache", "unpacked"}
    ] == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_only_plain_files_are_taken(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(FormatError, match="belongs into no bundle"):
        _load(FakeRegistry(), _forge(tmp_path / "bundle.tar", {_BLOB_NAME: b""}, kind), tmp_path)


def test_a_file_that_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(b"rubbish" * 1000)
    with pytest.raises(FormatError, match="is no bundle"):
        _load(FakeRegistry(), tmp_path / "bundle.tar", tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    server = FakeRegistry()
    registry, _, attachments = server.open(tmp_path / "cache")
    writer = AirgapWriter(registry, attachments, tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        writer.write(tmp_path / "file" / "bundle.tar")


@pytest.mark.parametrize("target", ["", "no registry", "host/UPPER", "host:x"])
def test_a_target_must_be_a_registry(target: str) -> None:
    with pytest.raises(UsageError, match="is no registry"):
        check_target(target)


def test_what_strangers_attached_and_nobody_has_is_left_out(
    image: PublishedImage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image.sign()
    server, digest = image.server, image.facts.digest
    gone = {
        "mediaType": PAYLOAD_TYPE,
        "digest": f"sha256:{'9' * 64}",
        "size": 5,
        "annotations": {SIGNATURE_ANNOTATION: "eA=="},
    }
    huge = {**gone, "digest": f"sha256:{'8' * 64}", "size": 10**15}
    there = json.loads(server.manifests[REPOSITORY, signature_tag(digest)])["layers"]
    server.put_manifest(REPOSITORY, {"mediaType": OCI_MANIFEST, "layers": [gone, huge, *there]}, signature_tag(digest))
    subject = make_descriptor(OCI_MANIFEST, digest, len(image.manifest))
    image.attachments.add(
        image.image, subject, [Artifact(kind="application/x", content=b"lost", annotations={"a": "b"})]
    )
    del server.blobs[REPOSITORY, digest_of(b"lost")]
    registry, _, attachments = server.open(tmp_path / "bundle-cache")
    (tmp_path / "blobs").mkdir()
    writer = AirgapWriter(registry, attachments, tmp_path / "blobs")
    writer.add(NAME, digest)
    writer.write(tmp_path / "bundle.tar")
    assert sum("left out" in line for line in caplog.messages) == 3
    target = FakeRegistry(lists_referrers=server.lists_referrers)
    (loaded,) = _load(target, tmp_path / "bundle.tar", tmp_path)
    assert loaded.status is LoadStatus.LOADED
    registry, _, attachments = target.open(tmp_path / "verify-cache")
    name = parse_pullspec(loaded.name)
    verifier = Verifier(registry, attachments, [SIGNER.key], signed_as=f"quay.test/{REPOSITORY}")
    assert verifier.verify(name).passed
    assert len(attachments.signatures(name.at(digest))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": OCI_INDEX, "manifests": []},
        {"annotations": {"a": 5}},
        {"subject": {"mediaType": OCI_MANIFEST, "digest": f"sha256:{'9' * 64}", "size": 5}},
        {"subject": 5},
    ],
)
def test_what_no_load_could_bring_is_left_out_of_the_bundle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    """What a stranger attached and is no artefact must not stop the load on the other side of the gap."""
    image = make_published_image(FakeRegistry(), tmp_path)
    image.sign()
    server, digest = image.server, image.facts.digest
    theirs: dict[str, Any] = {"subject": make_descriptor(OCI_MANIFEST, digest, len(image.manifest)), "annotations": {}}
    if "manifests" not in change:
        theirs |= {"config": server.put_blob(REPOSITORY, b"{}"), "layers": [server.put_blob(REPOSITORY, b"theirs")]}
    attached = server.put_manifest(REPOSITORY, theirs | change)
    place = REPOSITORY, referrers_tag(digest)
    listed = json.loads(server.manifests[place])["manifests"]
    entry = make_descriptor(OCI_MANIFEST, attached, 5)
    server.manifests[place] = json.dumps({"manifests": [entry, *listed]}).encode()
    registry, _, attachments = server.open(tmp_path / "bundle-cache")
    (tmp_path / "blobs").mkdir()
    writer = AirgapWriter(registry, attachments, tmp_path / "blobs")
    writer.add(NAME, digest)
    writer.write(tmp_path / "bundle.tar")
    (loaded,) = _load(FakeRegistry(), tmp_path / "bundle.tar", tmp_path)
    assert loaded.status is LoadStatus.LOADED
    (told,) = [line for line in caplog.messages if "left out" in line]
    assert f"{attached} refers to it, and is left out: " in told


def _write_index(site: IndexSite, folder: Path) -> Path:
    """Write a bundle with the index that is there now."""
    registry, uploader, attachments = site.server.open(folder / f"cache-{site.calls}")
    (folder / "blobs").mkdir(exist_ok=True)
    writer = AirgapWriter(registry, attachments, folder / "blobs")
    item = IndexReader(registry, uploader.tags, [INDEX_SIGNER.key], "drv").read(INDEX_PLACE)
    assert item is not None
    writer.add_index(INDEX_PLACE, item)
    file = folder / f"bundle-{site.calls}.tar"
    writer.write(file)
    return file


def test_an_index_goes_along_and_moves_forward_only(tmp_path: Path) -> None:
    site, target = IndexSite(FakeRegistry(), tmp_path), FakeRegistry()
    site.write("k1")
    old = _write_index(site, tmp_path)
    site.later(hours=1)
    site.write("k2")
    new = _write_index(site, tmp_path)
    names = {item.name.rpartition(":")[2]: item.status for item in _load(target, old, tmp_path)}
    assert names == {"index": LoadStatus.LOADED, "index-20261127T120000Z": LoadStatus.LOADED}
    assert {item.status for item in _load(target, new, tmp_path)} == {LoadStatus.LOADED}
    newest = site.server.manifests["org/drv", "index"]
    assert target.manifests["site/org/drv", "index"] == newest
    assert {item.status for item in _load(target, new, tmp_path)} == {LoadStatus.THERE}
    again = {item.name.rpartition(":")[2]: item for item in _load(target, old, tmp_path)}
    assert again["index"].status is LoadStatus.THERE
    assert "which is newer than that of the bundle" in again["index"].why
    assert target.manifests["site/org/drv", "index"] == newest
    assert {tag for _, tag in target.manifests if "index" in tag} == {
        "index", "index-20261127T120000Z", "index-20261127T130000Z"
    }  # fmt: skip


def test_an_index_does_not_take_the_place_of_something_else(tmp_path: Path) -> None:
    site, target = IndexSite(FakeRegistry(), tmp_path), FakeRegistry()
    site.write("k1")
    target.put_manifest("site/org/drv", {"mediaType": OCI_MANIFEST, "layers": [], "config": {}}, "index")
    before = target.manifests["site/org/drv", "index"]
    found = {item.name.rpartition(":")[2]: item for item in _load(target, _write_index(site, tmp_path), tmp_path)}
    assert (found["index"].status, "is no index" in found["index"].why) == (LoadStatus.CONFLICT, True)
    assert target.manifests["site/org/drv", "index"] == before
