"""The verb lint."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from fakes.kmm import MODULE

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
