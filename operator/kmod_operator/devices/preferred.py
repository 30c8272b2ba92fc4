"""Which of several free devices a container gets: those near each other. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_NOWHERE = -1


def prefer(
    available: Collection[str], must: Collection[str], size: int, numa_of: Mapping[str, int | None]
) -> list[str]:
    """Return ``size`` names: all that must be, then those of the fewest NUMA nodes, packed where least is left over.

    A node that what must be is on comes first. Then the smallest node that has room for all that is missing, so that
    large ones stay whole; where none has, the largest. Names that are not available are never returned.

    Raises:
        ValueError: there are not so many; the message says how many.
    """
    chosen = list(dict.fromkeys(must))
    free = sorted(set(available) - set(chosen))
    if len(chosen) > size or len(chosen) + len(free) < size:
        raise ValueError(f"{size} devices are asked for, {len(chosen)} must be and {len(free)} more are free")
    near = Counter(_node(name, numa_of) for name in chosen)
    places: dict[int, list[str]] = defaultdict(list)
    for name in free:
        places[_node(name, numa_of)].append(name)
    while len(chosen) < size:
        missing = size - len(chosen)
        place = min(places, key=_order(places, near, missing))
        chosen += places.pop(place)[:missing]
    return chosen


def _node(name: str, numa_of: Mapping[str, int | None]) -> int:
    node = numa_of.get(name)
    return _NOWHERE if node is None else node


def _order(
    places: Mapping[int, list[str]], near: Mapping[int, int], missing: int
) -> Callable[[int], tuple[int, bool, int, int]]:
    def order(node: int) -> tuple[int, bool, int, int]:
        room = len(places[node])
        return (-near.get(node, 0), room < missing, room if room >= missing else -room, node)

    return order
