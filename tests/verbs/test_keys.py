"""The verb keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench


def test_what_it_prints_for_versions_yaml_is_taken_there(bench: Bench, tmp_path: Path) -> None:
    code, out, _ = bench.run("keys", "create", "--kind", "ecdsa", "--folder", str(tmp_path / "private"))
    assert (code, "signers: [development]" in out) == (0, True)
    assert "or different endings of their tags (tag_suffix)" in " ".join(out.split())
    file = bench.folder / "versions.yaml"
    text = out.partition("For versions.yaml:\n")[2].partition("and in each group")[0]
    file.write_text(f"{file.read_text()}{text}")
    code, out, err = bench.run("keys", "show", "development", "--json", "--write", str(tmp_path / "shown"))
    assert code == 0, err
    assert json.loads(out)["signer"] == "development"
    assert {item.name for item in (tmp_path / "shown").iterdir()} == {"development.der", "development.md"}
    code, _, err = bench.run("keys", "create", "--kind", "ecdsa", "--folder", str(tmp_path / "private"))
    assert code == 2, "a key is never written over"
    assert "development" in err


def test_a_key_for_images_is_another_kind(bench: Bench, tmp_path: Path) -> None:
    code, out, _ = bench.run("keys", "create", "--images", "--folder", str(tmp_path / "private"))
    assert (code, "public_key: keys/images.pub" in out) == (0, True)


def test_a_signer_that_versions_yaml_does_not_name(bench: Bench) -> None:
    code, _, err = bench.run("keys", "show", "nobody")
    assert (code, "nobody" in err) == (9, True)


def test_a_log_that_does_not_exist_is_empty(bench: Bench) -> None:
    code, out, _ = bench.run("keys", "log", "--json")
    assert (code, json.loads(out)) == (0, [])
