"""``exclude`` and ``known_bad``: combinations of a driver and kernels that are not built. Pure."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from builder.config.model.declaration import Declaration
from builder.config.model.names import Glob, Text


class Exclude(Declaration):
    """A combination that is not meant to exist."""

    kernel: Glob
    """Glob over kernel versions."""
    driver: Glob = "*"
    """Glob over driver names."""
    reason: Text
    """Why; shown in every plan."""


class KnownBad(Declaration):
    """A combination that is broken for now, with somebody who looks after it."""

    kernel: Glob
    """Glob over kernel versions."""
    driver: Glob = "*"
    """Glob over driver names."""
    reason: Text
    """What is wrong; shown in every plan."""
    owner: Text
    """Who looks after it."""
    expires: Annotated[date, Field(strict=False)]
    """Last day on which the entry is valid (YYYY-MM-DD); after it, the file is an error until somebody decides."""
