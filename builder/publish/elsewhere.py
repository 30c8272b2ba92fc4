"""Asks registries whether other machines published cells already, so that they need not be built here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from builder.errors import FormatError, SourceError
from builder.plan.decide import Elsewhere
from builder.publish.cells import name_cells
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from builder.plan.decide import Decision
    from builder.plan.matrix import Selector
    from builder.plan.project import Project
    from builder.publish.reading import RegistryReader

_AT_ONCE = 16


def find_elsewhere(project: Project, selector: Selector, decisions: Iterable[Decision]) -> dict[str, Elsewhere]:
    """Return what registries say of cells with keys, by cell id; cells that no registry has are not in it.

    Only an image of the same inputs counts, under each name that is the cell's own; where versions.yaml names a signer,
    only one that it signed. A machine that was killed between two names of an image left one without the other, and
    whoever makes the image again completes it.

    Raises:
        UsageError: cells of one architecture would share a tag.
    """
    wanted = [item for item in decisions if item.key and not item.image.startswith(LOCAL)]
    if not wanted:
        return {}
    names = name_cells(project, selector)
    return ask_registries(project, {item.cell.id: (item.key, names[item.cell.id].own) for item in wanted})


def ask_registries(project: Project, wanted: Mapping[str, tuple[str, Sequence[str]]]) -> dict[str, Elsewhere]:
    """Return what registries say of images by the keys of their inputs, and all the names that each is to have.

    Args:
        project: its signers and registries are meant.
        wanted: key and names, by an id that the answers have, too. An image without one of its names is none.
    """
    with open_reader(project) as reader, ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="elsewhere") as pool:
        answers = list(pool.map(lambda wish: _ask(reader, *wish), wanted.values()))
    return {name: answer for name, answer in zip(wanted, answers, strict=True) if answer is not None}


def _ask(reader: RegistryReader, key: str, names: Sequence[str]) -> Elsewhere | None:
    digests = set()
    try:
        for name in names:
            place = parse_pullspec(name)
            there = reader.read_tag(place)
            if there is None or there.key != key or there.is_list or not reader.is_signed(place, there.digest):
                return None
            digests.add(there.digest)
    except (SourceError, FormatError) as error:
        return Elsewhere(problem=error.message)
    return Elsewhere(digest=digests.pop()) if len(digests) == 1 else None
