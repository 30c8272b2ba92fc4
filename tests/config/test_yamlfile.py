from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builder.config.yamlfile import read_yaml
from builder.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_keeps_the_place_of_values_and_keys(tmp_path: Path) -> None:
    file = tmp_path / "v.yaml"
    file.write_text("a:\n  - b: 1\n    c: two\n")
    document = read_yaml(file)
    assert document.data == {"a": [{"b": 1, "c": "two"}]}
    mistake = document.mistake(("a", 0, "c"), "is wrong")
    assert str(mistake) == f"{file}:3:8: at a[0].c is wrong"
    assert document.mistake(("a", 0, "c"), "", at_key=True).column == 5
    assert document.mistake(("a", 0, "nothing", "here"), "").line == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1", "is not YAML"),
        (b"a: &x 1\nb: *x", "anchors and aliases"),
        (b"a: !!python/object/apply:os.system [x]", "tag"),
        (b"a: 1\nb: 2\na: 3", ":3:1: at a is given twice, first in line 1"),
        (b"a: \xff", "not UTF-8: byte 3 is 0xff"),
        (b"a: \x00", "is not YAML"),
        (b"[" * 41 + b"]" * 41, "deeper than 40"),
        (b"{a: " * 41 + b"1" + b"}" * 41, "deeper than 40"),
        (b"- " * 41 + b"1", "deeper than 40"),
        (b"[" * 5000, ":1:"),  # libyaml has a bound of its own, and words that change
        (b"- " * 5000 + b"1", ":1:"),
        (b"a: " + b"x" * 1024 * 1024, "larger than"),
        (b"a: 2027-99-99", "is not YAML"),
        (b"a: 1\n---\nb: 2", "is not YAML"),
    ],
)
def test_refuses(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "v.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(file)
    assert words in caught.value.message


@pytest.mark.parametrize("content", [b"[" * 40 + b"]" * 40, b"- " * 40 + b"1"])
def test_forty_levels_are_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "v.yaml"
    file.write_bytes(content)
    assert read_yaml(file).data


def test_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_yaml(tmp_path / "v.yaml")
