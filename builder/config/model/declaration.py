"""What every declaration of versions.yaml is made with: a strict model, forms with words, complaints. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


def complain(sentence: str) -> PydanticCustomError:
    """Return what a validator raises to tell whoever wrote the file a whole sentence; ``translate`` passes it on."""
    return PydanticCustomError("kmodsmith", "{sentence}", {"sentence": sentence})


FORMS: dict[str, str] = {}
"""What each pattern of the models asks for, in words: those who write the file need not read regular expressions."""


def form(pattern: str, words: str, **more: Any) -> Any:
    """Return a field that must fit a pattern, and keep what that is in words."""
    FORMS[pattern] = words
    return Field(pattern=pattern, **more)


class Declaration(BaseModel):
    """A mapping of versions.yaml: no other keys, and of each value the type that is declared; nothing is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
