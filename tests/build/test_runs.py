"""A run: planned, carried out, and begun again where a package is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.bench import Bench

from builder.errors import (
    FailureClass,
    SourceGoneError,
)
from builder.sources.debian import discover as debian

if TYPE_CHECKING:
    import pytest
    from fakes.bench import Bench


def test_a_vanished_package_refreshes_the_lock_unless_locked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:

    gone = {"6.1.0-10-amd64"}

    def ensure(_self: object, kernel: Any, _wanted: object = ()) -> str:
        if kernel.raw in gone:
            raise SourceGoneError("http://archive.test/x.deb is no longer served (HTTP 404)")
        return "toolkit:x"

    def discover(_source: object, previous: Any, *_: object, **_options: object) -> Any:
        gone.clear()
        return debian.DebianAnswer(locked=previous, lost={})

    monkeypatch.setattr("builder.sources.debian.toolkit.DebianToolkits.ensure", ensure)
    monkeypatch.setattr("builder.sources.debian.discover.discover", discover)
    code, report = bench.build("--locked")
    assert (code, report["failures"][0]["code"]) == (FailureClass.TOOLKIT.exit_code, "package-gone")
    code, report = bench.build()
    assert (code, report["counts"]) == (0, {"built": 1, "skipped": 3})
