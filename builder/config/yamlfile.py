"""Reads YAML that people write, keeping the place of everything, and refusing what only attackers need."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import yaml

from builder.errors import ConfigError, FormatError, Mistake, format_path
from builder.host.places import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Path_ = tuple[str | int, ...]
_MOST_BYTES = 1024 * 1024
_MOST_DEPTH = 40


@dataclass(frozen=True, slots=True)
class Mark:
    """1-based line and column."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class YamlFile:
    """A document as plain values, and where each value and each key of it stands."""

    file: Path
    data: Any
    places: dict[Path_, Mark] = field(default_factory=dict)
    key_places: dict[Path_, Mark] = field(default_factory=dict)

    def mistake(self, path: Path_, message: str, *, at_key: bool = False) -> Mistake:
        """Return a mistake at a path, or at the nearest thing around it that exists."""
        known = self.key_places if at_key and path in self.key_places else self.places
        nearest = next(path[:length] for length in range(len(path), -1, -1) if path[:length] in known or not length)
        place = known.get(nearest, Mark(1, 1))
        return Mistake(file=self.file, line=place.line, column=place.column, path=format_path(path), message=message)


def read_yaml(file: Path) -> YamlFile:
    """Read the one document of a file; raises as ``read_documents``, and where there are several."""
    documents = _compose(file, _read_text(file), yaml.compose)
    return documents[0]


def read_documents(file: Path) -> list[YamlFile]:
    """Read all documents of a file; empty ones are left out.

    Raises:
        ConfigError: unreadable, not UTF-8, larger than 1 MiB, not YAML, deeper than 40 levels, or with anchors,
            tags or duplicate keys. All duplicate keys are reported at once.
    """
    return [item for item in _compose(file, _read_text(file), yaml.compose_all) if item.data is not None]


def parse_documents(file: Path, content: bytes) -> tuple[list[YamlFile], list[Mistake]]:
    """Return what can be read of a file whose content was read already, as ``read_documents_leniently`` does."""
    try:
        if len(content) > _MOST_BYTES:
            raise _single(file, f"is larger than {_MOST_BYTES} bytes")
        text = _decode(file, content)
    except ConfigError as error:
        return [], list(error.mistakes)
    return _parse_leniently(file, text)


def read_documents_leniently(file: Path, *, follow: bool = True) -> tuple[list[YamlFile], list[Mistake]]:
    """Read what can be read of a file: a key that is given twice hides nothing but itself.

    Args:
        file: it.
        follow: whether it may be a link; in a folder that a stranger made it is none.

    Returns:
        The documents, and all mistakes of the file; of one that is no YAML there are only these.
    """
    try:
        text = _read_text(file, follow=follow)
    except ConfigError as error:
        return [], list(error.mistakes)
    return _parse_leniently(file, text)


def _parse_leniently(file: Path, text: str) -> tuple[list[YamlFile], list[Mistake]]:
    mistakes: list[Mistake] = []
    try:
        documents = _compose_all(file, text, yaml.compose_all, mistakes)
    except ConfigError as error:
        return [], list(error.mistakes)
    return [item for item in documents if item.data is not None], mistakes


def _read_text(file: Path, *, follow: bool = True) -> str:
    try:
        with open_regular(file, most=_MOST_BYTES, follow=follow) as stream:
            content = stream.read(_MOST_BYTES)
    except FormatError as error:
        raise _single(file, error.message) from None
    except FileNotFoundError:
        is_config = file.name == "versions.yaml"
        hint = "run from the folder of versions.yaml, or name it with --project" if is_config else None
        raise _single(file, "does not exist", hint=hint) from None
    except OSError as error:
        raise _single(file, f"cannot be read: {error.strerror}") from None
    return _decode(file, content)


def _decode(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _single(file, f"is not UTF-8: byte {error.start} is {content[error.start]:#04x}") from None


def _compose(file: Path, text: str, compose: Callable[..., Any]) -> list[YamlFile]:
    mistakes: list[Mistake] = []
    documents = _compose_all(file, text, compose, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return documents


def _compose_all(file: Path, text: str, compose: Callable[..., Any], mistakes: list[Mistake]) -> list[YamlFile]:
    documents = []
    try:
        refuse_tricks(file, text)
        composed = compose(text, Loader=yaml.CSafeLoader)
        for root in [composed] if composed is None or isinstance(composed, yaml.Node) else composed:
            result = YamlFile(file=file, data=None)
            data = _convert(root, (), result, mistakes)
            documents.append(replace(result, data=data))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = error.problem or "cannot be parsed"
        raise ConfigError(
            [Mistake(file=file, line=place[0], column=place[1], path="", message=_describe(text, place, problem))]
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _single(file, f"is not YAML: {' '.join(str(error).split())}") from None
    return documents


# What people mean by what YAML cannot read, by libyaml's words and, where it matters, the character that it stopped at.
_MEANT = (
    ("mapping values are not allowed", "", "a text with ': ' in it has to stand in quotes"),
    ("cannot start any token", "\t", "lines are indented with spaces, not with tabs"),
    ("cannot start any token", "@`%", "a text that begins with this character has to stand in quotes"),
    ("expected alphabetic or numeric character", "*&", "a text that begins with '*' or '&' has to stand in quotes"),
    ("expected '-' indicator", "", "the keys of an entry stand exactly below each other"),
    ("expected <block end>", "", "the keys of a mapping stand exactly below each other"),
    ("found another document", "", "one file holds one document: take out the line '---'"),
    ("expected node content", "", "a bracket is not closed"),
    ("expected ',' or", "", "a comma or a closing bracket is missing, maybe a line above"),
    ("unexpected end of stream", "", "a quotation mark is not closed"),
)


def _describe(text: str, place: tuple[int, int], problem: str) -> str:
    lines = text.splitlines()
    line = lines[place[0] - 1] if place[0] <= len(lines) else ""
    # The mark of an alias is behind its star.
    there = line[max(place[1] - 2, 0) : place[1]] if "alphabetic" in problem else line[place[1] - 1 : place[1]]
    for words, characters, meant in _MEANT:
        if words in problem and (not characters or any(character in there for character in characters)):
            return f"is not YAML: {problem}: {meant}"
    return f"is not YAML: {problem}"


def refuse_tricks(file: Path, text: str) -> None:
    """Walk the events: depth is bounded before anything recursive runs, and aliases are never expanded.

    Raises:
        ConfigError: it is deeper than 40 levels, or has anchors, aliases or tags.
        yaml.YAMLError: it is not YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        problem = _trick(event, depth)
        if problem:
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise ConfigError([Mistake(file=file, line=line, column=column, path="", message=problem)])


def _trick(event: yaml.Event, depth: int) -> str | None:
    if depth > _MOST_DEPTH:
        return f"is nested deeper than {_MOST_DEPTH} levels"
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases are not supported: write the value out"
    # Of a scalar it is a pair: whether the tag may be left out where it is plain, and where it is quoted.
    implicit = getattr(event, "implicit", True)
    if (tag := getattr(event, "tag", None)) and not (any(implicit) if isinstance(implicit, tuple) else implicit):
        return f"the tag {tag} is not supported: write a plain value"
    return None


def _convert(node: yaml.Node | None, path: Path_, result: YamlFile, mistakes: list[Mistake]) -> Any:
    if node is None:
        return None
    result.places[path] = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_convert(item, (*path, number), result, mistakes) for number, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return dict(_convert_items(node, path, result, mistakes))
    try:
        return _SCALARS.construct_object(node)
    except (ValueError, OverflowError) as error:  # a date that no calendar has, such as 2027-02-30
        mark = result.places[path]
        sentence = f"{str(node.value)[:60]!r} is not YAML: {error}; text belongs in quotes"
        mistakes.append(
            Mistake(file=result.file, line=mark.line, column=mark.column, path=format_path(path), message=sentence)
        )
        return None


def _convert_items(
    node: yaml.MappingNode, path: Path_, result: YamlFile, mistakes: list[Mistake]
) -> Iterator[tuple[str, Any]]:
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        place = Mark(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        below = (*path, key)
        if below in result.key_places:
            first = result.key_places[below].line
            mistakes.append(
                Mistake(
                    file=result.file, line=place.line, column=place.column, path=format_path(below),
                    message=f"is given twice, first in line {first}",
                )
            )  # fmt: skip
            continue
        result.key_places[below] = place
        yield key, _convert(value_node, below, result, mistakes)


def _single(file: Path, message: str, *, hint: str | None = None) -> ConfigError:
    return ConfigError([Mistake(file=file, line=1, column=1, path="", message=message)], hint=hint)


_SCALARS = yaml.SafeLoader("")
