"""Reads JSON that anybody may have written into models of what is expected."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

Base64 = Annotated[bytes, BeforeValidator(lambda text: base64.b64decode(text, validate=True))]


class Parsed(BaseModel):
    """Something out of a registry; what nobody asks for is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


_Model = TypeVar("_Model", bound=BaseModel)


def parse_json(model: type[_Model], content: bytes, what: str) -> _Model:
    """Return JSON as a model.

    Raises:
        FormatError: it is not JSON, or has another form; the sentence begins with "it is no" and ``what``.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise _wrong(error, what) from None


def parse_data(model: type[_Model], data: Mapping[str, Any], what: str) -> _Model:
    """Return what was JSON as a model; raises as ``parse_json``."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _wrong(error, what) from None


def _wrong(error: ValidationError, what: str) -> FormatError:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return FormatError(f"it is no {what}: {place + ': ' if place else ''}{first['msg']}"[:300])
