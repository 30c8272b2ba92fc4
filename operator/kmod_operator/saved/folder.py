"""Reads objects out of files that somebody saved: of ``kubectl get -o json`` or ``-o yaml``, of a must-gather.

Such files come from strangers: no link is followed, nothing is waited for, and sizes have limits.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_operator.rollout.world import Object

_SUFFIXES = (".json", ".yaml", ".yml")
_MOST_FILES = 50_000
_MOST_BYTES = 128 << 20
_MOST_BYTES_OF_ALL = 1 << 30
_MOST_VALUES = 20_000_000
_DEEPEST = 100
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class SavedError(Exception):
    """What was saved cannot be read; the message names the file, and says why."""


def read_saved(place: Path) -> list[Object]:
    """Return all objects of a file, or of all files below a folder; those in lists one by one.

    Args:
        place: a file, or a folder; in it, files count that end in ``.json``, ``.yaml`` or ``.yml``.

    Raises:
        SavedError: a file cannot be read, or there is no object at all.
    """
    found: list[Object] = []
    left = _MOST_BYTES_OF_ALL
    for file in _files(place):
        content = _read(file, min(left, _MOST_BYTES))
        left -= len(content)
        found.extend(_objects(file, content))
    if not found:
        raise SavedError(f"{place} holds no object of a cluster in files that end in {', '.join(_SUFFIXES)}")
    return found


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    found: list[Path] = []
    for folder, folders, names in os.walk(place):
        folders.sort()
        found += [Path(folder, name) for name in sorted(names) if name.endswith(_SUFFIXES)]
        if len(found) > _MOST_FILES:
            raise SavedError(f"{place} holds more than {_MOST_FILES} files")
    return found


def _read(file: Path, most: int) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SavedError(f"{file} is no file")
            content = stream.read(most + 1)
    except OSError as error:
        raise SavedError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise SavedError(f"{file} is too large: a file has {_MOST_BYTES >> 20} MiB at most, and all {most >> 20} more")
    return content


def _objects(file: Path, content: bytes) -> Iterator[Object]:
    """Yield the objects of a file; one that a command left empty, as it failed, has none."""
    if not content.strip():
        return
    try:
        text = content.decode()
        documents = [json.loads(text)] if file.suffix == ".json" else list(yaml.load_all(text, Loader=_LOADER))
        _Measure(file).look(documents, 0)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise SavedError(f"{file} is neither JSON nor YAML that can be read: {words}") from error
    for document in documents:
        yield from _of_document(document)


def _of_document(document: Any) -> Iterator[Object]:
    if not isinstance(document, dict):
        return
    kind, items = document.get("kind"), document.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        # The parts of a list that a server made do not say what they are.
        own = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
        for item in items:
            yield from _of_document({**own, **item} if isinstance(item, dict) else item)
        return
    metadata = document.get("metadata")
    named = isinstance(metadata, dict) and isinstance(metadata.get("name"), str)
    if named and isinstance(kind, str) and isinstance(document.get("apiVersion"), str):
        yield document


class _Measure:
    """Holds what a file says to what JSON can say, and to a size: YAML's aliases make much of little."""

    def __init__(self, file: Path) -> None:
        self._file, self._left = file, _MOST_VALUES

    def look(self, value: Any, depth: int) -> None:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise SavedError(f"{self._file} holds more than {_MOST_VALUES} values, or is deeper than {_DEEPEST} levels")
        if isinstance(value, dict):
            for name, one in list(value.items()):
                if not isinstance(name, str):
                    value[str(name)] = value.pop(name)
                value[str(name)] = self._plain(one, depth)
        elif isinstance(value, list):
            for number, one in enumerate(value):
                value[number] = self._plain(one, depth)

    def _plain(self, value: Any, depth: int) -> Any:
        """Return a value as JSON has it: YAML makes times of words that look so."""
        self.look(value, depth + 1)
        if isinstance(value, str | int | float | dict | list) or value is None:
            return value
        isoformat = getattr(value, "isoformat", None)
        return str(isoformat() if isoformat else value)
