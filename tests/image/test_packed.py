from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.samples import GOOD_ENTRIES, write_sample_image

from builder.errors import FormatError
from builder.image.contents import LayerCache, read_exported
from builder.image.layout import LayerEntry
from builder.image.packed import Packing, pack_image, pack_layer
from builder.image.packed_layer import PackedLayer

if TYPE_CHECKING:
    from pathlib import Path

_OCI = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An image of two layers as buildah exports it."""
    layout = write_sample_image(tmp_path / "layout", [GOOD_ENTRIES, [LayerEntry(path="top", content=b"x" * 5000)]], {})
    folder = (layout / "blobs" / "sha256").rename(tmp_path / "image")
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
    (folder / digest).rename(folder / "manifest.json")
    return folder


def _manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 1000, b"\0" * (17 * 1024**2)])
def test_what_is_packed_is_what_was_there(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "layer"
    file.write_bytes(content)
    pieces = list(pack_layer(file))
    assert gzip.decompress(b"".join(pieces)) == content
    assert len(pieces) == (2 if len(content) > 16 * 1024**2 else 1)


def test_the_bytes_stay_what_they_were(tmp_path: Path) -> None:
    """Another version of the library, level or size of pieces gives all images other digests."""
    file = tmp_path / "layer"
    file.write_bytes(b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(2000)))
    assert (
        _digest(b"".join(pack_layer(file))) == "sha256:09cf022b76aa016a2c918188bf6d070a7a43a980c911172ce081432494287e04"
    )


def test_layers_are_packed_and_the_rest_stays(exported: Path) -> None:
    before = _manifest(exported)
    packed = pack_image(exported, Packing())
    after = json.loads(packed.manifest)
    assert {name: after[name] for name in after if name != "layers"} == {
        name: before[name] for name in before if name != "layers"
    }
    assert {layer["mediaType"] for layer in after["layers"]} == {f"{_OCI}+gzip"}
    assert packed.digest == _digest(packed.manifest)
    assert packed.blobs == (before["config"]["digest"], *packed.own)
    for layer, plain in zip(after["layers"], before["layers"], strict=True):
        content = b"".join(pack_layer(packed.own[layer["digest"]]))
        assert (_digest(content), len(content)) == (layer["digest"], layer["size"])
        assert _digest(gzip.decompress(content)) == plain["digest"]


def test_what_was_packed_is_read_as_what_it_was(exported: Path) -> None:
    plain = read_exported(exported, "image", LayerCache())
    packed = pack_image(exported, Packing())
    for digest, file in packed.own.items():
        (exported / digest.removeprefix("sha256:")).write_bytes(b"".join(pack_layer(file)))
    (exported / "manifest.json").write_bytes(packed.manifest)
    found = read_exported(exported, "image", LayerCache())
    assert (found.digest, found.files) == (packed.digest, plain.files)


def test_layers_of_a_base_stay_as_its_registry_has_them(exported: Path) -> None:
    first, second = (layer["digest"] for layer in _manifest(exported)["layers"])
    kept = PackedLayer(digest=f"sha256:{'b' * 64}", size=3, packing="zstd")
    packed = pack_image(exported, Packing(kept={first: kept}))
    after = json.loads(packed.manifest)["layers"]
    assert after[0] == {"mediaType": f"{_OCI}+zstd", "digest": kept.digest, "size": 3}
    assert packed.kept == {kept.digest: 3}
    assert [file.name for file in packed.own.values()] == [second.removeprefix("sha256:")]


def test_a_layer_is_packed_once_for_all_images(exported: Path) -> None:
    packing = Packing()
    whole = pack_image(exported, packing)
    for layer in _manifest(exported)["layers"]:
        (exported / layer["digest"].removeprefix("sha256:")).unlink()
    assert pack_image(exported, packing.keeping({})).manifest == whole.manifest
    with pytest.raises(FormatError, match="No such file"):
        pack_image(exported, Packing())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.pop("config"), "config"),
        (lambda data: data.update(layers=3), "not iterable"),
        (lambda data: data["layers"].append("x"), "indices"),
        (lambda data: data["layers"][0].pop("digest"), "digest"),
        (lambda data: data["layers"][0].update(mediaType=f"{_OCI}+gzip"), "a plain one was expected"),
        (lambda data: data["layers"][0].update(digest="sha256:../../etc/passwd"), "is named"),
        (lambda data: data["layers"][0].update(digest=f"sha256:{'0' * 64}"), "No such file"),
    ],
)
def test_what_is_no_image_is_refused(exported: Path, change: Any, words: str) -> None:
    data = _manifest(exported)
    change(data)
    (exported / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(FormatError, match=words):
        pack_image(exported, Packing())
