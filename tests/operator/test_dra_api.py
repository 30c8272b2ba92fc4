"""What an API server may answer, and the sentence that is made of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2
import lightkube
import pytest
from fakes.kube_server import failing, never_answering
from kmod_operator.dra import api as module
from kmod_operator.dra.api import KubernetesApi, open_api
from kmod_operator.kubernetes.errors import ApiError, NoApiError
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_SLICE = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "s"}, "spec": {}}
_QUESTIONS: dict[str, Callable[[KubernetesApi], Awaitable[Any]]] = {
    "node": lambda api: api.node_uid(),
    "list": lambda api: api.slices(),
    "create": lambda api: api.create(_SLICE),
    "replace": lambda api: api.replace(_SLICE),
    "delete": lambda api: api.delete("s"),
    "claim": lambda api: api.claim("default", "c"),
}


def _ask(question: str, answer: Callable[[httpx2.Request], httpx2.Response]) -> Any:
    async def work() -> Any:
        config = KubeConfig.from_one(cluster=Cluster(server="http://api.example.com"), user=User()).get()
        client = lightkube.AsyncClient(config, transport=httpx2.MockTransport(answer))
        try:
            return await _QUESTIONS[question](KubernetesApi(client, node="worker", driver="d.example.com"))
        finally:
            await client.close()

    return asyncio.run(asyncio.wait_for(work(), 30))


def _answers(status: int, body: Any, **headers: str) -> Callable[[httpx2.Request], httpx2.Response]:
    if isinstance(body, bytes):
        return lambda _: httpx2.Response(status, content=body, headers=headers)
    return lambda _: httpx2.Response(status, json=body, headers=headers)


def test_what_is_asked_of_the_server() -> None:
    asked: list[tuple[str, str, dict[str, str], Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.path, dict(request.url.params), body))
        found: dict[str, Any] = {"metadata": {"uid": "u", "name": "s"}, "items": []}
        return httpx2.Response(200, json=found)

    found = {question: _ask(question, answer) for question in _QUESTIONS}
    slices = "/apis/resource.k8s.io/v1/resourceslices"
    assert asked == [
        ("GET", "/api/v1/nodes/worker", {}, None),
        ("GET", slices, {"fieldSelector": "spec.driver=d.example.com,spec.nodeName=worker"}, None),
        ("POST", slices, {}, _SLICE),
        ("PUT", f"{slices}/s", {}, _SLICE),
        ("DELETE", f"{slices}/s", {}, None),
        ("GET", "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c", {}, None),
    ]
    assert (found["node"], found["list"], found["delete"]) == ("u", [], None)
    assert found["claim"]["metadata"]["name"] == "s"


def test_a_list_of_several_pages_is_one() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        page = request.url.params.get("continue", "")
        following = {"": "b", "b": ""}[page]
        item = {"metadata": {"name": f"s{page}"}}
        return httpx2.Response(200, json={"items": [item], "metadata": {"continue": following}})

    assert [one["metadata"]["name"] for one in _ask("list", answer)] == ["s", "sb"]


@pytest.mark.parametrize("question", _QUESTIONS)
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "you may not"),
        (409, "it was changed"),
        (410, "too old"),
        (422, "invalid"),
        (429, "too many"),
        (500, "etcd"),
    ],
)
def test_a_refusal_is_a_sentence(question: str, status: int, words: str) -> None:
    body = {"kind": "Status", "message": words, "reason": "X", "code": status}
    with pytest.raises(ApiError, match=f"the API server answers {status}: {words}") as caught:
        _ask(question, _answers(status, body))
    assert caught.value.status == status


def test_how_long_a_server_wants_to_be_left_alone() -> None:
    for text, seconds in (("7", 7.0), ("99999", 300.0), ("soon", 0.0), ("-1", 0.0), ("", 0.0), ("9" * 5000, 0.0)):
        with pytest.raises(ApiError) as caught:
            _ask("list", _answers(429, {"message": "x"}, **{"Retry-After": text}))
        assert caught.value.wait_s == seconds


def test_what_is_not_there() -> None:
    with pytest.raises(ApiError) as caught:
        _ask("list", _answers(404, b"404 page not found\n", **{"Content-Type": "text/plain"}))
    assert caught.value.status == 404
    assert _ask("delete", _answers(404, {"message": "not found"})) is None


@pytest.mark.parametrize("question", [name for name in _QUESTIONS if name != "delete"])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[[[", b"3", b'"x"', b"null", b"[1]", b'{"items": 3}', b"\xff\xfe"])
def test_nonsense_is_told_as_such(question: str, body: bytes) -> None:
    try:
        _ask(question, _answers(200, body, **{"Content-Type": "application/json"}))
    except ApiError as error:
        assert "the API server answers nonsense" in str(error)
        assert len(str(error)) < 500
    else:
        assert question in {"create", "replace", "claim"}, "what these mean is looked at where it is used"


@pytest.mark.parametrize(
    "items", [[{}], [{"metadata": {}}], [{"metadata": {"name": 3}}], [3], [None], [{"metadata": None}], {"a": 1}]
)
def test_slices_without_names_are_nonsense(items: Any) -> None:
    with pytest.raises(ApiError, match="resource slices cannot be listed: the API server answers nonsense"):
        _ask("list", _answers(200, {"items": items}))


@pytest.mark.parametrize("uid", [None, "", 3, ["x"]])
def test_a_node_without_a_uid_is_nonsense(uid: Any) -> None:
    with pytest.raises(ApiError, match="the node worker cannot be read: the API server answers nonsense"):
        _ask("node", _answers(200, {"metadata": {"uid": uid}}))


@pytest.mark.parametrize("body", [b"[[[", b"3", b"[]", b'{"message": 3}'])
def test_a_refusal_that_is_nonsense_is_a_sentence(body: bytes) -> None:
    with pytest.raises(ApiError, match="resource slices cannot be listed: the API server answers"):
        _ask("list", _answers(500, body, **{"Content-Type": "application/json"}))
    with pytest.raises(ApiError, match="resource slices cannot be listed: the API server answers"):
        _ask("list", _answers(500, body))


def test_a_server_that_is_not_there_or_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiError, match="cannot be reached: no route"):
        _ask("list", failing(httpx2.ConnectError("no route")))
    with pytest.raises(ApiError, match="has not answered for 10 s"):
        _ask("list", failing(httpx2.ReadTimeout("")))
    monkeypatch.setattr(module, "_ANSWERS_WITHIN_S", 0.01)

    with pytest.raises(ApiError, match="has not answered for 0 s"):
        _ask("list", never_answering)  # type: ignore[arg-type]


def test_endless_lists_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWERS_WITHIN_S", 0.05)

    async def answer(_: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0.001)
        return httpx2.Response(200, json={"items": [], "metadata": {"continue": "more"}})

    with pytest.raises(ApiError, match="has not answered"):
        _ask("list", answer)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, "", "3", "[[", "apiVersion: v1", "contexts: [{name: x}]\ncurrent-context: x"])
def test_where_the_server_is_has_to_be_known(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))

    async def work() -> None:
        async with open_api(node="worker", driver="d"):
            pass

    with pytest.raises(NoApiError, match="where the API server is, is not known; the file of KUBECONFIG would say it"):
        asyncio.run(work())
