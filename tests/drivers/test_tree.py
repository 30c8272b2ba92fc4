from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from builder.drivers.tree import SourceTree, read_tree
from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.c").write_text("int a;\n")
    (folder / "sub" / "b.h").write_text("int b;\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "link").symlink_to("a.c")
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.c").write_text("int c;\n"),
        lambda folder: (folder / "new.c").write_text(""),
        lambda folder: (folder / "sub" / "b.h").unlink(),
        lambda folder: (folder / "run.sh").chmod(0o755),
        lambda folder: ((folder / "link").unlink(), (folder / "link").symlink_to("run.sh")),
        lambda folder: (folder / "a.c").rename(folder / "b.c"),
    ],
)
def test_every_change_that_matters_changes_the_digest(source: Path, change: Callable[[Path], object]) -> None:
    before = read_tree(source).digest
    change(source)
    assert read_tree(source).digest != before


def test_a_copy_has_contents_and_times_but_no_rights_of_others(source: Path) -> None:
    (source / "run.sh").chmod(0o4755)
    (source / "a.c").chmod(0o600)
    os.utime(source / "a.c", (1, 1))
    copy = read_tree(source).copy_to(source.parent / "copy")
    modes = {name: (copy / name).stat().st_mode & 0o7777 for name in ("run.sh", "a.c")}
    assert modes == {"run.sh": 0o755, "a.c": 0o644}
    assert (copy / "a.c").stat().st_mtime == 1
    assert (copy / "link").readlink().name == "a.c"


def test_a_file_that_became_a_link_is_not_followed(source: Path) -> None:
    (source.parent / "secret").write_text("int a;\n")
    tree = read_tree(source)
    (source / "a.c").unlink()
    (source / "a.c").symlink_to("../secret")
    with pytest.raises(UsageError, match="a.c changed while it was being read"):
        tree.copy_to(source.parent / "copy")


@pytest.mark.parametrize("name", [".dockerignore", ".containerignore"])
def test_what_buildah_reads_on_the_host_is_no_link(name: str, source: Path) -> None:
    (source / "sub" / name).symlink_to("/etc/shadow")
    assert read_tree(source).files
    (source / name).symlink_to("/etc/shadow")
    with pytest.raises(UsageError, match=f"{name} is no regular file"):
        read_tree(source)


def test_folders_that_never_end_are_refused(source: Path) -> None:
    folder = source
    for _ in range(70):
        folder /= "d"
        folder.mkdir()
    with pytest.raises(UsageError, match="more than 64 deep"):
        read_tree(source)


@pytest.mark.parametrize(
    "name",
    [
        "a.o",
        "a.ko",
        ".a.o.cmd",
        "a.mod.c",
        "Module.symvers",
        "modules.order",
        "a.c~",
        ".git/HEAD",
        ".tmp_versions/x",
    ],
)
def test_leftovers_of_builds_and_editors_do_not_count(source: Path, name: str) -> None:
    before = read_tree(source).digest
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text("stale")
    os.utime(source / "a.c", (1, 1))
    tree = read_tree(source)
    assert tree.digest == before
    assert not (tree.copy_to(source.parent / "copy") / name).exists()


def test_the_copy_is_what_was_hashed(source: Path, tmp_path: Path) -> None:
    tree = read_tree(source)
    copy = tree.copy_to(tmp_path / "copy")
    assert read_tree(copy).digest == tree.digest
    (source / "a.c").write_text("changed meanwhile")
    assert tree.copy_to(tmp_path / "copy") == copy
    with pytest.raises(UsageError, match="changed while it was being read"):
        tree.copy_to(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_pipes_are_refused(source: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(UsageError, match="neither a file, a folder nor a link"):
        read_tree(source)


def test_what_only_another_reads_is_split_off_unless_a_link_leads_there(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("a")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "smoke.sh").write_text("s")
    tree = read_tree(tmp_path)
    rest, only = tree.split({"t/smoke.sh"})
    assert ([file.path for file in rest.files], [file.path for file in only.files]) == (["a.c"], ["t/smoke.sh"])
    assert [file.name for file in rest.copy_to(tmp_path.parent / f"{tmp_path.name}-copy").iterdir()] == ["a.c"]
    assert tree.split(set())[0] == tree
    (tmp_path / "link").symlink_to("t")
    tree = read_tree(tmp_path)
    assert tree.split({"link/smoke.sh"}) == (tree, SourceTree(root=tmp_path, files=()))
