"""Asks registries whether other machines published cells already, so that they need not be built here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from builder.errors import FormatError, SourceError
from builder.plan.decide import Elsewhere
from builder.publish.reading import open_reader
from builder.publish.result import LOCAL
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.plan.decide import Decision
    from builder.plan.project import Project
    from builder.publish.reading import RegistryReader

_AT_ONCE = 16


def find_elsewhere(project: Project, decisions: Iterable[Decision]) -> dict[str, Elsewhere]:
    """Return what registries say of cells with keys, by cell id; cells that no registry has are not in it.

    Only an image of the same inputs counts; where versions.yaml names a signer, only one that it signed.
    """
    wanted = [item for item in decisions if item.key and not item.image.startswith(LOCAL)]
    if not wanted:
        return {}
    with open_reader(project) as reader, ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="elsewhere") as pool:
        answers = list(pool.map(lambda decision: _ask(reader, decision), wanted))
    pairs = zip(wanted, answers, strict=True)
    return {decision.cell.id: answer for decision, answer in pairs if answer is not None}


def _ask(reader: RegistryReader, decision: Decision) -> Elsewhere | None:
    place = parse_pullspec(decision.image)
    try:
        there = reader.read_tag(place)
        if there is None or there.key != decision.key or there.is_list:
            return None
        if not reader.is_signed(place, there.digest):
            return None
    except (SourceError, FormatError) as error:
        return Elsewhere(problem=error.message)
    return Elsewhere(digest=there.digest)
