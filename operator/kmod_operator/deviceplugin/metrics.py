"""What a device plugin counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

from kmod_operator.node.metrics import LookMetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_PREFIX = "kmod_device_plugin"


class Metrics(LookMetrics):
    """Counters and gauges of one plugin."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__(_PREFIX, registry)
        self.allocations = Counter(
            f"{_PREFIX}_allocations", "Containers that asked", ["result"], registry=self.registry
        )
        self.registrations = Counter(f"{_PREFIX}_registrations", "Calls to kubelet", ["result"], registry=self.registry)
        for result in ("given", "refused"):
            self.allocations.labels(result)
        for result in ("taken", "failed"):
            self.registrations.labels(result)
