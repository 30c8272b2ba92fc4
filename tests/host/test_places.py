"""Files that lie where they say they do, and no link leads elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from builder.errors import FormatError, UsageError
from builder.host.places import find_problem_inside, read_inside, replace_file, write_below

if TYPE_CHECKING:
    from pathlib import Path


def test_a_link_under_a_guessed_name_is_not_written_through(tmp_path: Path) -> None:
    file, victim = tmp_path / "demo.ko", tmp_path / "victim"
    file.write_bytes(b"old")
    file.chmod(0o640)
    victim.write_text("mine")
    (tmp_path / f".demo.ko.{os.getpid()}").symlink_to(victim)
    replace_file(file, b"new", mode=0o640)
    assert (file.read_bytes(), file.stat().st_mode & 0o777, victim.read_text()) == (b"new", 0o640, "mine")


def test_links_inside_a_source_are_files_of_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"a")
    (tmp_path / "b").symlink_to("sub/a")
    (tmp_path / "sub" / "c").symlink_to("../b")
    (tmp_path / "up").symlink_to("sub/..")
    assert [read_inside(tmp_path, name) for name in ("b", "sub/c", "up/b", "sub/../b")] == [b"a"] * 4


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../x", "leads out"),
        ("/etc/passwd", "leads out"),
        ("out", "leads out"),
        ("round", "leads out"),
        ("folder/passwd", "leads out"),
        ("folder", "leads out"),
        ("sub/../../x", "leads out"),
        ("absent", "No such file"),
        ("sub", "no regular file"),
        ("pipe", "no regular file"),
        ("x\0y", "null"),
        ("x" * 300, "too long"),
    ],
)
def test_what_is_no_file_inside_is_not_read(name: str, why: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "x").write_text("secret")
    (folder / "out").symlink_to("../x")
    (folder / "round").symlink_to("round")
    (folder / "folder").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    with pytest.raises(FormatError, match=why):
        read_inside(folder, name)
    assert why in str(find_problem_inside(folder, name))


def test_files_are_written_below_their_folder_only(tmp_path: Path) -> None:
    folder, victim = tmp_path / "deploy", tmp_path / "victim"
    folder.mkdir()
    victim.mkdir()
    (victim / "a.yaml").write_text("mine")
    (folder / "a.yaml").symlink_to(victim / "a.yaml")
    (folder / "demo").symlink_to(victim)
    assert write_below(folder, "a.yaml", "new").read_text() == "new"
    with pytest.raises(UsageError, match="leads out"):
        write_below(folder, "demo/b.yaml", "new")
    assert [file.read_text() for file in victim.iterdir()] == ["mine"]


def test_a_file_that_could_not_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "a", b"x")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
