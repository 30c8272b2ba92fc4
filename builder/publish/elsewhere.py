"""Asks registries whether other machines published cells already, so that they need not be built here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from builder.attest.simple_signing import is_signed_as
from builder.errors import FormatError, SourceError
from builder.plan import Elsewhere
from builder.publish.attachments import Attachments
from builder.publish.image_signer import read_image_key
from builder.publish.publisher import read_standing
from builder.publish.result import LOCAL
from builder.pull import open_registries
from builder.pullspec import parse_pullspec
from builder.upload import Uploader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.plan import Decision
    from builder.project import Project

_AT_ONCE = 16


def find_elsewhere(project: Project, decisions: Iterable[Decision]) -> dict[str, Elsewhere]:
    """Return what registries say of cells with keys, by cell id; cells that no registry has are not in it.

    Only an image of the same inputs counts; where versions.yaml names a signer, only one that it signed.
    """
    wanted = [(item, item.image) for item in decisions if item.key and not item.image.startswith(LOCAL)]
    if not wanted:
        return {}
    key = read_image_key(project.config)
    registry = open_registries(project.config.registry, project.file.parent, project.cache_dir).registry

    def ask(pair: tuple[Decision, str]) -> Elsewhere | None:
        decision, name = pair
        place = parse_pullspec(name)
        try:
            standing = read_standing(registry, uploader, place)
            if standing is None or standing.key != decision.key:
                return None
            signatures = attachments.signatures(place.at(standing.digest)) if key else []
        except (SourceError, FormatError) as error:
            return Elsewhere(problem=error.message)
        is_good = key is None or is_signed_as(signatures, name, standing.digest, [key])
        return Elsewhere(digest=standing.digest) if is_good else None

    with closing(registry), ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="elsewhere") as pool:
        uploader = Uploader(registry, actions="pull")
        attachments = Attachments(registry, uploader)
        answers = list(pool.map(ask, wanted))
    pairs = zip(wanted, answers, strict=True)
    return {decision.cell.id: answer for (decision, _), answer in pairs if answer is not None}
