"""The folder that an image is written into: an OCI layout, and at the same time what the proof reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.samples import read_sample_image

from builder.build.write_image import name_folder, write_image
from builder.digest import sha256_of
from builder.errors import FormatError
from builder.image.contents import LayerCache, read_exported, read_oci_layout
from builder.image.layout import LayerEntry
from builder.store.last_stage import StoredBase, Wanted
from builder.store.result import File, make_result

if TYPE_CHECKING:
    from pathlib import Path

_ARGUMENTS = (
    "KERNEL_VERSION", "KERNEL_FULL_VERSION", "DRIVER_NAME", "DRIVER_VERSION", "VENDOR", "SUMMARY", "DESCRIPTION",
    "MAINTAINER",
)  # fmt: skip
_WANTED = Wanted(arguments=dict.fromkeys(_ARGUMENTS, "x"), labels={"io.kmodsmith.signed": "no"}, arch="amd64")
_RESULT = make_result({"opt/file": File(b"content")}.items())


def _make_base(folder: Path, cache: LayerCache) -> StoredBase:
    """Make a base whose layer is nowhere but in a cache."""
    below = read_sample_image(folder, [[LayerEntry(path="bin"), LayerEntry(path="bin/sh", content=b"sh")]])
    (layer,) = below.layers
    cache.put(layer, is_shared=True)
    return StoredBase(
        name="localhost/base:1", digest=f"sha256:{'3' * 64}", manifest={}, config=below.config,
        layers=[(layer.digest, 10240)], odd=frozenset(),
    )  # fmt: skip


def test_a_folder_is_called_as_leftovers_of_killed_runs_are() -> None:
    name = name_folder("a" * 64, "20261127T192343Z-1-b852")
    assert name == f"kmodsmith-import-{'a' * 64}-20261127t192343z-1-b852"


def test_what_is_proven_is_what_is_brought_in(tmp_path: Path) -> None:
    cache = LayerCache()
    base = _make_base(tmp_path, cache)
    written = write_image(tmp_path / "image", _RESULT, base, _WANTED)
    proven = read_exported(written.blobs, "test", cache)
    assert proven == read_oci_layout(written.folder, "test", cache)
    assert {path for path, file in proven.files.items() if file.is_file} == {"bin/sh", "opt/file"}
    assert proven.digest == sha256_of((written.blobs / "manifest.json").read_bytes())
    assert sha256_of((written.blobs / written.id).read_bytes()) == f"sha256:{written.id}"
    assert json.loads((written.folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}


def test_a_layer_that_changes_on_the_disk_is_no_longer_proven(tmp_path: Path) -> None:
    cache = LayerCache()
    written = write_image(tmp_path / "image", _RESULT, _make_base(tmp_path, cache), _WANTED)
    (layer,) = (file for file in written.blobs.iterdir() if b"opt/file" in file.read_bytes())
    layer.write_bytes(layer.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(FormatError, match="is damaged"):
        read_exported(written.blobs, "test", cache)


def test_an_image_is_not_written_over_another(tmp_path: Path) -> None:
    base = _make_base(tmp_path, LayerCache())
    write_image(tmp_path / "image", _RESULT, base, _WANTED)
    with pytest.raises(FileExistsError):
        write_image(tmp_path / "image", _RESULT, base, _WANTED)
