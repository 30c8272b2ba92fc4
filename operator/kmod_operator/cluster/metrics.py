"""Numbers of the operator; those of the drivers are what was decided last, and go when they are not said any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Numbers = "Mapping[tuple[str, tuple[tuple[str, str], ...]], float]"
_RESULTS = ("done", "failed")
_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0)
DECIDED = {
    "kmod_driver_nodes": "Selected nodes of a driver, by state.",
    "kmod_kernel_covered": "Whether the index has a driver image for a kernel that selected nodes run.",
    "kmod_update_target_covered": "Whether all kernels of an offered release are in the index; absent: unknown.",
    "kmod_index_info": "The index that is believed; always 1.",
    "kmod_index_made_seconds": "When the index that is believed was made, in seconds since 1970.",
    "kmod_upgrade_nodes": "Nodes in the middle of an upgrade, by phase.",
    "kmod_upgrade_stuck_seconds": "For how long the slowest node has been in its phase.",
}
"""What each number that is decided says; rules and dashboards use these names."""


class OperatorMetrics:
    """All numbers of the operator."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter("kmod_reconcile", "Passes over an object.", ["result"], registry=self.registry)
        self.seconds = Histogram(
            "kmod_reconcile_seconds", "How long a pass takes.", registry=self.registry, buckets=_BUCKETS
        )
        self.restarts = Counter(
            "kmod_watch_restarts", "Watches that had to begin anew with a list.", ["kind"], registry=self.registry
        )
        self.writes = Counter("kmod_writes", "Requests that changed something.", registry=self.registry)
        self.decided = _Decided()
        self.registry.register(self.decided)
        for result in _RESULTS:
            self.reconciles.labels(result)


class _Decided(Collector):
    def __init__(self) -> None:
        self._numbers: dict[str, Mapping[tuple[str, tuple[tuple[str, str], ...]], float]] = {}

    def say(self, item: str, numbers: Mapping[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
        """Say numbers of one of the vendor's objects, and none of those that were said of it before."""
        self._numbers = {**self._numbers, item: numbers}

    def forget(self, item: str) -> None:
        self._numbers = {name: numbers for name, numbers in self._numbers.items() if name != item}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families: dict[tuple[str, tuple[str, ...]], GaugeMetricFamily] = {}
        # The page is made in another thread: each change puts another dictionary here, and none changes.
        for numbers in self._numbers.values():
            for (name, labels), number in numbers.items():
                key = (name, tuple(label for label, _ in labels))
                if key not in families:
                    families[key] = GaugeMetricFamily(name, DECIDED.get(name, name), labels=key[1])
                families[key].add_metric([value for _, value in labels], number)
        return families.values()
