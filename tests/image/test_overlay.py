"""What a container sees of layers that lie over each other, and what no two engines would see alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.samples import read_raw_image

from builder.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.samples import Row


_OPAQUE = ("file", ".wh..wh..opq")


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
    image = read_raw_image(tmp_path, *layers)
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
    image = read_raw_image(tmp_path, [*rows, ("file", "y/a.ko", "22"), ("hard", "m", "l")])
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
    assert {item.path for item in read_raw_image(tmp_path, *layers).ambiguities} == {path}


def test_a_few_are_enough(tmp_path: Path) -> None:
    assert len(read_raw_image(tmp_path, [("device", str(number)) for number in range(100)]).ambiguities) == 20


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
        read_raw_image(tmp_path, rows)
