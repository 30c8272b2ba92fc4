"""What a device plugin counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_PREFIX = "kmod_device_plugin"
_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class Metrics:
    """Counters and gauges of one plugin, in a registry of their own."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self.devices = Gauge(f"{_PREFIX}_devices", "Devices that kubelet is told of", ["health"], registry=registry)
        self.allocations = Counter(f"{_PREFIX}_allocations", "Containers that asked", ["result"], registry=registry)
        self.registrations = Counter(f"{_PREFIX}_registrations", "Calls to kubelet", ["result"], registry=registry)
        self.transitions = Counter(f"{_PREFIX}_health_transitions", "Changes of health", ["to"], registry=registry)
        self.scan_seconds = Histogram(
            f"{_PREFIX}_scan_seconds", "Seconds that a look at all devices takes", buckets=_SECONDS, registry=registry
        )
        for health in ("healthy", "unhealthy"):
            self.devices.labels(health).set(0)
        for result in ("given", "refused"):
            self.allocations.labels(result)
        for result in ("taken", "failed"):
            self.registrations.labels(result)
