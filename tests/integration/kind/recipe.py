"""Which programs a cluster is made of, at which versions, and what building them costs.

The versions stand in programs/<part>/go.mod, the hashes of everything beside them: the compiler lets nothing else in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

_PROGRAMS = Path(__file__).parent / "programs"
KUBERNETES = "v1.34.4"
# Compilers optimise for those who run a program often. Without that, a third of the building time is saved.
QUICK = "-gcflags=all=-N -l"


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Programs that are built together.

    Attributes:
        name: how the part is called, and its folder in the cache.
        module: the folder of programs/ whose go.mod pins it.
        packages: the Go package of each program.
        cpu_s: measured seconds of one processor, from nothing.
        reads: a module whose own files are read beside the programs: manifests, schemas.
        own: a folder of the module's that belongs to this part alone.
    """

    name: str
    module: str
    packages: dict[str, str]
    cpu_s: float
    link: str = "-s -w"
    tags: str = ""
    reads: str = ""
    own: str = ""
    sources: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", _PROGRAMS / self.module)

    def key(self, compiler: str) -> str:
        """Return what this part's result depends on, as a short hash."""
        folders = [self.sources, *([self.sources / self.own] if self.own else ())]
        files = sorted(file for folder in folders for file in folder.iterdir() if file.is_file())
        recipe = f"{compiler}\n{sorted(self.packages.items())}\n{self.link}\n{self.tags}\n{QUICK}\n"
        return hashlib.sha256(recipe.encode() + b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _kubernetes(*names: str) -> dict[str, str]:
    return {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}


def _stamp() -> str:
    """Return linker flags that tell Kubernetes' programs their version: kubeadm refuses to work without."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    places = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {place}.{name}={value}" for place in places for name, value in values.items())])


def _pinned(module: str, part: str) -> str:
    """Return the version of a module that a part's go.mod has."""
    rows = (line.split() for line in (_PROGRAMS / part / "go.mod").read_text().splitlines())
    return next(row[-1] for row in rows if module in row[:2] and row[-1].startswith("v"))


_CONTAINERD = "github.com/containerd/containerd/v2"
_TEKTON = "github.com/tektoncd/pipeline"
_KMM = "github.com/rh-ecosystem-edge/kernel-module-management"

ETCD = Part(name="etcd", module="etcd", packages={"etcd": "go.etcd.io/etcd/server/v3"}, cpu_s=45)
API_SERVER = Part(
    name="api-server",
    module="kubernetes",
    packages=_kubernetes("kube-apiserver", "kubectl"),
    cpu_s=430,
    link=_stamp(),
)
NODE = Part(
    name="node",
    module="kubernetes",
    packages=_kubernetes("kube-controller-manager", "kube-proxy", "kube-scheduler", "kubeadm", "kubelet"),
    cpu_s=190,
    link=_stamp(),
)
CONTAINERD = Part(
    name="containerd",
    module="containerd",
    packages={name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
    cpu_s=120,
    # What no node here has: file systems and devices of snapshots, traces.
    tags="no_btrfs,no_devmapper,no_zfs,no_tracing,urfave_cli_no_docs",
    link=f"-s -w -X {_CONTAINERD}/version.Version={_pinned(_CONTAINERD, 'containerd')}",
)
COREDNS = Part(name="coredns", module="coredns", packages={"coredns": "e2e/coredns"}, cpu_s=100)
KIND = Part(
    name="kind",
    module="kind",
    packages={"kind": "sigs.k8s.io/kind", "crictl": "sigs.k8s.io/cri-tools/cmd/crictl"},
    cpu_s=60,
    reads="sigs.k8s.io/kind",
)
PAUSE = Part(name="pause", module="pause", packages={"pause": "e2e/pause"}, cpu_s=5)
KMM_WEBHOOK = Part(
    name="kmm-webhook",
    module="kmm",
    packages={"webhook-server": f"{_KMM}/cmd/webhook-server"},
    cpu_s=100,
    reads=_KMM,
    tags="containers_image_openpgp,exclude_graphdriver_btrfs",
)
KMM = Part(
    name="kmm",
    module="kmm",
    packages={name: f"{_KMM}/cmd/{name}" for name in ("manager", "worker")},
    cpu_s=20,
    reads=_KMM,
    tags=KMM_WEBHOOK.tags,
)
NFD = Part(
    name="nfd",
    module="nfd",
    packages={name: f"sigs.k8s.io/node-feature-discovery/cmd/{name}" for name in ("nfd-master", "nfd-worker")},
    cpu_s=200,
    reads="sigs.k8s.io/node-feature-discovery",
    # Without it the worker ends: where a node's own /sys is in its pod is said when it is built, and nowhere else.
    link="-s -w -X sigs.k8s.io/node-feature-discovery/pkg/utils/hostpath.pathPrefix=/host-",
)
TEKTON = Part(
    name="tekton",
    module="tekton",
    packages={
        name: f"{_TEKTON}/cmd/{name}"
        for name in ("controller", "entrypoint", "nop", "resolvers", "webhook", "workingdirinit")
    },
    cpu_s=200,
    reads=_TEKTON,
)
DEVICE_MANAGER = Part(
    name="device-manager",
    module="kubernetes",
    packages={"device-manager": "e2e/kubernetes/device-manager"},
    cpu_s=60,
    own="device-manager",
)
DRA_MANAGER = Part(
    name="dra-manager",
    module="kubernetes",
    packages={"dra-manager": "e2e/kubernetes/dra-manager"},
    cpu_s=60,
    own="dra-manager",
)
PROMTOOL = Part(
    name="promtool",
    module="promtool",
    packages={"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
    cpu_s=300,
)
HELM = Part(name="helm", module="helm", packages={"helm": "helm.sh/helm/v4/cmd/helm"}, cpu_s=120)
API_LEVEL = (ETCD, API_SERVER, KMM_WEBHOOK)
PEERS = (KMM, DEVICE_MANAGER, DRA_MANAGER, NFD, PROMTOOL, HELM, TEKTON)
CLUSTER = (ETCD, API_SERVER, NODE, CONTAINERD, COREDNS, PAUSE, KIND)
