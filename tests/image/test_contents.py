"""The files of an image as its layers give them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from fakes.samples import (
    GOOD_ENTRIES,
    read_raw_image,
    read_sample_image,
    tar_member,
    write_raw_layer,
    write_sample_image,
)

from builder.errors import FormatError
from builder.image import contents as image_files
from builder.image.contents import LayerCache, is_shared_object, read_oci_layout
from builder.image.layout import LayerBlob, LayerEntry, write_image

if TYPE_CHECKING:
    from pathlib import Path


def test_whiteouts_and_links(tmp_path: Path) -> None:
    low = [
        *GOOD_ENTRIES,
        LayerEntry(path="a/b/c", content=b"1"),
        LayerEntry(path="a/d", content=b"1"),
        LayerEntry(path="loop", link="loop"),
    ]
    high = [
        LayerEntry(path="a/.wh..wh..opq", content=b""),
        LayerEntry(path="a/e", content=b"2"),
        LayerEntry(path="up", link="../../usr"),
    ]
    image = read_sample_image(tmp_path, [low, high])
    assert [image.find(path) is None for path in ("a/b/c", "a/d", "a/e", "loop", "loop/x")] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert image.find("up/bin/sh") == image.find("bin/sh") == image.find("usr/bin/busybox")


@pytest.mark.parametrize("what", ["index", "layer", "config", "outside"])
def test_damaged_images_are_refused(what: str, tmp_path: Path) -> None:
    layers = [GOOD_ENTRIES] if what != "outside" else [[LayerEntry(path="../../etc/passwd", content=b"x")]]
    layout = write_sample_image(tmp_path, layers)
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
    parts = json.loads((layout / "blobs/sha256" / manifest).read_text())
    blobs = {"layer": parts["layers"][0]["digest"], "config": parts["config"]["digest"]}
    if what == "index":
        (layout / "index.json").write_text("{}")
    elif what in blobs:
        blob = layout / "blobs/sha256" / blobs[what].removeprefix("sha256:")
        blob.write_bytes(blob.read_bytes()[:-600] + b"\1" * 600)
    words = {
        "index": "exactly one image",
        "layer": "another digest",
        "config": "another digest",
        "outside": "points out of the image",
    }
    with pytest.raises(FormatError, match=words[what]):
        read_oci_layout(layout, "test", LayerCache())


def test_a_header_that_is_damaged_does_not_end_a_layer(tmp_path: Path) -> None:
    """Python's tarfile takes a damaged header for the end, and every engine for an error."""
    layer = write_raw_layer(tmp_path / "good.tar", [tar_member(("file", "a", "1")), tar_member(("file", "b", "2"))])
    content = bytearray(layer.file.read_bytes())
    content[1024] ^= 1
    file = tmp_path / "bad.tar"
    file.write_bytes(content)
    bad = LayerBlob(file=file, digest=hashlib.sha256(content).hexdigest(), size=len(content))
    write_image(tmp_path / "oci", [bad], arch="amd64", environment={}, labels={})
    with pytest.raises(FormatError, match="cannot be read"):
        read_oci_layout(tmp_path / "oci", "test", LayerCache())


def test_more_layers_than_can_be_mounted_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_MOST_LAYERS", 2)
    with pytest.raises(FormatError, match="3 layers"):
        read_raw_image(tmp_path, [("file", "a")], [("file", "b")], [("file", "c")])


def test_names_for_all_files_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "b"}) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    content = (tmp_path / "a.tar").read_bytes()
    layer = LayerBlob(file=tmp_path / "a.tar", digest=hashlib.sha256(content).hexdigest(), size=len(content))
    write_image(tmp_path / "oci", [layer], arch="amd64", environment={}, labels={})
    with pytest.raises(FormatError, match="sets path for all files"):
        read_oci_layout(tmp_path / "oci", "test", LayerCache())


def test_of_programs_and_shared_objects_the_beginning_is_kept(tmp_path: Path) -> None:
    """What a distribution installs as shared objects is not executable."""
    image = read_sample_image(
        tmp_path,
        [
            [
                LayerEntry(path="bin/program", content=b"12", mode=0o755),
                *(LayerEntry(path=path, content=b"12") for path in ("lib/a.so", "lib/b.so.1.2", "lib/c.sox", "so/d")),
            ]
        ],
    )
    heads = {path: file.head for path, file in image.files.items() if file.is_file}
    assert heads == {"bin/program": b"12", "lib/a.so": b"12", "lib/b.so.1.2": b"12", "lib/c.sox": b"", "so/d": b""}
    assert [is_shared_object(path) for path in heads] == [False, True, True, False, False]
