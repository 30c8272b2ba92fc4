"""Reads JSON that anybody may have written: within bounds, as plain data or as a model of what is expected. Pure.

No other module parses JSON (a test holds it), so what hostile JSON can do is answered here once: nesting, numbers of
thousands of digits, NaN, text that no file can hold, and values of another kind than expected.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_JSON = 64 * 1024**2


def _decode_base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 is text")  # noqa: TRY004 - pydantic takes no TypeError for an answer
    return base64.b64decode(text, validate=True)


Base64 = Annotated[bytes, BeforeValidator(_decode_base64)]


class Parsed(BaseModel):
    """Something out of a registry; what nobody asks for is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=BaseModel)


def read_value(content: bytes | str, what: str, *, largest: int = LARGEST_JSON, names_once: bool = False) -> Any:
    """Return any JSON value.

    Args:
        content: it.
        what: it is, for sentences.
        largest: bytes that it may have.
        names_once: no name may stand twice in an object: of two, programs take the first, the last, or parts of both.

    Raises:
        FormatError: it is larger than it may be, or not JSON; the sentence begins with ``what``.
    """
    if len(content) > largest:
        raise FormatError(f"{what} has {len(content)} bytes, more than it may have")
    try:
        hook = _refuse_repeated if names_once else None
        data = json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=hook)
        if "\\u" in content if isinstance(content, str) else b"\\u" in content:
            json.dumps(data, ensure_ascii=False).encode()  # halves of characters: no file and no terminal takes them
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not JSON: {error}"[:300]) from None
    return data


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"name {name[:100]!r} stands twice")
        found[name] = value
    return found


def pick_object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object inside of another.

    Raises:
        FormatError: there is none under the key.
    """
    value = data.get(key)
    if not isinstance(value, dict):
        raise FormatError(f"its {key} is missing")
    return value


def read_json(
    content: bytes | str, what: str, *, largest: int = LARGEST_JSON, names_once: bool = False
) -> dict[str, Any]:
    """Return a JSON object; raises as ``read_value``, and where it is another value."""
    data = read_value(content, what, largest=largest, names_once=names_once)
    if not isinstance(data, dict):
        raise FormatError(f"{what} is not a JSON object")
    return data


def parse_json(model: type[_Model], content: bytes | str, what: str) -> _Model:
    """Return JSON as a model.

    Raises:
        FormatError: it is not JSON, or has another form; the sentence begins with "it is no" and ``what``.
    """
    try:
        data = read_json(content, "it")
    except FormatError as error:
        raise FormatError(f"it is no {what}: {error.message}") from None
    return parse_data(model, data, what)


def parse_data(model: type[_Model], data: object, what: str) -> _Model:
    """Return what was JSON as a model; raises as ``parse_json``."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise FormatError(f"it is no {what}: {_first(error)}"[:300]) from None


def parse_with(adapter: TypeAdapter[_T], data: object, what: str) -> _T:
    """Return what was JSON as a dataclass; raises as ``parse_json``."""
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise FormatError(f"it is no {what}: {_first(error)}"[:300]) from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place + ': ' if place else ''}{first['msg']}"
