"""A small OpenShift: releases, toolkits and operating systems in the true wire format, to be served by anything.

Formats: shared with builder/sources/openshift/payload.py, from openshift/oc, openshift/driver-toolkit and openshift/os; payloads are
built like the real ones that tests/data/openshift holds.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RELEASES = "openshift-release-dev/ocp-release"
CONTENT = "openshift-release-dev/ocp-v4.0-art-dev"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def make_layer(files: Mapping[str, bytes]) -> bytes:
    """Return a layer; the same files always give the same bytes."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(data.getvalue(), mtime=0)


@dataclass
class World:
    """Everything that registry and graph server of a pretended OpenShift have."""

    host: str = "quay.test"
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    """Media type and content by repository and digest or tag."""
    channels: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    """Nodes by channel and architecture (OCI spelling)."""
    requests: list[httpx.Request] = field(default_factory=list)
    failures: dict[str, httpx.Response | Exception] = field(default_factory=dict)
    """What is answered instead, by the end of a path."""

    def image(
        self,
        layers: Sequence[Mapping[str, bytes] | bytes],
        *,
        repository: str = CONTENT,
        labels: Mapping[str, str] | None = None,
        arch: str = "amd64",
        tag: str = "",
    ) -> str:
        """Add an image, lowest layer first; return its full name by digest."""
        packed = [layer if isinstance(layer, bytes) else make_layer(layer) for layer in layers]
        unpacked = [digest_of(_gunzip(layer)) for layer in packed]
        config = json.dumps(
            {"architecture": arch, "os": "linux", "config": {"Labels": dict(labels or {})},
             "rootfs": {"type": "layers", "diff_ids": unpacked}}
        ).encode()  # fmt: skip
        entries = [{"mediaType": _LAYER, "size": len(item), "digest": digest_of(item)} for item in packed]
        self.blobs |= {digest_of(item): item for item in (*packed, config)}
        config_entry = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest_of(config)}  # fmt: skip
        return self._add(
            repository, {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config_entry, "layers": entries}, tag
        )

    def listed(self, images: Mapping[str, str], *, repository: str = CONTENT) -> str:
        """Add a manifest list of images by architecture; return its full name."""
        entries = [
            {"mediaType": _MANIFEST, "digest": name.partition("@")[2], "size": 1000,
             "platform": {"os": "linux", "architecture": arch}}
            for arch, name in images.items()
        ]  # fmt: skip
        return self._add(repository, {"schemaVersion": 2, "mediaType": _LIST, "manifests": entries}, "")

    def _add(self, repository: str, data: dict[str, Any], tag: str) -> str:
        content = json.dumps(data).encode()
        for reference in (digest_of(content), tag):
            self.manifests[repository, reference] = (data["mediaType"], content)
        return f"{self.host}/{repository}@{digest_of(content)}"

    def toolkit(self, kernel: str, *, rt: str = "", rhel: str = "9.4", arch: str = "amd64", base: bytes = b"") -> str:
        """Add a toolkit as the Dockerfile makes it: the release file is in the last layer."""
        data = {"KERNEL_VERSION": kernel, "RT_KERNEL_VERSION": rt, "RHEL_VERSION": rhel}
        layers: list[Mapping[str, bytes] | bytes] = [
            {"usr/bin/make": b"make" + base},
            {"etc/driver-toolkit-release.json": (json.dumps(data) + "\n").encode()},
        ]
        return self.image(layers, labels={"name": "openshift/ose-driver-toolkit"}, arch=arch)

    def os_image(self, kernel: str, *, style: str = "label", arch: str = "amd64", build: str = "") -> str:
        """Add an operating system image that names its kernel by a label, by its list of packages, or not at all."""
        labels = {"org.opencontainers.image.version": build, "ostree.linux": kernel if style == "label" else "true"}
        layers: list[Mapping[str, bytes] | bytes] = [{"usr/lib/os-release": f"ID=rhcos\n{build}\n".encode()}]
        if style == "metalayer":
            version, _, rest = kernel.partition("-")
            release, _, package_arch = rest.rpartition(".")
            packages = [
                ["bash", "0", "5.1", "1.el9", package_arch],
                ["kernel-core", "0", version, release, package_arch],
            ]
            labels["io.openshift.metalayer"] = "true"
            layers.append({"usr/share/openshift/base/meta.json": json.dumps({"rpmdb.pkglist": packages}).encode()})
        if style == "old":
            labels = {"com.coreos.rpm.kernel": kernel}
        return self.image(layers, labels=labels, arch=arch)

    def extensions(self, arch: str = "amd64", **kernels: str) -> str:
        """Add an extensions image, keywords such as ``kernel_rt_core``."""
        data = {name.replace("_", "-"): value for name, value in kernels.items()}
        return self.image([{"usr/share/rpm-ostree/extensions.json": json.dumps(data).encode()}], arch=arch)

    def release(
        self, version: str, tags: Mapping[str, str], *, arch: str = "amd64", builds: Mapping[str, str] | None = None,
        tag: str = "",
    ) -> str:  # fmt: skip
        """Add a release image whose payload has these tags; return its full name."""
        return self.image(
            [
                {"usr/bin/cluster-version-operator": b"cvo"},
                {"release-manifests/image-references": references(version, tags, builds or {}),
                 "release-manifests/release-metadata": json.dumps({"kind": "cincinnati-metadata-v0", "version": version}).encode()},
            ],
            repository=RELEASES, labels={"io.openshift.release": version}, arch=arch, tag=tag,
        )  # fmt: skip

    def promote(self, payload: str, version: str, *channels: str, arch: str = "amd64") -> None:
        """Put a release into channels."""
        for channel in channels:
            nodes = self.channels.setdefault((channel, arch), [])
            nodes.append({"version": version, "payload": payload, "metadata": {}})

    def graph(self, channel: str, arch: str) -> bytes:
        nodes = self.channels.get((channel, arch), [])
        return json.dumps({"version": 1, "nodes": nodes, "edges": [], "conditionalEdges": []}).encode()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as graph server and registry, in a stream that can be read once."""
        self.requests.append(request)
        answer = self._answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        for end, failure in self.failures.items():
            if f"{path}?{request.url.query.decode()}".endswith(end) or path.endswith(end):
                if isinstance(failure, Exception):
                    raise failure
                return failure
        if path.endswith("/graph"):
            return httpx.Response(200, content=self.graph(request.url.params["channel"], request.url.params["arch"]))
        repository, _, rest = path.removeprefix("/v2/").partition("/manifests/")
        if rest:
            found = self.manifests.get((repository, rest))
            return httpx.Response(200, content=found[1]) if found else httpx.Response(404)
        digest = path.rpartition("/")[2]
        return httpx.Response(200, content=self.blobs[digest]) if digest in self.blobs else httpx.Response(404)


def references(version: str, tags: Mapping[str, str], builds: Mapping[str, str]) -> bytes:
    """Return image-references with the fields that real ones have."""
    entries = [
        {"name": name, "annotations": {"io.openshift.build.commit.id": "", "io.openshift.build.versions": builds.get(name, "")},
         "from": {"kind": "DockerImage", "name": image}, "generation": None, "importPolicy": {}, "referencePolicy": {"type": ""}}
        for name, image in tags.items()
    ]  # fmt: skip
    return json.dumps(
        {"kind": "ImageStream", "apiVersion": "image.openshift.io/v1",
         "metadata": {"name": version, "creationTimestamp": "2025-01-01T00:00:00Z"}, "spec": {"lookupPolicy": {"local": False}, "tags": entries}},
        indent=2,
    ).encode()  # fmt: skip


def _gunzip(layer: bytes) -> bytes:
    try:
        return gzip.decompress(layer)
    except (OSError, EOFError):
        return layer
