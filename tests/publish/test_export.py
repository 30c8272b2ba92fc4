"""An image out of the container store, with a buildah that gives what a test made."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from fakes.samples import GOOD_ENTRIES, write_sample_image

from builder.digest import sha256_of
from builder.errors import FormatError, UsageError
from builder.image.manifests import OCI_MANIFEST
from builder.image.packed import Packing, pack_image
from builder.publish.export import export_stored, media_type_of

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


@pytest.fixture
def stored(tmp_path: Path, fake_tools: FakeTools) -> Path:
    """The image that buildah exports."""
    layout = write_sample_image(tmp_path / "sample", [GOOD_ENTRIES], {})
    folder = layout / "blobs" / "sha256"
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
    (folder / digest).rename(folder / "manifest.json")
    fake_tools.add("buildah", f'for last; do :; done; cp -r "{folder}" "${{last#dir:}}"')
    return folder


def test_an_image_is_exported_as_it_was_proven_and_each_blob_is_what_its_digest_says(
    stored: Path, tmp_path: Path, fake_tools: FakeTools
) -> None:
    found = export_stored("localhost/a:b", tmp_path / "out", Packing())
    assert found.packed.manifest == pack_image(stored, Packing()).manifest
    for blob in found.packed.blobs:
        assert sha256_of(found.file(blob).read_bytes()) == blob
    (layer,) = found.packed.own
    plain = sha256_of(gzip.decompress(found.file(layer).read_bytes()))
    assert plain in (stored / "manifest.json").read_text()
    (call,) = fake_tools.calls("buildah")
    assert (call[-2], "--disable-compression" in call) == ("localhost/a:b", True), "packed by buildah, nobody knows how"


def test_what_is_no_image_is_told(stored: Path, tmp_path: Path) -> None:
    (stored / "manifest.json").write_text("[]")
    with pytest.raises(FormatError, match="what buildah exported has no manifest"):
        export_stored("localhost/a:b", tmp_path / "out", Packing())


def test_a_folder_that_stays_empty_is_told(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("buildah")
    with pytest.raises(FormatError, match="what buildah exported has no manifest"):
        export_stored("localhost/a:b", tmp_path / "out", Packing())


def test_an_image_that_the_store_does_not_have(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("buildah", 'echo "Error: localhost/a:b: image not known" >&2; exit 125')
    with pytest.raises(UsageError, match="the container store has no image localhost/a:b"):
        export_stored("localhost/a:b", tmp_path / "out", Packing())


@pytest.mark.parametrize(
    ("manifest", "media_type"),
    [(b'{"mediaType": "application/x"}', "application/x"), (b"{}", OCI_MANIFEST), (b'{"mediaType": ""}', OCI_MANIFEST)],
)
def test_a_manifest_that_does_not_say_what_it_is_is_one_of_oci(manifest: bytes, media_type: str) -> None:
    assert media_type_of(manifest) == media_type
