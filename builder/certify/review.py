"""Holds every answer of the checklist against its evidence: images are read again, files and tests looked at again.

Nothing is believed because it was written down. What cannot be looked at now is unknown, and no answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from builder.build.prove import read_image
from builder.certify.image_facts import component_of, find_answer
from builder.certify.questions import QUESTIONS, ChecklistQuestion
from builder.certify.subjects import read_remote_image
from builder.errors import FormatError, SourceError, SourceGoneError, UsageError
from builder.host.places import open_inside
from builder.image.contents import LayerCache
from builder.image.labels import COMPONENT_LABEL
from builder.publish.result import LOCAL
from builder.pullspec import parse_pullspec
from builder.store.images import hold_store, list_images

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from builder.certify.checklist import AnswerEvidence, Checklist, ChecklistAnswer
    from builder.image.contents import ImageContents
    from builder.plan.project import Project
    from builder.store.images import Image

_LARGEST_FILE = 64 * 1024**2


class AnswerState(StrEnum):
    """Where a question stands; only the first two are answers.

    ``PROVEN``: evidence of the right kind was looked at, and holds. ``ATTESTED``: a person said it, not too long ago.
    """

    PROVEN = "proven"
    ATTESTED = "attested"
    OPEN = "open"
    EXPIRED = "expired"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


class EvidenceState(StrEnum):
    """What came of looking at evidence again. ``NOT_LOOKED_AT`` is a link: a person stands for it."""

    HOLDS = "holds"
    REFUTED = "refuted"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    NOT_LOOKED_AT = "not-looked-at"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedEvidence:
    """Evidence with what was seen: ``says`` is what it answers, empty where it answers nothing by itself."""

    name: str
    state: EvidenceState
    sentence: str
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedAnswer:
    """A question with its state and why; ``answer`` is what counts as its answer."""

    question: ChecklistQuestion
    state: AnswerState
    sentence: str
    answer: str = ""
    by: str = ""
    last_day: date | None = None
    evidence: tuple[ReviewedEvidence, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.state not in {AnswerState.PROVEN, AnswerState.ATTESTED}


def review_checklist(project: Project, checklist: Checklist, *, today: date) -> list[ReviewedAnswer]:
    """Look at all evidence again.

    Args:
        project: its versions.yaml, journal, registries and files.
        checklist: the answers.
        today: the day that dates are compared with.

    Raises:
        CommandError: the container store cannot be read.
    """
    lookout = _Lookout(project)
    with hold_store():
        return [_review(lookout, item, checklist.questions.get(item.id), today) for item in QUESTIONS]


def _review(
    lookout: _Lookout, question: ChecklistQuestion, given: ChecklistAnswer | None, today: date
) -> ReviewedAnswer:
    if given is None or not (given.answer or given.evidence):
        return ReviewedAnswer(question=question, state=AnswerState.OPEN, sentence="nobody and nothing answers it")
    seen = tuple(lookout.look(question, item) for item in given.evidence)
    state, sentence = _judge(question, given, seen, today)
    said = "; ".join(dict.fromkeys(item.says for item in seen if item.says))
    return ReviewedAnswer(
        question=question, state=state, sentence=sentence, answer=given.answer or said, by=given.by or "",
        last_day=given.last_day, evidence=seen,
    )  # fmt: skip


def _judge(
    question: ChecklistQuestion, given: ChecklistAnswer, seen: Sequence[ReviewedEvidence], today: date
) -> tuple[AnswerState, str]:
    """Return the state: what is wrong with any evidence counts more than what is right with another."""
    for evidence, state in (
        (EvidenceState.REFUTED, AnswerState.REFUTED),
        (EvidenceState.EXPIRED, AnswerState.EXPIRED),
        (EvidenceState.UNKNOWN, AnswerState.UNKNOWN),
    ):
        for item in seen:
            if item.state is evidence:
                return state, f"{item.name}: {item.sentence}"
    if any(item.says for item in seen):
        return AnswerState.PROVEN, "; ".join(item.sentence for item in seen if item.says)
    if given.last_day is None:
        need = f"an image that says it ({question.fact}), or " if question.fact else ""
        return AnswerState.OPEN, f"its evidence holds, and answers nothing: it needs {need}a person's answer"
    if given.last_day < today:
        return AnswerState.EXPIRED, f"{given.by} said it on {given.on}, which counted until {given.last_day}"
    return AnswerState.ATTESTED, f"{given.by} said it on {given.on}, which counts until {given.last_day}"


def plugins_of(project: Project) -> set[str]:
    """Return the names of the components that versions.yaml declares to be device plugins."""
    return {item.name for item in project.config.components if item.device_plugin}


class _Lookout:
    """Looks at evidence; each image is read once."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._layers = LayerCache()
        self._images: dict[str, ImageContents | ReviewedEvidence] = {}

    @cached_property
    def _stored(self) -> dict[str, Image]:
        return list_images()

    def look(self, question: ChecklistQuestion, item: AnswerEvidence) -> ReviewedEvidence:
        if item.image:
            return self._look_at_image(question, item, item.image)
        if item.test:
            return self._look_at_test(item, item.test)
        if item.file:
            return self._look_at_file(item, item.file)
        sentence = "nobody looks there: who answers stands for it"
        return ReviewedEvidence(name=item.link or "", state=EvidenceState.NOT_LOOKED_AT, sentence=sentence)

    def _look_at_image(self, question: ChecklistQuestion, item: AnswerEvidence, name: str) -> ReviewedEvidence:
        if name not in self._images:
            self._images[name] = self._read(name)
        found = self._images[name]
        if isinstance(found, ReviewedEvidence):
            return found
        if problem := self._why_outdated(found):
            return ReviewedEvidence(name=name, state=EvidenceState.EXPIRED, sentence=problem)
        if question.fact is None:
            return ReviewedEvidence(name=name, state=EvidenceState.HOLDS, sentence="it is there")
        says = find_answer(question.fact, found, plugins_of(self._project))
        if says is None:
            sentence = "it is there, and says nothing of this"
            return ReviewedEvidence(name=name, state=EvidenceState.REFUTED, sentence=sentence)
        if item.says and item.says != says:
            sentence = f"it says {says!r}, and the answer was given for {item.says!r}"
            return ReviewedEvidence(name=name, state=EvidenceState.REFUTED, sentence=sentence, says=says)
        return ReviewedEvidence(name=name, state=EvidenceState.HOLDS, sentence=f"read in {name}", says=says)

    def _read(self, name: str) -> ImageContents | ReviewedEvidence:
        """Return an image, or why there is none."""
        place = parse_pullspec(name)
        try:
            if not name.startswith(LOCAL):
                return read_remote_image(self._project, place, self._layers)
            stored = self._find_stored(place.reference)
            if stored is None:
                sentence = "the container store has no such image any more"
                return ReviewedEvidence(name=name, state=EvidenceState.EXPIRED, sentence=sentence)
            return read_image(stored, self._layers)
        except SourceGoneError:
            sentence = "its registry says that there is no such image any more"
            return ReviewedEvidence(name=name, state=EvidenceState.EXPIRED, sentence=sentence)
        except SourceError as error:
            return ReviewedEvidence(name=name, state=EvidenceState.UNKNOWN, sentence=error.message)
        except (FormatError, UsageError) as error:
            return ReviewedEvidence(name=name, state=EvidenceState.REFUTED, sentence=error.message)

    def _find_stored(self, digest: str) -> str | None:
        """Return the id of an image of the store by its digest there, or by that which it has in registries."""
        journal = self._project.journal
        known = [*journal.cells.values(), *journal.components.values()]
        digests = {digest, *(item.stored for item in known if item.digest == digest)}
        return next((image.id for image in self._stored.values() if image.digest in digests), None)

    def _why_outdated(self, image: ImageContents) -> str:
        """Say why an image says nothing of what is built now; empty where it does."""
        config = self._project.config
        name, version = image.labels.get("name", ""), image.labels.get("version", "")
        if COMPONENT_LABEL in image.labels:
            known = {item.name: item.version for item in config.components}
            name = component_of(image)
        else:
            known = {item.name: item.version for item in config.drivers}
        if name not in known:
            return f"it is of {name or 'nobody knows what'}, which versions.yaml does not have"
        if version != known[name]:
            return f"it is of version {version} of {name}, and versions.yaml has {known[name]}"
        return ""

    def _look_at_test(self, item: AnswerEvidence, cell: str) -> ReviewedEvidence:
        boot, built = self._project.journal.boots.get(cell), self._project.journal.cells.get(cell)
        if boot is None:
            sentence = f"no boot test of {cell} is on record in {self._project.work_dir}"
            return ReviewedEvidence(name=cell, state=EvidenceState.UNKNOWN, sentence=sentence)
        if not boot.passed:
            sentence = f"its boot test of {boot.finished} failed: {boot.code}"
            return ReviewedEvidence(name=cell, state=EvidenceState.REFUTED, sentence=sentence)
        wanted = item.digest or (built.digest if built else "")
        if boot.digest != wanted:
            sentence = (
                f"the test that passed was of {boot.digest or 'no known image'}, not of {wanted or 'what is built now'}"
            )
            return ReviewedEvidence(name=cell, state=EvidenceState.EXPIRED, sentence=sentence)
        return ReviewedEvidence(
            name=cell, state=EvidenceState.HOLDS, sentence=f"it passed on {boot.finished}, {boot.mode}"
        )

    def _look_at_file(self, item: AnswerEvidence, name: str) -> ReviewedEvidence:
        try:
            with open_inside(self._project.file.parent, name, most=_LARGEST_FILE) as stream:
                found = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        except FormatError as error:
            return ReviewedEvidence(name=name, state=EvidenceState.REFUTED, sentence=f"it {error.message}")
        if found != item.digest:
            sentence = f"its content changed since: it is {found} now"
            return ReviewedEvidence(name=name, state=EvidenceState.EXPIRED, sentence=sentence)
        return ReviewedEvidence(
            name=name, state=EvidenceState.HOLDS, sentence="its content is that which was answered for"
        )
