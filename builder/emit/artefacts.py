"""The table of what can be emitted: a name, one line about it, and the module that has its ``ARTEFACT``. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    summary: str
    module: str


ARTEFACTS: Mapping[str, Row] = {
    "device-plugin": Row(
        summary="what tells kubelet of a driver's devices, without privilege",
        module="builder.emit.deviceplugin.artefact",
    ),
    "kmm": Row(summary="what the Kernel Module Management operator needs", module="builder.emit.kmm.artefact"),
    "nfd": Row(summary="what labels the nodes that a driver is for", module="builder.emit.nfd.artefact"),
    "policy": Row(summary="what lets only signed images run", module="builder.emit.policy.artefact"),
}
