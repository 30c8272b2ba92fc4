"""The one class that a partner writes: which devices there are, whether each is well, and what a container gets.

Every method is called again and again, in a thread of its own and with a limit of time; none keeps anything open. What
one raises is told, and makes the device (or all, if ``discover`` raised) unhealthy: what is not known is not healthy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kmod_operator.devices.model import Description, Device, Health


class DeviceSource(Protocol):
    """Made once, with the root of the file system that the kernel shows devices in: ``/`` but in tests."""

    def discover(self) -> Iterable[Device]:
        """Return the devices that are there now; asked every other second, so it only looks."""

    def check(self, device: Device) -> Health:
        """Return how well a device is: by a real answer of the device, not by the name of a file."""

    def describe(self, device: Device) -> Description:
        """Return what a container gets with it."""

    # A class may also have ``try_out(device)``: a real try of a device in a container that was given it, which raises
    # where it does not work. Smoke tests ask for it (``trying.py``).


class NoSourceError(Exception):
    """The setting names no class; the message says why."""


def load_source(name: str, root: Path) -> DeviceSource:
    """Return the source that ``module:Class`` names.

    Raises:
        NoSourceError: there is no such class.
    """
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name.isidentifier():
        raise NoSourceError(f"{name!r} is not of the form 'module:Class'")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a partner's module runs when it is loaded, and may raise anything
        raise NoSourceError(f"{name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    missing = [word for word in ("discover", "check", "describe") if not callable(getattr(found, word, None))]
    if missing or not callable(found):
        raise NoSourceError(f"{name!r} is no source of devices: it has no {', '.join(missing)}")
    try:
        return cast("DeviceSource", found(root))
    except Exception as error:
        raise NoSourceError(f"{name!r} cannot be made: {type(error).__name__}: {error}") from error
