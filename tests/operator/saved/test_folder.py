"""Files that somebody saved: what is in them, and nothing that they lead to."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from kmod_operator.saved import folder
from kmod_operator.saved.folder import SavedError, read_saved

if TYPE_CHECKING:
    from pathlib import Path

_NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
_YAML = "apiVersion: v1\nkind: Node\nmetadata: {name: n, creationTimestamp: 2026-11-27T06:00:00Z}\n"


def test_lists_documents_and_folders_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [_NODE, {"kind": 1}, 2]}))
    (tmp_path / "b.yml").write_text(f"{_YAML}---\n{_YAML}---\n")
    part = {"metadata": {"name": "of-a-list"}}
    (tmp_path / "deep" / "c.yaml").write_text(json.dumps({"apiVersion": "v1", "kind": "NodeList", "items": [part]}))
    (tmp_path / "log.txt").write_text("{")
    (tmp_path / "empty.json").write_text("\n")
    found = read_saved(tmp_path)
    assert [item["metadata"]["name"] for item in found] == ["n", "n", "n", "of-a-list"]
    assert {(item["apiVersion"], item["kind"]) for item in found} == {("v1", "Node")}
    assert read_saved(tmp_path / "b.yml") == found[1:3]
    assert found[1]["metadata"]["creationTimestamp"] == "2026-11-27T06:00:00+00:00", "as JSON has it"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is neither JSON nor YAML that can be read: Expecting property name"),
        ("[" * 100_000, "is neither JSON nor YAML|is deeper than 100 levels"),
        ("[" * 150 + "]" * 150, "is deeper than 100 levels"),
        ("NaN", "holds no object of a cluster"),
        ("9" * 5000, "is neither JSON nor YAML"),
        ("[]", "holds no object of a cluster"),
    ],
)
def test_json_that_is_none_is_named(content: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(SavedError, match=told):
        read_saved(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: b: c", "is neither JSON nor YAML that can be read: mapping values are not allowed"),
        ("!!python/object/apply:os.system [id]", "is neither JSON nor YAML .*could not determine a constructor"),
        ("a: &a [*a]", "is deeper than 100 levels"),
        ("a: 2027-02-30", "is neither JSON nor YAML that can be read: day is out of range"),
        ("[" * 5000, "is neither JSON nor YAML"),
        (b"\xff\xfe\x00", "is neither JSON nor YAML"),
    ],
)
def test_yaml_that_is_none_is_named(content: str | bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SavedError, match=told):
        read_saved(file)


def test_little_that_becomes_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_MOST_VALUES", 10_000)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    with pytest.raises(SavedError, match="holds more than 10000 values"):
        read_saved(tmp_path)


def test_a_link_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(json.dumps(_NODE))
    (tmp_path / "a.json").symlink_to(tmp_path / "real")
    with pytest.raises(SavedError, match=r"a\.json cannot be read: Too many levels"):
        read_saved(tmp_path)
    (tmp_path / "a.json").unlink()
    os.mkfifo(tmp_path / "b.json")
    with pytest.raises(SavedError, match=r"b\.json is no file"):
        read_saved(tmp_path)


def test_sizes_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(_NODE))
    size = (tmp_path / "a.json").stat().st_size
    monkeypatch.setattr(folder, "_MOST_BYTES", size)
    assert len(read_saved(tmp_path)) == 2
    monkeypatch.setattr(folder, "_MOST_BYTES_OF_ALL", size + 1)
    with pytest.raises(SavedError, match=r"b\.json is too large"):
        read_saved(tmp_path)
    monkeypatch.setattr(folder, "_MOST_FILES", 1)
    with pytest.raises(SavedError, match="holds more than 1 files"):
        read_saved(tmp_path)
