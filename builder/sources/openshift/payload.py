"""What OpenShift's update graph, release payloads and toolkits say, in their own formats. Pure.

Formats: graph of openshift/cincinnati (docs/design/openshift.md); ``release-manifests/image-references`` of a
release image (openshift/oc, pkg/cli/admin/release); ``/etc/driver-toolkit-release.json`` of
openshift/driver-toolkit. Answers may be wrong or hostile: a value is taken only in the form that it must have.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from builder.errors import FormatError, UsageError
from builder.foreign import Parsed, parse_json, read_json
from builder.kernel import Arch, Variant, parse_kernel_version
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from builder.kernel import KernelVersion
    from builder.pullspec import Pullspec

IMAGE_REFERENCES = "release-manifests/image-references"
PACKAGE_LIST = "usr/share/openshift/base/meta.json"
EXTENSIONS = "usr/share/rpm-ostree/extensions.json"
TOOLKIT_RELEASE = "etc/driver-toolkit-release.json"
_VERSION = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,6}(?:-[0-9A-Za-z.-]{1,80})?(?:\+[0-9A-Za-z.-]{1,40})?")
_RHEL = re.compile(r"\d{1,3}(?:\.\d{1,3})?")
# Releases from this minor on have a kernel with 64k pages on aarch64 (openshift/driver-toolkit, release-4.15).
_FIRST_64K = (4, 15)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """A release of the graph: version, payload by digest, and every channel that holds it."""

    version: str
    payload: Pullspec
    channels: tuple[str, ...]

    @property
    def minor(self) -> tuple[int, int]:
        return minor_of(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class OsStream:
    """An operating system of a release: payload tag (``rhel-coreos``), image, and the toolkit that goes with it.

    ``toolkit`` is None where the payload has none: such a stream is legal (4.21 has rhel-coreos-10 without one).
    ``build`` is the machine-os version of this very tag, empty where its annotations do not say.
    """

    tag: str
    image: Pullspec
    build: str
    toolkit: Pullspec | None
    extensions: Pullspec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What ``image-references`` says of a release."""

    version: str
    streams: tuple[OsStream, ...]


def minor_of(version: str) -> tuple[int, int]:
    """Return major and minor of a release version.

    Raises:
        FormatError: it is not one.
    """
    if not _VERSION.fullmatch(version):
        raise FormatError(f"{version[:100]!r} is not a version of OpenShift")
    major, minor, _ = version.split(".", 2)
    return int(major), int(minor)


def parse_graph(content: bytes) -> list[GraphNode]:
    """Read a graph. Edges do not matter: taking away an unsafe update takes away edges, not releases.

    A channel that nobody knows is answered with no nodes; that is not an error of the answer.

    Raises:
        FormatError: it is no graph; the message says where.
    """
    data = read_json(content, "the update graph")
    nodes = data.get("nodes")
    if data.get("version") != 1 or not isinstance(nodes, list):
        raise FormatError("the update graph has no nodes, or is of another version than 1")
    return [_parse_node(node, number) for number, node in enumerate(nodes)]


def _parse_node(node: Any, number: int) -> GraphNode:
    try:
        metadata = node.get("metadata") or {}
        channels = str(metadata.get("io.openshift.upgrades.graph.release.channels", ""))
        version = node["version"]
        minor_of(version)
        payload = parse_pullspec(node["payload"])
    except (AttributeError, KeyError, TypeError) as error:
        raise FormatError(f"node {number} of the update graph is no release: {error!r}") from None
    if not payload.is_pinned:
        raise FormatError(f"node {number} of the update graph names {payload}, which is not by digest")
    return GraphNode(version=version, payload=payload, channels=tuple(filter(None, channels.split(","))))


def parse_payload(content: bytes) -> Payload:
    """Read ``image-references``.

    Operating systems are the tags ``<x>`` that have ``<x>-extensions`` beside them and "coreos" in their name, as
    openshift/release-controller finds them; before 4.12, ``machine-os-content``. The build of each comes from its own
    annotations: of two machine-os versions, ``oc`` shows the wrong one.

    Raises:
        FormatError: it is no image stream, or holds no operating system.
    """
    data = read_json(content, IMAGE_REFERENCES)
    try:
        version = data["metadata"]["name"]
        tags = {tag["name"]: tag for tag in data["spec"]["tags"]}
        minor_of(version)
        names = [name for name in tags if "coreos" in name and f"{name}-extensions" in tags]
        streams = tuple(_parse_stream(name, tags) for name in sorted(names) or _old_names(tags))
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{IMAGE_REFERENCES} is not the list of a release's images: {error!r}") from None
    if not streams:
        raise FormatError(f"{IMAGE_REFERENCES} of {version} names no operating system image")
    return Payload(version=version, streams=streams)


def _old_names(tags: Mapping[str, Any]) -> list[str]:
    return [name for name in ("machine-os-content",) if name in tags]


def _parse_stream(name: str, tags: Mapping[str, Any]) -> OsStream:
    builds = _builds(tags[name])
    if not builds and name.rpartition("-")[2] == "8":  # 4.12: only the old tag says which build both are
        builds = _builds(tags.get("machine-os-content", {}))
    return OsStream(
        tag=name,
        image=_image_of(tags[name]),
        build=builds.get("machine-os", ""),
        toolkit=_image_of(tags[_toolkit_tag(name)]) if _toolkit_tag(name) in tags else None,
        extensions=_image_of(tags[f"{name}-extensions"]) if f"{name}-extensions" in tags else None,
    )


def _toolkit_tag(os_tag: str) -> str:
    """Return the toolkit's tag for an operating system: RHEL 10 has one of its own (openshift/driver-toolkit, 4.23)."""
    return "driver-toolkit-10" if os_tag.endswith("-10") else "driver-toolkit"


def _image_of(tag: Any) -> Pullspec:
    image = parse_pullspec(tag["from"]["name"])
    if not image.is_pinned:
        raise FormatError(f"{IMAGE_REFERENCES}: {tag['name']} is {image}, which is not by digest")
    return image


def _builds(tag: Any) -> dict[str, str]:
    text = str((tag.get("annotations") or {}).get("io.openshift.build.versions", ""))
    pairs = (item.partition("=") for item in text.split(","))
    return {name.strip(): value.strip() for name, separator, value in pairs if separator}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolkitRelease:
    """What a toolkit is for: its kernels (standard, then rt and 64k where there is one), and the version of RHEL."""

    kernels: tuple[KernelVersion, ...]
    rhel: str


def parse_toolkit_release(content: bytes, *, arch: Arch, release: str) -> ToolkitRelease:
    """Read ``/etc/driver-toolkit-release.json``.

    The rt value is taken only if it has the form of a kernel version: on other architectures than x86_64 it is a
    sentence of rpm. 64k is not in the file; it is derived.

    Raises:
        FormatError: the standard kernel is not there, or is of another architecture.
    """
    data = read_json(content, TOOLKIT_RELEASE)
    try:
        standard = _parse_standard(str(data["KERNEL_VERSION"]), arch)
    except (KeyError, UsageError) as error:
        raise FormatError(f"{TOOLKIT_RELEASE} of {release} names no kernel: {error}") from None
    if standard.arch is not arch or standard.variant is not Variant.STANDARD:
        raise FormatError(f"{TOOLKIT_RELEASE} of {release} names {standard}, which is not a standard kernel of {arch}")
    rhel = str(data.get("RHEL_VERSION") or "")
    return ToolkitRelease(
        kernels=(standard, *_derived(data, standard, release)), rhel=rhel if _RHEL.fullmatch(rhel) else ""
    )


def _derived(data: Mapping[str, Any], standard: KernelVersion, release: str) -> Iterator[KernelVersion]:
    if standard.arch is Arch.X86_64 and (rt := _parse_rt(str(data.get("RT_KERNEL_VERSION") or ""), standard.arch)):
        yield rt
    if standard.arch is Arch.AARCH64 and minor_of(release) >= _FIRST_64K:
        yield parse_kernel_version(f"{standard.raw}+64k")


def _parse_rt(text: str, arch: Arch) -> KernelVersion | None:
    """Return an rt kernel's version; None where the text is none.

    From RHEL 9.3 on rt kernels have the standard kernel's package version, and ``+rt`` only in ``uname -r``; toolkits
    before 4.16 or 4.17 do not say so.
    """
    with contextlib.suppress(UsageError):
        found = parse_kernel_version(text)
        if found.variant is Variant.STANDARD:
            found = parse_kernel_version(f"{text}+rt")
        if found.variant is Variant.RT and found.arch is arch:
            return found
    return None


def kernel_of_labels(labels: Mapping[str, str], arch: Arch) -> tuple[KernelVersion, str] | None:
    """Return the kernel that labels of an operating system image name, and the label; only in a kernel's form.

    ``com.coreos.rpm.kernel`` is on machine-os-content, ``ostree.linux`` on rhel-coreos up to 4.21; from 4.22 on its
    value is the word "true".
    """
    for name in ("com.coreos.rpm.kernel", "ostree.linux"):
        with contextlib.suppress(UsageError):
            kernel = parse_kernel_version(labels.get(name, ""))
            if kernel.arch is arch and kernel.variant is Variant.STANDARD:
                return kernel, name
    return None


def is_metalayer(labels: Mapping[str, str]) -> bool:
    """Tell whether the last layer of an operating system image lists its packages (4.19 on)."""
    return labels.get("io.openshift.metalayer") == "true"


def parse_package_list(content: bytes, arch: Arch) -> KernelVersion:
    """Return the kernel of ``usr/share/openshift/base/meta.json``: the package kernel-core.

    Raises:
        FormatError: it is no list of packages, or has no kernel of this architecture.
    """
    try:
        packages = read_json(content, PACKAGE_LIST)["rpmdb.pkglist"]
        found = [
            parse_kernel_version(f"{version}-{release}.{arch_name}")
            for name, _, version, release, arch_name in packages
            if name == "kernel-core"
        ]
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise FormatError(f"{PACKAGE_LIST} is not a list of packages: {error!r}"[:300]) from None
    if len(found) != 1 or found[0].arch is not arch:
        raise FormatError(f"{PACKAGE_LIST} names {len(found)} kernels, or one of another architecture than {arch}")
    return found[0]


def parse_extensions(content: bytes, arch: Arch) -> list[KernelVersion]:
    """Return the rt and 64k kernels of ``usr/share/rpm-ostree/extensions.json`` (4.19 on).

    Raises:
        FormatError: it is no object.
    """
    data = read_json(content, EXTENSIONS)
    versions = {name: str(data.get(name, "")).rpartition(":")[2] for name in ("kernel-rt-core", "kernel-64k-core")}
    kernels = [_parse_rt(versions["kernel-rt-core"], arch)]
    with contextlib.suppress(UsageError):
        kernels.append(parse_kernel_version(f"{versions['kernel-64k-core']}+64k"))
    return [kernel for kernel in kernels if kernel is not None and kernel.arch is arch]


def parse_labels(content: bytes) -> tuple[dict[str, str], str]:
    """Return labels and architecture (OCI spelling) of an image's configuration.

    Raises:
        FormatError: the bytes are no configuration of an image.
    """
    found = parse_json(_ImageConfiguration, content, "configuration of an image")
    return (found.config.labels if found.config else None) or {}, found.architecture or ""


class _Settings(Parsed):
    labels: dict[str, str] | None = Field(default=None, alias="Labels")


class _ImageConfiguration(Parsed):
    config: _Settings | None = None
    architecture: str | None = None


def _parse_standard(text: str, arch: Arch) -> KernelVersion:
    """Parse a kernel, adding the architecture where it is missing: some builds of 4.7 and 4.8 (bug 1977972)."""
    with contextlib.suppress(UsageError):
        return parse_kernel_version(text)
    return parse_kernel_version(f"{text}.{arch}")
