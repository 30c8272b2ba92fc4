"""The Kubernetes API in words of ours. Another client would change this module and no other.

Objects are plain JSON and not the client's models: what a newer server adds is neither lost nor refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

import httpx2
import lightkube
from lightkube.config.kubeconfig import KubeConfig
from lightkube.generic_resource import create_global_resource, create_namespaced_resource

from kmod_operator.dra.cluster import ApiError, NoApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kmod_operator.dra.pool import Slice

_ANSWERS_WITHIN_S = 10.0
_MOST_WORDS = 300
_LONGEST_WAIT_S = 300.0
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
    try:
        config = KubeConfig.from_env().get()
        client = lightkube.AsyncClient(config)
    except Exception as error:
        where = "a service account's token in the pod" if "KUBECONFIG" not in os.environ else "the file of KUBECONFIG"
        words = f"{type(error).__name__}: {error}"
        raise NoApiError(f"where the API server is, is not known; {where} would say it: {words}") from error
    try:
        yield KubernetesApi(client, node=node, driver=driver)
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _told(what: str) -> AsyncIterator[None]:
    """Turn whatever comes of a question to the server into a sentence: nothing that it answers ends the program."""
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            yield
    except (TimeoutError, httpx2.TimeoutException) as error:  # the client's limit and ours are the same
        raise ApiError(f"{what}: the API server has not answered for {_ANSWERS_WITHIN_S:.0f} s") from error
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        words = f"{what}: the API server answers {status}: {_words(error)}"
        raise ApiError(words, status=status, wait_s=_wait(error.response)) from error
    except httpx2.TransportError as error:
        raise ApiError(f"{what}: the API server cannot be reached: {_words(error)}") from error
    except Exception as error:
        raise ApiError(f"{what}: the API server answers nonsense: {_words(error)}") from error


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}..."


def _wait(response: httpx2.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0  # noqa: PLR2004
