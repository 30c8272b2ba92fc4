"""``kmm`` of a driver: how KMM loads it in clusters. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.names import LabelKey, LabelValue, ModuleName, Name, check_label_key

if TYPE_CHECKING:
    from typing import Self


def _check_taint_key(text: str) -> str:
    return check_label_key(text) if text else text


class Toleration(Declaration):
    """A taint that nodes may have, spelled as in Kubernetes."""

    key: Annotated[str, AfterValidator(_check_taint_key)] = ""
    """Key of the taint; empty with the operator Exists: every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the value counts."""
    value: LabelValue = ""
    """Value of the taint."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Effect of the taint; empty: every effect."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.operator == "Equal" and not self.key:
            raise complain("key is required, unless operator is Exists")
        if self.operator == "Exists" and self.value:
            raise complain("value says nothing where operator is Exists: take one of them out")
        return self


class InClusterBuild(Declaration):
    """How KMM builds, in the cluster, for kernels that have no image yet; see driver-container/README.md."""

    source: Annotated[str, form(r"^https?://\S+\.tar\.gz$", "an address such as https://host/driver-1.0.tar.gz")]
    """Address of the source as .tar.gz with one top folder: an in-cluster build has no build context."""
    source_sha256: Annotated[str, form(r"^[0-9a-f]{64}$", "the 64 digits that sha256sum prints")]
    """Its SHA-256."""
    sign: bool = False
    """Have KMM sign the modules, with a key in Secrets whose skeletons are emitted."""


class KmmModule(Declaration):
    """What `emit kmm` says of a driver in its Module."""

    namespace: Name | None = None
    """Namespace of everything that is emitted; default: the driver's name."""
    module: ModuleName | None = None
    """What `modprobe` loads, with what it depends on; default: the last of `modules`."""
    loading_order: tuple[ModuleName, ...] = ()
    """Modules without symbols of each other that must be loaded after each other, the first to be loaded first; the
    last is `module`."""
    parameters: tuple[
        Annotated[str, form(r"^\w+=\S*$", "a parameter and its value, such as max_dev=8, without blanks")], ...
    ] = ()
    """Module parameters: `max_dev=8`."""
    selector: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] = {"node-role.kubernetes.io/worker": ""}
    """Labels of the nodes that get the module; all must fit."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that those nodes may have, besides cordons and pressure, for which no driver goes."""
    in_tree_modules_to_remove: tuple[ModuleName, ...] = ()
    """Modules of the kernel itself that are unloaded before."""
    pull_secret: Name | None = None
    """Secret with the pull secret of the image's registry; a skeleton is emitted."""
    ordered_upgrade: bool = False
    """Give the Module its version, so that nodes are upgraded one by one by their labels. Only when it is created."""
    in_cluster_build: InClusterBuild | None = None
    """Have KMM build for kernels that have no image yet; without it, nodes with such kernels get no module."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.loading_order and self.module and self.loading_order[-1] != self.module:
            raise complain(f"loading_order must end with module ({self.module})")
        if len(self.loading_order) == 1 or len(set(self.loading_order)) < len(self.loading_order):
            raise complain("loading_order needs at least two modules, each once")
        return self
