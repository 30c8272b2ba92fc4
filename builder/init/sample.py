"""Puts a vendor's driver in the place of the sample's, in versions.yaml and in documents that show its names. Pure.

The engine is left alone: ``builder/``, ``operator/`` and ``tests/`` name the sample where they are about it, and its
source in ``kernel-module/`` stays as what the tests build. All is done to text, so that a diff shows what changed, and
comments stay where they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from builder.errors import FormatError
from builder.init.draft import emit_driver, scalar
from builder.init.known import OpenQuestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.init.known import DriverDraft

SAMPLE = "ptemplate"
SAMPLE_SOURCE = "kernel-module"
_SAMPLE_GROUP = "drivers.example.com"
_SAMPLE_VENDOR = "Example Corp"
_SAMPLE_CONTACT = "drivers@example.com"

DOCUMENTS = ("README.md", "docs", "pipelines")
"""Where else the sample's names stand for one's own: files, and folders whose Markdown and YAML is looked through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What takes the place of the sample's names."""

    driver: str
    vendor: str
    domain: str

    @property
    def group(self) -> str:
        return f"drivers.{self.domain}"

    @property
    def contact(self) -> str:
        return f"drivers@{self.domain}"

    @property
    def resource(self) -> str:
        return f"{self.group}/{self.driver}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class NameChange:
    """Something of a file that was changed: where (a key, or a number of places), from what, to what."""

    file: str
    place: str
    before: str
    after: str


def find_driver(data: Mapping[str, Any], *, name: str = "", source: str = "") -> int | None:
    """Return the number of the driver that has this name, or this source; None where there is none."""
    drivers = data.get("drivers")
    for number, entry in enumerate(drivers if isinstance(drivers, list) else ()):
        if isinstance(entry, dict) and (entry.get("name") == name if name else entry.get("source") == source):
            return number
    return None


def is_sample(data: Mapping[str, Any]) -> bool:
    """Tell whether a versions.yaml still builds the sample driver."""
    number = find_driver(data, name=SAMPLE)
    return number is not None and number == find_driver(data, source=SAMPLE_SOURCE)


def replace_driver(text: str, number: int, draft: DriverDraft) -> str:
    """Return versions.yaml with another entry in the place of a driver's, and of the comment right above it."""
    lines = text.splitlines(keepends=True)
    start, end = _lines_of(text, number)
    indent = len(lines[start]) - len(lines[start].lstrip(" "))
    while start and lines[start - 1].strip().startswith("#") and _indent(lines[start - 1]) == indent:
        start -= 1
    return "".join([*lines[:start], *_indented(emit_driver(draft), indent), *lines[end:]])


def add_driver(text: str, last: int, draft: DriverDraft) -> str:
    """Return versions.yaml with an entry behind the driver of that number."""
    lines = text.splitlines(keepends=True)
    start, end = _lines_of(text, last)
    return "".join([*lines[:end], "\n", *_indented(emit_driver(draft), _indent(lines[start])), *lines[end:]])


def _indented(entry: str, indent: int) -> list[str]:
    return [f"{' ' * indent}{line[2:]}" for line in entry.splitlines(keepends=True)]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _lines_of(text: str, number: int) -> tuple[int, int]:
    """Return the first line of a driver's entry, counted from 0, and the one behind its last.

    Raises:
        FormatError: it has no lines of its own. The message is the end of a sentence about the file.
    """
    entry = _find(_compose(text), ("drivers", number))
    lines = text.splitlines()
    start = entry.start_mark.line
    dash = lines[start].find("-")
    if lines[start][: entry.start_mark.column].strip() != "-":
        raise FormatError("does not have each driver behind a '-' in lines of its own")
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > dash):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return start, end


def _compose(text: str) -> yaml.Node:
    """Return a file that was read before, with the places of everything in it."""
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    if root is None:
        raise FormatError("is empty")
    return root


def _find(node: yaml.Node, path: Sequence[str | int]) -> yaml.Node:
    for word in path:
        if isinstance(node, yaml.MappingNode):
            node = next(value for key, value in node.value if key.value == word)
        elif isinstance(node, yaml.SequenceNode) and isinstance(word, int):
            node = node.value[word]
    return node


def rename_settings(text: str, data: Mapping[str, Any], names: Names) -> tuple[str, list[NameChange]]:
    """Return versions.yaml with the vendor's names in components and operator, and what was changed.

    Only values that are still the sample's are changed: an answer that somebody gave stays.
    """
    wanted = dict(_settings(data, names))
    root = _compose(text)
    changes = []
    edits = []
    for path, value in wanted.items():
        node = _find(root, path)
        edits.append((node.start_mark.index, node.end_mark.index, scalar(value)))
        place = "".join(f"[{word}]" if isinstance(word, int) else f".{word}" for word in path).removeprefix(".")
        changes.append(NameChange(file="versions.yaml", place=place, before=str(node.value), after=value))
    for start, end, value in sorted(edits, reverse=True):
        text = f"{text[:start]}{value}{text[end:]}"
    return text, changes


def _settings(data: Mapping[str, Any], names: Names) -> Iterator[tuple[tuple[str | int, ...], str]]:
    components = data.get("components")
    for number, entry in enumerate(components if isinstance(components, list) else ()):
        place: tuple[str | int, ...] = ("components", number)
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if isinstance(value, str) and (new := _in_setting(value, names)) != value and key not in {"name", "source"}:
                yield (*place, key), new
        plugin = entry.get("device_plugin") if isinstance(entry, dict) else None
        if isinstance(plugin, dict) and plugin.get("driver") == SAMPLE:
            yield (*place, "device_plugin", "driver"), names.driver
        if isinstance(plugin, dict) and plugin.get("resource") == f"{_SAMPLE_GROUP}/{SAMPLE}":
            yield (*place, "device_plugin", "resource"), names.resource
    operator = data.get("operator")
    if isinstance(operator, dict) and operator.get("group") == _SAMPLE_GROUP:
        yield ("operator", "group"), names.group


def _in_setting(text: str, names: Names) -> str:
    """Return a text of a component with the vendor's names; the sample's devices and drivers are called by its own."""
    text = text.replace(_SAMPLE_VENDOR, names.vendor).replace(_SAMPLE_CONTACT, names.contact)
    text = re.sub(r"\bwhich sample devices\b", f"which devices of {names.driver}", text)
    return re.sub(r"\bthe sample (devices|drivers)\b", rf"the \1 of {names.vendor}", text)


def ask_about_project(data: Mapping[str, Any]) -> Iterator[OpenQuestion]:
    """Yield what a fork has to answer beside its driver's entry, with the whole path of the key."""
    operator = data.get("operator")
    if isinstance(operator, dict) and "documentation" in operator:
        text = "Where can whoever gets an alert read docs/operator-files.md, or a page of yours with its headings?"
        yield OpenQuestion(key="operator.documentation", text=text, stands=str(operator["documentation"])[:200])
    components = data.get("components")
    for entry in components if isinstance(components, list) else ():
        plugin = entry.get("device_plugin") if isinstance(entry, dict) else None
        if isinstance(plugin, dict) and plugin.get("driver") == SAMPLE and "source" not in plugin:
            text = "Which class knows the devices that pods ask for (docs/devices.md)? If none are, take this out."
            key = f"components[{str(entry.get('name'))[:80]}].device_plugin.source"
            yield OpenQuestion(key=key, text=text, stands="the sample's, which finds no devices of yours")


# A name that is part of a path or of a longer name is that of something of the sample's own: a file, a module.
_WORDS = re.compile(
    rf"(?P<resource>(?<![\w/-]){re.escape(_SAMPLE_GROUP)}/{SAMPLE}(?![\w-]))"
    rf"|(?P<group>(?<![\w/-]){re.escape(_SAMPLE_GROUP)}(?![\w.-]))"
    rf"|(?P<driver>(?<![\w./-]){SAMPLE}(?=-index\b)|(?:(?<![\w./-])|(?<=/mycompany/)){SAMPLE}(?![\w./-]))"
    rf"|(?P<vendor>\b{_SAMPLE_VENDOR}\b)|(?P<contact>(?<![\w.]){re.escape(_SAMPLE_CONTACT)}(?![\w.-]))"
)


def rename_in_document(text: str, file: str, names: Names) -> tuple[str, list[NameChange]]:
    """Return a document with the vendor's names where the sample's stood for anybody's."""
    own = {
        "resource": names.resource, "group": names.group, "driver": names.driver, "vendor": names.vendor,
        "contact": names.contact,
    }  # fmt: skip
    counts: dict[tuple[str, str], int] = {}

    def put(match: re.Match[str]) -> str:
        after = own[match.lastgroup or ""]
        counts[match[0], after] = counts.get((match[0], after), 0) + 1
        return after

    text = _WORDS.sub(put, text)
    places = [
        NameChange(file=file, place="1 place" if number == 1 else f"{number} places", before=before, after=after)
        for (before, after), number in counts.items()
    ]
    return text, places
