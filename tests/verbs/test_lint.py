"""The verb lint."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING

from fakes.kmm import MODULE
from fakes.operator_bundles import CSV, change, good_bundle, write_bundle

if TYPE_CHECKING:
    from pathlib import Path


def _run(folder: Path, *files: str) -> tuple[int, str, str]:
    from builder.__main__ import run_cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_cli(["--project", str(folder), "lint", "kmm", *(str(folder / name) for name in files)])
    return code, out.getvalue(), err.getvalue()


def test_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("kind: Module\nkind: Module\n")
    (tmp_path / "none.yaml").write_text("a: [\n")
    (tmp_path / "good.yaml").write_text(MODULE)
    code, out, err = _run(tmp_path, "twice.yaml", "none.yaml", "good.yaml", "absent.yaml")
    assert (code, err) == (3, "")
    assert all(f"{name}: error: " in out for name in ("twice.yaml:2:1", "none.yaml:2:1", "absent.yaml:1:1"))
    code, out, err = _run(tmp_path, "good.yaml")
    assert (code, out, err) == (0, "1 object of KMM: nothing wrong\n", "")


def _operator(folder: Path, *words: str) -> tuple[int, str, str]:
    from builder.__main__ import run_cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_cli(["--project", str(folder), "lint", "operator", *words])
    return code, out.getvalue(), err.getvalue()


def test_a_bundle_is_checked_and_compared(tmp_path: Path) -> None:
    good = write_bundle(tmp_path / "good", good_bundle())
    code, out, err = _operator(tmp_path, str(good), "--against", str(good))
    assert (code, err, out.splitlines()[-1]) == (0, "", "2 objects of OLM: 1 warning")
    bad = write_bundle(tmp_path / "bad", change(good_bundle(), CSV, ("spec", "minKubeVersion"), "1.27"))
    code, out, err = _operator(tmp_path, str(bad), "--json")
    (found,) = [item for item in json.loads(out)["findings"] if item["severity"] == "error"]
    assert (code, err, found["path"], found["code"]) == (3, "", "spec.minKubeVersion", "min-kube-version")
    assert found["file"].endswith(CSV)


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    code, out, err = _operator(tmp_path, str(tmp_path))
    assert (code, out, "is no bundle of an operator" in err) == (2, "", True)
    code, _, err = _operator(tmp_path, str(tmp_path), "--kubernetes", "v1.31")
    assert (code, "'v1.31' is no version such as 1.31" in err) == (2, True)
