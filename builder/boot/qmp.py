"""QEMU's machine protocol: one line of JSON after the other, without ever waiting (docs/interop/qmp-spec.txt). Pure.

Who reads a console must not wait for QEMU: a guest that has something to say would wait for both. So commands are put
into a queue, and what QEMU says is taken as it comes. What a guest does can make QEMU say more, but nothing else.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builder.errors import FormatError
from builder.foreign import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_LINE = 64 * 1024
_MOST_BYTES = 4 * 1024**2
_LONGEST_SHOWN = 200
# QEMU says so while a port blinks: for five seconds after somebody pressed its button (hw/pci/pcie.c).
_BUSY = "guest is busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    after_deleted: str = ""
    """The device that QEMU must have let go of before."""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.name, self.arguments.get("id", "")]))


class Conversation:
    """What was asked of QEMU, what it said, and what is to be sent to it next; see ``take`` and ``next_line``."""

    def __init__(self) -> None:
        self._commands: deque[_Command] = deque()
        self._asked: _Command | None = None
        self._number = 0
        self._pending = b""
        self._taken = 0
        self._has_greeted = False
        self._deleted: set[str] = set()

    @property
    def waits_for(self) -> str:
        """What QEMU has yet to do, in words; empty where nothing."""
        if self._asked is not None:
            return f"answer {self._asked}"
        if not self._commands:
            return ""
        device = self._commands[0].after_deleted
        is_held = device and device not in self._deleted
        return f"let go of {device}" if is_held else f"carry out {self._commands[0]}"

    def unplug(self, device: str) -> None:
        """Take a device from the guest."""
        self._deleted.discard(device)
        self._queue(_Command(name="device_del", arguments={"id": device}))

    def plug(self, arguments: Mapping[str, str]) -> None:
        """Give a device to the guest that was taken from it, as soon as it let go."""
        self._queue(_Command(name="device_add", arguments=arguments, after_deleted=arguments["id"]))

    def _queue(self, command: _Command) -> None:
        if not self._number and not self._commands:
            self._commands.append(_Command(name="qmp_capabilities"))
        self._commands.append(command)

    def next_line(self) -> bytes:
        """Return what is to be sent now; empty where it is QEMU's turn."""
        if self._asked is not None or not self._has_greeted or not self._commands:
            return b""
        device = self._commands[0].after_deleted
        if device and device not in self._deleted:
            return b""
        self._asked = self._commands.popleft()
        self._number += 1
        asked = {"execute": self._asked.name, "arguments": dict(self._asked.arguments), "id": self._number}
        return json.dumps(asked).encode() + b"\n"

    def take(self, data: bytes) -> None:
        """Take what QEMU said.

        Raises:
            FormatError: it is nothing that QEMU says, too much of it, or a refusal; a sentence.
        """
        self._taken += len(data)
        *lines, self._pending = (self._pending + data).split(b"\n")
        if self._taken > _MOST_BYTES or len(self._pending) > _LONGEST_LINE:
            raise FormatError(f"QEMU says more than {_MOST_BYTES} bytes on its monitor, or a line without an end")
        for line in lines:
            if line.strip():
                self._take_message(read_json(line, "what QEMU says on its monitor", largest=_LONGEST_LINE))

    def _take_message(self, message: Mapping[str, Any]) -> None:
        if "QMP" in message:
            self._has_greeted = True
        elif "event" in message:
            self._take_event(message)
        elif self._asked is not None and message.get("id") == self._number and {"return", "error"} & message.keys():
            asked, self._asked = self._asked, None
            if "error" in message:
                self._take_refusal(asked, message["error"])
        else:
            raise FormatError("what QEMU says on its monitor answers nothing that it was asked")

    def _take_event(self, message: Mapping[str, Any]) -> None:
        data = message.get("data")
        device = data.get("device") if isinstance(data, dict) else None
        if message["event"] == "DEVICE_DELETED" and isinstance(device, str):
            self._deleted.add(device)

    def _take_refusal(self, asked: _Command, error: object) -> None:
        described = error.get("desc") if isinstance(error, dict) else None
        reason = described if isinstance(described, str) else "it does not say why"
        if _BUSY in reason:
            self._commands.appendleft(asked)
            return
        raise FormatError(f"QEMU refuses {asked}: {reason[:_LONGEST_SHOWN]}")
