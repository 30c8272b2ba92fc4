"""Turns what pydantic says of a versions.yaml into sentences that its author understands. Pure."""

from __future__ import annotations

import difflib
import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, get_args

from builder.config.model.boot import AllowedMessage, BootTest, BootTimeouts, ExpectedLoad, ParameterSet
from builder.config.model.build import BuildSettings
from builder.config.model.component import Component, Wheels
from builder.config.model.config import AnySource, Config
from builder.config.model.debian import DebianArchive
from builder.config.model.declaration import FORMS
from builder.config.model.device_plugin import DevicePlugin, SmokeTest
from builder.config.model.driver import Driver, Reuse, ToolkitImage
from builder.config.model.exclusions import Exclude, KnownBad
from builder.config.model.group import Group
from builder.config.model.kmm import InClusterBuild, KmmModule, Toleration
from builder.config.model.known_problem import KnownProblem
from builder.config.model.openshift import DropRelease
from builder.config.model.operator import OperatorSettings
from builder.config.model.publish import PublishSettings
from builder.config.model.registry import Mirror, RegistrySettings
from builder.config.model.signer import ImageSigner, Signer
from builder.config.model.tekton import TektonResources, TektonSettings, TektonTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from builder.config.yamlfile import YamlFile
    from builder.errors import Mistake

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
    path = tuple(part for part in problem["loc"] if part not in {"int", "str", "[key]"})
    if path[:1] == ("sources",):  # pydantic puts the provider into the path
        path = (*path[:2], *path[3:])
    match problem["type"]:
        case "missing":
            return document.mistake(path[:-1], f"{path[-1]!r} is required and missing")
        case "extra_forbidden":
            return document.mistake(path, f"is not a known key{_where_known(path)}", at_key=True)
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


def _translate_provider(document: YamlFile, path: tuple[str | int, ...], context: dict[str, Any]) -> Mistake:
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


_MODELS: dict[str, type[BaseModel]] = {
    "drivers": Driver,
    "components": Component,
    "registry": RegistrySettings,
    "publish": PublishSettings,
    "signers": Signer,
    "groups": Group,
    "exclude": Exclude,
    "known_bad": KnownBad,
    "known_problems": KnownProblem,
    "build": BuildSettings,
    "operator": OperatorSettings,
    "tekton": TektonSettings,
}


# Models of lists and mappings below others, by the key that they stand under.
_INNER_MODELS: dict[str, type[BaseModel]] = {
    "archives": DebianArchive,
    "drop": DropRelease,
    "signer": ImageSigner,
    "in_cluster_build": InClusterBuild,
    "tolerations": Toleration,
    "kmm": KmmModule,
    "boot": BootTest,
    "mirrors": Mirror,
    "reuse": Reuse,
    "toolkits": ToolkitImage,
    "timeouts": BootTimeouts,
    "minutes": TektonTimes,
    "resources": TektonResources,
    "allow": AllowedMessage,
    "wheels": Wheels,
    "device_plugin": DevicePlugin,
    "smoke_test": SmokeTest,
    "parameters": ParameterSet,
    "load": ExpectedLoad,
}


def _where_known(path: tuple[str | int, ...]) -> str:
    """Return what to do with a key that is not known at its place: it may be one of another place."""
    key = str(path[-1])
    if path[:1] == ("drivers",):
        for inner in ("boot", "kmm"):
            if inner not in path and key in _INNER_MODELS[inner].model_fields:
                return f": it belongs below {inner!r}"
    if path[:1] != ("drivers",) and path[:-1] and key in Config.model_fields:
        return ": it belongs to the outermost level"
    return _nearest(key, _fields_at(path[:-1]))


def _fields_at(path: tuple[str | int, ...]) -> list[str]:
    if not path:
        return list(Config.model_fields)
    if path[0] == "sources" and len(path) == 2:  # noqa: PLR2004 - of whichever provider
        return [field for kind in get_args(AnySource) for field in kind.model_fields]
    inner = (_INNER_MODELS[str(part)] for part in reversed(path) if part in _INNER_MODELS)
    return list(next(inner, _MODELS[str(path[0])]).model_fields)
