"""Tries the devices that this container was given: what a smoke test of the operator runs in a pod.

A container sees all devices of its node in sysfs, and has files of those alone that kubelet gave it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kmod_operator.devices.model import Device
    from kmod_operator.devices.source import DeviceSource


class TryError(Exception):
    """A device does not do what it is for, or there is none; the message is a sentence."""


def try_devices(source: DeviceSource, root: Path) -> list[str]:
    """Try each device that is here, and return their names.

    Args:
        source: the partner's class. Where it has a method ``try_out(device)``, that decides: what it raises is why the
            device does not work. Else a device works when its files can be opened.
        root: of the file system that devices' files are in.

    Raises:
        TryError: one does not work, or there is none.
    """
    known = list(source.discover())
    given = [(device, files) for device in known if (files := _files(source, device, root))]
    if not given:
        raise TryError(f"none of the {len(known)} devices of this node was given to this container")
    for device, files in given:
        try:
            if callable(try_out := getattr(source, "try_out", None)):
                try_out(device)
            else:
                _open(files)
        except Exception as error:  # a partner's method may raise anything
            raise TryError(f"{device.id} does not work: {str(error) or type(error).__name__}") from error
    return [device.id for device, _ in given]


def _files(source: DeviceSource, device: Device, root: Path) -> list[Path]:
    """Return a device's files, where all of them are here."""
    files = [root / node.path.lstrip("/") for node in source.describe(device).nodes]
    return files if files and all(_is_device(file) for file in files) else []


def _is_device(file: Path) -> bool:
    try:
        mode = file.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _open(files: list[Path]) -> None:
    for file in files:
        os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
