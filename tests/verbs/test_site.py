"""The verb site."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.bench import Bench

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_it_writes_a_site_and_says_where_and_what_is_missing(bench: Bench, tmp_path: Path) -> None:
    bench.build()
    code, out, err = bench.run("site", "--output", str(tmp_path / "out"))
    assert (code, out) == (0, f"{tmp_path}/out/index.html: 6 cells, 4 of them ready\n")
    assert "missing: published images: Nothing was published from here; nox -s publish" in err
    assert "ready for" in (tmp_path / "out" / "index.html").read_text()


def test_json(bench: Bench, tmp_path: Path) -> None:
    code, out, _ = bench.run("site", "--group", "few", "--json", "--output", str(tmp_path / "out"))
    said = json.loads(out)
    files = _tree(tmp_path / "out")
    assert (code, said["cells"], said["ready"]) == (0, 4, 0)
    assert (said["files"], said["bytes"]) == (len(files), sum(map(len, files.values())))
    assert said["missing"][0]["command"] == "nox -s build"


def test_the_same_facts_at_the_same_time_give_the_same_bytes(bench: Bench, tmp_path: Path) -> None:
    bench.build()
    for name, made in (
        ("one", "2026-11-27T07:00:00Z"),
        ("two", "2026-11-27T08:00:00+01:00"),
        ("three", "2026-11-27T07:00:01Z"),
    ):
        assert bench.run("site", "--made", made, "--output", str(tmp_path / name))[0] == 0
    assert _tree(tmp_path / "one") == _tree(tmp_path / "two")
    assert _tree(tmp_path / "one") != _tree(tmp_path / "three")


def test_it_works_where_versions_yaml_is_not_trusted(bench: Bench, tmp_path: Path) -> None:
    assert bench.run("site", "--untrusted", "--output", str(tmp_path / "out"))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--made", "yesterday"), "'yesterday' is no time"),
        (("--group", "fewest"), "no group 'fewest'"),
        (("--output", "src"), "not written by this command"),
    ],
)
def test_what_cannot_be_done_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(bench.folder)
    code, _, err = bench.run("site", *arguments)
    assert (code, "Traceback" in err) == (2, False)
    assert words in err
