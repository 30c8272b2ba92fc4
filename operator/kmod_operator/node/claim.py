"""Who of several instances on a node works."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Claim:
    """One instance works at a time: while a DaemonSet is rolled out, two are there, and would take each other's socket.

    A lock ends with its process, however that ends. It lies in the runtime's folder, because kubelet empties its own
    when it starts.
    """

    def __init__(self, file: Path, trouble: Callable[[str, str], None]) -> None:
        self._file = file
        self._trouble = trouble
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_ours(self) -> bool:
        """Tell whether this is the instance that works; asked again and again until it is."""
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._trouble("claim", f"{self._file} cannot be opened: {error}")
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            self._trouble("claim", "another instance serves this resource on this node; this one waits until it ends")
            return False
        self._trouble("claim", "")
        self._descriptor = descriptor
        return True
