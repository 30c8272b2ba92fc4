"""Quotes as a table and as JSON."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from builder.plan.quote import Addition, Amount, Quote
from builder.show.quote import describe_amount, emit_quotes, emit_quotes_json, format_long, format_size

_KNOWN = Quote(
    addition=Addition.DRIVER, group="laptop", about="one more", kernels=3, cells=3, workers=2,
    wall=Amount(usual=60.0, most=4000.0), cpu=Amount(usual=1.0, most=1.0), fetched=Amount(usual=0, most=0),
    stored=Amount(usual=2048, most=2048), sent=None, basis=("of [red]these[/red]",), unknown=("nothing was published",),
)  # fmt: skip


def test_a_table_says_what_is_known_what_is_not_and_why() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(emit_quotes([_KNOWN, Quote(addition=Addition.CHANNEL, group="g", about="m", unknown=("why",))]))
    text = console.export_text()
    for said in (
        "1 min 00 s to 1 h 07 min", "1.0 s", "2.0 KiB", "not known", "of [red]these[/red]; nothing was published",
        "channel (g): why", "2 cells at once",
    ):  # fmt: skip
        assert said in text, said


def test_json_has_null_for_what_is_not_known() -> None:
    (found,) = json.loads(emit_quotes_json([_KNOWN]))["quotes"]
    assert found["wall"] == {"usual": 60.0, "most": 4000.0}
    assert (found["sent"], found["addition"], found["unknown"]) == (None, "driver", ["nothing was published"])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (150 * 1024, "150 KiB"), (5 * 1024**4, "5120 GiB")],
)
def test_bytes_in_the_unit_that_reads_best(number: int, text: str) -> None:
    assert format_size(number) == text


def test_times() -> None:
    assert (format_long(59.94), format_long(3599), format_long(3600)) == ("59.9 s", "59 min 59 s", "1 h 00 min")
    assert describe_amount(Amount(usual=1.0, most=2.0), format_long) == "1.0 s to 2.0 s"
    assert describe_amount(None, format_long) == "not known"
