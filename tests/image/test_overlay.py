"""What a container sees of layers that lie over each other, and what no two engines would see alike."""

from __future__ import annotations

import hashlib
import tarfile
from typing import TYPE_CHECKING

import pytest
from fakes.samples import tar_member, write_raw_layer

from builder.errors import FormatError
from builder.image import contents as image_files
from builder.image.contents import LayerCache, read_oci_layout
from builder.image.layout import LayerBlob, write_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fakes.samples import Row

    from builder.image.contents import ImageContents

_OPAQUE = ("file", ".wh..wh..opq")


def _image(folder: Path, *layers: Sequence[Row]) -> ImageContents:
    written = [write_raw_layer(folder / f"{n}.tar", [tar_member(row) for row in rows]) for n, rows in enumerate(layers)]
    write_image(folder / "oci", written, arch="amd64", environment={}, labels={})
    return read_oci_layout(folder / "oci", "test", LayerCache())


@pytest.mark.parametrize(
    ("layers", "seen"),
    [
        ([[("file", "a/b")], [("link", "a", "c")]], {"a"}),
        ([[("file", "a/b")], [("file", "a")]], {"a"}),
        ([[("file", "a/b")], [("file", "a")], [("folder", "a"), ("file", "a/c")]], {"a", "a/c"}),
        ([[("link", "a", "x"), ("file", "x/y")], [("folder", "a"), ("file", "a/c")]], {"a", "a/c", "x/y"}),
        ([[("file", "a")], [("folder", "a")]], {"a"}),
        ([[("file", "a/b"), ("file", "a/c")], [("file", "a/.wh.b"), ("file", "a/d")]], {"a/c", "a/d"}),
        ([[("file", "a/b")], [("file", "a/.wh..wh..opq"), ("file", "a/c")]], {"a/c"}),
        ([[("file", "a/b")], [("file", "a/c"), ("file", "a/.wh..wh..opq")]], {"a/c"}),
        ([[("file", "a/b")], [("file", ".wh.a"), ("file", "a/.wh.b"), ("file", "a/c/.wh.d")]], set()),
        ([[("file", "a")], [("file", ".wh.a"), ("file", "a")]], {"a"}),
        ([[("file", "a/b"), ("file", "a")]], {"a"}),
        ([[("folder", "x"), ("link", "a", "x"), ("file", "a/b")]], {"x", "a", "x/b"}),
        ([[("folder", "x/y"), ("link", "x/a", "/x/y"), ("file", "x/a/b/c")]], {"x/y", "x/a", "x/y/b/c"}),
        ([[("folder", "x"), ("link", "a", "../../x"), ("hard", "b", "a")], [("link", "c", "b")]], {"x", "a", "b", "c"}),
    ],
)  # fmt: skip
def test_layers_lie_over_each_other_as_overlayfs_puts_them(
    layers: list[list[Row]], seen: set[str], tmp_path: Path
) -> None:
    image = _image(tmp_path, *layers)
    assert set(image.files) == seen
    assert image.ambiguities == ()


def test_a_hard_link_is_what_it_links_to(tmp_path: Path) -> None:
    rows = [
        ("folder", "x"),
        ("link", "y", "x"),
        ("file", "x/a.ko", "1"),
        ("hard", "b.ko", "/y/a.ko"),
        ("link", "l", "a.ko"),
    ]
    image = _image(tmp_path, [*rows, ("file", "y/a.ko", "22"), ("hard", "m", "l")])
    assert [image.files[name].content for name in ("x/a.ko", "b.ko")] == [b"22", b"1"]
    assert image.files["m"].link == "a.ko"


@pytest.mark.parametrize(
    ("layers", "path"),
    [
        ([[("link", "a", "b"), ("folder", "b")], [("file", "a/c")]], "a"),
        ([[("file", "a")], [("file", "a/b")]], "a"),
        ([[("file", "a")], [("file", "a/.wh.b")]], "a"),
        ([[("file", "a/b")], [("file", ".wh.a"), ("folder", "a")]], "a"),
        ([[("file", "a"), ("file", ".wh.a")]], "a"),
        ([[("file", "a")], [_OPAQUE]], "/"),
        ([[("device", "a")]], "a"),
        ([[("xattr", "a", "trusted.overlay.opaque")]], "a"),
        ([[("xattr", "a", "user.overlay.redirect")]], "a"),
    ],
)  # fmt: skip
def test_what_depends_on_the_engine_is_told(layers: list[list[Row]], path: str, tmp_path: Path) -> None:
    assert {item.path for item in _image(tmp_path, *layers).ambiguities} == {path}


def test_a_few_are_enough(tmp_path: Path) -> None:
    assert len(_image(tmp_path, [("device", str(number)) for number in range(100)]).ambiguities) == 20


@pytest.mark.parametrize(
    "rows",
    [
        [("file", "a"), ("file", "a/b")],
        [("file", "a"), ("file", "./a")],
        [("folder", "a"), ("folder", "a/")],
        [("file", "x/y/z"), ("folder", "a"), ("link", "b", "."), ("file", "b/a")],
        [("link", "a", "b"), ("file", "a/c")],
        [("link", "a", "a"), ("file", "a/c")],
        [("hard", "a", "b")],
        [("folder", "a"), ("hard", "b", "a")],
        [("file", "a/.wh...")],
        [("file", "a/" * 300 + "b")],
        [("file", "n" * 256)],
        [("link", "a", "/" * 5000)],
        # Each link doubles the way; a walk that followed them all would never end.
        [("folder", "l0"), *(("link", f"l{n}", f"l{n - 1}/../l{n - 1}") for n in range(1, 40)), ("file", "l39/x")],
    ],
)  # fmt: skip
def test_what_no_engine_unpacks_is_an_error(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        _image(tmp_path, rows)


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
        _image(tmp_path, [("file", "a")], [("file", "b")], [("file", "c")])


def test_names_for_all_files_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "b"}) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    content = (tmp_path / "a.tar").read_bytes()
    layer = LayerBlob(file=tmp_path / "a.tar", digest=hashlib.sha256(content).hexdigest(), size=len(content))
    write_image(tmp_path / "oci", [layer], arch="amd64", environment={}, labels={})
    with pytest.raises(FormatError, match="sets path for all files"):
        read_oci_layout(tmp_path / "oci", "test", LayerCache())
