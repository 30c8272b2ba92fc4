"""A component's files: what counts, and that what was read is what is built."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import declare

from builder.components.source import ComponentSource, read_component
from builder.errors import FormatError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_HASH = f"--hash=sha256:{'1' * 64}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "plugin"
    place.mkdir()
    for name in ("Containerfile", "LICENSE", "plugin.py"):
        (place / name).write_text(name)
    (place / "requirements.lock").write_text(f"a==1 {_HASH}\n")
    (tmp_path / "NOTICE").write_text("notice")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    return tmp_path


def _read(folder: Path, **changes: Any) -> ComponentSource:
    declaration = declare(**changes)
    declaration._root = folder
    return read_component(declaration)


_WHEELS = {"lock": "plugin/requirements.lock", "python": "3.11"}


def test_equal_files_have_equal_digests(folder: Path) -> None:
    one, two = _read(folder, wheels=_WHEELS), _read(folder, wheels=_WHEELS)
    assert (one.tree.digest, one.containerfile_digest, one.license_digests, one.wheels_digest, one.recipe_digest) == (
        two.tree.digest, two.containerfile_digest, two.license_digests, two.wheels_digest, two.recipe_digest,
    )  # fmt: skip
    assert _read(folder).wheels_digest == ""


@pytest.mark.parametrize(
    ("file", "part"),
    [("plugin.py", "tree"), ("Containerfile", "containerfile_digest"), ("LICENSE", "license_digests")],
)
def test_a_changed_file_is_seen(folder: Path, file: str, part: str) -> None:
    before = _read(folder)
    (folder / "plugin" / file).write_text("changed")
    assert getattr(_read(folder), part) != getattr(before, part)


@pytest.mark.parametrize(
    "text",
    [f"a==2 {_HASH}\n", f"a==1 {_HASH} --hash=sha256:{'2' * 64}\n", f"a==1 ; os_name == 'posix' {_HASH}\n", ""],
)
def test_another_lock_is_another_image_and_a_comment_is_none(folder: Path, text: str) -> None:
    before = _read(folder, wheels=_WHEELS).wheels_digest
    lock = folder / "plugin" / "requirements.lock"
    lock.write_text(f"# comment\na==1 \\\n  {_HASH}\n")
    assert _read(folder, wheels=_WHEELS).wheels_digest == before
    assert _read(folder, wheels={**_WHEELS, "python": "3.12"}).wheels_digest != before
    lock.write_text(text)
    assert _read(folder, wheels=_WHEELS).wheels_digest != before


def test_a_lock_that_is_none_is_told(folder: Path) -> None:
    (folder / "plugin" / "requirements.lock").write_text("-r other\n")
    with pytest.raises(FormatError, match=r"requirements.lock:1: '-r other' is not"):
        _read(folder, wheels=_WHEELS)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "0.2.0"}, {"target": "image"}, {"vendor": "W"}, {"summary": "T"}, {"description": "E"},
        {"maintainer": "N"}, {"self_test": ["x"]}, {"build_args": {"A": "1"}}, {"labels": {"a": "1"}}, {"name": "other"},
    ],
)  # fmt: skip
def test_all_that_goes_into_the_image_is_in_the_recipe(folder: Path, change: dict[str, Any]) -> None:
    assert _read(folder, **change).recipe_digest != _read(folder).recipe_digest


def test_names_of_registries_and_architectures_are_not_in_the_recipe(folder: Path) -> None:
    other = _read(folder, image="quay.test/org/x", arches=["aarch64"])
    assert other.recipe_digest == _read(folder).recipe_digest


def test_a_copy_is_made_of_what_was_read(folder: Path, tmp_path: Path) -> None:
    source = _read(folder, licenses=["plugin/LICENSE", "NOTICE"])
    staged = source.stage(tmp_path / "work")
    assert sorted(file.name for file in staged.licenses.iterdir()) == ["LICENSE", "NOTICE"]
    assert (staged.context / "plugin.py").read_text() == "plugin.py"
    assert staged.containerfile.read_text() == "Containerfile"
    assert source.stage(tmp_path / "work") == staged, "a second run finds it there"


@pytest.mark.parametrize("name", ["plugin/Containerfile", "NOTICE", "plugin/plugin.py"])
def test_what_changed_since_it_was_read_is_not_built(folder: Path, tmp_path: Path, name: str) -> None:
    source = _read(folder, licenses=["plugin/LICENSE", "NOTICE"])
    (folder / name).write_text("changed meanwhile")
    with pytest.raises(UsageError, match="changed while it was being read"):
        source.stage(tmp_path / "work")
    assert not [file for file in (tmp_path / "work").rglob("*") if file.is_file() and "meanwhile" in file.read_text()]


@pytest.mark.parametrize("name", ["plugin/Containerfile", "plugin/LICENSE", "plugin/requirements.lock"])
def test_a_file_that_is_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises((UsageError, FormatError), match="is no regular file"):
        _read(folder, source="other", wheels=_WHEELS)


@pytest.mark.parametrize("name", ["plugin/Containerfile", "plugin/LICENSE", "plugin/requirements.lock"])
def test_a_file_that_is_gone_is_told(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises((UsageError, FormatError), match=r"cannot be read: No such file"):
        _read(folder, wheels=_WHEELS)
