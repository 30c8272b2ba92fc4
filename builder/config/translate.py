"""Turns what pydantic says of a versions.yaml into sentences that its author understands. Pure."""

from __future__ import annotations

import difflib
import re
from datetime import date, datetime
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from builder.config.model.config import Config
from builder.config.model.declaration import FORMS, Declaration
from builder.config.model.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails

    from builder.config.yamlfile import YamlFile
    from builder.errors import Mistake

_Place = tuple[str | int, ...]
_LONGEST_SHOWN = 60
_A_DATE = "a date such as 2027-03-31"
# What people write for our words: the spelling that is nearest is another one's ('amd64' is near to 'aarch64').
_OTHER_WORDS = {
    "amd64": "x86_64", "x86-64": "x86_64", "x64": "x86_64", "arm64": "aarch64", "armv8": "aarch64",
    "realtime": "rt", "real-time": "rt", "preempt_rt": "rt", "default": "standard", "64kpages": "64k",
    "rhel": "openshift", "ocp": "openshift", "scos": "okd", "ubuntu": "debian",
    "zstd": "zst", "gzip": "gz", "sha-256": "sha256",
}  # fmt: skip


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Say that something of a kind does not exist, and which was probably meant."""
    return f"there is no {kind} {word!r}{_nearest(word, known)}"


def translate(problems: Sequence[ErrorDetails], document: YamlFile) -> Iterator[Mistake]:
    """Yield a mistake for each problem of the file; those that only follow from others are left out."""
    for problem in problems:
        if not _is_consequence(problem, problems):
            yield _translate(problem, document)


def _nearest(word: str, known: Iterable[str]) -> str:
    words = sorted(known)
    meant = [other] if (other := _OTHER_WORDS.get(word.lower())) in words else []
    near = meant or difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else f"; known: {', '.join(words) or 'none'}"


def _is_consequence(problem: ErrorDetails, problems: Sequence[ErrorDetails]) -> bool:
    """A list is not too short when it only lost the members that are reported themselves."""
    path = problem["loc"]
    return problem["type"] == "too_short" and any(
        other["loc"][: len(path)] == path and len(other["loc"]) > len(path) for other in problems
    )


def _translate(problem: ErrorDetails, document: YamlFile) -> Mistake:
    path, declaration = _find_place(problem)
    match problem["type"]:
        case "missing":
            return document.mistake(path[:-1], f"{path[-1]!r} is required and missing")
        case "extra_forbidden":
            return document.mistake(path, f"is not a known key{_where_known(path, declaration)}", at_key=True)
        case "union_tag_not_found" | "union_tag_invalid":
            return _translate_provider(document, path, problem.get("ctx", {}))
    return document.mistake(path, _describe(problem["type"], problem["input"], problem.get("ctx", {}), problem["msg"]))


def _describe(kind: str, value: object, context: dict[str, Any], message: str) -> str:
    if kind == "string_type" and isinstance(value, int | float | date):
        read_as = "it as true or false" if isinstance(value, bool) else f"{value} as a {_kind_of(value)}"
        return f"must be text, but YAML reads {read_as}: put it in quotes"
    if kind == "tuple_type" and isinstance(value, str) and 0 < len(value) <= _LONGEST_SHOWN:
        return f"must be a list, not text: write [{value if value.isalnum() else repr(value)}]"
    if kind in _WRONG_KIND:
        return f"must be {_WRONG_KIND[kind]}, not {_show(value)}"
    if kind in _SENTENCES:
        return _SENTENCES[kind](value, context)
    return message[:1].lower() + message[1:]


def _describe_choice(value: object, context: dict[str, Any]) -> str:
    known = re.findall(r"'([^']*)'", str(context["expected"]))
    return f"{_show(value)} is not allowed{_nearest(str(value), known)}"


def _describe_form(value: object, context: dict[str, Any]) -> str:
    words = FORMS.get(str(context["pattern"]), str(context["pattern"]))
    return f"{_show(value)} does not have the right form: it is {words}"


_SENTENCES: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "kmodsmith": lambda _, context: str(context["sentence"]),
    "enum": _describe_choice,
    "literal_error": _describe_choice,
    "string_pattern_mismatch": _describe_form,
    "too_short": lambda _value, _: "is empty: it needs at least one",
    "string_too_short": lambda _value, _: "is empty",
    "string_too_long": lambda value, context: (
        f"has {len(value)} characters, and at most {context['max_length']} are allowed"
    ),
    "greater_than_equal": lambda value, context: f"must be at least {context['ge']}, not {_show(value)}",
    "less_than_equal": lambda value, context: f"must be at most {context['le']}, not {_show(value)}",
    "date_from_datetime_inexact": lambda _value, _: f"must be {_A_DATE}, without a time",
}


def _translate_provider(document: YamlFile, path: _Place, context: dict[str, Any]) -> Mistake:
    if "tag" not in context:
        return document.mistake(path, "'provider' is required and missing")
    known = re.findall(r"'([^']*)'", str(context["expected_tags"]))
    sentence = f"{context['tag']!r} is not allowed{_nearest(str(context['tag']), known)}"
    return document.mistake((*path, "provider"), sentence)


_WRONG_KIND = {
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "date_type": _A_DATE,
    "date_from_datetime_parsing": _A_DATE,
    "date_parsing": _A_DATE,
}


def _show(value: object) -> str:
    """Return a value as its author wrote it, or what it is, where it is more than a word."""
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}...")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return (
        str(value) if isinstance(value, int | float | date) and len(str(value)) <= _LONGEST_SHOWN else _kind_of(value)
    )


def _kind_of(value: object) -> str:
    if value is None:
        return "nothing"
    names = {bool: "true or false", int: "number", float: "number", str: "text", dict: "a mapping", tuple: "a list"}
    return names.get(type(value), "date" if isinstance(value, date) else type(value).__name__)


def _find_place(problem: ErrorDetails) -> tuple[_Place, type[Declaration]]:
    """Return where a problem is in the file, and the declaration that the last key on the way there is one of.

    pydantic puts in between which member of a union it tried, and that it is about a key: words that may as well be
    names that the author gave, so that only the declarations tell which they are.
    """
    loc = problem["loc"]
    if loc[-1:] == ("[key]",) and problem["type"] != "extra_forbidden":
        loc = loc[:-1]
    path: list[str | int] = []
    found: type[Declaration] = Config
    kind: Any = Config
    for part in loc:
        kind = _without_words(kind)
        if isinstance(kind, type) and issubclass(kind, Declaration):
            found = kind
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        elif get_origin(kind) in {tuple, dict}:
            kind = get_args(kind)[0 if get_origin(kind) is tuple else 1]
        else:
            kind = next((member for member in get_args(kind) if _is_of_provider(member, part)), None)
            continue
        path.append(part)
    return tuple(path), found


def _without_words(kind: Any) -> Any:
    """Return a type without what is said of it, and without the nothing that may stand in its place."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, UnionType}:
        members = [member for member in get_args(kind) if member is not type(None)]
        return _without_words(members[0]) if len(members) == 1 else kind
    return kind


def _is_of_provider(member: Any, provider: str | int) -> bool:
    is_declared = isinstance(member, type) and issubclass(member, Declaration)
    return is_declared and provider in get_args(member.model_fields["provider"].annotation)


def _where_known(path: _Place, declaration: type[Declaration]) -> str:
    """Return what to do with a key that is not known at its place: it may be one of another place."""
    key = str(path[-1])
    if path[:1] == ("drivers",):
        for inner in ("boot", "kmm"):
            kind = Driver.model_fields[inner].annotation
            if path[2:3] != (inner,) and kind and key in kind.model_fields:
                return f": it belongs below {inner!r}"
    if path[:1] != ("drivers",) and path[:-1] and key in Config.model_fields:
        return ": it belongs to the outermost level"
    return _nearest(key, declaration.model_fields)
