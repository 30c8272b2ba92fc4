"""What people want of a driver: the object of the vendor's kind, read. Pure.

The API server holds the object to the schema of the kind; what an older schema let in is held to its form here again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmod_operator.rollout.world import Object

_SHARE = re.compile(r"([1-9][0-9]?|100)%", re.ASCII)
_COUNT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_SECONDS = range(10, 7 * 24 * 3600 + 1)
FINALIZER = "unload"
"""Behind the vendor's group and a slash: the finalizer of the vendor's kind."""


class SpecError(Exception):
    """An object says what cannot be done; the message names the field and says what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Nodes that come first: those with these labels; the rest waits ``soak_s`` after the last of them."""

    selector: Mapping[str, str] = field(default_factory=dict)
    soak_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSpec:
    """An object of the vendor's kind.

    Attributes:
        name: of the object; also in our label of everything that is made for it.
        driver: which driver, of those that the operator was made for.
        version: which version of it.
        selector: labels of its nodes; empty: those that versions.yaml says.
        max_unavailable: nodes that may be in the middle of a step, or not well, at once: a number, or a share of the
            selected ones (``10%``, at least one).
        timeout_s: how long a node may take for one step.
        drain: pods that use the devices are evicted before the driver goes; else nodes are upgraded as administrators
            cordon (and drain) them.
        cluster_updates: ``Ignore``, ``Warn`` or ``HoldPools``.
        devices: whether the nodes' devices are told to kubelet, and awaited: ``DevicePlugin`` or ``None``.
        smoke: whether a device of each node is tried when a version arrives, where the driver has a test for it.
    """

    name: str
    uid: str
    generation: int
    driver: str
    version: str
    index_config_map: str = ""
    index_image: str = ""
    index_pull_secret: str = ""
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Object] = ()
    devices: str = "DevicePlugin"
    smoke: bool = True
    paused: bool = False
    max_unavailable: str = "10%"
    canary: Canary | None = None
    timeout_s: int = 900
    drain: bool = False
    drain_timeout_s: int = 600
    cluster_updates: str = "Warn"
    monitoring: bool = False
    is_deleted: bool = False
    deleted_at: str = ""
    has_finalizer: bool = False

    def budget(self, selected: int) -> int:
        """Return how many nodes may be in the middle of a step, or not well, of so many selected ones."""
        if self.max_unavailable.endswith("%"):
            return max(1, selected * int(self.max_unavailable[:-1]) // 100)
        return int(self.max_unavailable)


def read_spec(item: Object, group: str) -> DriverSpec:
    """Return what an object of the vendor's kind wants.

    Raises:
        SpecError: it cannot be done.
    """
    metadata, spec = _map(item, "metadata"), _map(item, "spec")
    driver, index = _map(spec, "driver", "spec."), _map(spec, "index", "spec.")
    rollout, devices = _map(spec, "rollout", "spec."), _map(spec, "devices", "spec.")
    drain = _map(rollout, "drain", "spec.rollout.")
    config_map, image = _text(index, "configMap", "spec.index."), _text(index, "image", "spec.index.")
    if bool(config_map) == bool(image):
        raise SpecError("spec.index names either a configMap or an image, and not both")
    return DriverSpec(
        name=_text(metadata, "name", "metadata.", needed=True),
        uid=_text(metadata, "uid", "metadata."),
        generation=_number(metadata, "generation", "metadata.", 0),
        driver=_text(driver, "name", "spec.driver.", needed=True),
        version=_text(driver, "version", "spec.driver.", needed=True),
        index_config_map=config_map,
        index_image=image,
        index_pull_secret=_text(index, "pullSecret", "spec.index."),
        selector=_labels(spec, "nodeSelector", "spec."),
        tolerations=_objects(spec, "tolerations", "spec."),
        devices=_choice(devices, "mode", "spec.devices.", ("DevicePlugin", "None")),
        smoke=_choice(devices, "smoke", "spec.devices.", ("Run", "None")) == "Run",
        paused=_truth(rollout, "paused", "spec.rollout."),
        max_unavailable=_share(rollout),
        canary=_canary(rollout),
        timeout_s=_number(rollout, "timeoutSeconds", "spec.rollout.", 900, _SECONDS),
        drain=_truth(drain, "enabled", "spec.rollout.drain."),
        drain_timeout_s=_number(drain, "timeoutSeconds", "spec.rollout.drain.", 600, _SECONDS),
        cluster_updates=_choice(
            _map(spec, "clusterUpdate", "spec."), "policy", "spec.clusterUpdate.", ("Warn", "Ignore", "HoldPools")
        ),
        monitoring=_truth(_map(spec, "monitoring", "spec."), "enabled", "spec.monitoring."),
        is_deleted=bool(metadata.get("deletionTimestamp")),
        deleted_at=_text(metadata, "deletionTimestamp", "metadata."),
        has_finalizer=f"{group}/{FINALIZER}" in (metadata.get("finalizers") or ()),
    )


def _canary(rollout: Mapping[str, Any]) -> Canary | None:
    found = _map(rollout, "canary", "spec.rollout.")
    if not found:
        return None
    selector = _labels(found, "nodeSelector", "spec.rollout.canary.")
    if not selector:
        raise SpecError("spec.rollout.canary.nodeSelector is absent: it says which nodes come first")
    return Canary(
        selector=selector, soak_s=_number(found, "soakSeconds", "spec.rollout.canary.", 600, range(_SECONDS.stop))
    )


def _share(rollout: Mapping[str, Any]) -> str:
    found = rollout.get("maxUnavailable", "10%")
    text = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    if not _SHARE.fullmatch(text) and not _COUNT.fullmatch(text):
        raise SpecError(
            f"spec.rollout.maxUnavailable is {found!r:.60}; it is a number of nodes, or a share such as '10%', not 0"
        )
    return text


def _map(data: Mapping[str, Any], name: str, where: str = "") -> Mapping[str, Any]:
    found = data.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SpecError(f"{where}{name} is {found!r:.60}, and no mapping")
    return found


def _text(data: Mapping[str, Any], name: str, where: str, *, needed: bool = False) -> str:
    found = data.get(name)
    if found is None and not needed:
        return ""
    if not isinstance(found, str) or (needed and not found):
        raise SpecError(f"{where}{name} is {'absent' if found is None else f'{found!r:.60}, and no text'}")
    return found


def _truth(data: Mapping[str, Any], name: str, where: str) -> bool:
    found = data.get(name, False)
    if not isinstance(found, bool):
        raise SpecError(f"{where}{name} is {found!r:.60}; it is true or false")
    return found


def _number(data: Mapping[str, Any], name: str, where: str, default: int, among: range = range(2**63)) -> int:
    found = data.get(name, default)
    if not isinstance(found, int) or isinstance(found, bool) or found not in among:
        raise SpecError(f"{where}{name} is {found!r:.60}; it is a number from {among.start} to {among.stop - 1}")
    return found


def _choice(data: Mapping[str, Any], name: str, where: str, values: Sequence[str]) -> str:
    found = data.get(name, values[0])
    if found not in values:
        raise SpecError(f"{where}{name} is {found!r:.60}; it is one of {', '.join(values)}")
    return str(found)


def _labels(data: Mapping[str, Any], name: str, where: str) -> Mapping[str, str]:
    found = _map(data, name, where)
    if wrong := [key for key, value in found.items() if not isinstance(value, str)]:
        raise SpecError(f"{where}{name}: the value of {wrong[0]!r:.60} is no text")
    return found


def _objects(data: Mapping[str, Any], name: str, where: str) -> Sequence[Object]:
    found = data.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SpecError(f"{where}{name} is {found!r:.60}, and no list of mappings")
    return list(found)
