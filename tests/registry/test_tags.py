"""What a registry has at this moment: absent, unknown, and lists in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from fakes.pull_server import digest_of

from builder.errors import SourceError, SourceUnreachableError
from builder.pullspec import parse_pullspec
from builder.registry.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.pull_server import PullServer

    from builder.registry.reader import Registry

_NAME = parse_pullspec("quay.test/org/name:1.0")
_IMAGE = _NAME.at("sha256:" + "0" * 64)
_NEXT = {"Link": '</v2/org/name/more?last=a>; rel="next"'}


@pytest.fixture
def tags(open_registry: Callable[..., Registry]) -> Tags:
    return Tags(open_registry().transport)


def test_what_a_tag_stands_for_is_asked_each_time(server: PullServer, tags: Tags) -> None:
    latest = _NAME.at("latest")
    assert [tags.resolve(latest) for _ in range(2)] == [digest_of(server.manifest)] * 2
    assert len(server.requests) == 2


def test_absent_and_unknown_are_two_answers(server: PullServer, tags: Tags) -> None:
    assert tags.resolve(_NAME) is None
    assert not tags.has_blob(_NAME, digest_of(b"no such blob"))
    server.answers += [httpx.Response(500)] * 5
    with pytest.raises(SourceUnreachableError, match="HTTP 500"):
        tags.resolve(_NAME)
    server.answers += [httpx.Response(403)] * 2
    with pytest.raises(SourceError, match="refuses access"):
        tags.resolve(_NAME)
    with pytest.raises(SourceError, match="refuses access"):
        tags.has_blob(_NAME, digest_of(b""))


def test_tags_come_in_pages(server: PullServer, tags: Tags) -> None:
    server.answers += [
        httpx.Response(200, json={"tags": ["a"]}, headers=_NEXT),
        httpx.Response(200, json={"tags": ["b"]}),
    ]
    assert tags.list_tags(_NAME) == ["a", "b"]
    assert server.requests[-1].url.path == "/v2/org/name/more"
    server.answers.append(httpx.Response(404))
    assert tags.list_tags(_NAME) == []
    server.answers.append(httpx.Response(200, json=["no"]))
    with pytest.raises(SourceError, match="it is no list of tags"):
        tags.list_tags(_NAME)


@pytest.mark.parametrize("what", ["tags", "referrers"])
def test_a_list_without_an_end_is_given_up(
    what: str, server: PullServer, tags: Tags, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.registry.tags._MOST_PAGES", 3)
    server.answers += [httpx.Response(200, json={"tags": []}, headers=_NEXT)] * 4
    with pytest.raises(SourceError, match=f"its list of {what} has no end"):
        tags.list_tags(_NAME) if what == "tags" else tags.read_referrers(_IMAGE)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_registry_without_lists_of_referrers(status: int, server: PullServer, tags: Tags) -> None:
    server.answers.append(httpx.Response(status))
    assert tags.read_referrers(_IMAGE) is None


def test_referrers_come_in_pages(server: PullServer, tags: Tags) -> None:
    server.answers += [httpx.Response(200, content=b"one", headers=_NEXT), httpx.Response(200, content=b"two")]
    assert tags.read_referrers(_IMAGE) == [b"one", b"two"]
