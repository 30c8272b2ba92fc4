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
_MODES = ("Auto", "DevicePlugin", "DRA")
# A node's name in the API, and a driver's: the first as kubelet takes it, the second shorter.
_NODE = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_LONGEST_NODE = 253
_LONGEST_DRIVER = 63
_MOST_REPLICAS = 1024
_LONGEST_SOCKET = 107


class SettingError(Exception):
    """A variable of the environment has no usable value; the message names it and says what would be one."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of what tells of devices on a node.

    Attributes:
        resource: what pods ask for, ``vendor.example/class``; where devices are shared, kubelet knows it with
            ``.shared`` behind it.
        source: the class that knows the devices, ``module:Class``.
        injection: ``cdi``: the runtime reads our file; ``nodes``: kubelet is told the device files itself, for runtimes
            that do not know the Container Device Interface.
        replicas: how many pods share a device.
        mode: ``DevicePlugin``, ``DRA``, or ``Auto``: DRA where the cluster has it.
        node: this node's name in the cluster; for DRA.
        scan_s: seconds from one look to the next.
        good_looks: good looks in a row that make an unwell device well.
        plugin_dir: kubelet's folder of device plugins.
        registry_dir: kubelet's folder of all other plugins.
        cdi_dir: the runtime's folder.
        root: where /sys is; another folder in tests.
        port: of metrics and health, on all addresses of the pod.
    """

    resource: str
    source: str = "kmod_operator.devices.ptemplate:PtemplateDevices"
    injection: str = "cdi"
    replicas: int = 1
    mode: str = "DevicePlugin"
    node: str = ""
    scan_s: float = 2.0
    good_looks: int = 3
    plugin_dir: Path = Path("/var/lib/kubelet/device-plugins")
    registry_dir: Path = Path("/var/lib/kubelet/plugins_registry")
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
    def driver(self) -> str:
        """The name of the driver of dynamic resources: ``class.vendor.example`` of ``vendor.example/class``."""
        domain, _, name = self.resource.partition("/")
        return f"{name.lower().replace('_', '-')}.{domain}"

    @property
    def registry_socket(self) -> Path:
        """Where kubelet finds the driver of dynamic resources."""
        return self.registry_dir / f"{self.driver}.sock"

    @property
    def claim_file(self) -> Path:
        """What says who of several instances works, in whatever mode: a device is told of once."""
        return self.cdi_dir / f".{self.resource.replace('/', '_')}.sock.lock"


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """Settings of what works for the whole cluster.

    Attributes:
        templates: file that says what the operator was made for.
        namespace: the operator's own.
        pod: its own name, by which it holds the Lease.
        port: of metrics and health, on all addresses of the pod.
    """

    templates: Path
    namespace: str
    pod: str
    port: int = 8080


@dataclass(frozen=True, kw_only=True)
class ExplainSettings:
    """Settings of who explains.

    Attributes:
        namespace: the operator's own.
        templates: file that says what the operator was made for, in its pod; None elsewhere: the cluster has it.
    """

    namespace: str
    templates: Path | None = None


def read_explain_settings(environment: Mapping[str, str]) -> ExplainSettings:
    """Return what is said of the operator that is to be explained, in its pod or elsewhere.

    Raises:
        SettingError: a value cannot be used, or there is no ``KMOD_NAMESPACE``.
    """
    known = _known(environment)
    templates = _folder(known, "KMOD_TEMPLATES", Path("/"), "file") if "KMOD_TEMPLATES" in known else None
    return ExplainSettings(namespace=_namespace(known), templates=templates)


def read_operator_settings(environment: Mapping[str, str]) -> OperatorSettings:
    """Return what variables that begin with ``KMOD_`` say of the operator.

    Raises:
        SettingError: a value cannot be used, or is absent.
    """
    known = _known(environment)
    for name, what in (
        ("KMOD_TEMPLATES", "the file that says what the operator was made for"),
        ("KMOD_POD", "the pod's own name: metadata.name of the pod"),
    ):
        if name not in known:
            raise SettingError(f"{name} is absent; it is {what}")
    namespace, pod = _namespace(known), known["KMOD_POD"]
    if not (_NODE.fullmatch(pod) and len(pod) <= _LONGEST_NODE):
        raise SettingError(f"KMOD_POD is {pod!r:.300}; it is the name of a pod")
    return OperatorSettings(
        templates=_folder(known, "KMOD_TEMPLATES", Path(), "file"),
        namespace=namespace,
        pod=pod,
        port=_number(known, "KMOD_LISTEN", OperatorSettings.port, 0, 65535),
    )


def read_source(environment: Mapping[str, str]) -> str:
    """Return which class knows the devices."""
    return _known(environment).get("KMOD_SOURCE", Settings.source)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return what variables that begin with ``KMOD_`` say; those that are absent or empty have a default.

    Raises:
        SettingError: a value cannot be used, or there is no ``KMOD_RESOURCE``.
    """
    known = _known(environment)
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
        mode=known.get("KMOD_MODE", Settings.mode),
        node=known.get("KMOD_NODE", Settings.node),
        plugin_dir=_folder(known, "KMOD_PLUGIN_DIR", Settings.plugin_dir),
        registry_dir=_folder(known, "KMOD_REGISTRY_DIR", Settings.registry_dir),
        cdi_dir=_folder(known, "KMOD_CDI_DIR", Settings.cdi_dir),
        root=_folder(known, "KMOD_ROOT", Settings.root),
        port=_number(known, "KMOD_LISTEN", Settings.port, 0, 65535),
    )
    _check_mode(settings)
    for socket in (settings.socket, *([settings.registry_socket] if settings.mode != "DevicePlugin" else ())):
        if len(os.fsencode(socket)) > _LONGEST_SOCKET:
            raise SettingError(f"KMOD_RESOURCE is too long: the kernel takes no socket of the name {socket}")
    return settings


def _known(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value.strip() for name, value in environment.items() if name.startswith("KMOD_") and value.strip()}


def _namespace(known: Mapping[str, str]) -> str:
    namespace = known.get("KMOD_NAMESPACE", "")
    if not namespace:
        words = "the operator's own namespace: metadata.namespace of the pod"
        raise SettingError(f"KMOD_NAMESPACE is absent; it is {words}")
    if not re.fullmatch(_LABEL, namespace, re.ASCII):
        raise SettingError(f"KMOD_NAMESPACE is {namespace!r:.300}; it is the name of a namespace")
    return namespace


def _check_mode(settings: Settings) -> None:
    if settings.mode not in _MODES:
        raise SettingError(f"KMOD_MODE is {settings.mode!r}; it is one of {', '.join(_MODES)}")
    if settings.node and not (_NODE.fullmatch(settings.node) and len(settings.node) <= _LONGEST_NODE):
        raise SettingError(f"KMOD_NODE is {settings.node!r:.300}; it is this node's name in the cluster")
    if settings.mode == "DevicePlugin":
        return
    if not settings.node:
        raise SettingError(
            f"KMOD_NODE is absent; KMOD_MODE={settings.mode} needs this node's name: spec.nodeName of the pod"
        )
    longer = len(settings.driver) > _LONGEST_DRIVER
    for is_so, words in (
        (settings.replicas > 1, f"KMOD_REPLICAS is {settings.replicas}; only a device plugin shares devices"),
        (settings.injection != "cdi", "KMOD_INJECTION is 'nodes'; only a device plugin gives devices without CDI"),
        (
            longer,
            f"KMOD_RESOURCE is too long: a driver's name, {settings.driver}, has {_LONGEST_DRIVER} characters at most",
        ),
    ):
        if is_so:
            raise SettingError(f"{words}: set KMOD_MODE=DevicePlugin")


def _number(known: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = known.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):  # noqa: PLR2004
        raise SettingError(f"{name} is {text!r}; it is a number from {least} to {most}")
    return int(text)


def _folder(known: Mapping[str, str], name: str, default: Path, what: str = "folder") -> Path:
    path = Path(known.get(name, str(default)))
    if not path.is_absolute():
        raise SettingError(f"{name} is {str(path)!r}; it is a {what}'s whole path")
    return path
