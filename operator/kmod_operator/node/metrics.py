"""What is counted of looks at devices, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class LookMetrics:
    """Counters and gauges of looks, in a registry that others may share."""

    def __init__(self, prefix: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.devices = Gauge(f"{prefix}_devices", "Devices that kubelet is told of", ["health"], registry=self.registry)
        self.transitions = Counter(f"{prefix}_health_transitions", "Changes of health", ["to"], registry=self.registry)
        self.scan_seconds = Histogram(
            f"{prefix}_scan_seconds",
            "Seconds that a look at all devices takes",
            buckets=_SECONDS,
            registry=self.registry,
        )
        for health in ("healthy", "unhealthy"):
            self.devices.labels(health).set(0)
            self.transitions.labels(health)
