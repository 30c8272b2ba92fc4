"""A QEMU that tells what its firmware selects, and answers on its monitor: in a thread, through the real descriptors."""

from __future__ import annotations

import json
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.boot.firmware_listener import FirmwareListener

STATE = b"the state of a machine"


def selection(item: int) -> str:
    return f"fw_cfg_select 0x5 key 0x{item:04x} 'x', ret: 1\n"


@dataclass
class FakeQemu:
    """``answers`` replaces what is answered to a command: a whole line, or bytes that are no answer."""

    answers: dict[str, bytes] = field(default_factory=dict)
    when: dict[str, Callable[[FakeQemu], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    written: int | None = None
    is_stopped: bool = True
    """Whether to wait until it may go on, or its monitor ends."""

    def run(self, listener: FirmwareListener, lines: list[str]) -> None:
        """Be the machine of a listener: take its descriptors, tell, answer, end."""
        words = list(listener.start.words)
        self.log = os.dup(int(words[words.index("-D") + 1].rpartition("/")[2]))
        monitor = next((word.rpartition("fd=")[2] for word in words if word.startswith("socket,")), "")
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(int(monitor))) if monitor else None
        listener.begin(os.getpid())
        answering = threading.Thread(target=self._answer, args=(mine,), daemon=True)
        answering.start()
        for line in lines:
            self.tell(line)
        if mine is not None and self.is_stopped:
            answering.join(20)
        os.close(self.log)

    def tell(self, text: str) -> None:
        os.write(self.log, text.encode())

    def _answer(self, mine: socket.socket | None) -> None:
        if mine is None:
            return
        with mine:
            mine.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\r\n{"timestamp": {}, "event": "RESUME"}\r\n')
            pending = b""
            while True:
                data, descriptors, _, _ = socket.recv_fds(mine, 4096, 1)
                *lines, pending = (pending + data).split(b"\n")
                if not data or not all(self._carry_out(mine, json.loads(line), descriptors) for line in lines):
                    return

    def _carry_out(self, mine: socket.socket, told: dict[str, Any], descriptors: list[int]) -> bool:
        command: str = told["execute"]
        self.asked.append(command)
        if action := self.when.get(command):
            action(self)
        if command == "getfd":
            self.written = descriptors[0]
        if command == "migrate" and self.written is not None:
            os.write(self.written, STATE)
            os.close(self.written)
        usual = b'{"return": {"status": "completed"}}' if command == "query-migrate" else b'{"return": {}}'
        if (answer := self.answers.get(command, usual)) == b"":
            mine.shutdown(socket.SHUT_RDWR)
            return False
        mine.sendall(answer + b"\r\n")
        return command != "cont"
