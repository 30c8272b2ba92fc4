"""Kinds of objects, and where the API server has them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind that an API server has.

    Attributes:
        api: ``apiVersion`` of its objects.
        plural: its word in paths.
        namespaced: whether its objects are in namespaces.
    """

    api: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def name(self) -> str:
        """What ``World.apis`` calls it."""
        return f"{self.api} {self.kind}"

    def path(self, namespace: str = "", name: str = "", part: str = "") -> str:
        """Return the path of an object, of a part of it, or of all objects."""
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        words = [f"{root_of(self.api)}{place}/{self.plural}", name, part]
        return "/".join(word for word in words if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which objects of a kind: all, or those of a namespace, with labels, or of one name."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""

    @property
    def query(self) -> dict[str, str]:
        chosen = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in chosen.items() if value}


def root_of(api: str) -> str:
    """Return the path of a version of a group."""
    return f"apis/{api}" if "/" in api else f"api/{api}"


def group_of(api: str) -> str:
    return api.partition("/")[0] if "/" in api else ""


NODE = Kind(api="v1", kind="Node", plural="nodes", namespaced=False)
POD = Kind(api="v1", kind="Pod", plural="pods")
CONFIG_MAP = Kind(api="v1", kind="ConfigMap", plural="configmaps")
SECRET = Kind(api="v1", kind="Secret", plural="secrets")
LEASE = Kind(api="coordination.k8s.io/v1", kind="Lease", plural="leases")
EVENT = Kind(api="events.k8s.io/v1", kind="Event", plural="events")
ACCESS_REVIEW = Kind(
    api="authorization.k8s.io/v1", kind="SelfSubjectAccessReview", plural="selfsubjectaccessreviews", namespaced=False
)


def namespace_of(item: Mapping[str, Any]) -> str:
    return str(item["metadata"].get("namespace") or "")


def name_of(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["name"])
