"""What additions would cost, for people and for programs. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from builder.show.table import format_duration, make_table
from builder.writing import count, emit_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from builder.plan.quote import Amount, Quote

FORMAT_VERSION = 1
_HOUR_S = 3600
_KIB = 1024
UNKNOWN = "not known"


def emit_quotes(quotes: Sequence[Quote]) -> RenderableType:
    """Return a table of what each addition costs once, and below it what that was derived from."""
    table = make_table("one more", "cells", "time", "processors", "fetched", "in images", "to registries")
    lines = Text()
    for item in quotes:
        table.add_row(
            f"{item.addition} ({item.group}): {item.about}", "" if item.cells is None else str(item.cells),
            *describe_amounts(item),
        )  # fmt: skip
    for item in quotes:
        lines.append(f"{item.addition} ({item.group})", style="bold")
        lines.append(f": {'; '.join((*item.basis, *item.unknown))}\n")
    workers = max((item.workers for item in quotes), default=1)
    lines.append(
        f"time is with {count(workers, 'cell')} at once; first as cells took it on average, then if each took what 95 "
        "of 100 were within"
    )
    return Group(table, lines)


def describe_amounts(item: Quote) -> tuple[str, str, str, str, str]:
    """Return time, processor time, and bytes fetched, stored and sent, as people read them."""
    return (
        describe_amount(item.wall, format_long),
        describe_amount(item.cpu, format_long),
        describe_amount(item.fetched, format_size),
        describe_amount(item.stored, format_size),
        describe_amount(item.sent, format_size),
    )


def describe_amount(amount: Amount | None, write: Callable[[float], str]) -> str:
    if amount is None:
        return UNKNOWN
    usual, most = write(amount.usual), write(amount.most)
    return usual if usual == most else f"{usual} to {most}"


def format_long(seconds: float) -> str:
    """Return a time that may be hours."""
    if seconds < _HOUR_S:
        return format_duration(seconds)
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_size(number: float) -> str:
    """Return bytes in the unit that reads best."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < _KIB or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.1f} {unit}"  # noqa: PLR2004
        number /= _KIB
    raise AssertionError


def emit_quotes_json(quotes: Sequence[Quote]) -> str:
    return emit_json({"format": FORMAT_VERSION, "quotes": [describe_quote(item) for item in quotes]})


def describe_quote(item: Quote) -> dict[str, Any]:
    """Return a quote as data: amounts are null where they are not known; seconds and bytes."""
    return asdict(item)
