"""What an API server may answer, and the sentence that is made of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from fakes.kube_server import FakeServer, failing, never_answering, refusal
from kmod_operator.cluster import client as module
from kmod_operator.cluster.client import Client
from kmod_operator.cluster.kinds import CONFIG_MAP, NODE, Kind, Scope
from kmod_operator.kubernetes.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ITEM = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": {}}
_QUESTIONS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "find": lambda client: client.find("apps/v1", "DaemonSet"),
    "page": lambda client: client.page(NODE, Scope(labels="a=b", fields="c=d")),
    "get": lambda client: client.get(CONFIG_MAP, "c", "n"),
    "create": lambda client: client.create(CONFIG_MAP, _ITEM),
    "replace": lambda client: client.replace(CONFIG_MAP, _ITEM),
    "apply": lambda client: client.apply(CONFIG_MAP, _ITEM),
    "status": lambda client: client.apply(CONFIG_MAP, _ITEM, "status"),
    "merge": lambda client: client.merge(NODE, "a", {"metadata": {"labels": {"x": None}}}),
    "delete": lambda client: client.delete(CONFIG_MAP, "c", "n", uid="u", foreground=True),
    "evict": lambda client: client.evict("n", "p", "u"),
    "may": lambda client: client.may("create", "v1", "pods", part="eviction"),
}


def _ask(question: str, answer: Callable[[httpx2.Request], Any]) -> Any:
    async def work() -> Any:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://api.example.com")
        async with http:
            return await _QUESTIONS[question](Client(http))

    return asyncio.run(asyncio.wait_for(work(), 30))


def test_what_is_asked_of_the_server() -> None:
    asked: dict[str, tuple[str, str, dict[str, str], Any, str]] = {}
    for question in _QUESTIONS:

        def answer(request: httpx2.Request, question: str = question) -> httpx2.Response:
            body = json.loads(request.content) if request.content else None
            kind = request.headers.get("Content-Type", "")
            asked.setdefault(question, (request.method, request.url.path, dict(request.url.params), body, kind))
            found = {"items": [], "metadata": {}, "groups": [], "status": {"allowed": True}}
            return httpx2.Response(200, json=found)

        _ask(question, answer)
    ours = {"fieldManager": "kmod-operator"}
    path = "/api/v1/namespaces/n/configmaps"
    json_ = "application/json"
    evict = {"name": "p", "namespace": "n"}
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
        "spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "subresource": "eviction"}},
    }  # fmt: skip
    assert asked == {
        "find": ("GET", "/apis", {}, None, ""),
        "page": ("GET", "/api/v1/nodes", {"labelSelector": "a=b", "fieldSelector": "c=d", "limit": "100"}, None, ""),
        "get": ("GET", f"{path}/c", {}, None, ""),
        "create": ("POST", path, {}, _ITEM, json_),
        "replace": ("PUT", f"{path}/c", {}, _ITEM, json_),
        "apply": ("PATCH", f"{path}/c", {**ours, "force": "true"}, _ITEM, "application/apply-patch+yaml"),
        "status": ("PATCH", f"{path}/c/status", {**ours, "force": "true"}, _ITEM, "application/apply-patch+yaml"),
        "merge": ("PATCH", "/api/v1/nodes/a", ours, {"metadata": {"labels": {"x": None}}}, "application/merge-patch+json"),
        "delete": ("DELETE", f"{path}/c", {}, {"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}}, json_),
        "evict": ("POST", "/api/v1/namespaces/n/pods/p/eviction", {}, {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": evict,
            "deleteOptions": {"preconditions": {"uid": "u"}},
        }, json_),
        "may": ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, review, json_),
    }  # fmt: skip


@pytest.mark.parametrize("question", _QUESTIONS)
@pytest.mark.parametrize(("status", "words"), [(403, "you may not"), (409, "changed"), (422, "invalid"), (500, "etcd")])
def test_a_refusal_is_a_sentence(question: str, status: int, words: str) -> None:
    with pytest.raises(ApiError, match=rf"cannot be .*: the API server answers {status}: {words}") as caught:
        _ask(question, lambda _: refusal(status, words, **{"Retry-After": "7"}))
    assert (caught.value.status, caught.value.wait_s) == (status, 7.0)


@pytest.mark.parametrize("question", _QUESTIONS)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[[[", b"3", b'"x"', b"null", b"[1]", b"\xff\xfe"])
def test_nonsense_is_told_as_such(question: str, body: bytes) -> None:
    with pytest.raises(ApiError, match="the API server answers nonsense") as caught:
        _ask(question, lambda _: httpx2.Response(200, content=body))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "body",
    [{}, {"items": 3, "metadata": {}}, {"items": [{}], "metadata": {}}, {"items": [{"metadata": {"name": 3}}], "metadata": {}}, {"items": []}],
)  # fmt: skip
def test_a_list_of_something_else_is_nonsense(body: Any) -> None:
    with pytest.raises(ApiError, match="nodes cannot be listed: the API server answers nonsense"):
        _ask("page", lambda _: httpx2.Response(200, json=body))


@pytest.mark.parametrize("question", ["delete", "evict"])
def test_what_is_gone_need_not_go(question: str) -> None:
    assert _ask(question, lambda _: refusal(404, "not found")) is None


@pytest.mark.parametrize("body", [{}, {"status": {}}, {"status": {"allowed": "yes"}}])
def test_a_right_is_there_when_the_server_says_so(body: Any) -> None:
    try:
        assert _ask("may", lambda _: httpx2.Response(200, json=body)) is False
    except ApiError as error:
        assert "nonsense" in str(error)


def test_a_kind_is_where_the_server_says_it_is() -> None:
    server = FakeServer()

    async def work() -> None:
        client = server.client
        assert await client.find("v1", "Node") == NODE
        found = await client.find("apps/v1", "DaemonSet")
        assert found == Kind(api="apps/v1", kind="DaemonSet", plural="daemonsets")
        assert found.path("n", "x", "status") == "apis/apps/v1/namespaces/n/daemonsets/x/status"
        assert await client.find("apps/v1", "Nothing") is None
        assert await client.find("config.openshift.io/v1", "ClusterVersion") is None
        assert await client.find("v1", "Nothing") is None

    asyncio.run(work())


def test_a_group_that_does_not_answer_is_not_absent() -> None:
    server = FakeServer()
    server.refuse = lambda request: refusal(503, "no backend") if request.url.path == "/apis/apps/v1" else None
    with pytest.raises(ApiError, match="whether the cluster has DaemonSet of apps/v1 cannot be found out.*503"):
        asyncio.run(server.client.find("apps/v1", "DaemonSet"))


def test_a_server_that_is_not_there_or_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiError, match="cannot be reached: no route"):
        _ask("get", failing(httpx2.ConnectError("no route")))
    with pytest.raises(ApiError, match="has not answered for 10 s"):
        _ask("get", failing(httpx2.ReadTimeout("")))

    monkeypatch.setattr(module, "_LISTS_WITHIN_S", 0.01)
    with pytest.raises(ApiError, match="has not answered for 0 s"):
        _ask("page", never_answering)


def test_a_list_that_does_not_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PAGES", 5)

    async def work() -> None:
        answer = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"items": [], "metadata": {"continue": "x"}}))
        client = Client(httpx2.AsyncClient(transport=answer, base_url="http://api.example.com"))
        async for _ in client.pages(NODE, Scope()):
            pass

    with pytest.raises(ApiError, match="the list does not end"):
        asyncio.run(work())
