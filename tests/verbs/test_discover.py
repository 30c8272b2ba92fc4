"""The verb discover."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from fakes.project import make_source

from builder.sources.debian import discover as debian

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from fakes.bench import Bench


_KERNEL = "6.1.0-10-amd64"


def test_a_lock_that_finds_no_room_is_left_as_it_was(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = bench.folder / "versions.lock.yaml"
    before = sorted(bench.folder.iterdir()), file.read_text()
    smaller = debian.DebianAnswer(locked=make_source(_KERNEL), lost={})
    monkeypatch.setattr("builder.sources.debian.discover.discover", lambda *_, **__: smaller)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(type(file), "replace", refuse)
        code, _, err = bench.run("discover")
    assert (code, "No space left on device" in err, "defect" in err) == (6, True, False)
    assert before == (sorted(path for path in bench.folder.iterdir() if path.name != ".kmodsmith"), file.read_text())
