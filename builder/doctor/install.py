"""Installs what is missing, where this user may."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from builder.doctor.condition import Condition, State
from builder.doctor.tools import BOOT_TOOLS, CERTIFICATES, E2E_TOOLS, FIRMWARE, TEST_TOOLS, TOOLS, Tool
from builder.errors import HostError
from builder.host.run import Command, find_tool, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


_INSTALL_TIMEOUT_S = 1800.0


def install_missing(
    conditions: Iterable[Condition], *, say: Callable[[str], None], os_release: Path = Path("/etc/os-release")
) -> bool:
    """Install the tools that are missing; returns whether there was something to do.

    Raises:
        HostError: this user may not install, or the distribution is not known; the message has the command.
    """
    missing = {condition.name for condition in conditions if condition.status is State.MISSING}
    known = (*TOOLS, *TEST_TOOLS, *E2E_TOOLS, CERTIFICATES, *BOOT_TOOLS.values(), *FIRMWARE.values())
    tools = [tool for tool in known if tool.name in missing]
    if not tools:
        return False
    commands = install_commands(tools, _read_family(os_release))
    readable = " && ".join(" ".join(command) for command in commands)
    prefix = _become_root(readable)
    for command in commands:
        say(f"+ {' '.join(command)}")
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        run(Command(argv=(*prefix, *command), environment=environment, timeout_s=_INSTALL_TIMEOUT_S)).check()
    return True


def install_commands(tools: Sequence[Tool], family: str) -> list[tuple[str, ...]]:
    """Return the commands that bring tools onto a distribution (family ``debian`` or ``fedora``)."""
    if family == "debian":
        packages = sorted({name for tool in tools for name in tool.debian.split()})
        return [("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends", *packages)]
    return [("dnf", "install", "-y", *sorted({name for tool in tools for name in tool.fedora.split()}))]


def _become_root(readable: str) -> tuple[str, ...]:
    if os.geteuid() == 0:
        return ()
    if find_tool("sudo") and run(Command(argv=("sudo", "-n", "true"))):
        return ("sudo", "-n")
    raise HostError("tools are missing and this user may not install them", hint=f"as root: {readable}")


def _read_family(os_release: Path) -> str:
    text = os_release.read_text(encoding="utf-8") if os_release.is_file() else ""
    names = " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)"?$', text, re.MULTILINE)).split()
    if {"debian", "ubuntu"} & set(names):
        return "debian"
    if {"fedora", "rhel", "centos"} & set(names):
        return "fedora"
    tools = ", ".join(tool.name for tool in TOOLS)
    raise HostError(
        f"{names[0] if names else 'this distribution'} is not one that the doctor can install on",
        hint=f"install these programs by its own means: {tools}",
    )
