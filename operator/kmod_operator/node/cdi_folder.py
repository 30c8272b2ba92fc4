"""Keeps our file in the container runtime's folder as it should be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmod_operator.devices.cdi import cdi_file_name, cdi_spec
from kmod_operator.node.identity import Identity, identify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kmod_operator.devices.model import Description


class CdiFolder:
    """The file of one kind of devices. What is in it is known by having written it, never by reading."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._file = folder / cdi_file_name(kind)
        self._kind = kind
        self._identity: Identity | None = None
        self._content = ""
        self._known: dict[str, Description] = {}

    def write(self, devices: Mapping[str, Description]) -> None:
        """Make the file say these devices; does nothing where it does.

        Raises:
            OSError: it cannot be written; it says what it said before.
        """
        content = cdi_spec(self._kind, devices.items())
        if content == self._content and self._identity is not None and self._identity == identify(self._file):
            return
        fresh = self._file.with_name(f".{self._file.name}.new")
        fresh.unlink(missing_ok=True)
        # Made anew: what else lies there, a link or a pipe that nobody reads, is not written to and not waited for.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(fresh, flags, 0o644), "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)  # at once: the runtime never sees a half
        self._content, self._known, self._identity = content, dict(devices), identify(self._file)

    def unknown(self, devices: Mapping[str, Description]) -> list[str]:
        """Return which of these the runtime would not give a container: it knows what is in the file that we wrote."""
        if self._identity is None or self._identity != identify(self._file):
            return list(devices)
        return [
            name
            for name, description in devices.items()
            if not description.gives_something or self._known.get(name) != description
        ]
