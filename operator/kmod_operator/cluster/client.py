"""The Kubernetes API in words of ours. Another client would change this module and no other.

lightkube finds the server and proves who we are; the requests are ours: its watch has no limit of silence, leaves out
the bookmarks by which one knows that a quiet server is alive, and makes objects of models where plain JSON is needed.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec

from kmod_operator.cluster.kinds import ACCESS_REVIEW, POD, Kind, Scope, group_of, name_of, namespace_of, root_of
from kmod_operator.kubernetes.errors import NOT_FOUND, ApiError
from kmod_operator.kubernetes.opened import opened_http, retry_after, shorten, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from kmod_operator.rollout.world import Object

ANSWERS_WITHIN_S = 10.0
_LISTS_WITHIN_S = 30.0
_PAGE = 100
_MOST_PAGES = 1000
_LONGEST_LINE = 16 << 20
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a list; ``following`` asks for the next, and is empty in the last."""

    items: list[dict[str, Any]]
    version: str
    following: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a watch says: ``ADDED``, ``MODIFIED``, ``DELETED``, or ``BOOKMARK``, which says that nothing happened."""

    type: str
    item: dict[str, Any]


class Client:
    """Speaks to one API server; each question ends within a time, and raises ApiError where it is not answered.

    Args:
        http: where the server is.
        manager: our name as the owner of fields.
    """

    def __init__(self, http: httpx2.AsyncClient, manager: str = "kmod-operator") -> None:
        self._http = http
        self._manager = manager

    async def find(self, api: str, kind: str) -> Kind | None:
        """Return a kind; None where the server surely does not have it.

        A "not found" alone is no proof: a server that does not reach another one behind it says it as well.
        """
        what = f"whether the cluster has {kind} of {api} cannot be found out"
        if "/" in api:
            groups = await self._read(what, "apis")
            with _nonsense(what):
                if not any(api == one["groupVersion"] for group in groups["groups"] for one in group["versions"]):
                    return None
        found = await self._read(what, root_of(api))
        with _nonsense(what):
            for one in found["resources"]:
                if one["kind"] == kind and "/" not in one["name"]:
                    return Kind(api=api, kind=kind, plural=str(one["name"]), namespaced=bool(one["namespaced"]))
        return None

    async def page(self, kind: Kind, scope: Scope, following: str = "") -> Page:
        """Return one page of a list."""
        what = f"{kind.plural} cannot be listed"
        query = scope.query | {"limit": str(_PAGE)} | ({"continue": following} if following else {})
        found = await self._read(what, kind.path(scope.namespace), query, _LISTS_WITHIN_S)
        with _nonsense(what):
            items, metadata = found["items"], found["metadata"]
            for one in items:
                one["metadata"]["name"] + ""
            return Page(
                items=items,
                version=str(metadata.get("resourceVersion", "")),
                following=str(metadata.get("continue") or ""),
            )

    async def pages(self, kind: Kind, scope: Scope) -> AsyncIterator[Page]:
        """Yield all pages of a list, one after another: more than one is never in memory."""
        following = ""
        for _ in range(_MOST_PAGES):
            page = await self.page(kind, scope, following)
            yield page
            if not page.following:
                return
            following = page.following
        raise ApiError(f"{kind.plural} cannot be listed: the list does not end")

    async def watch(
        self, kind: Kind, scope: Scope, version: str, *, server_s: int, silence_s: float
    ) -> AsyncIterator[Change]:
        """Yield what happens after a version, until the server ends it.

        Raises:
            ApiError: it cannot be watched, the version is too old (410), or nothing was heard for too long.
        """
        what = f"{kind.plural} cannot be watched"
        query = scope.query | {
            "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": str(server_s)
        }  # fmt: skip
        request = self._http.build_request(
            "GET", kind.path(scope.namespace), params=query, timeout=httpx2.Timeout(ANSWERS_WITHIN_S, read=None)
        )
        async with contextlib.AsyncExitStack() as held:
            async with told(what, silence_s):
                response = await self._http.send(request, stream=True)
                held.push_async_callback(response.aclose)
                if response.is_error:
                    await response.aread()
                    _refuse(what, response)
            lines = _lines(response)
            while True:
                async with told(f"{what}: nothing is heard", silence_s):
                    line = await anext(lines, b"")
                if not line:
                    return
                yield _change(what, line)

    async def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any]:
        return await self._read(f"{_called(kind, name, namespace)} cannot be read", kind.path(namespace, name))

    async def get_if_there(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any] | None:
        try:
            return await self.get(kind, name, namespace)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def create(self, kind: Kind, item: Object) -> dict[str, Any]:
        name, namespace = str(item["metadata"].get("name", "")), namespace_of(item)
        what = f"{_called(kind, name, namespace)} cannot be created"
        return await self._ask(what, "POST", kind.path(namespace), body=item)

    async def replace(self, kind: Kind, item: Object, within_s: float = ANSWERS_WITHIN_S) -> dict[str, Any]:
        """Replace an object; the status is 409 where it is not the version any more that ``item`` says."""
        name, namespace = name_of(item), namespace_of(item)
        what = f"{_called(kind, name, namespace)} cannot be changed"
        return await self._ask(what, "PUT", kind.path(namespace, name), body=item, within_s=within_s)

    async def apply(self, kind: Kind, item: Object, part: str = "") -> dict[str, Any]:
        """Apply an object, or its status, on the server's side: our fields become as they are here."""
        name, namespace = name_of(item), namespace_of(item)
        what = f"{_called(kind, name, namespace)} cannot be applied"
        query = {"fieldManager": self._manager, "force": "true"}
        path = kind.path(namespace, name, part)
        return await self._ask(what, "PATCH", path, body=item, query=query, content_type=_APPLY)

    async def merge(self, kind: Kind, name: str, change: Object, namespace: str = "") -> dict[str, Any]:
        """Merge a change into an object; with a version in it the status is 409 where the object has another one."""
        what = f"{_called(kind, name, namespace)} cannot be changed"
        query = {"fieldManager": self._manager}
        path = kind.path(namespace, name)
        return await self._ask(what, "PATCH", path, body=change, query=query, content_type=_MERGE)

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", foreground: bool = False
    ) -> None:
        """Delete an object, and what it owns: before it where that is asked, else after it; gone is no error."""
        what = f"{_called(kind, name, namespace)} cannot be deleted"
        body: dict[str, Any] = {"propagationPolicy": "Foreground" if foreground else "Background"}
        body |= {"preconditions": {"uid": uid}} if uid else {}
        try:
            await self._ask(what, "DELETE", kind.path(namespace, name), body=body)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise

    async def evict(self, namespace: str, name: str, uid: str) -> None:
        """Evict a pod, as a drain does; gone is no error. The status is 429 where a budget forbids it now."""
        body = {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }  # fmt: skip
        what = f"the pod {namespace}/{name} cannot be evicted"
        try:
            await self._ask(what, "POST", POD.path(namespace, name, "eviction"), body=body)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise

    async def may(self, verb: str, api: str, resource: str, *, part: str = "", namespace: str = "") -> bool:
        """Tell whether this account may do something."""
        what = f"whether this account may {verb} {resource} cannot be found out"
        attributes = {
            "verb": verb, "group": group_of(api), "resource": resource, "subresource": part, "namespace": namespace
        }  # fmt: skip
        body = {
            "apiVersion": ACCESS_REVIEW.api, "kind": ACCESS_REVIEW.kind, "metadata": {},
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }  # fmt: skip
        found = await self._ask(what, "POST", ACCESS_REVIEW.path(), body=body)
        with _nonsense(what):
            return found["status"]["allowed"] is True

    async def _read(
        self, what: str, path: str, query: Mapping[str, str] | None = None, within_s: float = ANSWERS_WITHIN_S
    ) -> dict[str, Any]:
        return await self._ask(what, "GET", path, query=query, within_s=within_s)

    async def _ask(
        self,
        what: str,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        within_s: float = ANSWERS_WITHIN_S,
    ) -> dict[str, Any]:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": content_type} if content is not None else {}
        async with told(what, within_s):
            response = await self._http.request(
                method, path, params=query, content=content, headers=headers, timeout=within_s
            )
            if response.is_error:
                _refuse(what, response)
            return _object(response.content)


@contextlib.asynccontextmanager
async def open_client(manager: str = "kmod-operator") -> AsyncIterator[Client]:
    """Open the API server that this process is told of.

    Raises:
        NoApiError: it is told of none.
    """
    async with opened_http(ANSWERS_WITHIN_S) as http:
        yield Client(http, manager)


async def _lines(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Yield lines as they come; one that does not end is refused before it fills the memory."""
    rest = b""
    async for part in response.aiter_bytes():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > _LONGEST_LINE:
            raise ValueError(f"a line of more than {_LONGEST_LINE >> 20} MiB")
    if rest.strip():
        yield rest


def _change(what: str, line: bytes) -> Change:
    with _nonsense(what):
        found = _object(line)
        type_, item = found["type"], found["object"]
        if type_ == "ERROR":
            raise ApiError(f"{what}: {shorten(str(item.get('message', item)))}", status=int(item.get("code", 0)))
        item["metadata"]["resourceVersion"] + ""
        if type_ != "BOOKMARK":
            item["metadata"]["name"] + ""
        return Change(type=str(type_), item=item)


def _object(content: bytes) -> dict[str, Any]:
    found = msgspec.json.decode(content)
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found


def _refuse(what: str, response: httpx2.Response) -> None:
    """Raise what the server says, in its own words."""
    words = response.reason_phrase
    with contextlib.suppress(Exception):
        words = str(_object(response.content).get("message") or words)
    status = response.status_code
    words = f"{what}: the API server answers {status}: {shorten(words)}"
    raise ApiError(words, status=status, wait_s=retry_after(response))


@contextlib.contextmanager
def _nonsense(what: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, msgspec.MsgspecError) as error:
        raise ApiError(f"{what}: the API server answers nonsense: {type(error).__name__}: {shorten(error)}") from error


def _called(kind: Kind, name: str, namespace: str) -> str:
    return f"the {kind.kind} {namespace}/{name}" if namespace else f"the {kind.kind} {name}"


def client_of_nobody() -> Client:
    """Return a client that reaches no server, to try that all parts begin and end."""
    return Client(httpx2.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False))
