"""A Module of KMM with which nothing is wrong, and one in which exactly one thing is."""

from __future__ import annotations

from typing import Any

import yaml

PINNED = f"quay.test/org/drv@sha256:{'1' * 64}"
MODULE = f"""
apiVersion: kmm.sigs.x-k8s.io/v1beta1
kind: Module
metadata: {{name: drv, namespace: drivers}}
spec:
  selector: {{feature.node.kubernetes.io/drv: "true"}}
  moduleLoader:
    serviceAccountName: drv
    container:
      imagePullPolicy: IfNotPresent
      modprobe: {{moduleName: drv, dirName: /opt}}
      kernelMappings:
        - {{literal: 5.14.0-427.68.1.el9_4.x86_64, containerImage: "{PINNED}"}}
        - {{regexp: '^5\\.14\\.0-427\\.[0-9.]+\\.el9_4\\.x86_64$', containerImage: "{PINNED}"}}
"""

CONTAINER = "spec/moduleLoader/container"
SECRETS = {"keySecret": {"name": "k"}, "certSecret": {"name": "c"}}


def good_module() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(MODULE)
    return data


def change_module(path: str, value: Any) -> dict[str, Any]:
    """Return the good module with one thing changed; ``...`` removes it."""
    data = good_module()
    at: Any = data
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in parents:
        at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return data
