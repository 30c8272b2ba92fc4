"""What kubelet asks of the pods of operator/: have they begun, are they alive, do they do their work? Pure.

A node that has just booted, or that is full, takes minutes for what takes seconds elsewhere: a container that is ended
for it begins anew, is as slow again, and never gets there. So how long a beginning may take is asked apart from how
long a silence may last; until it has begun, kubelet asks nothing else.
"""

from __future__ import annotations

from typing import Any

BEGINS_WITHIN_S = 300
_LOOK_S = 2  # often: a pod is ready no sooner than it has begun
_SILENT_LOOK_S, _SILENT_LOOKS = 20, 3
_ANSWERS_WITHIN_S = 5


def make_probes(port: str, *, ready_s: int) -> dict[str, Any]:
    """Return the three probes of a container that serves ``/healthz`` and ``/readyz``.

    Args:
        port: the name of its port.
        ready_s: seconds from one question whether it is ready to the next.
    """
    return {
        "startupProbe": _get("/healthz", port, _LOOK_S) | {"failureThreshold": BEGINS_WITHIN_S // _LOOK_S},
        "livenessProbe": _get("/healthz", port, _SILENT_LOOK_S) | {"failureThreshold": _SILENT_LOOKS},
        "readinessProbe": _get("/readyz", port, ready_s),
    }


def _get(path: str, port: str, period_s: int) -> dict[str, Any]:
    ask = {"path": path, "port": port}
    return {"httpGet": ask, "timeoutSeconds": _ANSWERS_WITHIN_S, "periodSeconds": period_s}
