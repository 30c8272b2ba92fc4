"""Manifests that an operator's own module carries, made ready by kustomize as its authors mean them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from integration.kind.make import make
from integration.kind.recipe import API_SERVER

if TYPE_CHECKING:
    from pathlib import Path


def copy_sources(source: Path, target: Path) -> Path:
    """Copy files that may be changed: the compiler's cache is not to be written."""
    shutil.copytree(source, target)
    subprocess.run(["chmod", "-R", "u+w", str(target)], check=True)
    return target


def kustomize(layer: Path) -> list[dict[str, Any]]:
    """Return the objects of a folder with a kustomization.yaml, namespaces first."""
    kubectl = make([API_SERVER])["kubectl"]
    done = subprocess.run([kubectl, "kustomize", str(layer)], check=True, capture_output=True, text=True)
    items = list(yaml.safe_load_all(done.stdout))
    return sorted(items, key=lambda item: bool(item["kind"] != "Namespace"))
