"""Words and figures as people read them."""

from __future__ import annotations

import pytest

from builder.site.facts import CellState
from builder.site.words import FILTERS, MEANINGS


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("word", "not-built", "not built"),
        ("time", "2026-11-27T11:38:27Z", "2026-11-27 11:38 UTC"),
        ("time", "2026-11-27", "2026-11-27"),
        ("time", "", ""),
        ("month", "2026-11", "November 2026"),
        ("month", "2026-13", "2026-13"),
        ("month", "2026-00", "2026-00"),
        ("month", "soon", "soon"),
        ("size", 17, "17 bytes"),
        ("size", 1023, "1023 bytes"),
        ("size", 10_248, "10.0 KiB"),
        ("size", 500_000, "488 KiB"),
        ("size", 5 * 1024**4, "5120 GiB"),
        ("hours", 1.25, "1.2 h"),
        ("hours", 72.0, "3.0 days"),
        ("short", "quay.io/x@sha256:0123456789abcdef", "0123456789ab"),
        ("seconds", 61.2, "1 min 01 s"),
    ],
)
def test_filters(name: str, value: object, wanted: str) -> None:
    assert FILTERS[name](value) == wanted


def test_every_state_has_a_meaning() -> None:
    assert MEANINGS.keys() == set(CellState)
