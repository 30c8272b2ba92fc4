"""What the environment says: names, places, how often. A fork changes these, and no code."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The vendor's domain and the device's class, as kubelet and the Container Device Interface both take them.
_RESOURCE = re.compile(rf"({_LABEL}(?:\.{_LABEL})*)/([A-Za-z0-9](?:[A-Za-z0-9_-]{{0,52}}[A-Za-z0-9])?)", re.ASCII)
_INJECTIONS = ("cdi", "nodes")
_MOST_REPLICAS = 1024
_LONGEST_SOCKET = 107


class SettingError(Exception):
    """A variable of the environment has no usable value; the message names it and says what would be one."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a device plugin.

    Attributes:
        resource: what pods ask for, ``vendor.example/class``; where devices are shared, kubelet knows it with
            ``.shared`` behind it.
        source: the class that knows the devices, ``module:Class``.
        injection: ``cdi``: the runtime reads our file; ``nodes``: kubelet is told the device files itself, for runtimes
            that do not know the Container Device Interface.
        replicas: how many pods share a device.
        scan_s: seconds from one look to the next.
        good_looks: good looks in a row that make an unwell device well.
        plugin_dir: kubelet's folder of sockets.
        cdi_dir: the runtime's folder.
        root: where /sys is; another folder in tests.
        port: of metrics and health, on all addresses of the pod.
    """

    resource: str
    source: str = "kmod_operator.devices.ptemplate:PtemplateDevices"
    injection: str = "cdi"
    replicas: int = 1
    scan_s: float = 2.0
    good_looks: int = 3
    plugin_dir: Path = Path("/var/lib/kubelet/device-plugins")
    cdi_dir: Path = Path("/var/run/cdi")
    root: Path = Path("/")
    port: int = 8080

    @property
    def told_resource(self) -> str:
        """The name that kubelet is told."""
        return self.resource if self.replicas == 1 else f"{self.resource}.shared"

    @property
    def socket_name(self) -> str:
        """The name of our socket in kubelet's folder."""
        return f"{self.told_resource.replace('/', '_')}.sock"

    @property
    def socket(self) -> Path:
        """Where kubelet finds us."""
        return self.plugin_dir / self.socket_name

    @property
    def claim_file(self) -> Path:
        """What says who of several instances works, in whatever mode: a device is told of once."""
        return self.cdi_dir / f".{self.resource.replace('/', '_')}.sock.lock"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return what variables that begin with ``KMOD_`` say; those that are absent or empty have a default.

    Raises:
        SettingError: a value cannot be used, or there is no ``KMOD_RESOURCE``.
    """
    known = {name: value.strip() for name, value in environment.items() if name.startswith("KMOD_") and value.strip()}
    resource = known.get("KMOD_RESOURCE", "")
    if not _RESOURCE.fullmatch(resource):
        raise SettingError(
            f"KMOD_RESOURCE is {resource!r}; it names what pods ask for, like 'drivers.example.com/ptemplate'"
        )
    injection = known.get("KMOD_INJECTION", Settings.injection)
    if injection not in _INJECTIONS:
        raise SettingError(f"KMOD_INJECTION is {injection!r}; it is one of {', '.join(_INJECTIONS)}")
    settings = Settings(
        resource=resource,
        source=known.get("KMOD_SOURCE", Settings.source),
        injection=injection,
        replicas=_number(known, "KMOD_REPLICAS", Settings.replicas, 1, _MOST_REPLICAS),
        scan_s=_number(known, "KMOD_SCAN_SECONDS", int(Settings.scan_s), 1, 3600),
        good_looks=_number(known, "KMOD_GOOD_LOOKS", Settings.good_looks, 1, 1000),
        plugin_dir=_folder(known, "KMOD_PLUGIN_DIR", Settings.plugin_dir),
        cdi_dir=_folder(known, "KMOD_CDI_DIR", Settings.cdi_dir),
        root=_folder(known, "KMOD_ROOT", Settings.root),
        port=_number(known, "KMOD_LISTEN", Settings.port, 0, 65535),
    )
    if len(os.fsencode(settings.socket)) > _LONGEST_SOCKET:
        raise SettingError(f"KMOD_RESOURCE is too long: the kernel takes no socket of the name {settings.socket}")
    return settings


def _number(known: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = known.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):  # noqa: PLR2004
        raise SettingError(f"{name} is {text!r}; it is a number from {least} to {most}")
    return int(text)


def _folder(known: Mapping[str, str], name: str, default: Path) -> Path:
    path = Path(known.get(name, str(default)))
    if not path.is_absolute():
        raise SettingError(f"{name} is {str(path)!r}; it is a folder's whole path")
    return path
