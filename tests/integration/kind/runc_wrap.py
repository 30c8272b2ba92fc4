#!/usr/bin/env python3
"""runc, asked for no more than this machine has.

An engine asks for every capability, and for rights over the memory killer, where a container is privileged. A machine
that is a guest itself may withhold some from everybody; runc then fails instead of giving what there is. What is taken
away here is what the machine withholds anyway.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

_NAMES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]


def main(arguments: list[str]) -> None:
    allowed = _allowed(Path("/proc/self/status").read_text())
    if "create" in arguments or "run" in arguments:
        _mend(Path(_value(arguments, "--bundle", "-b") or ".", "config.json"), allowed, inside="process")
    if process := _value(arguments, "--process", "-p"):
        _mend(Path(process), allowed)
    os.execvp("runc", ["runc", *arguments])


def _allowed(status: str) -> set[str]:
    bits = int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
    return {f"CAP_{name}" for number, name in enumerate(_NAMES) if bits >> number & 1}


def _value(arguments: list[str], *names: str) -> str:
    for number, word in enumerate(arguments):
        name, _, value = word.partition("=")
        if name in names:
            return value or arguments[number + 1]
    return ""


def _mend(file: Path, allowed: set[str], inside: str = "") -> None:
    data = json.loads(file.read_text())
    process: dict[str, Any] = data[inside] if inside else data
    sets = process.get("capabilities") or {}
    for name, wanted in sets.items():
        sets[name] = [capability for capability in wanted if capability in allowed]
    if (process.get("oomScoreAdj") or 0) < 0 and "CAP_SYS_RESOURCE" not in allowed:
        process["oomScoreAdj"] = 0
    file.write_text(json.dumps(data))


if __name__ == "__main__":
    main(sys.argv[1:])
