"""Compares objects with the fields that KMM knows: a cluster drops unknown ones without a word. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.kmm.fields import Field, Kind
from builder.emit.kmm.problem import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from builder.emit.kmm.version import KmmVersion


def check_field(value: Any, known: Field, path: Path, version: KmmVersion) -> Iterator[Problem]:
    """Check kinds, unknown fields, fields that are too new, and missing ones; a cluster drops unknown ones silently."""
    if value is None and known.is_required:
        yield Problem(path=path[:-1], code="missing", message=f"{path[-1]!r} is required and missing")
    if value is None or known.kind is Kind.ANY:
        return
    if not _is_kind(value, known.kind):
        yield Problem(path=path, code="kind", message=f"must be {known.kind}{_quote_hint(value, known.kind)}")
        return
    if known.kind is Kind.LIST and known.item is not None:
        for number, item in enumerate(value):
            if item is None:
                yield Problem(path=(*path, number), code="kind", message=f"must be {known.item.kind}, not nothing")
            yield from check_field(item, known.item, (*path, number), version)
    if known.kind is Kind.OBJECT:
        yield from _check_object(value, known, path, version)


def _check_object(value: Mapping[str, Any], known: Field, path: Path, version: KmmVersion) -> Iterator[Problem]:
    for name in value:
        if name not in known.fields:
            yield Problem(path=(*path, name), code="unknown-field", message=f"is no field of KMM{_near(name, known)}")
        elif not version.has(known.fields[name].since):
            message = f"came with KMM {known.fields[name].since}; {version} drops it silently"
            yield Problem(path=(*path, name), code="too-new", message=message)
    for name, inner in known.fields.items():
        yield from check_field(value.get(name), inner, (*path, name), version)


def _is_kind(value: Any, kind: Kind) -> bool:
    match kind:
        case Kind.OBJECT:
            return isinstance(value, dict)
        case Kind.LIST:
            return isinstance(value, list)
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.BOOLEAN:
            return isinstance(value, bool)
        case Kind.NUMBER:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.LABELS:
            return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    return True


def _quote_hint(value: Any, kind: Kind) -> str:
    scalars = value.values() if isinstance(value, dict) else [value]
    wrong = [item for item in scalars if isinstance(item, bool | int | float)]
    return f": put {wrong[0]!r} in quotes" if wrong and kind in {Kind.TEXT, Kind.LABELS} else ""


def _near(name: str, known: Field) -> str:
    found = next((item for item in known.fields if item.lower() == name.lower()), None)
    return f": did you mean {found!r}?" if found else f"; known here: {', '.join(sorted(known.fields))}"
