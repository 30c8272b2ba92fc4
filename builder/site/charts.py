"""Charts as SVG: sizes by attributes and colours by classes, because pages allow no style but site.css. Pure.

Every chart has a table beside it, and a sentence for those who do not see it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 28, 34
_BAR_WIDTH = 1000
_MOST_LABELS = 12
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a whole: its class in site.css, its word, and how much it is."""

    kind: str
    word: str
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line of a chart, a value for each place on the axis; None where nothing was measured."""

    kind: str
    word: str
    values: Sequence[float | None]


def emit_bar(shares: Sequence[Share], *, sentence: str) -> Markup:
    """Return one bar that is divided; as wide as its place."""
    total = sum(share.amount for share in shares)
    parts, left = [], 0.0
    for share in shares:
        width = _BAR_WIDTH * share.amount / total if total else 0
        parts.append(
            Markup('<rect class="f-{}" x="{}" y="0" width="{}" height="10"><title>{}</title></rect>').format(
                share.kind, _round(left), _round(width), f"{share.word}: {share.amount:g}"
            )
        )
        left += width
    head = Markup('<svg class="bar" viewBox="0 0 {} 10" preserveAspectRatio="none" role="img" aria-label="{}">')
    return head.format(_BAR_WIDTH, sentence) + _join(parts) + Markup("</svg>")


def emit_lines(labels: Sequence[str], lines: Sequence[Series], *, unit: str, sentence: str) -> Markup:
    """Return lines over places that are in order, such as months."""
    axis = _Axis(max((value for line in lines for value in line.values if value is not None), default=0.0))
    parts = [axis.emit(unit), _emit_labels(labels)]
    for line in lines:
        points = [
            (_place(number, len(labels)), axis.place(value))
            for number, value in enumerate(line.values)
            if value is not None
        ]
        path = " ".join(f"{_round(x)},{_round(y)}" for x, y in points)
        parts.append(Markup('<polyline class="l-{}" points="{}"/>').format(line.kind, path))
        parts += [
            Markup('<circle class="p-{}" cx="{}" cy="{}" r="3.5"><title>{}</title></circle>').format(
                line.kind, _round(x), _round(y), f"{line.word}: {value:.1f} {unit}"
            )
            for (x, y), value in zip(points, (item for item in line.values if item is not None), strict=True)
        ]
    return _frame(parts, sentence)


def emit_columns(labels: Sequence[str], stacks: Sequence[Series], *, unit: str, sentence: str) -> Markup:
    """Return columns, each of which is a pile of values."""
    sums = [sum(line.values[number] or 0.0 for line in stacks) for number in range(len(labels))]
    axis = _Axis(max(sums, default=0.0))
    width = min(44.0, (_WIDTH - _LEFT - _RIGHT) / max(1, len(labels)) * 0.7)
    parts = [axis.emit(unit), _emit_labels(labels)]
    for number in range(len(labels)):
        bottom = 0.0
        for line in stacks:
            value = line.values[number] or 0.0
            if not value:
                continue
            top = axis.place(bottom + value)
            parts.append(
                Markup('<rect class="f-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                    line.kind, _round(_place(number, len(labels)) - width / 2), _round(top), _round(width),
                    _round(axis.place(bottom) - top), f"{labels[number]}, {line.word}: {value:.1f} {unit}",
                )
            )  # fmt: skip
            bottom += value
    return _frame(parts, sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A row of a chart of spans: its name, and two values, of which the first is not above the other."""

    name: str
    low: float
    high: float


def emit_spans(rows: Sequence[Span], *, kinds: tuple[str, str], unit: str, sentence: str) -> Markup:
    """Return a line for each row from one value to another, with a point of a kind at each end."""
    most = max((row.high for row in rows), default=0.0) or 1.0
    step = _round_step(most / 4) if most / 4 > 0 else 1.0
    lines = max(1, math.ceil(most / step))
    height = 26 + _ROW * len(rows)

    def place(value: float) -> float:
        return _NAMES + (_WIDTH - _NAMES - 30) * value / (step * lines)

    parts = []
    for number in range(lines + 1):
        x = _round(place(step * number))
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="20" y2="{}"/><text class="tick mid" x="{}" y="12">{}</text>'
            ).format(x, x, height, x, f"{step * number:g}{f' {unit}' if number == lines else ''}")
        )
    for number, row in enumerate(rows):
        y, (low, high) = 34 + _ROW * number, (place(row.low), place(row.high))
        title = f"{row.name}: {row.low:.1f} and {row.high:.1f} {unit}"
        parts.append(
            Markup(
                '<text class="name" x="0" y="{}">{}<title>{}</title></text>'
                '<line class="span" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<circle class="p-{}" cx="{}" cy="{}" r="4"><title>{}</title></circle>'
                '<circle class="p-{}" cx="{}" cy="{}" r="4"><title>{}</title></circle>'
            ).format(
                y + 4, _cut(row.name), row.name, _round(low), _round(high), y, y, kinds[1], _round(high), y, title,
                kinds[0], _round(low), y, title,
            )
        )  # fmt: skip
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(_WIDTH, height, sentence) + _join(parts) + Markup("</svg>")


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


_NAMES, _TALL, _ROW = 264, 120, 20
_LONGEST_NAME = 36
_MARK = 5.5
_MOST_WIDE = 46.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRow:
    """A row of signs below columns: its name, what it says when pointed at, and a kind for each column, or none."""

    name: str
    title: str
    kinds: Sequence[str]


def emit_changes(
    labels: Sequence[str], stacks: Sequence[Series], rows: Sequence[SignRow], *, unit: str, sentence: str
) -> Markup:
    """Return piles of values over places, and below each place the signs of rows: square, cross or plus by kind."""
    sums = [sum(line.values[number] or 0.0 for line in stacks) for number in range(len(labels))]
    most = max(sums, default=0.0) or 1.0
    places = [_NAMES + (_WIDTH - _NAMES - 8) * (number + 0.5) / max(1, len(labels)) for number in range(len(labels))]
    wide = min(_MOST_WIDE, (_WIDTH - _NAMES - 8) / max(1, len(labels)) * 0.7)
    parts = [Markup('<text class="tick" x="0" y="{}">{}</text>').format(_TALL - 4, unit)]
    for number, (label, place) in enumerate(zip(labels, places, strict=True)):
        bottom = float(_TALL)
        for line in stacks:
            height = (_TALL - 22) * (line.values[number] or 0.0) / most
            if height:
                bottom -= height
                parts.append(
                    Markup('<rect class="f-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                        line.kind, _round(place - wide / 2), _round(bottom), _round(wide), _round(height),
                        f"{label}, {line.word}: {line.values[number]:g}",
                    )
                )  # fmt: skip
        parts.append(_emit_tick(place, bottom - 5, f"{sums[number]:g}"))
        parts.append(_emit_tick(place, _TALL + 16, label))
    for number, row in enumerate(rows):
        parts.append(_emit_row(row, places, _TALL + 38 + _ROW * number))
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    height = _TALL + 28 + _ROW * len(rows)
    return head.format(_WIDTH, height, sentence) + _join(parts) + Markup("</svg>")


def _emit_tick(x: float, y: float, text: str) -> Markup:
    return Markup('<text class="tick mid" x="{}" y="{}">{}</text>').format(_round(x), _round(y), text)


def _emit_row(row: SignRow, places: Sequence[float], y: float) -> Markup:
    parts = [
        Markup('<line class="grid" x1="0" x2="{}" y1="{}" y2="{}"/>').format(_WIDTH, _round(y + 10), _round(y + 10)),
        Markup('<text class="name" x="0" y="{}">{}<title>{}</title></text>').format(
            _round(y + 4), _cut(row.name), row.title
        ),
    ]
    for place, kind in zip(places, row.kinds, strict=True):
        if kind:
            parts.append(_emit_mark(kind, place, y, f"{row.name}: {kind}"))
    return _join(parts)


def _emit_mark(kind: str, x: float, y: float, title: str) -> Markup:
    one, other = _round(_MARK), _round(_MARK * 2)
    shapes = {
        "gone": f"m-{one}-{one}l{other} {other}m0-{other}l-{other} {other}",
        "new": f"m-{one} 0h{other}m-{one}-{one}v{other}",
    }
    shape = shapes.get(kind, f"m-{one}-{one}h{other}v{other}h-{other}z")
    return Markup('<path class="k-{}" d="M{} {}{}"><title>{}</title></path>').format(
        kind, _round(x), _round(y), shape, title
    )


_LEAST = 1e-9  # of what is drawn; the smallest numbers that there are have no power of ten below them


class _Axis:
    """The upright axis, from nothing to a round number that nothing is above."""

    def __init__(self, most: float) -> None:
        self._step = _round_step(most / 4) if most > _LEAST else 1.0
        self._lines = max(1, math.ceil(most / self._step))
        self._most = self._step * self._lines

    def place(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self._most

    def emit(self, unit: str) -> Markup:
        parts = []
        for number in range(self._lines + 1):
            value = self._step * number
            height = _round(self.place(value))
            parts.append(
                Markup(
                    '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text class="tick end" x="{}" y="{}">{}</text>'
                ).format(_LEFT, _WIDTH - _RIGHT, height, height, _LEFT - 8, _round(self.place(value) + 4), f"{value:g}")
            )
        return _join(parts) + Markup('<text class="tick" x="0" y="10">{}</text>').format(unit)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * (1 - 1e-9))


def _place(number: int, places: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (number + 0.5) / max(1, places)


def _emit_labels(labels: Sequence[str]) -> Markup:
    every = math.ceil(len(labels) / _MOST_LABELS) if labels else 1
    return _join(
        Markup('<text class="tick mid" x="{}" y="{}">{}</text>').format(
            _round(_place(number, len(labels))), _HEIGHT - 12, label
        )
        for number, label in enumerate(labels)
        if number % every == 0
    )


def _frame(parts: Iterable[Markup], sentence: str) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(_WIDTH, _HEIGHT, sentence) + _join(parts) + Markup("</svg>")


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(escape(part) for part in parts)


def _round(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
