"""Slices are as devices are, whatever the API server does."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.kube_api import FakeApi
from kmod_operator.dra.metrics import DriverMetrics
from kmod_operator.dra.offers import Offer
from kmod_operator.dra.pool import Pool
from kmod_operator.dra.publisher import Publisher
from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.node.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Coroutine

_POOL = Pool(driver="ptemplate.drivers.example.com", node="worker")


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def _offers(*names: str, sick: str = "") -> list[Offer]:
    return [Offer(name=name, id=name, well=name != sick, reason="it does not answer") for name in names]


class _Site:
    def __init__(self, api: FakeApi | None = None) -> None:
        self.api = api or FakeApi()
        self.metrics = DriverMetrics()
        self.troubles = Troubles()
        self.troubles.note("start", "")
        self.publisher = Publisher(self.api, _POOL, self.metrics, self.troubles)

    async def publish(self, *offers: Offer) -> list[str]:
        """Publish, and return the writes that this took."""
        before = len(self.api.writes)
        self.publisher.tell(offers)
        await self.publisher.publish()
        return self.api.writes[before:]


def test_nothing_is_written_when_nothing_changed() -> None:
    async def work() -> None:
        site = _Site()
        assert await site.publish(*_offers("a", "b")) == ["create"]
        for _ in range(5):
            assert await site.publish(*_offers("a", "b")) == []
        again = _Site(site.api)  # the program begins again, and knows nothing
        assert await again.publish(*_offers("a", "b")) == []
        assert await again.publish(*_offers("a", "b", sick="b")) == ["replace"]
        assert site.api.generation() == 2
        assert await again.publish(*_offers("a", "b", sick="b")) == []
        assert await again.publish() == ["delete"]
        assert await again.publish(*_offers("a")) == ["create"]
        assert site.api.generation() == 4, "of slices that are gone somebody may have a list"

    _run(work())


def test_slices_that_kubelet_or_somebody_else_removed_come_again() -> None:
    async def work() -> None:
        site = _Site()
        await site.publish(*_offers("a"))
        site.api.items.clear()
        assert await site.publish(*_offers("a")) == ["create"]
        assert site.api.generation() == 2

    _run(work())


def test_a_node_that_is_another_owns_its_slices_anew() -> None:
    async def work() -> None:
        site = _Site()
        await site.publish(*_offers("a"))
        site.api.uid = "another"
        site.api.items.clear()  # as the garbage collector does
        await site.publish(*_offers("a"))
        (item,) = site.api.items.values()
        assert item["metadata"]["ownerReferences"][0]["uid"] == "another"

    _run(work())


def test_a_server_without_taints_is_not_told_of_sick_devices(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        site = _Site()
        site.api.keeps_taints = False
        assert await site.publish(*_offers("a", "b")) == ["create"]
        assert await site.publish(*_offers("a", "b", sick="b")) == ["replace", "replace"]
        assert set(site.api.devices()) == {"a"}
        assert await site.publish(*_offers("a", "b", sick="b")) == []
        assert site.troubles.sentence() == "", "it is no trouble of ours"
        assert await site.publish(*_offers("a", "b")) == ["replace"]

    _run(work())
    assert any("keeps no taints of devices: b: it does not answer" in record.message for record in caplog.records)


def test_a_slice_that_was_changed_meanwhile_is_read_again() -> None:
    async def work() -> None:
        site = _Site()
        await site.publish(*_offers("a"))
        site.api.refuses["replace"] = ApiError("it was changed", status=409)
        with pytest.raises(ApiError):
            await site.publish(*_offers("b"))
        site.api.refuses.clear()
        assert await site.publish(*_offers("b")) == ["replace"]
        assert set(site.api.devices()) == {"b"}

    _run(work())


def test_a_write_of_several_that_ended_in_the_middle_is_finished() -> None:
    async def work() -> None:
        site = _Site()
        names = [f"d{number:03}" for number in range(130)]
        await site.publish(*_offers(*names))
        kept = site.api._keep
        count = 0

        def fail(item: dict[str, Any]) -> dict[str, Any]:
            nonlocal count
            count += 1
            if count == 2:
                raise ApiError("the API server cannot be reached")
            return kept(item)

        site.api._keep = fail  # type: ignore[method-assign]
        with pytest.raises(ApiError):
            await site.publish(*_offers(*names, sick="d000"))
        site.api._keep = kept  # type: ignore[method-assign]
        await site.publish(*_offers(*names, sick="d000"))
        assert len(site.api.devices()) == 130
        assert "taints" in site.api.devices()["d000"]
        assert await site.publish(*_offers(*names, sick="d000")) == []

    _run(work())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_FIRST_WAIT_S", 0.001), ("_LONGEST_WAIT_S", 0.004), ("_LOOK_S", 0.01)):
        monkeypatch.setattr(f"kmod_operator.dra.publisher.{name}", seconds)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("question", "error"),
    [
        ("slices", ApiError("resource slices cannot be listed: 403", status=403)),
        ("slices", ApiError("410: the list is too old", status=410)),
        ("node_uid", ApiError("the node worker cannot be read: 404", status=404)),
        ("create", ApiError("429: too many", status=429, wait_s=0.01)),
        ("create", TypeError("nobody thought of that")),
    ],
)
def test_a_server_that_refuses_is_asked_again_and_the_sentence_is_said_once(
    question: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        site = _Site()
        site.api.refuses[question] = error
        site.publisher.tell(_offers("a"))
        task = asyncio.create_task(site.publisher.run())
        failures: dict[str, Any] = {"name": "kmod_dra_publish_failures_total"}
        while (site.metrics.registry.get_sample_value(**failures) or 0) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert str(error) in site.troubles.sentence()
        site.api.refuses.clear()
        while site.troubles.sentence():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert set(site.api.devices()) == {"a"}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with caplog.at_level(logging.WARNING):
        _run(work())
    assert sum(record.levelno == logging.WARNING and str(error) in record.message for record in caplog.records) == 1


def test_who_is_asked_to_wait_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        site = _Site()
        site.api.refuses["slices"] = ApiError("429", status=429, wait_s=7.0)
        site.publisher.tell(_offers("a"))
        assert await site.publisher._pass() == 7.0
        site.api.refuses["slices"] = ApiError("x")
        waits = [await site.publisher._pass() for _ in range(12)]
        assert 1 <= waits[0] <= 2
        assert all(30 <= wait <= 60 for wait in waits[6:]), "later and later, and not all nodes at once"
        assert len(site.api.asked) == 13

    _run(work())


def test_after_kubelet_took_us_we_look_often_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        site = _Site()
        site.publisher.tell(_offers("a"))
        assert 24 <= await site.publisher._pass() <= 36
        site.publisher.look_often()
        assert await site.publisher._pass() == 5.0
        monkeypatch.setattr("kmod_operator.dra.publisher._SOON_FOR_S", -1.0)
        site.publisher.look_often()
        assert await site.publisher._pass() >= 24

    _run(work())


@pytest.mark.usefixtures("quick")
def test_devices_that_come_and_go_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmod_operator.dra.publisher._LOOK_S", 1000.0)

    async def work() -> None:
        site = _Site()
        task = asyncio.create_task(site.publisher.run())
        await asyncio.sleep(0)
        assert site.api.asked == [], "what is not known is not told"
        for number in range(20):
            names = [f"d{number}" for number in range(number % 3 + 1)]
            site.publisher.tell(_offers(*names))
            async with asyncio.timeout(5):
                while set(site.api.devices()) != set(names):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        asked = len(site.api.asked)
        site.publisher.tell([replace(one, reason="other words") for one in _offers(*names)])
        await asyncio.sleep(0.01)
        assert len(site.api.asked) == asked, "words alone are nothing for a slice"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    _run(work())


def test_who_is_told_to_end_while_devices_change_ends() -> None:
    async def work() -> None:
        site = _Site()
        running = asyncio.create_task(site.publisher.run())
        await asyncio.sleep(0)
        site.publisher.tell(_offers("a"))
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=0.5)
        assert done == {running}, "it forgot that it was cancelled"

    _run(work())
