"""Failures once per cause and not once per kernel. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.errors import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cells that failed for the same cause; ``failure`` is that of the first of them."""

    failure: Failure
    cells: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.cells)


_VARIABLE_PARTS = (
    (re.compile(r"\b\d+\.\d+\.\d+[-+][\w.+~-]+"), "<kernel>"),
    (re.compile(r"\blinux-(headers|kbuild)-[\w.+~-]+"), r"linux-\1-<kernel>"),
    (re.compile(r"(/(?:usr/src/(?:kernels/|linux-)|lib/modules/)[^\s:]+):\d+(?::\d+)?"), r"\1"),
    (re.compile(r"/(?:var/)?tmp/[^\s/:'\"\]]+"), "<tmp>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{12,64}\b"), "<hex>"),
    (re.compile(r"\bmake\[\d+\]:"), "make:"),
    (re.compile(r"/\d+(?=/)"), "/<n>"),
    (re.compile(r"(\.k?o)\.\d+\b"), r"\1"),
)


def cluster(failures: Mapping[str, Failure]) -> list[Cluster]:
    """Group cells by cause, the most frequent first.

    Two cells have the same cause when class, code and detail agree after kernel versions, temporary paths,
    addresses and line numbers in the kernel's own headers are taken out; the driver's own file and line stay.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    for cell in sorted(failures):
        failure = failures[cell]
        groups.setdefault((failure.failure_class, failure.code, _signature(failure.detail)), []).append(cell)
    clusters = [Cluster(failure=failures[cells[0]], cells=tuple(cells)) for cells in groups.values()]
    return sorted(clusters, key=lambda each: (-each.count, each.failure.code, each.failure.detail, each.cells))


def _signature(detail: str) -> str:
    for pattern, replacement in _VARIABLE_PARTS:
        detail = pattern.sub(replacement, detail)
    return detail
