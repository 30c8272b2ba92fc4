"""Which of several programs works; the clock is ours."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from fakes.kube_server import FakeServer, refusal
from kmod_operator.cluster.lease import Election, LostError, Times

_PATH = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/kmod-operator"


class _Clock:
    """Time passes when somebody sleeps; ``most`` ends a test that would sleep for ever."""

    def __init__(self, most: int = 100) -> None:
        self.now = 1000.0
        self.left = most
        self.meanwhile: dict[int, Any] = {}

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.left -= 1
        if self.left == 0:
            raise asyncio.CancelledError
        for moment in [one for one in self.meanwhile if one <= self.now - 1000]:
            self.meanwhile.pop(moment)()


def _election(server: FakeServer, clock: _Clock, identity: str = "me") -> Election:
    return Election(
        server.client, namespace="ns", name="kmod-operator", identity=identity, clock=clock, sleep=clock.sleep
    )


def _run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def _held_by(
    server: FakeServer, holder: str, *, seconds: Any = 15, renewed: str = "2026-11-27T00:00:00.000000Z"
) -> None:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": renewed, "leaseTransitions": 4}
    server.put(_PATH, {"metadata": {"name": "kmod-operator", "namespace": "ns"}, "spec": spec})


def test_the_first_takes_it_and_renews_it() -> None:
    server, clock = FakeServer(), _Clock(4)
    election = _election(server, clock)

    async def work() -> None:
        await election.acquire()
        assert clock.now == 1000.0
        assert election.may_act()
        first = server.items[_PATH]["spec"]
        assert (first["holderIdentity"], first["leaseDurationSeconds"], first["leaseTransitions"]) == ("me", 15, 0)
        with pytest.raises(asyncio.CancelledError):
            await election.hold()
        again = server.items[_PATH]["spec"]
        assert again["renewTime"] > first["renewTime"]
        assert (again["acquireTime"], again["leaseTransitions"]) == (first["acquireTime"], 0)

    _run(work())


def test_a_renewal_is_one_request() -> None:
    server, clock = FakeServer(), _Clock(4)
    election = _election(server, clock)

    async def work() -> None:
        await election.acquire()
        before = len(server.asked)
        with pytest.raises(asyncio.CancelledError):
            await election.hold()
        assert [method for method, _ in server.asked[before:]] == ["PUT"] * 3

    _run(work())


@pytest.mark.parametrize("renewed", ["1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "nonsense"])
def test_a_silent_holder_is_waited_for_as_long_as_it_said_whatever_clocks_say(renewed: str) -> None:
    server, clock = FakeServer(), _Clock()
    _held_by(server, "other", seconds=40, renewed=renewed)
    election = _election(server, clock)

    async def work() -> None:
        await election.acquire()
        assert 40 <= clock.now - 1000 < 50
        assert server.items[_PATH]["spec"]["leaseTransitions"] == 5

    _run(work())


def test_who_renews_is_left_alone() -> None:
    server, clock = FakeServer(), _Clock(60)
    _held_by(server, "other")
    for second in range(0, 600, 9):
        clock.meanwhile[second] = lambda second=second: _held_by(server, "other", renewed=f"r{second}")
    election = _election(server, clock)

    async def work() -> None:
        with pytest.raises(asyncio.CancelledError):
            await election.acquire()
        assert clock.now - 1000 > 60
        assert server.items[_PATH]["spec"]["holderIdentity"] == "other"
        assert not election.may_act()

    _run(work())


def test_what_was_released_is_taken_at_once() -> None:
    server, clock = FakeServer(), _Clock()
    election, other = _election(server, clock), _election(server, clock, "other")

    async def work() -> None:
        await election.acquire()
        await election.release()
        assert not election.may_act()
        assert server.items[_PATH]["spec"]["holderIdentity"] == ""
        await other.acquire()
        assert clock.now == 1000.0
        await election.release()
        assert server.items[_PATH]["spec"]["holderIdentity"] == "other", "who does not hold it releases nothing"

    _run(work())


@pytest.mark.parametrize("seconds", [None, 0, -1, "15", 10**9])
def test_nonsense_of_a_lease_does_not_hold_us_up_for_ever(seconds: Any) -> None:
    server, clock = FakeServer(), _Clock()
    _held_by(server, "other", seconds=seconds)

    async def work() -> None:
        await _election(server, clock).acquire()
        assert 15 <= clock.now - 1000 < 25

    _run(work())


def test_who_cannot_renew_ends_before_anybody_else_may_begin() -> None:
    server, clock = FakeServer(), _Clock()
    election = _election(server, clock)

    async def work() -> None:
        await election.acquire()
        server.refuse = lambda _: refusal(503, "etcd is away")
        with pytest.raises(LostError, match="was not renewed for 10 s: .*503: etcd is away"):
            await election.hold()
        assert 10 <= clock.now - 1000 < 15
        assert not election.is_leader

    _run(work())


def test_nothing_is_written_after_the_time_also_before_the_loop_has_seen_it() -> None:
    server, clock = FakeServer(), _Clock()
    election = _election(server, clock)

    async def work() -> None:
        await election.acquire()
        clock.now += 9.9
        assert election.may_act()
        clock.now += 0.2
        assert not election.may_act()

    _run(work())


def test_a_server_that_does_not_answer_does_not_hold_us() -> None:
    server, clock = FakeServer(), _Clock()
    election = Election(
        server.client, namespace="ns", name="kmod-operator", identity="me", clock=clock, sleep=clock.sleep,
        times=Times(renew_s=2.05),
    )  # fmt: skip

    async def work() -> None:
        await election.acquire()
        real = server._handle

        async def never(request: httpx2.Request) -> httpx2.Response:
            await asyncio.sleep(3600)
            return await real(request)

        election._client._http._transport = httpx2.MockTransport(never)
        with pytest.raises(LostError, match="was not renewed"):
            await election.hold()

    _run(work())


def test_one_that_is_lost_to_another_ends() -> None:
    server, clock = FakeServer(), _Clock()
    election = _election(server, clock)

    async def work() -> None:
        await election.acquire()
        _held_by(server, "other")
        with pytest.raises(LostError, match="is held by other"):
            await election.hold()
        assert not election.may_act()

    _run(work())


def test_somebody_who_changes_it_without_taking_it_costs_nothing() -> None:
    server, clock = FakeServer(), _Clock(3)
    election = _election(server, clock)

    async def work() -> None:
        await election.acquire()
        there = server.items[_PATH]
        server.put(_PATH, {**there, "metadata": {**there["metadata"], "labels": {"x": "y"}}})
        with pytest.raises(asyncio.CancelledError):
            await election.hold()
        assert election.is_leader
        assert server.items[_PATH]["metadata"]["labels"] == {"x": "y"}

    _run(work())


def test_two_at_once_are_one() -> None:
    server, clock = FakeServer(), _Clock()
    first, second = _election(server, clock, "a"), _election(server, clock, "b")

    async def work() -> None:
        took = await asyncio.gather(first._try(), second._try())
        assert sorted(took) == [False, True]
        took = await asyncio.gather(first._try(), second._try())
        assert sorted(took) == [False, True]

    _run(work())


def test_time_that_an_answer_takes_is_time_of_the_lease() -> None:
    """Others count from the moment of the write: who counted from the answer's would go on beside them."""
    server, clock = FakeServer(), _Clock()
    election = _election(server, clock)

    def slow(request: httpx2.Request) -> None:
        clock.now += 9.0 if request.method in {"POST", "PUT"} else 0.0

    server.refuse = slow

    async def work() -> None:
        await election.acquire()
        assert election.may_act()
        clock.now += 1.0
        with pytest.raises(LostError, match="the lease kmod-operator was not renewed in time: nothing more is written"):
            election.guard()

    _run(work())
