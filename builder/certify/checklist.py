"""Reads ``checklist.yaml``: who or what answers each question, with every mistake of the file at its place."""

from __future__ import annotations

import difflib
from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from builder.certify.questions import BY_ID, QUESTIONS
from builder.config.yamlfile import read_yaml
from builder.errors import ConfigError, FormatError, Mistake
from builder.pullspec import parse_pullspec
from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from builder.config.yamlfile import YamlFile

CHECKLIST_NAME = "checklist.yaml"
MOST_SAID = 4000
"""Characters of an answer."""
_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_SAID)]
_KINDS = ("image", "test", "file", "link")
_SAID = ("answer", "by", "on")
"""What a person says goes together."""
_DIGEST = r"^sha256:[0-9a-f]{64}$"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class AnswerEvidence(_Part):
    """One thing that answers a question; exactly one of the first four says which."""

    image: _Line | None = None
    """An image by digest, ``localhost/...`` of this machine's store or of a registry: it is read again."""
    test: _Line | None = None
    """A cell whose boot test passed, as ``build`` names it; with ``digest``, of this very image."""
    file: _Line | None = None
    """A file of the project; with ``digest`` its content, and it is open again when that changes."""
    link: _Line | None = None
    """An address. Nobody looks there, so a person has to stand for it."""
    digest: Annotated[str, StringConstraints(pattern=_DIGEST)] | None = None
    """Of the file's content, or of the image that was tested."""
    says: _Line | None = None
    """What it said when the answer was given: where it says something else now, the answer is open again."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in _KINDS if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"must be one of image, test, file and link, and is {' and '.join(given) or 'none'}")
        if self.image:
            try:
                pinned = parse_pullspec(self.image).is_pinned
            except FormatError as error:
                raise ValueError(error.message) from None
            if not pinned:
                raise ValueError("names an image by a tag, which may move: name it by digest, NAME@sha256:...")
        if self.file and not self.digest:
            raise ValueError("names a file without its digest: what it says could change unseen")
        if self.link and not self.link.startswith(("https://", "http://")):
            raise ValueError("names a link that is no address: it begins with https://")
        return self


class ChecklistAnswer(_Part):
    """An answer: by evidence, by a person with name and date, or both."""

    answer: _Line | None = None
    """What a person says."""
    by: _Line | None = None
    """Who says it: name, and address of mail."""
    on: Annotated[date, Field(strict=False)] | None = None
    """When."""
    valid_days: Annotated[int, Field(ge=1, le=3650)] = 365
    """For how long what a person said counts; after that the question is open again."""
    evidence: Annotated[list[AnswerEvidence], Field(max_length=100)] = []
    """What answers it by itself, and is looked at again each time."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        person = [name for name in _SAID if getattr(self, name) is not None]
        missing = [name for name in _SAID if name not in person]
        if person and missing:
            raise ValueError(f"a person's answer has {', '.join(person)}, and lacks {', '.join(missing)}")
        if any(item.link for item in self.evidence) and not person:
            raise ValueError("a link is looked at by nobody here: a person has to answer beside it (answer, by, on)")
        return self

    @property
    def last_day(self) -> date | None:
        """The last day on which what a person said counts; None where no person said anything."""
        return self.on + timedelta(days=self.valid_days) if self.on else None


class Checklist(_Part):
    """``checklist.yaml``: answers by the question's id."""

    questions: Mapping[str, ChecklistAnswer] = {}
    """Answers by the question's id."""


SCHEMA_NAME = "checklist.schema.json"


def emit_checklist_schema() -> str:
    """Return the JSON schema (draft 2020-12) of checklist.yaml, for editors; questions are known by their ids."""
    schema = Checklist.model_json_schema()
    answers = schema["properties"]["questions"]
    answer = answers.pop("additionalProperties")
    answers["properties"] = {question.id: {**answer, "description": question.text} for question in QUESTIONS}
    answers["additionalProperties"] = False
    schema["$defs"][AnswerEvidence.__name__]["oneOf"] = [{"required": [name]} for name in _KINDS]
    schema["$defs"][ChecklistAnswer.__name__]["dependentRequired"] = {
        name: [other for other in _SAID if other != name] for name in _SAID
    }
    return emit_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def read_checklist(file: Path, *, today: date) -> Checklist:
    """Read the file.

    Raises:
        ConfigError: holds every mistake of it, each with its place.
    """
    document = read_yaml(file)
    data = document.data if document.data is not None else {}
    if not isinstance(data, dict):
        raise ConfigError([document.mistake((), "must be a mapping with questions")])
    try:
        found = Checklist.model_validate(data)
    except ValidationError as error:
        raise ConfigError([*_translate(error, document), *_check_ids(data, document)]) from None
    mistakes = [*_check_ids(data, document), *_check_dates(found, document, today)]
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _check_ids(data: Mapping[str, Any], document: YamlFile) -> Iterator[Mistake]:
    questions = data.get("questions")
    for name in questions if isinstance(questions, dict) else ():
        if name not in BY_ID:
            near = difflib.get_close_matches(str(name), BY_ID, n=1, cutoff=0.5)
            meant = f": did you mean {near[0]!r}?" if near else f"; known: {', '.join(BY_ID)}"
            yield document.mistake(("questions", name), f"is no question{meant}", at_key=True)


def _check_dates(found: Checklist, document: YamlFile, today: date) -> Iterator[Mistake]:
    for name, answer in found.questions.items():
        if answer.on and answer.on > today:
            yield document.mistake(("questions", name, "on"), f"{answer.on} is still to come")


def _translate(error: ValidationError, document: YamlFile) -> Iterator[Mistake]:
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        path, message = tuple(problem["loc"]), str(problem["msg"]).removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = _FIELDS.get(len(path), ())
            yield document.mistake(path, f"is not a known key; known: {', '.join(known)}", at_key=True)
        else:
            yield document.mistake(path, message[:1].lower() + message[1:])


_FIELDS = {
    1: tuple(Checklist.model_fields),
    3: tuple(ChecklistAnswer.model_fields),
    5: tuple(AnswerEvidence.model_fields),
}
