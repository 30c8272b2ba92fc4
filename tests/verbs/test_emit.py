"""The verb emit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

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
