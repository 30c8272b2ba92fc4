"""What pods of an operator are: by digest, without privilege, asked whether they are well. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from builder.emit.kmm.documents import as_mapping, numbered
from builder.emit.kmm.problem import Problem, warn
from builder.errors import FormatError
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.emit.kmm.problem import Path

_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_HOST = ("hostNetwork", "hostPID", "hostIPC")
_RELATED = "RELATED_IMAGE_"
_PROBES = ("livenessProbe", "readinessProbe")


def check_pod(template: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Check the template of a pod that stands at ``path``."""
    pod = as_mapping(template.get("spec"))
    place = (*path, "spec")
    for name in _HOST:
        if pod.get(name) is True:
            yield warn((*place, name), "privileged", f"{name}: the pod sees what belongs to the node")
    for number, volume in numbered(pod.get("volumes")):
        if "hostPath" in volume:
            where = as_mapping(volume["hostPath"]).get("path")
            yield warn((*place, "volumes", number), "host-path", f"it has the folder {where!r:.100} of the node")
    containers = list(_containers(pod, place))
    if not any("containers" in where for _, where in containers):
        yield Problem(path=place, code="no-container", message="has no container")
    for container, where in containers:
        yield from _check_image(container, where)
        yield from _check_context(container, as_mapping(pod.get("securityContext")), where)
        if "containers" in where:
            yield from _check_care(container, where)


def _containers(pod: Mapping[str, Any], place: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    for word in ("containers", "initContainers"):
        for number, container in numbered(pod.get(word)):
            yield container, (*place, word, number)


def _check_image(container: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    image = container.get("image")
    if not isinstance(image, str) or not image:
        yield Problem(path=path, code="image", message="has no image")
    elif not _DIGEST.fullmatch(image):
        words = f"{image!r:.150} is not named by digest: what it is may change, and mirrors of digests do not have it"
        yield Problem(path=(*path, "image"), code="image-tag", message=words)


def _check_context(container: Mapping[str, Any], of_pod: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    said = as_mapping(container.get("securityContext"))
    path = (*path, "securityContext") if said else path
    if said.get("privileged") is True:
        yield warn((*path, "privileged"), "privileged", "it is privileged: it can do whatever the node can")
    elif said.get("allowPrivilegeEscalation") is not False:
        yield warn(path, "escalation", "allowPrivilegeEscalation is not false")
    capabilities = as_mapping(said.get("capabilities"))
    if added := capabilities.get("add"):
        yield warn((*path, "capabilities", "add"), "capabilities", f"it gets capabilities: {added!r:.100}")
    elif not (isinstance(dropped := capabilities.get("drop"), list) and "ALL" in dropped):
        yield warn(path, "capabilities", "it keeps capabilities: drop ALL")
    if said.get("runAsUser", of_pod.get("runAsUser")) == 0:
        yield warn(path, "root", "it runs as root")
    elif said.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield warn(path, "root", "runAsNonRoot is not true: its image decides whether it is root")


def _check_care(container: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for name in _PROBES:
        if name not in container:
            yield warn(path, "probe", f"has no {name}: nobody notices when it hangs")
    requests = as_mapping(as_mapping(container.get("resources")).get("requests"))
    if lacking := [name for name in ("cpu", "memory") if name not in requests]:
        words = f"asks for no {' and no '.join(lacking)}: it is the first to go, and quotas refuse it"
        yield warn(path, "requests", words)


def check_images(spec: Mapping[str, Any], deployments: Sequence[tuple[Mapping[str, Any], Path]]) -> Iterator[Problem]:
    """Check ``relatedImages``: what mirrors copy has to be all that is run."""
    named: dict[str, int] = {}
    known: set[str] = set()
    for number, one in numbered(spec.get("relatedImages")):
        path: Path = ("spec", "relatedImages", number)
        image, name = one.get("image"), one.get("name")
        if not isinstance(image, str) or not image:
            yield Problem(path=path, code="related-images", message="has no image")
            continue
        known.add(image)
        try:
            parse_pullspec(image)
        except FormatError as error:
            yield Problem(path=(*path, "image"), code="related-images", message=error.message)
        else:
            if not _DIGEST.fullmatch(image):
                words = f"{image!r:.150} is not named by digest, and mirrors copy digests"
                yield Problem(path=(*path, "image"), code="image-tag", message=words)
        if not isinstance(name, str):
            yield Problem(path=path, code="related-images", message="has no name")
        elif named.setdefault(name, number) != number:
            yield warn((*path, "name"), "related-images", f"the name {name!r:.60} is there twice")
    for image, path in _run_images(deployments):
        if image not in known:
            words = f"{image!r:.150} is not in spec.relatedImages: a cluster without a network does not get it"
            yield Problem(path=path, code="related-images", message=words)


def _run_images(deployments: Sequence[tuple[Mapping[str, Any], Path]]) -> Iterator[tuple[str, Path]]:
    """Yield images that are run, or that the operator is told of by variables as the field does."""
    for one, place in deployments:
        pod = as_mapping(as_mapping(as_mapping(one.get("spec")).get("template")).get("spec"))
        for container, path in _containers(pod, (*place, "spec", "template", "spec")):
            if isinstance(container.get("image"), str):
                yield container["image"], (*path, "image")
            for number, variable in numbered(container.get("env")):
                value = variable.get("value")
                if str(variable.get("name")).startswith(_RELATED) and isinstance(value, str):
                    yield value, (*path, "env", number, "value")
