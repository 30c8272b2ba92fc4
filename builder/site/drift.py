"""How kernels change from one to the next: all that they export, and what drivers use of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from builder.kmod.compat import DriverDrift
    from builder.kmod.symvers import SymbolCounts

_MOST_SYMBOLS = 40
_MOST_NAMES = 200
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,127}")
_PART = re.compile(r"[-+._]")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelStep:
    """Two kernels that follow each other among those whose symbols are known.

    ``counts`` is about all that they export; ``drivers`` is by driver, as ``drift`` tells it. A driver whose modules
    are not kept for either of them is not in it.
    """

    before: str
    after: str
    counts: SymbolCounts
    drivers: Mapping[str, DriverDrift] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Kernels of one source, series, variant and architecture; of ``unknown`` ones no symbols are known here."""

    source: str
    series: str
    variant: str
    arch: str
    steps: tuple[KernelStep, ...]
    unknown: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What the kernels after each step are called among their like."""
        return shorten([self.steps[0].before, *(step.after for step in self.steps)])[1:] if self.steps else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedSymbol:
    """A symbol that drivers use and that changed: by step, the kind of change (gone, changed, new), empty for none."""

    symbol: str
    drivers: tuple[str, ...]
    kinds: tuple[str, ...]


def list_used(lineage: Lineage) -> tuple[list[UsedSymbol], int]:
    """Return the symbols of drivers that changed in a lineage, those that vanish first, and how many more there are."""
    kinds: dict[str, dict[int, str]] = {}
    users: dict[str, dict[str, None]] = {}
    for number, step in enumerate(lineage.steps):
        for driver, found in step.drivers.items():
            for item in found.symbols:
                kinds.setdefault(item.symbol, {})[number] = item.kind
                users.setdefault(item.symbol, {})[driver] = None

    def urgency(symbol: str) -> tuple[bool, int, str]:
        return "gone" not in kinds[symbol].values(), -len(kinds[symbol]), symbol

    ordered = sorted(kinds, key=urgency)
    shown = [
        UsedSymbol(
            symbol=symbol, drivers=tuple(users[symbol]),
            kinds=tuple(kinds[symbol].get(number, "") for number in range(len(lineage.steps))),
        )
        for symbol in ordered[:_MOST_SYMBOLS]
    ]  # fmt: skip
    return shown, len(ordered) - len(shown)


def shorten(kernels: Sequence[str]) -> tuple[str, ...]:
    """Return kernels without what all of them begin and end with, cut where parts of their names do."""
    if len(set(kernels)) < 2:  # noqa: PLR2004 - one has nothing to be told apart from
        return tuple(kernels)
    begin = _last_part(_shared_begin(kernels))
    end = _last_part(_shared_begin([kernel[begin:][::-1] for kernel in kernels]))
    return tuple(kernel[begin : len(kernel) - end] or kernel for kernel in kernels)


def _shared_begin(words: Sequence[str]) -> str:
    return "".join(
        letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, zip(*words, strict=False))
    )


def _last_part(shared: str) -> int:
    """Return how much of what is shared ends where a part of a name does."""
    return max((match.end() for match in _PART.finditer(shared)), default=0)


def names_in(texts: Iterable[str]) -> list[str]:
    """Return what could be a symbol's name in texts of a compiler, each once."""
    return list(dict.fromkeys(name for text in texts for name in _NAME.findall(text)))[:_MOST_NAMES]
