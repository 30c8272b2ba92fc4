"""``tekton``: the same plan on a cluster. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.image_names import PinnedImage, Repository
from builder.config.model.names import LabelKey, LabelValue, Name
from builder.kernel import Arch

if TYPE_CHECKING:
    from typing import Self


def _check_git_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname)
    except ValueError:
        has_host = False
    if not has_host:
        raise complain(f"{text!r} is not an address such as https://git.example.com/organisation/drivers.git")
    if parts.password is not None:
        raise complain("a password does not belong into a file that goes into clusters: take it out")
    return text


class TektonTimes(Declaration):
    """Minutes after which a pod of a pipeline is stopped."""

    plan: Annotated[int, Field(ge=1, le=1440)] = 30
    """Discovering and planning."""
    shard: Annotated[int, Field(ge=5, le=10_080)] = 240
    """One try of one shard: its compiles, boot tests and publishing."""
    gate: Annotated[int, Field(ge=1, le=1440)] = 60
    """Reading the evidence of all shards, and publishing lists and indexes."""


class TektonResources(Declaration):
    """What the pod of one shard asks for, spelled as Kubernetes does."""

    cpu: Annotated[str, form(r"^[1-9][0-9]*m?$", 'a number of processors such as "4" or 1500m')] = "2"
    """Processors; as many cells are built at once as fit."""
    memory: Annotated[str, form(r"^[1-9][0-9]{0,5}(Mi|Gi)$", "MiB or GiB, such as 5Gi")] = "5Gi"
    """Memory, which is also its limit; more than build.compile_memory."""
    disk: Annotated[str, form(r"^[1-9][0-9]*(Mi|Gi)$", "MiB or GiB, such as 40Gi")] = "40Gi"
    """Disk for toolkits, compiles and images, which is also its limit."""

    @property
    def memory_mib(self) -> int:
        return int(self.memory[:-2]) * (1024 if self.memory.endswith("Gi") else 1)


class TektonSettings(Declaration):
    """What `emit tekton` writes: the same plan on a cluster; see docs/tekton.md."""

    builder: PinnedImage
    """The builder image, by digest: all steps run in it. `publish --component builder` tells it."""
    repository: Repository
    """Where plans and evidence go in a registry, without tag: `quay.io/organisation/plans`."""
    source: Annotated[
        str,
        form(
            r"^(https?|ssh)://[A-Za-z0-9@:%._~/+-]+$",
            "an address such as https://git.example.com/organisation/drivers.git",
        ),
        AfterValidator(_check_git_address),
    ]
    """Address of the git repository that has this file; without a password."""
    revision: Annotated[str, form(r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", "a branch, a tag or a commit", max_length=200)] = (
        "main"
    )
    """What of it the nightly takes."""
    project: Annotated[
        str, form(r"^(\.|[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*)$", "a folder of the repository")
    ] = "."
    """Folder of the repository that has this file."""
    name: Annotated[Name, Field(max_length=20)] = "kmodsmith"
    """What the names of all objects begin with; another one's pipelines in the same namespace have another."""
    namespace: Name | None = None
    """Namespace of the pipelines; default: `name`. Nothing else should run in it."""
    shards: Annotated[int, Field(ge=1, le=64)] = 8
    """Pods that build at once, at most."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """How often a shard's pod is started again when it was lost: it goes on where it was."""
    arches: Annotated[tuple[Annotated[Arch, Field(strict=False)], ...], Field(min_length=1)] = (Arch.X86_64,)
    """Architectures of nodes that build: each shard goes to a node of its own."""
    node_selectors: dict[Annotated[Arch, Field(strict=False)], dict[LabelKey, LabelValue]] = {}
    """Further labels of the nodes that build, by architecture."""
    isolation: Literal["user-namespaces", "privileged"] = "user-namespaces"
    """How a shard's pod may lock compiles up. user-namespaces: it is root in a user namespace of its own (hostUsers:
    false) and nobody outside of it. privileged: it is root of its node, for clusters that cannot do the former."""
    kvm: LabelKey | None = None
    """Resource by which nodes offer /dev/kvm, such as devices.kubevirt.io/kvm; boot tests without it are emulated."""
    resources: TektonResources = TektonResources()
    """What the pod of one shard asks for."""
    minutes: TektonTimes = TektonTimes()
    """When pods are stopped."""
    schedule: Annotated[
        str,
        form(r"^([0-9*,/-]+ ){2}[0-9*,/-]+ [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/-]+$", "five fields as of cron: 17 2 * * *"),
    ] = "17 2 * * *"
    """When the nightly begins, as cron spells it."""
    time_zone: Annotated[str, form(r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", "a time zone such as Europe/Prague")] = (
        "Etc/UTC"
    )
    """Time zone of the schedule."""
    group: Name | None = None
    """Group that is built, without component images; default: `default_group`, and all component images."""
    release_group: Name | None = None
    """Group that a release builds; default: `group`."""
    registry_secret: Name = "kmodsmith-registry"  # noqa: S105 - the name of an object
    """Secret (kubernetes.io/dockerconfigjson) that images are pulled and pushed with; pods that build strangers'
    changes do not get it."""
    authorities: Name | None = None
    """ConfigMap with the certificates (PEM, key `ca-bundle.crt`) of all authorities that registries, git and kernel
    sources are trusted by, where those of the builder image are not enough. OpenShift fills one that has the label
    config.openshift.io/inject-trusted-cabundle: "true"."""
    compile_cache: Name | None = None
    """PersistentVolumeClaim with the compile cache, for all pods that build at once, so of access mode ReadWriteMany;
    pods that build strangers' changes mount it read-only. Default: each pod begins without one."""
    signing_secret: Name = "kmodsmith-signing"  # noqa: S105 - as above
    """Secret with the private keys: `NAME.pem` for each signer, `images.pem` for publish.signer. Only the container
    that signs sees it."""

    @property
    def namespace_name(self) -> str:
        return self.namespace or self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.arches)) < len(self.arches):
            raise complain("arches names one twice")
        if others := sorted(self.node_selectors.keys() - set(self.arches)):
            raise complain(f"node_selectors: {others[0]} is none of arches, so no shard goes there")
        for labels in self.node_selectors.values():
            if "kubernetes.io/arch" in labels:
                raise complain("node_selectors: kubernetes.io/arch is what arches is about")
        return self
