"""A source is looked at, never followed, run or read without an end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fakes.samples import Sample

from builder.errors import UsageError
from builder.init.look import look_at

if TYPE_CHECKING:
    from pathlib import Path


def test_what_tells_something_is_read(tmp_path: Path) -> None:
    for name in ("a.c", "b.h", "Kbuild", "sub/Makefile", "VERSION", "notes.txt", ".git/config", "dkms.conf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "demo.ko").write_bytes(Sample(modinfo=["license=GPL", "version=7"]).write())
    found = look_at(tmp_path)
    assert found.names == ("Kbuild", "VERSION", "a.c", "b.h", "demo.ko", "dkms.conf", "notes.txt", "sub/Makefile")
    assert set(found.makefiles) == {"Kbuild", "sub/Makefile"}
    assert set(found.c_files) == {"a.c", "b.h"}
    assert set(found.words) == {"VERSION", "dkms.conf"}
    assert found.built["demo"]["version"] == ("7",)
    assert found.passed_over == ()


def test_what_is_strange_is_passed_over_and_told(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    secret = tmp_path / "secret.c"
    secret.write_text('MODULE_LICENSE("secret");')
    (source / "a.c").symlink_to(secret)
    (source / "up").symlink_to(tmp_path)
    os.mkfifo(source / "b.c")
    (source / "large.c").write_bytes(b"x" * (2 * 1024**2 + 1))
    (source / "odd.c").write_bytes(b"\xff\xfe caf\xe9")
    (source / "not.ko").write_bytes(b"\x7fELF")
    (source / "packed.ko.xz").write_bytes(b"no")
    found = look_at(source)
    assert set(found.c_files) == {"odd.c"}
    assert "caf" in found.c_files["odd.c"]
    told = "\n".join(found.passed_over)
    for sentence in (
        "a.c is a link",
        "up is a link",
        "b.c is neither a file nor a folder",
        "large.c is no regular file",
    ):
        assert sentence in told
    assert "not.ko: " in told
    assert "packed.ko.xz: its xz compression is damaged" in told


def test_too_deep_and_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "/".join("d" * 40)).mkdir(parents=True)
    (tmp_path / "a").touch()
    (tmp_path / "/".join("d" * 40) / "deep.c").touch()
    found = look_at(tmp_path)
    assert found.names == ("a",)
    assert "more than 32 folders deep" in found.passed_over[0]
    monkeypatch.setattr("builder.init.look._MOST_FILES", 1)
    (tmp_path / "b").touch()
    assert "only the first 1 files were looked at" in look_at(tmp_path).passed_over


@pytest.mark.parametrize("what", ["nothing", "file", "empty"])
def test_no_source(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "source"
    if what == "file":
        folder.touch()
    elif what == "empty":
        folder.mkdir()
    with pytest.raises(UsageError) as caught:
        look_at(folder)
    assert "--source names the folder" in (caught.value.hint or "")
