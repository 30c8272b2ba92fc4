"""Labels and annotations by which the operator, Kernel Module Management and people speak of a driver. Pure.

Source of those of KMM: its repository, internal/utils and internal/constants.
"""

from __future__ import annotations

from dataclasses import dataclass

_KMM = "kmm.node.kubernetes.io"
MANAGER = "kmod-operator"
"""Field manager, and who it is that manages our objects."""
MANAGED_BY = "app.kubernetes.io/managed-by"
MODULE_API = "kmm.sigs.x-k8s.io/v1beta1"
MODULE_KIND = f"{MODULE_API} Module"
POOL_KIND = "machineconfiguration.openshift.io/v1 MachineConfigPool"
VERSION_KIND = "config.openshift.io/v1 ClusterVersion"


def smoke_key(group: str) -> str:
    return f"{group}/smoke"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of one driver in a cluster.

    Attributes:
        group: the vendor's API group.
        item: name of the object of the vendor's kind.
        namespace: of KMM's Module.
        module: name of it.
    """

    group: str
    item: str
    namespace: str
    module: str

    @property
    def owner(self) -> str:
        """Label of everything that is made for the object; its value is the object's name."""
        return f"{self.group}/driver"

    @property
    def progress(self) -> str:
        """Annotation of nodes: how far one is."""
        return f"{self.group}/{self.item}"

    @property
    def smoke(self) -> str:
        """Label of pods that try a device, and their annotation that says which node, version and kernel they try."""
        return smoke_key(self.group)

    @property
    def held_by(self) -> str:
        """Annotation of MachineConfigPools that we paused: the object's name, a blank, and the release it is about."""
        return f"{self.group}/held-by"

    @property
    def wanted_version(self) -> str:
        """Label of nodes by which KMM knows which version one may have."""
        return f"{_KMM}/version-module.{self.namespace}.{self.module}"

    @property
    def ready(self) -> str:
        """Label that KMM gives to a node while the module is loaded."""
        return f"{_KMM}/{self.namespace}.{self.module}.ready"

    @property
    def worker_version(self) -> str:
        """KMM's own label, by which its worker knows which version to load; it changes only while none is loaded."""
        return f"beta.{_KMM}/version-worker-pod.{self.namespace}.{self.module}"

    @property
    def ready_version(self) -> str:
        """Label whose value is the version that KMM loaded; KMM before 2.6 has none."""
        return f"{_KMM}/{self.namespace}.{self.module}.version.ready"
