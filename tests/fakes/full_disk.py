"""Disks that are full, in the middle of a line too."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import TYPE_CHECKING

import pytest

from builder.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def room(file: Path, more: int) -> Iterator[None]:
    """Let files grow by so many bytes over what this one has: the kernel takes a part, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tear(file: Path, monkeypatch: pytest.MonkeyPatch, append: Callable[[], object]) -> None:
    """Leave half a line, as a disk that takes no change at all or a kill does."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", lambda *_: None)
        with room(file, 40), pytest.raises((OSError, HostError)):
            append()
    assert not file.read_bytes().endswith(b"\n")
