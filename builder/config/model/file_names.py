"""Files that versions.yaml names: nothing is looked up here, ``config/load.py`` does that. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from builder.config.model.declaration import complain

_LONGEST_NAME, _LONGEST_PATH = 255, 1024  # NAME_MAX of Linux; of PATH_MAX, a part is the project's own


def _check_no_space(text: str) -> str:
    if re.search(r"\s|[;&|$`<>\"'\\]", text) or not text.isprintable():
        raise complain(f"{text!r} holds a space or a character that shells treat specially")
    return text


def _check_path(text: str) -> str:
    parts = [part.encode(errors="surrogatepass") for part in text.split("/")]
    if "\0" in text or max(map(len, parts)) > _LONGEST_NAME or len(text.encode(errors="surrogatepass")) > _LONGEST_PATH:
        raise complain(f"{text[:60]!r}... is no name that a file can have: it is too long, or holds a NUL")
    return text


FileName = Annotated[str, Field(min_length=1), AfterValidator(_check_path)]
RelativeFile = Annotated[FileName, AfterValidator(_check_no_space)]
DEFAULT_LICENSES = ("LICENSE",)
