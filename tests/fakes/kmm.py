"""A Module of KMM with which nothing is wrong, and one in which exactly one thing is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from builder.config.yamlfile import read_documents_leniently
from builder.emit.kmm.lint import LintResult, lint
from builder.emit.kmm.rules import find_problems
from builder.emit.kmm.version import Flavour, KmmVersion

if TYPE_CHECKING:
    from pathlib import Path

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


def codes_of(data: Any, version: str = "2.7", flavour: str = "openshift") -> dict[str, str]:
    found = find_problems(data, KmmVersion(version), Flavour(flavour))
    return {problem.code: problem.severity.value for problem in found}


# One that is as small as it can be.
SMALL_KERNEL = "5.14.0-427.68.1.el9_4.x86_64"
SMALL_MODULE: dict[str, Any] = {
    "apiVersion": "kmm.sigs.x-k8s.io/v1beta1",
    "kind": "Module",
    "metadata": {"name": "drv", "namespace": "drivers"},
    "spec": {
        "selector": {"feature.node.kubernetes.io/drv": "true"},
        "moduleLoader": {
            "container": {
                "modprobe": {"moduleName": "drv", "dirName": "/opt"},
                "kernelMappings": [{"literal": SMALL_KERNEL, "containerImage": f"q.test/drv@sha256:{'1' * 64}"}],
            }
        },
    },
}


def lint_objects(folder: Path, *objects: Any, text: str = "") -> LintResult:
    file = folder / "kmm.yaml"
    file.write_text(text or yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    documents, mistakes = read_documents_leniently(file)
    return lint(documents, KmmVersion.V2_7, Flavour.OPENSHIFT, mistakes=mistakes)


def found_in(result: LintResult) -> set[tuple[str, str]]:
    return {(item.code, item.severity.value) for item in result.findings}
