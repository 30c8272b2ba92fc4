"""The Kubernetes API in words of ours. Another client would change this module and no other.

Objects are plain JSON and not the client's models: what a newer server adds is neither lost nor refused.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx2
from lightkube.generic_resource import create_global_resource, create_namespaced_resource

from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.kubernetes.opened import opened_client, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    import lightkube

    from kmod_operator.dra.pool import Slice

_ANSWERS_WITHIN_S = 10.0
_SLICE = create_global_resource("resource.k8s.io", "v1", "ResourceSlice", "resourceslices")
_CLAIM = create_namespaced_resource("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims")
_NODE = create_global_resource("", "v1", "Node", "nodes")


class KubernetesApi:
    """The API server that the pod's service account is for, or the one of ``KUBECONFIG``."""

    def __init__(self, client: lightkube.AsyncClient, *, node: str, driver: str) -> None:
        self._client = client
        self._node = node
        self._driver = driver

    async def node_uid(self) -> str:
        async with _told(f"the node {self._node} cannot be read"):
            uid = (await self._client.get(_NODE, self._node))["metadata"]["uid"]
        if not isinstance(uid, str) or not uid:
            raise ApiError(f"the node {self._node} cannot be read: the API server answers nonsense: no UID")
        return uid

    async def slices(self) -> list[Slice]:
        fields: dict[str, Any] = {"spec.driver": self._driver, "spec.nodeName": self._node}
        async with _told("resource slices cannot be listed"):
            found = [dict(one) async for one in self._client.list(_SLICE, fields=fields)]
            names = [one["metadata"]["name"] for one in found]
        if not all(isinstance(name, str) for name in names):
            raise ApiError("resource slices cannot be listed: the API server answers nonsense: names that are no text")
        return found

    async def create(self, item: Slice) -> Slice:
        async with _told(f"the resource slice {item['metadata']['name']} cannot be created"):
            return dict(await self._client.create(_SLICE(**item)))

    async def replace(self, item: Slice) -> Slice:
        name = item["metadata"]["name"]
        async with _told(f"the resource slice {name} cannot be changed"):
            return dict(await self._client.replace(_SLICE(**item), name))

    async def delete(self, name: str) -> None:
        try:
            async with _told(f"the resource slice {name} cannot be deleted"):
                await self._client.delete(_SLICE, name)
        except ApiError as error:
            if error.status != httpx2.codes.NOT_FOUND:
                raise

    async def claim(self, namespace: str, name: str) -> Any:
        async with _told(f"the claim {namespace}/{name} cannot be read"):
            return dict(await self._client.get(_CLAIM, name, namespace=namespace))


@contextlib.asynccontextmanager
async def open_api(*, node: str, driver: str) -> AsyncIterator[KubernetesApi]:
    """Open the API server that this process is told of.

    Raises:
        NoApiError: it is told of none.
    """
    async with opened_client() as client:
        yield KubernetesApi(client, node=node, driver=driver)


def _told(what: str) -> AbstractAsyncContextManager[None]:
    return told(what, _ANSWERS_WITHIN_S)
