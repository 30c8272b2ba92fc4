"""The operator as files that are applied: by kubectl, by kustomize, by whatever watches a repository. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.writing import emit_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.emit.operator.model import OperatorObjects

CRD_FILE, DRIVERS_FILE = "00-crd.yaml", "30-drivers.yaml"
_DRIVERS_COMMENT = """\
# What an administrator gives: namespaces in which KMM's pods may be privileged, their accounts and rights, and what the
# operator may do there. The operator has no right to make or change any of it.
"""


def make_plain(objects: OperatorObjects) -> dict[str, list[dict[str, Any]]]:
    """Return objects by file, in the order in which they are applied."""
    return {
        CRD_FILE: [objects.crd],
        "10-namespace.yaml": [objects.namespace],
        "20-access.yaml": [objects.account, *objects.access],
        DRIVERS_FILE: objects.drivers,
        "40-operator.yaml": objects.workload,
    }


def emit_plain(objects: OperatorObjects) -> dict[str, str]:
    """Return files by name; equal objects give equal files."""
    files = {name: emit_yaml(*found) for name, found in make_plain(objects).items()}
    files[DRIVERS_FILE] = _DRIVERS_COMMENT + files[DRIVERS_FILE]
    files["kustomization.yaml"] = emit_yaml(_kustomization(files))
    for role in objects.optional:
        files[f"optional/{role.name}.yaml"] = f"# {role.because}.\n" + emit_yaml(*role.objects)
    return files


def _kustomization(files: Mapping[str, str]) -> dict[str, Any]:
    """Return what kustomize reads; the optional roles are resources that an overlay adds."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(files),
    }
