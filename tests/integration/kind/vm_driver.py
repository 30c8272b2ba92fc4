"""The sample driver for a node in the cluster: built, signed, published and emitted by kmodsmith's own verbs."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from integration.conftest import copy_project

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from integration.conftest import Machine
    from integration.kind.registry_in_cluster import Registry

NODE_LABEL = "feature.node.kubernetes.io/ptemplate"


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """Who makes the driver: a store, a lock, and where images go.

    ``machine`` reaches Debian's archive, as a build needs; it does not reach the cluster's registry.
    """

    folder: Path
    machine: Machine
    lock_text: str
    registry: Registry

    def release(
        self,
        name: str,
        kernels: Sequence[str],
        *,
        version: str = "1.0.0",
        certificate: Path | None = None,
        ordered: bool = False,
    ) -> Path:
        """Return the folder with what ``emit kmm`` writes of a driver that has been published.

        Args:
            name: of the repository, and of the driver's namespace.
            kernels: what it is built for.
            version: the driver's.
            certificate: of who signs, with the key beside it; nothing: nobody does.
            ordered: whether nodes are upgraded by their labels.
        """
        project = self.make_project(name, kernels, version, certificate, ordered=ordered)
        inside = self.inside
        for machine, verb in ((self.machine, "build"), (inside, "publish")):
            code, results = machine.tell(project, verb)
            assert code == 0, results
        output = project / "deploy"
        done = inside.builder(project, "emit", "kmm", "--kmm", "2.4", "--flavour", "openshift", "--output", str(output))
        assert done.returncode == 0, done.stderr
        return output / "ptemplate"

    @property
    def inside(self) -> Machine:
        """The machine in the cluster's network: it reaches the registry, and not Debian's archive."""
        inside = dataclasses.replace(self.machine, prefix=())
        return inside.with_environment({"SSL_CERT_FILE": str(self.registry.authority_file)})

    def make_project(
        self, name: str, kernels: Sequence[str], version: str, certificate: Path | None, *, ordered: bool
    ) -> Path:
        """Return the folder of a project with the sample driver, for kernels of nodes."""
        folder = self.folder / f"{name}-{version}"
        folder.mkdir()
        project = copy_project(folder)
        (project / "versions.lock.yaml").write_text(self.lock_text)
        (project / "kernel-module" / "VERSION").write_text(f"{version}\n")  # what the module says of itself
        settings: dict[str, Any] = yaml.safe_load((project / "versions.yaml").read_text())
        kmm = {"namespace": name, "selector": {NODE_LABEL: name}, "pull_secret": "pull", "ordered_upgrade": ordered}
        settings["drivers"][0] |= {"version": version, "image": f"{self.registry.host}/org/{name}", "kmm": kmm}
        settings["registry"] = {"auth_files": [str(self.registry.auth_file)]}
        group: dict[str, Any] = {"source": "debian", "kernels": [*kernels]}
        if certificate is not None:
            for file in (certificate, certificate.with_suffix(".key")):
                shutil.copy(file, project)
            place = {"certificate": certificate.name, "key_file": certificate.with_suffix(".key").name}
            settings["signers"] = {"vendor": place}
            group |= {"signers": ["vendor"], "signing": "required"}
        settings["groups"], settings["default_group"] = {"nodes": group}, "nodes"
        (project / "versions.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        return project
