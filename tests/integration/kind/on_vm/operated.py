"""A vendor's driver with its device plugin and its operator: built, published and emitted by kmodsmith's own verbs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from integration.conftest import ROOT
from integration.kind.certificates import make_image_signer
from integration.kind.rollout import apply_texts
from integration.kind.vm_driver import NODE_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from integration.kind.client import Client
    from integration.kind.vm_driver import Vendor

NAME = "operated"
"""Of the driver's namespace, and the value of the label of nodes that are to have it."""
GROUP = "drivers.example.com"
API, KIND = f"{GROUP}/v1alpha1", "KernelDriver"
RESOURCE = f"{GROUP}/ptemplate"
OPERATOR, OPERATOR_NAMESPACE, PULL = "kmod-operator", "kmod-operator", "kmod-operator-pull"
INDEX = "ptemplate-index"


@dataclass(frozen=True, kw_only=True)
class Operated:
    """A published driver, and what is emitted for its operator."""

    vendor: Vendor
    project: Path
    files: dict[str, str]

    @property
    def pull_secret(self) -> str:
        return self.vendor.registry.pull_secret

    def install(self, client: Client) -> list[dict[str, Any]]:
        """Apply what is emitted, as ``kubectl apply -k plain`` does; returns all objects in the order of their making."""
        names = yaml.safe_load(self.files["plain/kustomization.yaml"])["resources"]
        texts = [self.files[f"plain/{name}"] for name in names] + [self.files["plain/optional/drain.yaml"]]
        items = [item for text in texts for item in yaml.safe_load_all(text)]
        for item in items:
            client.apply(item)
        for namespace, name in ((OPERATOR_NAMESPACE, PULL), (NAME, "pull")):
            items.append(self._secret(namespace, name))
            client.apply(items[-1])
        self.put_index(client)
        return items

    def put_index(self, client: Client) -> None:
        """Apply the driver's signed index as it is now."""
        code, index = self.vendor.inside.tell(self.project, "emit", "index")
        assert code == 0, index
        apply_texts(client, index["files"].values(), self.pull_secret)

    def release(self, version: str) -> None:
        """Build and publish another version of the driver."""
        (self.project / "kernel-module" / "VERSION").write_text(f"{version}\n")
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["drivers"][0]["version"] = version
        file.write_text(yaml.safe_dump(settings, sort_keys=False))
        _build_and_publish(self.vendor, self.project)

    def _secret(self, namespace: str, name: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": namespace}
        data = {".dockerconfigjson": self.pull_secret}
        return {
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/dockerconfigjson",
            "stringData": data,
        }  # fmt: skip


def make_operated(vendor: Vendor, kernels: Sequence[str], certificate: Path) -> Operated:
    """Build and publish driver, device plugin and operator, and emit what installs them."""
    project = vendor.make_project(NAME, kernels, "1.0.0", certificate, ordered=True)
    shutil.copytree(ROOT / "operator", project / "operator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", project)
    own = yaml.safe_load((ROOT / "versions.yaml").read_text())
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    settings["components"] = [
        component | {"arches": ["x86_64"], "image": f"{vendor.registry.host}/org/{component['name']}"}
        for component in own["components"]
        if component["name"] in {"device-plugin", "operator"}
    ]
    settings["operator"] = own["operator"] | {"pull_secret": PULL}
    settings["publish"] = {"signer": make_image_signer(project.parent / f"{NAME}-keys")}
    settings["drivers"][0]["kmm"] |= {"selector": {NODE_LABEL: NAME}}
    (project / "versions.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    done = vendor.machine.builder(project, "discover", "--source", "debian")
    assert done.returncode == 0, done.stderr
    _build_and_publish(vendor, project)
    code, operator = vendor.inside.tell(project, "emit", "operator", "--flavour", "upstream", "--kmm", "2.4")
    assert code == 0, operator
    return Operated(vendor=vendor, project=project, files=operator["files"])


def _build_and_publish(vendor: Vendor, project: Path) -> None:
    for machine, verb in ((vendor.machine, "build"), (vendor.inside, "publish")):
        code, results = machine.tell(project, verb)
        assert code == 0, results


def driver_object(version: str = "1.0.0") -> dict[str, Any]:
    """Return what a user of the cluster writes."""
    spec = {
        "driver": {"name": "ptemplate", "version": version},
        "index": {"configMap": INDEX},
        "nodeSelector": {NODE_LABEL: NAME},
        "rollout": {"maxUnavailable": 1, "timeoutSeconds": 1800, "drain": {"enabled": True}},
    }
    return {"apiVersion": API, "kind": KIND, "metadata": {"name": "ptemplate"}, "spec": spec}
