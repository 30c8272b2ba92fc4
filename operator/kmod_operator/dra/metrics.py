"""What a driver of dynamic resources counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

from kmod_operator.node.metrics import LookMetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_PREFIX = "kmod_dra"


class DriverMetrics(LookMetrics):
    """Counters and gauges of one driver."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__(_PREFIX, registry)
        self.prepares = Counter(
            f"{_PREFIX}_claims_prepared", "Claims that kubelet asked for", ["result"], registry=self.registry
        )
        self.registrations = Counter(
            f"{_PREFIX}_registrations", "What kubelet said of this driver", ["result"], registry=self.registry
        )
        self.writes = Counter(f"{_PREFIX}_slice_writes", "Writes of resource slices", ["verb"], registry=self.registry)
        self.failures = Counter(
            f"{_PREFIX}_publish_failures", "Times that slices could not be compared or written", registry=self.registry
        )
        for result in ("given", "refused"):
            self.prepares.labels(result)
        for result in ("taken", "failed"):
            self.registrations.labels(result)
        for verb in ("create", "replace", "delete"):
            self.writes.labels(verb)
