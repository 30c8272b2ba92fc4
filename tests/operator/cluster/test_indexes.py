"""Which index is believed, where it comes from, and what a restart knows of it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import random
from typing import TYPE_CHECKING, Any

import pytest
from fakes.indexes import STRANGER, VENDOR
from fakes.kube_server import GROUP, FakeServer, refusal
from kmod_operator.cluster.indexes import Indexes, read_data
from kmod_operator.cluster.lease import LostError
from kmod_operator.cluster.looking import Cluster
from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.rollout.template import Templates

if TYPE_CHECKING:
    from collections.abc import Callable

_TEMPLATES = Templates(
    group=GROUP, version="v1alpha1", kind="KernelDriver", plural="kerneldrivers", namespace="o", keys=(VENDOR.pem,),
    drivers={},
)  # fmt: skip
_OLD, _NEW = VENDOR.index(made="2026-11-27T05:00:00Z"), VENDOR.index(made="2026-11-27T06:00:00Z")
_MAPS = "/api/v1/namespaces/o/configmaps"
_LAST = f"{_MAPS}/x-last-index"


def _item(**index: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1alpha1", "kind": "KernelDriver", "metadata": {"name": "x", "uid": "u"},
        "spec": {"driver": {"name": "ptemplate"}, "index": index},
    }  # fmt: skip


class _Bench:
    def __init__(self) -> None:
        self.server = FakeServer()
        self.server.kinds["v1"]["Secret"] = ("secrets", True)
        self.sleeps: list[tuple[float, asyncio.Event]] = []
        self.changed: list[str] = []
        self.fetched: list[tuple[str, bytes | None]] = []
        self.found: Any = _NEW

    async def fetch(self, image: str, secret: bytes | None) -> bytes:
        self.fetched.append((image, secret))
        if isinstance(self.found, asyncio.Event):
            await self.found.wait()
            return _NEW
        if isinstance(self.found, Exception):
            raise self.found
        found: bytes = self.found
        return found

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append((seconds, end := asyncio.Event()))
        await end.wait()

    async def pass_time(self) -> float:
        """Have the last wait of a registry's end, and its next question asked; return how long it would have been."""
        seconds, end = self.sleeps.pop()
        end.set()
        async with asyncio.timeout(5):
            while not self.sleeps:  # noqa: ASYNC110
                await asyncio.sleep(0)
        return seconds

    def indexes(self, waits_s: float = 5.0) -> Indexes:
        return Indexes(
            self.server.client, self.cluster, _TEMPLATES, fetch=self.fetch, sleep=self.sleep, waits_s=waits_s,
            changed=self.changed.append,
        )  # fmt: skip

    def put_map(self, content: bytes, name: str = "i") -> None:
        item = {"metadata": {"name": name, "namespace": "o"}, "data": {"index.json": content.decode()}}
        path = f"{_MAPS}/{name}"
        self.server.put(path, item)

    def run(self, work: Callable[[_Bench], Any]) -> None:
        async def both() -> None:
            self.cluster = Cluster(self.server.client, _TEMPLATES, changed=lambda _: None)
            running = asyncio.create_task(self.cluster.run())
            try:
                await work(self)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        asyncio.run(asyncio.wait_for(both(), 20))


def test_an_index_in_a_config_map_is_believed_and_kept_once() -> None:
    async def work(bench: _Bench) -> None:
        bench.put_map(_NEW)
        indexes = bench.indexes()
        for _ in range(3):
            state = await indexes.look(_item(configMap="i"))
            assert state.index is not None
            assert state.trouble == ""
        kept = bench.server.items[_LAST]
        assert gzip.decompress(base64.b64decode(kept["binaryData"]["index.json.gz"])) == _NEW
        assert kept["metadata"]["ownerReferences"][0]["uid"] == "u"
        assert f"{GROUP}/driver" not in kept["metadata"]["labels"], "it would be deleted as not wanted"
        assert len(bench.server.writes()) == 1

    _Bench().run(work)


@pytest.mark.parametrize(("size", "is_kept"), [(690_000, True), (800_000, False)])
def test_as_much_is_kept_as_emit_index_writes(size: int, is_kept: bool) -> None:
    """A ConfigMap takes 1 MiB as it is, and not of what carries it."""
    content = VENDOR.index(note=random.Random(1).randbytes(size).hex())

    async def work(bench: _Bench) -> None:
        bench.found = content
        state = await bench.indexes().look(_item(image="r.example/x:index"))
        assert (state.index is not None, _LAST in bench.server.items) == (True, is_kept)
        if is_kept:
            packed = base64.b64decode(bench.server.items[_LAST]["binaryData"]["index.json.gz"])
            assert 900_000 < len(packed) <= 1024**2

    _Bench().run(work)


def test_a_restart_forgets_nothing() -> None:
    async def work(bench: _Bench) -> None:
        bench.put_map(_NEW)
        await bench.indexes().look(_item(configMap="i"))
        bench.put_map(_OLD, "older")
        before = len(bench.server.writes())
        state = await bench.indexes().look(_item(configMap="older"))
        assert state.trouble_reason == "OlderIndex"
        assert state.index is not None
        assert state.index.made.hour == 6
        assert len(bench.server.writes()) == before

    _Bench().run(work)


def test_a_config_map_that_nobody_names_any_more_is_followed_no_more() -> None:
    """Tools that make files name a ConfigMap anew with each content: each would hold a connection for ever."""

    async def work(bench: _Bench) -> None:
        indexes = bench.indexes()
        other = _item(configMap="kept")
        other["metadata"] = {"name": "y", "uid": "u3"}
        bench.put_map(_NEW, "kept")
        await indexes.look(other)
        for name in ("first", "second", "third"):
            bench.put_map(_NEW, name)
            assert (await indexes.look(_item(configMap=name))).trouble == ""
        await asyncio.sleep(0)
        assert sorted(bench.cluster.index_maps) == ["kept", "third"]
        always = len(list(bench.cluster._all()))
        assert sum("Cache.run" in repr(task) for task in asyncio.all_tasks()) == always + 2
        indexes.forget("x")
        bench.put_map(_NEW, "last")
        await indexes.look({**other, "spec": _item(configMap="last")["spec"]})
        await asyncio.sleep(0)
        assert list(bench.cluster.index_maps) == ["last"]

    _Bench().run(work)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_object_that_was_made_anew_is_another(is_restarted: bool) -> None:
    """What the first one owns is removed some time after it: the second one needs its own."""

    async def work(bench: _Bench) -> None:
        bench.put_map(_NEW)
        indexes, item = bench.indexes(), _item(configMap="i")
        await indexes.look(item)
        item["metadata"]["uid"] = "u2"
        bench.put_map(_OLD, "older")
        indexes = bench.indexes() if is_restarted else indexes
        state = await indexes.look({**item, "spec": _item(configMap="older")["spec"]})
        assert (state.trouble, state.index is not None) == ("", True), "of what was before, it knows nothing"
        await indexes.look(item)
        assert bench.server.items[_LAST]["metadata"]["ownerReferences"] == [
            {"apiVersion": f"{GROUP}/v1alpha1", "kind": "KernelDriver", "name": "x", "uid": "u2"}
        ]

    _Bench().run(work)


def test_who_cannot_read_what_was_believed_decides_nothing() -> None:
    async def work(bench: _Bench) -> None:
        bench.put_map(_OLD)
        bench.server.refuse = lambda one: refusal(503, "away") if one.url.path == _LAST else None
        indexes = bench.indexes()
        for _ in range(2):
            with pytest.raises(ApiError, match="x-last-index cannot be read: .*503"):
                await indexes.look(_item(configMap="i"))
        bench.server.refuse = lambda _: None
        assert (await indexes.look(_item(configMap="i"))).index is not None

    _Bench().run(work)


def test_who_cannot_keep_what_is_believed_decides_nothing() -> None:
    async def work(bench: _Bench) -> None:
        bench.put_map(_NEW)
        bench.server.refuse = lambda one: refusal(403, "no") if one.method == "PATCH" else None
        indexes = bench.indexes()
        for _ in range(2):
            with pytest.raises(ApiError, match="x-last-index cannot be applied"):
                await indexes.look(_item(configMap="i"))

    _Bench().run(work)


def test_who_may_not_act_any_more_keeps_nothing() -> None:
    """Another program may have kept a newer one."""

    async def work(bench: _Bench) -> None:
        bench.put_map(_NEW)

        def guard() -> None:
            raise LostError("the lease is over")

        indexes = Indexes(bench.server.client, bench.cluster, _TEMPLATES, guard=guard)
        with pytest.raises(LostError, match="the lease is over"):
            await indexes.look(_item(configMap="i"))
        assert bench.server.writes() == []

    _Bench().run(work)


def test_what_was_kept_and_is_believed_no_more_is_as_good_as_none() -> None:
    async def work(bench: _Bench) -> None:
        bench.put_map(_NEW)
        owner = {"ownerReferences": [{"uid": "u"}]}
        for kept in (STRANGER.index(), b"nonsense"):
            data = {"index.json": kept.decode()}
            bench.server.put(_LAST, {"metadata": {"name": "x-last-index", "namespace": "o", **owner}, "data": data})
            assert (await bench.indexes().look(_item(configMap="i"))).index is not None
        bench.server.put(_LAST, {"metadata": {"name": "x-last-index", "namespace": "o", **owner}})
        assert (await bench.indexes().look(_item(configMap="i"))).index is not None

    _Bench().run(work)


def test_who_only_looks_writes_nothing() -> None:
    async def work(bench: _Bench) -> None:
        bench.put_map(_NEW)
        assert (await bench.indexes().look(_item(configMap="i"), keeps=False)).index is not None
        assert bench.server.writes() == []

    _Bench().run(work)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"configMap": "none"}, "there is no ConfigMap o/none"),
        ({}, "names neither"),
        ({"configMap": "empty"}, "the ConfigMap o/empty holds no index: it has neither index.json nor index.json.gz"),
    ],
)
def test_an_index_that_is_not_there_is_a_sentence(index: dict[str, str], words: str) -> None:
    async def work(bench: _Bench) -> None:
        bench.server.put(f"{_MAPS}/empty", {"metadata": {"name": "empty", "namespace": "o"}})
        state = await bench.indexes().look(_item(**index))
        assert state.index is None
        assert words in state.trouble
        assert state.trouble_reason == "Unreadable"

    _Bench().run(work)


def test_a_registry_is_asked_now_and_then_and_its_troubles_keep_the_last_one() -> None:
    async def work(bench: _Bench) -> None:
        secret = {"data": {".dockerconfigjson": base64.b64encode(b"{}").decode()}}
        bench.server.put("/api/v1/namespaces/o/secrets/s", {"metadata": {"name": "s", "namespace": "o"}, **secret})
        indexes, item = bench.indexes(), _item(image="quay.test/x:index", pullSecret="s")
        for _ in range(3):
            assert (await indexes.look(item)).trouble == ""
        assert (bench.fetched, bench.changed) == ([("quay.test/x:index", b"{}")], ["x"])
        bench.found = OSError("the registry is away")
        assert await bench.pass_time() == 300
        for _ in range(2):
            state = await indexes.look(item)
            assert (state.trouble, state.index is not None) == ("the registry is away", True)
        assert (len(bench.fetched), bench.changed) == (2, ["x", "x"])
        assert await bench.pass_time() == 60, "and nothing else has to happen first"
        assert bench.changed == ["x", "x"], "it is away as before"
        bench.found = _NEW
        assert await bench.pass_time() == 60
        assert (await indexes.look(item)).trouble == ""
        assert bench.changed == ["x"] * 3
        indexes.end()

    _Bench().run(work)


def _count_followed() -> int:
    return sum("Followed._follow" in repr(task) for task in asyncio.all_tasks())


def test_another_place_is_asked_at_once_and_the_one_before_it_no_more() -> None:
    async def work(bench: _Bench) -> None:
        secret = {"data": {".dockerconfigjson": base64.b64encode(b"{}").decode()}}
        bench.server.put("/api/v1/namespaces/o/secrets/s", {"metadata": {"name": "s", "namespace": "o"}, **secret})
        bench.put_map(_NEW)
        indexes = bench.indexes()
        for place in ({"image": "quay.test/x:index"}, {"image": "quay.test/x:index", "pullSecret": "s"}):
            assert (await indexes.look(_item(**place))).trouble == ""
        assert bench.fetched == [("quay.test/x:index", None), ("quay.test/x:index", b"{}")]
        assert _count_followed() == 1
        assert (await indexes.look(_item(configMap="i"))).trouble == ""
        await asyncio.sleep(0)
        assert _count_followed() == 0
        await indexes.look(_item(image="quay.test/other:index"))
        assert _count_followed() == 1
        indexes.forget("x")
        await asyncio.sleep(0)
        assert _count_followed() == 0

    _Bench().run(work)


def test_a_registry_that_does_not_answer_holds_up_nobody_and_is_no_trouble_yet() -> None:
    async def work(bench: _Bench) -> None:
        bench.put_map(_OLD)
        item = _item(image="quay.test/x:index")
        bench.found = asyncio.Event()
        fresh = bench.indexes(waits_s=0.01)
        for _ in range(2):
            async with asyncio.timeout(1):
                state = await fresh.look(item)
            assert (state.index, state.trouble, state.trouble_reason) == (None, "", "")
        await bench.indexes().look(_item(configMap="i"))
        again = bench.indexes(waits_s=0.01)
        state = await again.look(item)
        assert state.index is not None
        assert state.trouble == "", "what was believed before the restart is"
        assert bench.changed == []
        bench.found.set()
        async with asyncio.timeout(1):
            while bench.changed != ["x", "x"]:  # noqa: ASYNC110
                await asyncio.sleep(0)
        state = await again.look(item)
        assert state.index is not None
        assert state.index.made.hour == 6
        fresh.end()
        again.end()

    _Bench().run(work)


@pytest.mark.parametrize("data", [{}, {".dockerconfigjson": "###"}, {".dockerconfigjson": 3}, None])
def test_a_secret_of_another_form_is_a_sentence(data: Any) -> None:
    async def work(bench: _Bench) -> None:
        bench.server.put("/api/v1/namespaces/o/secrets/s", {"metadata": {"name": "s", "namespace": "o"}, "data": data})
        state = await bench.indexes().look(_item(image="quay.test/x:index", pullSecret="s"))
        assert "the Secret o/s has no .dockerconfigjson" in state.trouble
        assert bench.fetched == []

    _Bench().run(work)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "neither"),
        ({"data": 3, "binaryData": []}, "neither"),
        ({"binaryData": {"index.json": "###"}}, "not base64"),
        ({"binaryData": {"index.json.gz": base64.b64encode(b"plain").decode()}}, "not packed"),
        ({"binaryData": {"index.json.gz": base64.b64encode(gzip.compress(b"x" * 100)[:-9]).decode()}}, "cut off"),
        (
            {"binaryData": {"index.json.gz": base64.b64encode(gzip.compress(bytes(9 << 20))).decode()}},
            "more than 8 MiB",
        ),
    ],
)
def test_what_holds_no_index_is_a_sentence(found: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_data(found)


def test_an_index_may_be_packed_or_not() -> None:
    for found in (
        {"data": {"index.json": "x"}},
        {"binaryData": {"index.json": base64.b64encode(b"x").decode()}},
        {"binaryData": {"index.json.gz": base64.b64encode(gzip.compress(b"x")).decode()}},
    ):
        assert read_data(found) == b"x"
