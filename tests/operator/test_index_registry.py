"""An index out of a registry, which may be hostile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from fakes.indexes import VENDOR
from kmod_operator.index import registry
from kmod_operator.index.reading import LARGEST_INDEX, PAYLOAD_TYPE
from kmod_operator.index.registry import FetchError, fetch_index

if TYPE_CHECKING:
    from collections.abc import Callable

_IMAGE = "quay.test/vendor/ptemplate:index"
_INDEX = VENDOR.index()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _manifest(**changes: Any) -> bytes:
    layer = {"mediaType": PAYLOAD_TYPE, "digest": _digest(_INDEX), "size": len(_INDEX)}
    return json.dumps({"schemaVersion": 2, "artifactType": PAYLOAD_TYPE, "layers": [layer]} | changes).encode()


@dataclass
class _Server:
    """Registries and their sites: answers by host and path; ``seen`` has each URL with its authorization."""

    answers: dict[str, Any] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    guard: Callable[[httpx2.Request], httpx2.Response | None] = lambda _: None

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as a network does: in a stream that can be read once."""
        answer = self._answer(request)
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=httpx2.ByteStream(answer.content))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        place = f"{request.url.host}{request.url.path}"
        self.seen.append((str(request.url), request.headers.get("Authorization", "")))
        if (answer := self.guard(request)) is not None:
            return answer
        found = self.answers.get(place)
        if isinstance(found, httpx2.Response):
            return found
        return httpx2.Response(404) if found is None else httpx2.Response(200, content=found)

    def fetch(self, image: str = _IMAGE, secret: bytes | None = None, **options: Any) -> bytes:
        return asyncio.run(fetch_index(image, secret, carrier=httpx2.MockTransport(self), **options))

    def why(self, image: str = _IMAGE, secret: bytes | None = None, **options: Any) -> str:
        with pytest.raises(FetchError) as caught:
            self.fetch(image, secret, **options)
        return str(caught.value)


@pytest.fixture
def server() -> _Server:
    place = "quay.test/v2/vendor/ptemplate"
    return _Server({f"{place}/manifests/index": _manifest(), f"{place}/blobs/{_digest(_INDEX)}": _INDEX})


def _secret(name: str = "quay.test", words: str = "user:secret") -> bytes:
    return json.dumps({"auths": {name: {"auth": base64.b64encode(words.encode()).decode()}}}).encode()


_BASIC = f"Basic {base64.b64encode(b'user:secret').decode()}"
_REFUSED = {"WWW-Authenticate": 'Bearer realm="https://quay.test/token",service="quay.test"'}


def _asks_for_token(request: httpx2.Request, headers: dict[str, str] = _REFUSED) -> httpx2.Response | None:
    if request.url.path.startswith("/v2/") and request.headers.get("Authorization") != "Bearer t1":
        return httpx2.Response(401, headers=headers)
    return None


def test_an_index_is_got_by_its_tag_and_by_its_digest(server: _Server) -> None:
    assert server.fetch() == _INDEX
    digest = _digest(_manifest())
    server.answers[f"quay.test/v2/vendor/ptemplate/manifests/{digest}"] = _manifest()
    assert server.fetch(f"quay.test/vendor/ptemplate:other@{digest}") == _INDEX
    assert {authorization for _, authorization in server.seen} == {""}


def test_a_token_is_got_without_a_password_and_with_one(server: _Server) -> None:
    server.answers["quay.test/token"] = b'{"token":"t1"}'
    server.guard = _asks_for_token
    assert server.fetch() == _INDEX
    assert server.seen[1] == (
        "https://quay.test/token?service=quay.test&scope=repository%3Avendor%2Fptemplate%3Apull",
        "",
    )
    server.seen.clear()
    assert server.fetch(secret=_secret()) == _INDEX
    assert server.seen[1][1] == _BASIC
    assert [authorization for _, authorization in server.seen[2:]] == ["Bearer t1", "Bearer t1"]


def test_a_password_goes_to_no_token_service_that_the_registry_made_up(server: _Server) -> None:
    server.answers["evil.test/token"] = httpx2.Response(403)
    server.guard = lambda request: _asks_for_token(
        request, {"WWW-Authenticate": 'Bearer realm="https://evil.test/token"'}
    )
    assert "names the token service 'evil.test', which does not get its password" in server.why(secret=_secret())
    assert all(authorization == "" for _, authorization in server.seen)


def test_docker_hub_has_its_registry_and_its_token_service_elsewhere(server: _Server) -> None:
    server.answers = {
        place.replace("quay.test", "registry-1.docker.io"): answer for place, answer in server.answers.items()
    } | {"auth.docker.io/token": b'{"access_token":"t1"}'}
    headers = {"WWW-Authenticate": 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'}
    server.guard = lambda request: _asks_for_token(request, headers)
    secret = _secret("https://index.docker.io/v1/")
    assert server.fetch("docker.io/vendor/ptemplate:index", secret) == _INDEX
    assert server.seen[1][1] == _BASIC


def test_a_password_is_given_where_the_registry_asks_for_one(server: _Server) -> None:
    def guard(request: httpx2.Request) -> httpx2.Response | None:
        is_let_in = request.headers.get("Authorization") == _BASIC
        return None if is_let_in else httpx2.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    server.guard = guard
    assert server.fetch(secret=_secret()) == _INDEX
    assert "there is no pull secret for it" in server.why()
    assert "the pull secret for it is wrong" in server.why(secret=_secret(words="user:other"))
    assert "there is no pull secret for it" in server.why(secret=_secret("elsewhere.test"))


def test_the_entry_that_names_the_most_counts(server: _Server) -> None:
    server.guard = _asks_for_token
    server.answers["quay.test/token"] = b'{"token":"t1"}'
    auths = {
        "quay.test": {"auth": base64.b64encode(b"a:b").decode()},
        "quay.test/vendor": {"username": "user", "password": "secret"},
        "quay.test/vendor/other": {"auth": base64.b64encode(b"c:d").decode()},
    }
    assert server.fetch(secret=json.dumps({"auths": auths}).encode()) == _INDEX
    assert server.seen[1][1] == _BASIC


@pytest.mark.parametrize(
    "secret",
    [
        b"", b"[]", b"{}", b'{"auths":1}', b'{"auths":{"quay.test":1}}', b'{"auths":{"quay.test":{"auth":"%"}}}',
        b'{"auths":{"quay.test":{"auth":1}}}', b'{"auths":{"quay.test":{"username":1}}}', b"\xff", b"[" * 100_000,
        b" " * (1024**2 + 1), b'{"auths":{"quay.test":{"auth":"/w=="}}}',
    ],
)  # fmt: skip
def test_a_secret_that_is_none_is_told_without_what_is_in_it(server: _Server, secret: bytes) -> None:
    why = server.why(secret=secret)
    assert "its pull secret is no .dockerconfigjson" in why
    assert server.seen == []


def test_a_redirect_is_followed_and_takes_no_password_along(server: _Server) -> None:
    server.answers["quay.test/token"] = b'{"token":"t1"}'
    place = f"quay.test/v2/vendor/ptemplate/blobs/{_digest(_INDEX)}"
    server.answers[place] = httpx2.Response(307, headers={"Location": "https://cdn.test/x?sig=1"})
    server.answers["cdn.test/x"] = _INDEX
    server.guard = _asks_for_token
    assert server.fetch(secret=_secret()) == _INDEX
    assert server.seen[-1] == ("https://cdn.test/x?sig=1", "")


def test_another_host_cannot_ask_for_the_password_after_a_redirect(server: _Server) -> None:
    place = f"quay.test/v2/vendor/ptemplate/blobs/{_digest(_INDEX)}"
    server.answers[place] = httpx2.Response(302, headers={"Location": "https://evil.test/x"})
    server.answers["evil.test/x"] = httpx2.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    assert "refuses it (401)" in server.why(secret=_secret())
    assert all(authorization == "" for _, authorization in server.seen)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://quay.test/x", "redirects to 'http://quay.test/x', which is not followed"),
        ("file:///etc/passwd", "an address without a host"),
        ("ftp://quay.test/", "which is not followed"),
        ("https://user:pass@evil.test/", "an address with a user in it"),
        ("https://[::1/", "cannot be read as one"),
        ("https://x:99999/", "cannot be read as one"),
        ("/v2/vendor/ptemplate/manifests/index", "redirects in a circle"),
    ],
)
def test_a_redirect_to_nowhere_is_told(server: _Server, location: str, why: str) -> None:
    server.guard = lambda _: httpx2.Response(302, headers={"Location": location})
    assert why in server.why()
    assert len(server.seen) <= 7


@pytest.mark.parametrize(
    ("challenge", "why"),
    [
        ('Bearer realm="http://quay.test/token"', "which is not https"),
        ('Bearer realm="/token"', "without a host"),
        ("Bearer", "without a host"),
        ("Digest x", "there is no pull secret"),
        ("x" * 100_000, "there is no pull secret"),
    ],
)
def test_a_challenge_that_cannot_be_answered_is_told(server: _Server, challenge: str, why: str) -> None:
    server.guard = lambda request: _asks_for_token(request, {"WWW-Authenticate": challenge})
    assert why in server.why()


@pytest.mark.parametrize("token", [b"", b"[]", b"{}", b'{"token":1}', b'{"token":"a\\nb"}', b"x" * 70_000])
def test_a_token_that_is_none_is_told(server: _Server, token: bytes) -> None:
    server.answers["quay.test/token"] = token
    server.guard = _asks_for_token
    assert "no token" in server.why() or "more than 65536 bytes" in server.why()


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"", "is no manifest"),
        (b"[]", "is no manifest"),
        (b" " * 300_000, "more than 262144 bytes"),
        (_manifest(artifactType="application/vnd.oci.image.config.v1+json"), "and no index"),
        (_manifest(artifactType=None), "and no index"),
        (_manifest(layers=5), "and no index"),
        (_manifest(layers=[]), "not of one part"),
        (_manifest(layers=[{}, {}]), "not of one part"),
        (_manifest(layers=[5]), "not of one part"),
        (_manifest(layers=[{"digest": "sha256:../../x", "size": 1}]), "no digest of SHA-256"),
        (_manifest(layers=[{"digest": _digest(_INDEX), "size": LARGEST_INDEX + 1}]), "at most 8388608 bytes"),
        (_manifest(layers=[{"digest": _digest(_INDEX), "size": True}]), "at most 8388608 bytes"),
    ],
)
def test_what_is_no_artefact_of_an_index_is_told(server: _Server, manifest: bytes, why: str) -> None:
    server.answers["quay.test/v2/vendor/ptemplate/manifests/index"] = manifest
    told = server.why()
    assert why in told
    assert told.startswith(f"{_IMAGE}: ")


def test_digests_are_compared(server: _Server) -> None:
    wrong = f"sha256:{'0' * 64}"
    server.answers[f"quay.test/v2/vendor/ptemplate/manifests/{wrong}"] = _manifest()
    assert "for this digest" in server.why(f"quay.test/vendor/ptemplate@{wrong}")
    server.answers[f"quay.test/v2/vendor/ptemplate/blobs/{_digest(_INDEX)}"] = b"other"
    assert "for its blob" in server.why()


def test_a_blob_without_end_is_not_read_to_it(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LARGEST_INDEX", 10)
    server.answers["quay.test/v2/vendor/ptemplate/manifests/index"] = _manifest(
        layers=[{"digest": _digest(_INDEX), "size": 10}]
    )
    assert "more than 10 bytes" in server.why()


@pytest.mark.parametrize(
    ("status", "why"),
    [(403, "refuses it (403)"), (404, "does not have it (404)"), (500, "answers 500"), (204, "answers 204")],
)
def test_a_status_is_told(server: _Server, status: int, why: str) -> None:
    server.guard = lambda _: httpx2.Response(status)
    assert why in server.why()


def test_silence_is_told(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("")

    server.guard = silent
    assert "has not answered for 15 s" in server.why()

    def gone(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no\nroute")

    server.guard = gone
    assert "cannot be reached: no route" in server.why()

    async def forever(_: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(registry, "_WHOLE_WITHIN_S", 0.01)
    with pytest.raises(FetchError, match="has not given it within"):
        asyncio.run(fetch_index(_IMAGE, carrier=httpx2.MockTransport(forever)))


@pytest.mark.parametrize(
    "image", ["", "ptemplate", "quay.test/x", "quay.test/X:y", "quay.test/x:y z", "a.b/" + "x" * 600 + ":y"]
)
def test_a_name_that_is_none_is_told(server: _Server, image: str) -> None:
    assert "is no full name of an image" in server.why(image)
    assert server.seen == []


def test_without_tls_only_where_it_is_said(server: _Server) -> None:
    assert server.fetch(plain_http=True) == _INDEX
    assert all(url.startswith("http://") for url, _ in server.seen)
