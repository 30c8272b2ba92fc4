"""The verb emit."""

from __future__ import annotations

import json
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from builder.emit.artefact import Emitted
from builder.verbs.emit import _compare, _tell

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from fakes.bench import Bench


def _use_images(bench: Bench, keys: Path) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor: V", "    image: quay.test/org/demo\n    vendor: V"))
    _, out, _ = bench.run("keys", "create", "--images", "--folder", str(keys))
    file.write_text(file.read_text() + out.partition("For versions.yaml:\n")[2])


def test_files_are_written_or_printed(bench: Bench, tmp_path: Path) -> None:
    _use_images(bench, tmp_path / "private")
    code, out, err = bench.run("emit", "policy", "--json", "--output", str(tmp_path / "deploy"))
    assert (code, (tmp_path / "deploy").exists()) == (0, False), err
    files = json.loads(out)["files"]
    code, out, _ = bench.run("emit", "policy", "--output", str(tmp_path / "deploy"))
    assert code == 0
    written = {
        str(path.relative_to(tmp_path / "deploy")): path for path in (tmp_path / "deploy").rglob("*") if path.is_file()
    }
    assert {name: path.read_text() for name, path in written.items()} == files
    assert {str(path) for path in written.values()} <= set(out.split())


def test_an_artefact_that_there_is_not_is_told(bench: Bench) -> None:
    code, _, err = bench.run("emit", "polcy")
    assert (code, "polcy" in err) == (2, True)


def test_what_people_should_know_is_said_beside_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the standard error: what is printed may be for a program."""
    session: Any = SimpleNamespace(out=Console(), err=Console(stderr=True))
    emitted = Emitted(files={"a.yaml": "a: 1\n"}, left_out=("x: why",), told=("The rule [drops] something.",))
    _tell(session, emitted, tmp_path, as_json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["files"] == {"a.yaml": "a: 1\n"}
    assert printed.err == "left out: x: why\nThe rule [drops] something.\n"


def _write(folder: Path, *names: str, owned: tuple[str, ...]) -> None:
    session: Any = SimpleNamespace(out=Console(file=StringIO()), err=Console(file=StringIO()))
    _tell(session, Emitted(files=dict.fromkeys(names, "a: 1\n"), owned=owned), folder, as_json=False)


def test_a_file_of_an_earlier_time_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a/x/old.yaml", "a/x/notes.txt", "a/x/folder.yaml/f", "b.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    _write(tmp_path, "a/x/new.yaml", owned=("a/*/*.yaml", "none/*/*.yaml"))
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"a/x/new.yaml", "a/x/notes.txt", "a/x/folder.yaml/f", "b.yaml"}


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs" / "x", tmp_path / "ours"
    theirs.mkdir(parents=True)
    ours.mkdir()
    (theirs / "old.yaml").write_text("x")
    (ours / "far").symlink_to(theirs.parent)
    (ours / "near").mkdir()
    (ours / "near" / "x").symlink_to(theirs)
    _write(ours, "new.yaml", owned=("far/*/*.yaml", "far/x/*.yaml", "near/*/*.yaml", "near/x/*.yaml"))
    assert (theirs / "old.yaml").is_file()
    (tmp_path / "link").symlink_to(ours)
    (ours / "old.yaml").write_text("x")
    _write(tmp_path / "link", "new.yaml", owned=("*.yaml",))
    assert not (ours / "old.yaml").exists(), "where people want them is theirs to say"


def _check(folder: Path, emitted: Emitted, *, as_json: bool = False) -> tuple[int, str]:
    out = StringIO()
    session: Any = SimpleNamespace(out=Console(file=out, width=200), err=Console(file=StringIO()))
    return _compare(session, emitted, folder, as_json=as_json), out.getvalue()


def test_files_that_are_not_what_would_be_written_are_named(tmp_path: Path) -> None:
    emitted = Emitted(files={"a.yaml": "a: 1\n", "sub/b.yaml": "b: 1\n"}, owned=("*.yaml",))
    assert _check(tmp_path, emitted)[0] == 18
    _write(tmp_path, *emitted.files, owned=())
    (tmp_path / "sub" / "b.yaml").write_text("b: 1\n")
    assert _check(tmp_path, emitted) == (0, "")
    assert json.loads(_check(tmp_path, emitted, as_json=True)[1]) == {"format": 1, "stale": {}}
    (tmp_path / "sub" / "b.yaml").write_text("b: 2\n")
    (tmp_path / "old.yaml").touch()
    code, out = _check(tmp_path, emitted, as_json=True)
    assert (code, json.loads(out)["stale"]) == (
        18,
        {"sub/b.yaml": "not what would be written", "old.yaml": "left from before"},
    )
    assert (tmp_path / "old.yaml").exists(), "nothing is written, and nothing removed"
    assert (tmp_path / "sub" / "b.yaml").read_text() == "b: 2\n"


def test_what_is_no_file_or_endless_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("x" * 100)
    (tmp_path / "c").symlink_to("/dev/zero")
    code, out = _check(tmp_path, Emitted(files=dict.fromkeys("abc", "x")))
    assert code == 18
    assert len(out.splitlines()) == 3
    assert "100" not in out


def test_an_artefact_is_checked_by_an_option(bench: Bench, tmp_path: Path) -> None:
    _use_images(bench, tmp_path / "private")
    target = ("emit", "policy", "--output", str(tmp_path / "deploy"))
    code, out, err = bench.run(*target, "--check")
    assert (code, "policy.json: missing" in out, "without --check" in err) == (18, True, True)
    assert not (tmp_path / "deploy").exists()
    assert bench.run(*target)[0] == 0
    assert bench.run(*target, "--check")[:2] == (0, "")
