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
    "index": Row(
        summary="each driver's signed index as a ConfigMap, for sites without a registry",
        module="builder.emit.index.artefact",
    ),
    "kmm": Row(summary="what the Kernel Module Management operator needs", module="builder.emit.kmm.artefact"),
    "monitoring": Row(
        summary="what Prometheus reads of the operator, alerts and dashboards",
        module="builder.emit.monitoring.artefact",
    ),
    "nfd": Row(summary="what labels the nodes that a driver is for", module="builder.emit.nfd.artefact"),
    "operator": Row(
        summary="what installs the operator: plain files, bundle, catalog, chart",
        module="builder.emit.operator.artefact",
    ),
    "policy": Row(summary="what lets only signed images run", module="builder.emit.policy.artefact"),
    "tekton": Row(summary="pipelines that carry out the same plan on a cluster", module="builder.emit.tekton.artefact"),
}
