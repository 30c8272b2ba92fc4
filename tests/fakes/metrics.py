"""Numbers that real code serves, and numbers that queries ask for."""

from __future__ import annotations

import ast
import functools
import inspect
from typing import TYPE_CHECKING

import promql_parser
from kmod_operator.cluster.metrics import OperatorMetrics
from kmod_operator.deviceplugin.metrics import Metrics
from kmod_operator.rollout import verdicts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@functools.cache
def exported_metrics() -> frozenset[str]:
    """Return names of what the operator and the device plugin serve, as Prometheus has them."""
    return frozenset(_served(OperatorMetrics().registry) | _served(Metrics().registry) | _decided())


def _served(registry: CollectorRegistry) -> set[str]:
    """Return what is on a page: what is counted by labels is there before the first time."""
    found = set()
    for family in registry.collect():
        found |= {sample.name for sample in family.samples}
        if family.type == "counter":
            found.add(f"{family.name}_total")
        elif family.type == "histogram":
            found |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
    return found


def _decided() -> set[str]:
    """Return the numbers that are decided for each driver, out of the code that says them."""
    body = ast.parse(inspect.getsource(verdicts.measure))
    words = {node.value for node in ast.walk(body) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {word for word in words if word.startswith("kmod_")}


def metrics_of(query: str) -> set[str]:
    """Return the names of the numbers that a query asks for.

    Raises:
        ValueError: it is none.
    """
    found: set[str] = set()
    _walk(promql_parser.parse(query), found)
    return found


def _walk(part: object, found: set[str]) -> None:
    if isinstance(part, promql_parser.VectorSelector):
        found.add(part.name or "")
    for name in ("expr", "lhs", "rhs", "args", "vector_selector", "param"):
        inner = getattr(part, name, None)
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not None and not isinstance(one, str | float | int):
                _walk(one, found)
