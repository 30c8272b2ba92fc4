"""Reads and writes ``versions.lock.yaml``: ``discover`` writes it, people review it as a diff."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, create_model

from builder.config.yamlfile import refuse_tricks
from builder.errors import ConfigError, FormatError, LockFileError
from builder.host.places import open_regular, replace_file
from builder.sources.lock import Lock, LockedModel
from builder.sources.lock_cache import keep, recall
from builder.sources.table import LOCKED

if TYPE_CHECKING:
    from pathlib import Path

LOCK_FILE_NAME = "versions.lock.yaml"
_LARGEST = 64 * 1024**2
_ADVICE = "run 'nox -s discover' to write it anew, or restore it from version control"

# What a source's part looks like depends on its provider, and only the table knows those that there are.
_any_source: Any = reduce(or_, LOCKED)
_sources: Any = dict[str, Annotated[_any_source, Field(discriminator="provider")]]
_Content = create_model(
    "_Content", __base__=LockedModel, format=(Literal[1], 1), sources=(_sources, Field(default_factory=dict))
)


def read_lock(file: Path, kept_in: Path | None = None) -> Lock:
    """Read and check a lock file; what its YAML says is kept in a folder, for the next time.

    Raises:
        LockFileError: the file is missing, is not YAML, or does not have the shape that ``discover`` writes.
    """
    lock = _parse(_read_text(file), file, kept_in)
    _check_references(lock, file)
    return lock


def _read_text(file: Path) -> str:
    try:
        with open_regular(file, most=_LARGEST) as stream:
            return stream.read(_LARGEST).decode("utf-8")
    except FileNotFoundError:
        raise LockFileError(f"{file} does not exist", hint="run 'nox -s discover' to write it") from None
    except FormatError as error:
        raise LockFileError(f"{file} {error.message}", hint=_ADVICE) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LockFileError(f"{file} cannot be read: {error}", hint=_ADVICE) from error


def _parse(text: str, file: Path, kept_in: Path | None) -> Lock:
    try:
        if "&" in text or "!" in text:  # anchors, whose aliases the models would unfold each time again, and tags
            refuse_tricks(file, text)
        data = recall(kept_in, text) if kept_in else None
        if data is None:
            data = yaml.load(text, Loader=yaml.CSafeLoader) or {}
            if kept_in:
                keep(kept_in, text, data)
        content = _Content.model_validate(data)
    except ConfigError as error:
        raise LockFileError(f"{error.mistakes[0]}", hint=_ADVICE) from None
    except ValidationError as error:
        raise _wrong_place(file, error) from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise LockFileError(f"{file} is not YAML: {error}"[:1000], hint=_ADVICE) from error
    return Lock(sources=getattr(content, "sources"))  # noqa: B009 - the model is made at run time


def _wrong_place(file: Path, error: ValidationError) -> LockFileError:
    first = error.errors()[0]
    parts = [*map(str, first["loc"])]
    if parts[:1] == ["sources"]:  # pydantic puts the provider into the place, or leaves it out
        parts = [*parts[:2], *(parts[3:] if len(parts) > 2 else ["provider"])]  # noqa: PLR2004
    if parts[-1:] == ["[key]"]:  # the message names the key
        parts = parts[:-2]
    return LockFileError(f"{file} at {'.'.join(parts)[:500]}: {first['msg']}", hint=_ADVICE)


def _check_references(lock: Lock, file: Path) -> None:
    for name, source in lock.sources.items():
        for broken in source.broken_references():
            raise LockFileError(f"{file} at sources.{name}.{broken.place}: {broken.sentence}", hint=_ADVICE)


def write_lock(lock: Lock, file: Path) -> None:
    """Write a lock in its one canonical form, in one step, so that a killed run leaves the old file whole."""
    replace_file(file, format_lock(lock).encode())


def format_lock(lock: Lock) -> str:
    """Return the canonical text: sorted, one line for a package and for a kernel, so that diffs are small."""
    lines = [
        "# Written by 'discover'; review it as a diff, do not edit it. What it means: builder/sources/lock.py.",
        f"format: {lock.format}",
        "sources:" if lock.sources else "sources: {}",
    ]
    for name, source in sorted(lock.sources.items()):
        lines += [f"  {name}:", f"    provider: {source.provider}", f"    resolved: '{source.resolved}'"]
        lines += [f"    problem: {source.problem}"] if source.problem else []
        lines += source.lines()
    return "\n".join([*lines, ""])
