"""A driver's index in its registry: written once, moved forward, by several machines, killed anywhere."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.driver_indexes import INDEX_PLACE, INDEX_SIGNER, INDEX_STRANGER, NOON, IndexSite, adding, index_of
from fakes.registry import FakeRegistry, digest_of

from builder.errors import SourceError, SourceUnreachableError
from builder.publish.index_document import sign_index
from builder.publish.index_place import IndexInTheWayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.publish.index_document import DriverIndex

_REPOSITORY = INDEX_PLACE.repository


@pytest.fixture
def site(tmp_path: Path) -> IndexSite:
    return IndexSite(FakeRegistry(), tmp_path)


def _writes(site: IndexSite) -> list[str]:
    return [line for line in site.server.log if not line.startswith(("GET", "HEAD"))]


def _put(site: IndexSite, tag: str, content: bytes) -> None:
    site.server.manifests |= {(_REPOSITORY, tag): content, (_REPOSITORY, digest_of(content)): content}


def test_the_first_index_has_a_tag_of_its_own_and_the_one_that_moves(site: IndexSite) -> None:
    written = site.write("k1")
    assert (written.is_new, site.tags) == (True, ["index", "index-20261127T120000Z"])
    assert site.read() == site.read("index-20261127T120000Z") == index_of("k1")
    assert digest_of(site.server.manifests[_REPOSITORY, "index"]) == written.digest


def test_no_index_is_begun_without_an_image(site: IndexSite) -> None:
    assert site.writer().write(INDEX_PLACE, lambda earlier: earlier or index_of()) is None
    assert _writes(site) == []
    site.write("k1")
    assert site.writer().write(INDEX_PLACE, lambda _: index_of()) is not None
    assert site.kernels() == set()


def test_nothing_new_writes_nothing(site: IndexSite) -> None:
    first = site.write("k1")
    site.server.log.clear()
    site.later(days=3)
    again = site.write("k1")
    assert (again.is_new, again.digest, _writes(site)) == (False, first.digest, [])


def test_one_that_says_the_same_is_made_anew_after_a_week_so_that_its_age_says_something(site: IndexSite) -> None:
    """Who holds back newer ones would else be like a vendor who has nothing new."""
    first = site.write("k1")
    site.later(days=7)
    assert site.write("k1").digest == first.digest
    site.later(seconds=1)
    again = site.write("k1")
    assert (again.is_new, again.index.made, again.index.says_what(first.index)) == (True, site.now, True)
    assert site.read() == again.index


def test_a_newer_one_goes_on_from_the_earlier_one(site: IndexSite) -> None:
    site.write("k1")
    site.later(hours=1)
    assert site.write("k2").is_new
    assert site.kernels() == {"k1", "k2"}
    assert site.tags == ["index", "index-20261127T120000Z", "index-20261127T130000Z"]
    earlier = site.read("index-20261127T120000Z")
    assert earlier == index_of("k1"), "what was written once stays"


def test_two_in_one_second_and_a_slow_clock_still_go_forward(site: IndexSite) -> None:
    site.write("k1")
    site.write("k2")
    site.later(hours=-5)
    site.write("k3")
    assert site.tags[1:] == [f"index-20261127T12000{second}Z" for second in range(3)]
    newest = site.read()
    assert newest is not None
    assert newest.made == NOON + timedelta(seconds=2)
    assert site.kernels() == {"k1", "k2", "k3"}


class _Killed(BaseException):
    pass


def test_a_kill_after_any_write_ends_right(site: IndexSite) -> None:
    """Each run dies one write later; whatever it left, the next one has all, and a tag is never moved back."""
    site.write("k0")
    site.later(minutes=1)
    written: list[str] = []
    kills = 0

    def kill(request: httpx.Request) -> None:
        if request.method in {"PUT", "POST"}:
            if len(written) >= kills:
                raise _Killed
            written.append(request.url.path)

    for _ in range(20):
        site.server.faults.append(kill)
        written.clear()
        try:
            site.write("k1")
        except _Killed:
            site.server.faults.clear()
            assert site.kernels() in ({"k0"}, {"k0", "k1"})
            kills += 1
            continue
        break
    site.server.faults.clear()
    assert kills > 4
    assert site.kernels() == {"k0", "k1"}
    assert len(site.tags) == 3, "a tag that a killed run left is gone on with, not written beside"


def test_a_tag_that_was_moved_back_is_moved_forward_again(site: IndexSite) -> None:
    site.write("k1")
    old = site.server.manifests[_REPOSITORY, "index"]
    site.later(hours=1)
    newest = site.write("k2").digest
    _put(site, "index", old)
    again = site.write("k1")
    assert (again.is_new, again.digest) == (True, newest)
    assert site.kernels() == {"k1", "k2"}


def test_a_tag_that_was_removed_is_written_again(site: IndexSite) -> None:
    newest = site.write("k1").digest
    del site.server.manifests[_REPOSITORY, "index"]
    assert site.write().digest == newest
    assert site.kernels() == {"k1"}


@pytest.mark.parametrize(
    "content",
    [b"{}", b'{"artifactType":"x","layers":[]}', b"\xff", b'{"layers":[1]}'],
    ids=["none", "other", "bytes", "list"],
)
def test_what_is_no_index_is_not_written_over(site: IndexSite, content: bytes) -> None:
    _put(site, "index", content)
    with pytest.raises(IndexInTheWayError, match="index stands for") as caught:
        site.write("k1")
    assert caught.value.digest == digest_of(content)
    assert site.tags == ["index"]
    assert _writes(site) == []
    assert site.write("k1", force=True).is_new
    assert site.kernels() == {"k1"}


def test_an_index_of_another_key_is_not_written_over_and_not_believed(site: IndexSite) -> None:
    site.write("theirs", signer=INDEX_STRANGER)
    site.later(hours=1)
    with pytest.raises(IndexInTheWayError, match="was not made with the given key"):
        site.write("k1")
    assert site.write("k1", force=True).is_new
    assert site.kernels() == {"k1"}


def test_an_index_of_another_driver_is_not_written_over(site: IndexSite) -> None:
    site.write("k1", driver="other")
    with pytest.raises(IndexInTheWayError, match="it is the index of driver other, and not of drv"):
        site.writer().write(INDEX_PLACE, adding("k1"))


def test_strangers_tags_are_passed_over(site: IndexSite) -> None:
    site.write("k1")
    _put(site, "index-20261127T120500Z", b"{}")
    _put(site, "index-29990101T000000Z", b"{}")
    site.later(hours=1)
    assert site.write("k2").is_new
    assert site.kernels() == {"k1", "k2"}


def test_an_old_index_under_a_newer_tag_brings_nothing_back(site: IndexSite) -> None:
    """Who may write in the registry has no key, and would have us sign again what was called back."""
    site.write("k1")
    old = site.server.manifests[_REPOSITORY, "index"]
    site.later(hours=1)
    site.writer().write(INDEX_PLACE, lambda _: index_of("k2"))
    _put(site, "index-20261127T140000Z", old)
    site.later(hours=2)
    site.write("k3")
    assert site.kernels() == {"k2", "k3"}


def test_one_wrong_clock_does_not_freeze_everybody(site: IndexSite) -> None:
    site.now = NOON + timedelta(days=400)
    site.write("k1")
    site.now = NOON
    with pytest.raises(IndexInTheWayError, match="more than a day from now, and no operator believes it"):
        site.write("k2")
    assert site.write("k2", force=True).is_new
    found = site.read()
    assert found is not None
    assert (found.made, site.kernels()) == (NOON, {"k1", "k2"})
    site.later(minutes=1)
    assert not site.write("k2").is_new, "and the one of the future is passed over from then on"


@pytest.mark.parametrize("path", ["manifests/index", "tags/list", "blobs/"])
def test_no_answer_writes_nothing(site: IndexSite, path: str) -> None:
    site.write("k1")
    before = dict(site.server.manifests)
    site.server.faults.append(lambda request: httpx.Response(500) if path in request.url.path else None)
    with pytest.raises(SourceError):
        site.write("k2")
    assert site.server.manifests == before


def test_a_registry_that_loses_what_it_took_is_told(site: IndexSite) -> None:
    def lose(request: httpx.Request) -> httpx.Response | None:
        is_moved = request.method == "PUT" and request.url.path.endswith("/manifests/index")
        return httpx.Response(201) if is_moved else None

    site.server.faults.append(lose)
    with pytest.raises(SourceError, match="took the manifest, and does not have it"):
        site.write("k1")


def _beside(site: IndexSite, where: Callable[[httpx.Request], bool], *kernels: str) -> list[str]:
    """Have another machine write in the middle of a run, once; returns what it did."""
    done: list[str] = []

    def interrupt(request: httpx.Request) -> None:
        if not done and where(request):
            done.append(str(request.url))
            site.writer().write(INDEX_PLACE, adding(*kernels))

    site.server.faults.append(interrupt)
    return done


@pytest.mark.parametrize("end", ["manifests/index", "tags/list", "manifests/index-20261127T120001Z", "blobs/uploads/"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("skipped", range(4))
def test_two_at_once_lose_nothing(site: IndexSite, end: str, method: str, skipped: int) -> None:
    site.write("k0")
    passed = []

    def is_there(request: httpx.Request) -> bool:
        if request.method == method and request.url.path.endswith(end):
            passed.append(1)
        return len(passed) > skipped

    done = _beside(site, is_there, "k2")
    site.write("k1")
    assert site.kernels() == ({"k0", "k1", "k2"} if done else {"k0", "k1"})
    newest = site.read()
    assert newest is not None
    assert site.read(newest.tag) == newest


def test_a_tag_of_its_own_that_another_took_in_the_same_moment_is_gone_on_with(site: IndexSite) -> None:
    """Both saw that nobody has the tag; the other one writes last."""
    other = index_of("k2")
    envelope = sign_index(other, INDEX_SIGNER.sign)
    taken: list[str] = []

    def take(request: httpx.Request) -> None:
        tag = "index-20261127T120000Z"
        if taken or request.method != "PUT" or not request.url.path.endswith(f"/manifests/{tag}"):
            return
        taken.append(tag)
        site.server.put_blob(_REPOSITORY, envelope)

        def overwrite(later: httpx.Request) -> None:
            if later.method == "GET" and later.url.path.endswith(f"/manifests/{tag}") and len(taken) == 1:
                taken.append("again")
                from builder.publish.index_document import make_manifest

                _put(site, tag, make_manifest(other, envelope))

        site.server.faults.append(overwrite)

    site.server.faults.append(take)
    site.write("k1")
    assert len(taken) == 2
    assert site.kernels() == {"k1", "k2"}


def test_who_writes_all_the_time_is_told_in_the_end(site: IndexSite) -> None:
    site.write("k0")

    moved: list[int] = []

    def always(request: httpx.Request) -> None:
        if request.method == "PUT" and request.url.path.endswith("manifests/index"):
            moved.append(1)
            _put(site, f"index-20261127T1230{len(moved):02}Z", b"{}")

    count = 0

    def extend(earlier: DriverIndex | None) -> DriverIndex:
        nonlocal count
        count += 1
        return index_of(f"k{count}", images={**(earlier.images if earlier else {}), **index_of(f"k{count}").images})

    site.server.faults.append(always)
    with pytest.raises(SourceUnreachableError, match="others write"):
        site.writer().write(INDEX_PLACE, extend)


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("first", range(4))
def test_faults_that_pass_are_lived_through(site: IndexSite, first: int, status: int) -> None:
    """Every fourth request fails; nobody has to do anything."""
    asked = [0] * first

    def fail(request: httpx.Request) -> httpx.Response | None:
        asked.append(1)
        return httpx.Response(status) if len(asked) % 4 == 0 else None

    site.server.faults.append(fail)
    site.write("k1")
    site.write("k2")
    site.server.faults.clear()
    assert site.kernels() == {"k1", "k2"}


def test_an_answer_that_is_lost_is_no_failure(site: IndexSite) -> None:
    lost: list[Any] = []

    def lose(request: httpx.Request) -> httpx.Response | None:
        if request.method == "PUT" and request.url.path.endswith("manifests/index") and not lost:
            lost.append(site.server._answer(request))
            raise httpx.ReadTimeout("lost")
        return None

    site.server.faults.append(lose)
    assert site.write("k1").is_new
    assert (len(lost), site.kernels()) == (1, {"k1"})
