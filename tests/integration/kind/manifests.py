"""Manifests that an operator's own module carries, made ready by kustomize as its authors mean them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from programs import find_go

from integration.kind.make import make
from integration.kind.recipe import API_SERVER, Part


def source_dir(part: Part, module: str) -> Path:
    """Return where the compiler keeps the files of a module, at the version that a part's go.mod pins."""
    command = [find_go(), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]
    done = subprocess.run(command, cwd=part.sources, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


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
