"""Makes a first ``checklist.yaml``: what images answer is answered by what is built, the rest is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.build.prove import read_image
from builder.certify.checklist import MOST_SAID
from builder.certify.image_facts import find_answer
from builder.certify.questions import QUESTIONS, ImageFact
from builder.certify.review import plugins_of
from builder.certify.subjects import list_built
from builder.components.decide import ComponentSelector
from builder.image.contents import LayerCache
from builder.plan.matrix import Selector
from builder.pullspec import parse_pullspec
from builder.store.images import hold_store
from builder.writing import emit_yaml

if TYPE_CHECKING:
    from builder.image.contents import ImageContents
    from builder.plan.project import Project

_HEAD = """\
# Answers to questions that a vendor is asked before certification; 'nox -s checklist' looks at all of them again.
# By evidence: image: NAME@sha256:..., test: CELL, file: PATH with digest: sha256:..., link: https://...
# By a person: answer: ..., by: Jo Doe <jo@example.com>, on: 2026-11-30; it counts for valid_days: 365
# yaml-language-server: $schema=checklist.schema.json
"""


def draft_checklist(project: Project) -> str:
    """Return the text of a file: evidence from one image of each driver and component that is built.

    Raises:
        FormatError: an image cannot be read.
        CommandError: the container store cannot.
    """
    images, plugins = _read_one_of_each(project), plugins_of(project)
    lines = [_HEAD, "questions:\n"]
    for question in QUESTIONS:
        found = _find_evidence(question.fact, images, plugins)
        lines.append(f"\n  # {question.text}\n")
        if found:
            text = emit_yaml({question.id: {"evidence": found}})
            lines += [f"  {line}\n" for line in text.splitlines()]
        else:
            lines.append(f"  {question.id}: {{}}\n")
    return "".join(lines)


def _find_evidence(fact: ImageFact | None, images: dict[str, ImageContents], plugins: set[str]) -> list[dict[str, str]]:
    if fact is None:
        return []
    answers = ((name, find_answer(fact, image, plugins)) for name, image in images.items())
    return [{"image": name, "says": says} for name, says in answers if says is not None and len(says) <= MOST_SAID]


def _read_one_of_each(project: Project) -> dict[str, ImageContents]:
    """Return an image of each driver and component, by its name with digest."""
    components = ComponentSelector() if project.config.components else None
    wanted, _ = list_built(project, Selector(), components)
    first = {owner: (stored, names, digest) for stored, names, digest, owner in reversed(wanted)}
    layers = LayerCache()
    with hold_store():
        found = {}
        for stored, names, digest in first.values():
            place = parse_pullspec(names[0])
            found[str(place.at(digest))] = read_image(stored, layers)
        return found
