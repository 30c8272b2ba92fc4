"""A cluster of hundreds of nodes before the real API server: node objects without machines, and what KMM does to them.

Nothing of the operator is a stand-in here, and nothing of the API. What is: kubelet (a node's status, pods that end), the
part of KMM that gives nodes its labels, and the collector of what waits for its dependents to be gone.

What KMM does is that of its repository: internal/controllers/module_reconciler.go, prepareNodeSchedulingData: with a
mapping for the node's kernel the version label decides; without one, what is loaded is unloaded.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from fakes.indexes import VENDOR
from fakes.operator_facts import operator_settings

from builder.emit.kmm.version import Flavour, KmmVersion
from builder.emit.operator.crd import make_crd
from integration.kind.api_server import write_kubeconfig
from integration.kind.client import Client, Refused, wait_until
from integration.kind.kmm import released_crds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from fakes.indexes import VendorSigner

    from integration.kind.api_server import ApiServer


GROUP, KIND, PLURAL, VERSION = "drivers.example.com", "KernelDriver", "kerneldrivers", "v1alpha1"
API = f"{GROUP}/{VERSION}"
NAMESPACE, OPERATOR_NAMESPACE = "drv", "kmod-operator"
DRIVER = "ptemplate"
RESOURCE = f"{GROUP}/{DRIVER}"
OLD_KERNEL, NEW_KERNEL = "5.14.0-427.1.1.el9_4.x86_64", "5.14.0-427.2.1.el9_4.x86_64"
SELECTOR = {"fleet.example.com/device": "true"}
MODULE_API = "kmm.sigs.x-k8s.io/v1beta1"
_KMM = "kmm.node.kubernetes.io"
WANTED = f"{_KMM}/version-module.{NAMESPACE}.{DRIVER}"
READY = f"{_KMM}/{NAMESPACE}.{DRIVER}.ready"
READY_VERSION = f"{_KMM}/{NAMESPACE}.{DRIVER}.version.ready"
SMOKE = f"{GROUP}/smoke"
_FINALIZER = f"{_KMM}/module-finalizer"
_TICK_S = 0.2
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_AT_ONCE = 8
# What a node of a real cluster has beside what matters: fifty images, of long names.
_IMAGES = [
    {"names": [f"registry.example.com/team/image-{number}@sha256:{'0123456789abcdef' * 4}"], "sizeBytes": 100_000_000}
    for number in range(50)
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that came through."""

    method: str
    path: str
    query: str
    status: int = 0

    @property
    def is_write(self) -> bool:
        """Whether it changes something: neither a question about rights, nor the lease that is renewed all the time."""
        return self.method in _WRITES and not self.path.endswith("selfsubjectaccessreviews") and not self.is_lease

    @property
    def is_lease(self) -> bool:
        return "/leases" in self.path


@dataclass
class Fleet:
    """Nodes, and what is wrong with them.

    Attributes:
        broken: pairs of version and kernel that do not load.
        dead: versions that load, and have no devices.
        bad: versions whose devices are there, and fail their smoke tests.
        loaded: what a node has loaded.
        tried: nodes of which a device was tried, and whether that failed.
    """

    client: Client
    broken: set[tuple[str, str]] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    devices: int = 4
    loaded: dict[str, str] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    tried: list[tuple[str, bool]] = field(default_factory=list)
    _seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_AT_ONCE))

    # What a test does.

    def make_nodes(self, count: int, kernel: str = OLD_KERNEL, **more: str) -> list[str]:
        """Have nodes, as kubelet registers them; their names are node-0000 and so on."""
        names = [f"node-{number:04}" for number in range(count)]
        list(self._pool.map(lambda name: self._make_node(name, kernel, more), names))
        return names

    def _make_node(self, name: str, kernel: str, labels: dict[str, str]) -> None:
        marks = {**SELECTOR, **labels, "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64"}
        marks |= {f"feature.node.kubernetes.io/cpu-cpuid.FEATURE{number}": "true" for number in range(60)}
        self.client.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": marks}})
        status = {
            "nodeInfo": _info(kernel),
            "conditions": [_condition("True")],
            "capacity": {"cpu": "64", "memory": "256Gi", "pods": "250"},
            "allocatable": {"cpu": "63", "memory": "250Gi", "pods": "250"},
            "images": _IMAGES,
        }
        self.client.patch(_node(name), {"status": status}, "status")

    def set_kernel(self, name: str, kernel: str) -> None:
        """Boot a node with another kernel: nothing is loaded any more."""
        self.loaded.pop(name, None)
        self.client.patch(_node(name), {"metadata": {"labels": {READY: None, READY_VERSION: None}}})
        status = {"nodeInfo": _info(kernel), "allocatable": {RESOURCE: None}, "capacity": {RESOURCE: None}}
        self.client.patch(_node(name), {"status": status}, "status")

    def set_ready(self, name: str, *, ready: bool) -> None:
        condition = _condition("True" if ready else "Unknown")
        self.client.patch(_node(name), {"status": {"conditions": [condition]}}, "status")

    def make_pod(self, node: str, name: str, *, devices: int = 1, labels: dict[str, str] | None = None) -> None:
        """Have a pod on a node that runs."""
        limits = {RESOURCE: str(devices)} if devices else {}
        container = {"name": "work", "image": "registry.example.com/work", "resources": {"limits": limits}}
        spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0}
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels or {}}
        pod = self.client.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        # A pod that does not run may be evicted whatever a budget says.
        self.client.patch(pod, {"status": {"phase": "Running", "conditions": [_condition("True")]}}, "status")

    def forbid_eviction(self, labels: dict[str, str], name: str = "never") -> None:
        """Have a budget of disruptions that allows none."""
        spec = {"minAvailable": "100%", "selector": {"matchLabels": labels}}
        metadata = {"name": name, "namespace": NAMESPACE}
        item = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}
        self.client.apply(item)

    def nodes(self) -> dict[str, dict[str, Any]]:
        items = self.client.find("v1", "Node", resourceVersion="0")
        return {item["metadata"]["name"]: item for item in items if item["metadata"]["name"].startswith("node-")}

    def ready_with(self, version: str) -> list[str]:
        """Return nodes that have a version loaded, their devices, and may be used."""
        return [
            name
            for name, item in self.nodes().items()
            if item["metadata"]["labels"].get(READY_VERSION) == version
            and item["status"]["allocatable"].get(RESOURCE, "0") != "0"
            and not item["spec"].get("unschedulable")
        ]

    def module(self) -> dict[str, Any] | None:
        try:
            return self.client.get(MODULE_API, "Module", DRIVER, NAMESPACE)
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    def item(self, name: str = DRIVER) -> dict[str, Any]:
        return self.client.get(API, KIND, name)

    def watch_nodes(self, seen: Callable[[str, dict[str, Any]], None], stop: threading.Event) -> threading.Thread:
        """Have each event of a node told until the end: what holds at every moment is checked by this."""

        def work() -> None:
            while not stop.is_set():
                with contextlib.suppress(httpx.TransportError):
                    for kind, item in self.client.watch("v1", "Node", seconds=300):
                        if stop.is_set():
                            return
                        seen(kind, item)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    # What KMM and kubelet do.

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Have KMM and kubelet do their part until the end of the block."""
        stop = threading.Event()
        self.watch_nodes(self._see, stop)

        def work() -> None:
            while not stop.is_set():
                try:
                    self.turn()
                except (Refused, httpx.TransportError, KeyError) as error:
                    self.troubles.append(f"{type(error).__name__}: {error}")
                stop.wait(_TICK_S)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def turn(self) -> None:
        """Do once what is to be done now."""
        module = self.module()
        is_ending = module is not None and bool(module["metadata"].get("deletionTimestamp"))
        if module is not None and not is_ending and _FINALIZER not in module["metadata"].get("finalizers", ()):
            self.client.patch(module, {"metadata": {"finalizers": [_FINALIZER]}})
        nodes = dict(self._seen)
        jobs = [job for name, item in nodes.items() if (job := self._job(name, item, module))]
        list(self._pool.map(lambda job: self._do(*job), jobs))
        is_loaded = any(READY in item["metadata"]["labels"] for item in nodes.values())
        if module is not None and is_ending and not jobs and not is_loaded:
            self.client.patch(module, {"metadata": {"finalizers": None}})
        self._end_pods(nodes)
        self._collect()

    def _see(self, kind: str, item: dict[str, Any]) -> None:
        """Keep what of a node matters here."""
        name = item["metadata"]["name"]
        if kind == "DELETED":
            self._seen.pop(name, None)
        elif name.startswith("node-"):
            status = item["status"]
            self._seen[name] = {
                "metadata": {"labels": item["metadata"]["labels"]},
                "spec": {"unschedulable": item["spec"].get("unschedulable", False)},
                "status": {"allocatable": status.get("allocatable", {}), "nodeInfo": status["nodeInfo"]},
            }

    def _job(self, name: str, item: dict[str, Any], module: dict[str, Any] | None) -> tuple[str, str] | None:
        """Return the node and what it has to have loaded, where that differs from what it has."""
        labels = item["metadata"]["labels"]
        wanted = self._wanted(item, module)
        there = labels.get(READY_VERSION, "") if READY in labels else ""
        told = item["status"]["allocatable"].get(RESOURCE, "0") != "0"
        if wanted == there and (told == (bool(there) and there not in self.dead)):
            return None
        kernel = item["status"]["nodeInfo"]["kernelVersion"]
        if wanted and (wanted, kernel) in self.broken:
            return (name, "") if there else None
        return name, wanted

    @staticmethod
    def _wanted(item: dict[str, Any], module: dict[str, Any] | None) -> str:
        if module is None or module["metadata"].get("deletionTimestamp"):
            return ""
        labels, kernel = item["metadata"]["labels"], item["status"]["nodeInfo"]["kernelVersion"]
        if not module["spec"]["selector"].items() <= labels.items():
            return ""
        keys = {one.get("key") for one in module["spec"].get("tolerations", ())}
        if item["spec"]["unschedulable"] and "node.kubernetes.io/unschedulable" not in keys:
            return ""  # IsNodeSchedulable of internal/node/node.go: a cordon is a taint
        container = module["spec"]["moduleLoader"]["container"]
        if not any(_fits(mapping, kernel) for mapping in container.get("kernelMappings", ())):
            return ""
        version = str(container.get("version", ""))
        label = labels.get(WANTED)
        # A label of another version than the Module's leaves what is loaded as it is; none at all unloads it.
        return version if label == version else "" if label is None else labels.get(READY_VERSION, "")

    def _do(self, name: str, version: str) -> None:
        labels = {READY: "" if version else None, READY_VERSION: version or None}
        self.client.patch(_node(name), {"metadata": {"labels": labels}})
        count = str(self.devices) if version and version not in self.dead else None
        status = {"allocatable": {RESOURCE: count}, "capacity": {RESOURCE: count}}
        self.client.patch(_node(name), {"status": status}, "status")
        self.loaded[name] = version

    def _end_pods(self, nodes: dict[str, dict[str, Any]]) -> None:
        for pod in self.client.find("v1", "Pod", NAMESPACE, resourceVersion="0"):
            if pod["metadata"].get("deletionTimestamp"):
                path = self.client.path("v1", "Pod", NAMESPACE, pod["metadata"]["name"])
                self.client.http.request("DELETE", path, json={"gracePeriodSeconds": 0})
            elif SMOKE in pod["metadata"].get("labels", {}) and pod["status"]["phase"] == "Pending":
                self._run_smoke(pod, nodes)

    def _run_smoke(self, pod: dict[str, Any], nodes: dict[str, dict[str, Any]]) -> None:
        """Have a pod that tries a device run to its end, on the node that it asks for; kubelet gives it no other."""
        affinity = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (name,) = affinity["nodeSelectorTerms"][0]["matchFields"][0]["values"]
        node = nodes.get(name)
        if node is None or node["status"]["allocatable"].get(RESOURCE, "0") == "0":
            return
        is_bad = node["metadata"]["labels"].get(READY_VERSION) in self.bad
        ended = {"exitCode": int(is_bad), "message": "it reads nothing" if is_bad else ""}
        container = {
            "name": "smoke", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": {"terminated": ended},
        }  # fmt: skip
        status = {"phase": "Failed" if is_bad else "Succeeded", "containerStatuses": [container]}
        self.client.patch({"apiVersion": "v1", "kind": "Pod", **pod}, {"status": status}, "status")
        self.tried.append((name, bool(is_bad)))

    def _collect(self) -> None:
        for item in self.client.find("apps/v1", "DaemonSet", NAMESPACE):
            if "foregroundDeletion" in item["metadata"].get("finalizers", ()):
                known = {"apiVersion": "apps/v1", "kind": "DaemonSet", **item}
                self.client.patch(known, {"metadata": {"finalizers": None}})


def install(client: Client) -> None:
    """Have the kinds and namespaces that the fleet needs."""
    for crd_ in [*released_crds(KmmVersion.V2_7, Flavour.UPSTREAM), make_crd(operator_settings(), [DRIVER])]:
        client.create(crd_)
    for namespace in (NAMESPACE, OPERATOR_NAMESPACE):
        client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for api, kind in ((API, KIND), (MODULE_API, "Module")):

        def is_served(api: str = api, kind: str = kind) -> bool:
            client.forget_kinds()
            return client.find(api, kind) == []

        wait_until(is_served, what=kind)


def audit_flags(folder: Path) -> list[str]:
    """Return flags by which an API server writes down what an operator asks, who is ``operator_kubeconfig``."""
    rules = [{"level": "Metadata", "users": ["operator"], "omitStages": ["RequestReceived"]}, {"level": "None"}]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}))
    return [f"--audit-policy-file={folder / 'policy.yaml'}", f"--audit-log-path={folder / 'audit.log'}"]


def read_audit(folder: Path, *, begun_after: str = "") -> list[Asked]:
    """Return what the operator asked."""
    found = []
    for line in (folder / "audit.log").read_text().splitlines():
        entry = json.loads(line)
        if entry["stage"] != "ResponseStarted" and entry["requestReceivedTimestamp"] > begun_after:
            method = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}.get(entry["verb"], "GET")
            path, _, query = entry["requestURI"].partition("?")
            status = int(entry.get("responseStatus", {}).get("code", 0))
            found.append(Asked(method=method, path=path, query=query, status=status))
    return found


def operator_kubeconfig(api: ApiServer, file: Path, *, group: str = "system:masters") -> Path:
    """Write what an operator needs to speak to the server by a name of its own."""
    pair = api.authority.issue("operator", group=group)
    return write_kubeconfig(file, str(api.client.http.base_url), api.authority, pair)


def driver_item(version: str = "1.0.0", name: str = DRIVER, **rollout: Any) -> dict[str, Any]:
    """Return an object of the vendor's kind."""
    spec = {
        "driver": {"name": DRIVER, "version": version},
        "index": {"configMap": "ptemplate-index"},
        "nodeSelector": SELECTOR,
        "rollout": rollout,
    }
    return {"apiVersion": API, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def templates(keys: Iterable[str] = (VENDOR.pem,), *, smoke: bool = False) -> dict[str, Any]:
    """Return what an operator of this fleet is made for, as its file has it; with a smoke test, where that is asked."""
    container = {"modprobe": {"moduleName": "ptemplate_char"}, "version": "0", "kernelMappings": []}
    module = {
        "apiVersion": MODULE_API, "kind": "Module", "metadata": {"name": DRIVER, "namespace": NAMESPACE},
        "spec": {"selector": SELECTOR, "moduleLoader": {"container": container, "serviceAccountName": "loader"}},
    }  # fmt: skip
    labels = {"app": "plugin"}
    pod = {
        "containers": [{
            "name": "plugin", "image": f"registry.example.com/plugin@sha256:{'0' * 64}",
            "resources": {"requests": {"cpu": "0.01", "memory": "32Mi"}},
            "ports": [{"name": "status", "containerPort": 8080}],
            "env": [{"name": "KMOD_RESOURCE", "value": RESOURCE}],
        }],
        "nodeSelector": {READY: ""},
        "serviceAccountName": "plugin",
    }  # fmt: skip
    plugin = {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "plugin", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }  # fmt: skip
    driver = {"namespace": NAMESPACE, "module": module, "plugin": [plugin], "rules": [], "resource": RESOURCE}
    if smoke:
        driver["smoke"] = _smoke_pod()
    return {
        "format": 1, "group": GROUP, "version": VERSION, "kind": KIND, "plural": PLURAL,
        "namespace": OPERATOR_NAMESPACE, "keys": list(keys), "drivers": {DRIVER: driver},
    }  # fmt: skip


def _smoke_pod() -> dict[str, Any]:
    container = {"name": "smoke", "image": "i", "resources": {"limits": {RESOURCE: "1"}}}
    spec = {"restartPolicy": "Never", "activeDeadlineSeconds": 60, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "smoke", "namespace": NAMESPACE}, "spec": spec}


def index_map(content: bytes) -> dict[str, Any]:
    """Return the ConfigMap that an index is in."""
    metadata = {"name": "ptemplate-index", "namespace": OPERATOR_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"index.json": content.decode()}}


def signed_index(
    versions: Mapping[str, Iterable[str]],
    *,
    made: str = "2026-11-27T00:00:00Z",
    signer: VendorSigner = VENDOR,
    **more: Any,
) -> bytes:
    """Return an index that the vendor signed."""
    images = {
        version: {kernel: {"image": image_of(version, kernel), "arch": "amd64", "proven": "secure", "signedBy": []}
                  for kernel in kernels}
        for version, kernels in versions.items()
    }  # fmt: skip
    content: bytes = signer.index(driver=DRIVER, made=made, images=images, **{"releases": {}, **more})
    return content


def image_of(version: str, kernel: str) -> str:
    """Return an image's name that says what it is for."""
    word = f"{version}-{kernel}".encode().hex()
    return f"registry.example.com/org/{DRIVER}@sha256:{word[:64]:0<64}"


def _fits(mapping: dict[str, Any], kernel: str) -> bool:
    if literal := mapping.get("literal"):
        return bool(literal == kernel)
    return bool(re.search(str(mapping.get("regexp", "(?!)")), kernel))


def _node(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def _condition(status: str) -> dict[str, str]:
    return {"type": "Ready", "status": status, "reason": "Test", "message": ""}


def _info(kernel: str) -> dict[str, str]:
    return {
        "kernelVersion": kernel, "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "cri-o://1.31",
        "kubeProxyVersion": "", "kubeletVersion": "v1.31.0", "machineID": "", "operatingSystem": "linux",
        "osImage": "none", "systemUUID": "",
    }  # fmt: skip
