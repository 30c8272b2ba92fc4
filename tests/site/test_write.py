"""A site on the disk: all of it or the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.site_facts import BUILD_LOG, HOSTILE, facts_of, make_cell, make_facts

from builder.errors import UsageError
from builder.host.progress import no_progress
from builder.site.facts import CellState
from builder.site.write import MARKER, render_site, write_site

if TYPE_CHECKING:
    from pathlib import Path

_KERNEL = "5.14.0-427.50.1.el9_4.x86_64"


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_site_is_written_and_written_again_with_the_same_bytes(tmp_path: Path) -> None:
    facts, seen = make_facts(2), []
    written = write_site(
        facts, tmp_path / "site", work_dir=tmp_path, progress=lambda done, total: seen.append((done, total))
    )
    first = _tree(tmp_path / "site")
    assert (written.files, written.size) == (len(first), sum(map(len, first.values())))
    assert seen[-1] == (len(facts.cells), len(facts.cells))
    write_site(facts, tmp_path / "site", work_dir=tmp_path, progress=no_progress)
    assert _tree(tmp_path / "site") == first
    assert sorted(item.name for item in tmp_path.iterdir()) == ["site"], "nothing is left beside it"


def test_what_the_old_site_had_and_the_new_one_has_not_is_gone(tmp_path: Path) -> None:
    write_site(facts_of([make_cell(_KERNEL)]), tmp_path / "site", work_dir=tmp_path, progress=no_progress)
    write_site(facts_of([]), tmp_path / "site", work_dir=tmp_path, progress=no_progress)
    assert not (tmp_path / "site" / "cells").exists()
    assert (tmp_path / "site" / MARKER).is_file()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not written by this command"):
        write_site(facts_of([]), tmp_path / "site", work_dir=tmp_path, progress=no_progress)
    assert _tree(tmp_path) == {"site/thesis.txt": b"mine"}


def test_logs_lie_beside_the_page_as_text(tmp_path: Path) -> None:
    cell = make_cell(_KERNEL, CellState.FAILED)
    log = tmp_path / "cells" / cell.id / "build.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"{BUILD_LOG}{HOSTILE}\udcff", errors="surrogateescape")
    found = dict(render_site(facts_of([cell]), work_dir=tmp_path, progress=no_progress))
    text = found[f"cells/gpu-1.4.0/{_KERNEL}.build.txt"]
    assert text.startswith(BUILD_LOG)
    assert "\\x1b[31m" in text, "no terminal obeys it"
    assert "214 |         vma_set_flags" in found[f"cells/gpu-1.4.0/{_KERNEL}.html"]
    assert "214 |         vma_set_flags" in found["failures.html"]
    assert f"cells/gpu-1.4.0/{_KERNEL}.boot.txt" not in found
