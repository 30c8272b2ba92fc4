"""What is kept of a kind, and what becomes of it when servers and networks are not well."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from fakes.kube_server import FakeServer, refusal
from kmod_operator.cluster.cache import Cache, Limits, State
from kmod_operator.cluster.kinds import Scope

_NODES = "/api/v1/nodes"


class _Clock:
    def __init__(self, most: int = 20) -> None:
        self.now, self.left = 0.0, most
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.left -= 1
        if self.left <= 0:
            raise asyncio.CancelledError
        await asyncio.sleep(0)


def _node(name: str, version: int | str = 1, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": labels}}


def _labels(item: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = item["metadata"].get("labels") or {}
    return found


class _Seen:
    """A cache, and what it told."""

    def __init__(self, server: FakeServer, kind: str = "Node", api: str = "v1", most: int = 20, **more: Any) -> None:
        self.server, self.clock = server, _Clock(most)
        self.told: list[tuple[str, Any, Any]] = []
        self.restarts: list[str] = []
        self.cache: Cache[dict[str, str]] = Cache(
            server.client, api, kind, trim=_labels, told=lambda key, *both: self.told.append((key[1], *both)),
            restarted=self.restarts.append, sleep=self.clock.sleep, clock=self.clock, **more,
        )  # fmt: skip

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0)

    def say(self, type_: str, item: dict[str, Any], path: str = _NODES) -> None:
        self.server.watches.setdefault(path, asyncio.Queue()).put_nowait({"type": type_, "object": item})

    def end(self, path: str = _NODES) -> None:
        self.server.watches[path].put_nowait(None)


def _run(seen: _Seen, work: Any) -> None:
    async def both() -> None:
        running = asyncio.create_task(seen.cache.run())
        try:
            await work()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(both(), 20))


def _server(*nodes: str) -> FakeServer:
    server = FakeServer()
    for name in nodes:
        server.put(f"{_NODES}/{name}", _node(name))
    return server


def test_what_is_there_and_what_changes_is_kept_and_told() -> None:
    seen = _Seen(_server("a"))

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        assert dict(seen.cache.items) == {("", "a"): {}}
        seen.say("ADDED", _node("b", 200, x="y"))
        seen.say("MODIFIED", _node("a", 201, x="z"))
        seen.say("MODIFIED", _node("a", 202, x="z"))
        seen.say("DELETED", _node("b", 203, x="y"))
        await seen.until(lambda: ("b", {"x": "y"}, None) in seen.told)
        assert [one for one in seen.told if one[0]] == [
            ("a", None, {}), ("b", None, {"x": "y"}), ("a", {}, {"x": "z"}), ("b", {"x": "y"}, None),
        ], "what changed nothing of use is not told"  # fmt: skip
        assert list(seen.cache) == [{"x": "z"}]

    _run(seen, work)


def test_a_watch_that_the_server_ends_goes_on_where_it_ended() -> None:
    seen = _Seen(_server("a"))

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        seen.say("BOOKMARK", {"metadata": {"resourceVersion": "555"}})
        seen.end()
        await seen.until(lambda: len(seen.server.asked) >= 4)
        assert [path for _, path in seen.server.asked].count(_NODES) == 3, "one list, two watches"
        assert seen.restarts == []
        assert seen.cache._version == "555"

    _run(seen, work)


@pytest.mark.parametrize("how", ["event", "answer"])
def test_a_version_that_is_too_old_is_listed_anew_at_once(how: str) -> None:
    seen = _Seen(_server("a", "b"))

    def refuse(request: httpx2.Request) -> httpx2.Response | None:
        if request.url.params.get("watch") and how == "answer" and "gone" not in told:
            told.append("gone")
            return refusal(410, "too old resource version")
        return None

    told: list[str] = []
    seen.server.refuse = refuse

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        del seen.server.items[f"{_NODES}/b"]
        if how == "event":
            seen.say("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
        await seen.until(lambda: ("b", {}, None) in seen.told)
        assert seen.restarts == ["Node"]
        assert seen.clock.slept in ([], [0.0])
        assert seen.cache.broken_for() == 0.0

    _run(seen, work)


def test_a_server_that_says_too_old_for_ever_is_left_alone_more_and_more() -> None:
    seen = _Seen(_server("a"), most=12)
    seen.server.refuse = lambda request: refusal(410, "old") if request.url.params.get("watch") else None

    async def work() -> None:
        await seen.until(lambda: seen.clock.left <= 0)
        assert seen.clock.slept[0] == 0.0
        assert seen.clock.slept[-1] > 25

    _run(seen, work)


def test_silence_is_a_fault() -> None:
    seen = _Seen(_server("a"), limits=Limits(silence_s=0.05, bookmarked_silence_s=0.05))

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        seen.server.put(f"{_NODES}/b", _node("b"))  # and the watch does not say it
        await seen.until(lambda: seen.cache.get("b") is not None)
        assert seen.restarts == ["Node"]

    _run(seen, work)


def test_a_server_that_fails_is_asked_later_and_later_and_what_was_known_stays() -> None:
    seen = _Seen(_server("a"), most=9)

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        seen.server.refuse = lambda _: refusal(503, "etcd is away")
        seen.end()
        await seen.until(lambda: seen.clock.left <= 0)
        assert seen.cache.get("a") == {}
        assert seen.cache.trouble == "nodes cannot be listed: the API server answers 503: etcd is away"
        assert seen.cache.broken_for() > 60
        assert max(seen.clock.slept) <= 60

    _run(seen, work)


def test_a_server_that_asks_to_be_left_alone_is() -> None:
    seen = _Seen(_server(), most=2)
    seen.server.refuse = lambda _: refusal(429, "too many", **{"Retry-After": "77"})

    async def work() -> None:
        await seen.until(lambda: seen.clock.left <= 0)
        assert seen.clock.slept[0] == 77

    _run(seen, work)


def test_a_kind_that_is_not_there_is_known_to_be_absent_and_looked_for_again() -> None:
    seen = _Seen(FakeServer(), "ClusterVersion", "config.openshift.io/v1")

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.ABSENT)
        seen.server.kinds["config.openshift.io/v1"] = {"ClusterVersion": ("nodes", False)}
        await seen.until(lambda: seen.cache.state == State.LISTED)
        assert 48 <= seen.clock.slept[0] <= 72

    _run(seen, work)


def test_what_cannot_be_asked_is_unknown_and_not_absent() -> None:
    seen = _Seen(FakeServer(), "ClusterVersion", "config.openshift.io/v1", most=3)
    seen.server.refuse = lambda request: refusal(404, "page not found") if request.url.path == "/apis" else None

    async def work() -> None:
        await seen.until(lambda: seen.clock.left <= 0)
        assert seen.cache.state == State.UNKNOWN
        assert "whether the cluster has ClusterVersion" in seen.cache.trouble

    _run(seen, work)


def test_a_kind_that_goes_away_takes_its_objects_along() -> None:
    server = FakeServer()
    api, path = "kmm.sigs.x-k8s.io/v1beta1", "/apis/kmm.sigs.x-k8s.io/v1beta1/namespaces/d/modules"
    server.put(f"{path}/m", {"metadata": {"name": "m", "namespace": "d"}})
    seen = _Seen(server, "Module", api, scope=Scope(namespace="d"))

    async def work() -> None:
        await seen.until(lambda: seen.cache.get("m", "d") is not None)
        del server.kinds[api]
        server.refuse = lambda request: refusal(404, "not found") if request.url.path == path else None
        seen.end(path)
        await seen.until(lambda: seen.cache.state == State.ABSENT)
        assert not seen.cache.items
        assert ("m", {}, None) in seen.told

    _run(seen, work)


def test_what_may_not_be_listed_is_known_as_such() -> None:
    seen = _Seen(_server("a"), most=3)
    seen.server.refuse = lambda request: refusal(403, "you may not") if request.url.path == _NODES else None

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.FORBIDDEN)
        assert "403: you may not" in seen.cache.trouble
        assert seen.cache.broken_for() == 0
        seen.server.refuse = lambda _: None
        await seen.until(lambda: seen.cache.state == State.LISTED)

    _run(seen, work)


def test_what_we_wrote_is_not_undone_by_what_the_watch_said_before_it() -> None:
    seen = _Seen(_server("a"))

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        seen.cache.written(_node("a", 300, mine="yes"))
        seen.say("MODIFIED", _node("a", 299))
        seen.say("MODIFIED", _node("a", 300, mine="yes"))
        seen.say("ADDED", _node("last", 301))
        await seen.until(lambda: seen.cache.get("last") is not None)
        assert seen.cache.get("a") == {"mine": "yes"}
        assert [one for one in seen.told if one[0] == "a"] == [("a", None, {})]
        seen.cache.written(_node("a", 298))
        assert seen.cache.get("a") == {"mine": "yes"}
        seen.say("MODIFIED", _node("a", "odd"))
        await seen.until(lambda: seen.cache.get("a") == {})

    _run(seen, work)


def test_a_list_of_several_pages_is_one() -> None:
    server = FakeServer()

    def pages(request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path != _NODES or request.url.params.get("watch"):
            return None
        page = request.url.params.get("continue", "")
        name, following = {"": ("a", "2"), "2": ("b", "")}[page]
        body = {"items": [_node(name)], "metadata": {"resourceVersion": "9" if page else "7", "continue": following}}
        return httpx2.Response(200, json=body)

    server.refuse = pages
    seen = _Seen(server)

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        assert {name for _, name in seen.cache.items} == {"a", "b"}
        assert seen.cache._version == "7"

    _run(seen, work)


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"3", b'{"type":"ADDED"}', b'{"type":"ADDED","object":{}}', b'{"type":"ADDED","object":{"metadata":{"resourceVersion":3,"name":"x"}}}', b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"3"}}}', b'{"type":"ERROR","object":3}', b"\xff"],
)  # fmt: skip
def test_nonsense_of_a_watch_is_a_fault_like_another(line: bytes) -> None:
    server = _server("a")
    answers = [httpx2.Response(200, content=line + b"\n")]
    server.refuse = lambda request: answers.pop() if request.url.params.get("watch") and answers else None
    seen = _Seen(server)

    async def work() -> None:
        await seen.until(lambda: bool(seen.restarts))
        assert "the API server answers nonsense" in seen.cache.trouble or seen.cache.trouble == ""
        await seen.until(lambda: seen.cache.broken_for() == 0 and seen.cache.state == State.LISTED)

    _run(seen, work)


def test_an_endless_line_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmod_operator.cluster.client._LONGEST_LINE", 1000)
    server = _server("a")
    answers = [httpx2.Response(200, content=json.dumps("x" * 5000).encode())]
    server.refuse = lambda request: answers.pop() if request.url.params.get("watch") and answers else None
    seen = _Seen(server)

    async def work() -> None:
        await seen.until(lambda: bool(seen.restarts))

    _run(seen, work)


def test_what_was_deleted_before_our_write_was_answered_is_not_kept() -> None:
    """The watch was faster than the answer: without a list anew the object would be there for ever."""
    seen = _Seen(_server("a"))

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        seen.say("DELETED", _node("a", 203))
        await seen.until(lambda: not seen.cache.items)
        seen.cache.written(_node("a", 202, x="y"))
        assert not seen.cache.items
        seen.cache.written(_node("a", 204, x="y"))
        assert seen.cache.get("a") == {"x": "y"}

    _run(seen, work)


def test_what_a_list_and_a_watch_say_is_the_same() -> None:
    """A list does not say the kind of its parts, and a watch does: that is no change."""
    seen = _Seen(_server("a"))
    kept: list[dict[str, Any]] = []

    def trim(item: dict[str, Any]) -> dict[str, str]:
        kept.append(item)
        return {"kind": item["kind"], "api": item["apiVersion"]}

    seen.cache._trim = trim

    async def work() -> None:
        await seen.until(lambda: seen.cache.state == State.LISTED)
        before = len(seen.told)
        seen.say("MODIFIED", {**_node("a", 203), "apiVersion": "v1", "kind": "Node"})
        await seen.until(lambda: len(kept) == 2)
        assert seen.cache.get("a") == {"kind": "Node", "api": "v1"}
        assert len(seen.told) == before

    _run(seen, work)
