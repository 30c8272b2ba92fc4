"""Writing to a pretended registry: what is sent, what is not sent again, and servers that break off, lie or refuse."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
from fakes.registry import pretend_registry

from builder.errors import SourceError, SourceUnreachableError
from builder.pullspec import parse_pullspec
from builder.registry.writer import Uploader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAME = parse_pullspec("quay.test/org/name:1.0")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class _Server:
    """A registry that takes uploads; ``faults`` are asked first, with method and path."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    upload: bytearray = field(default_factory=bytearray)
    faults: list[Callable[[httpx.Request], httpx.Response | None]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as a network does: in a stream that can be read once."""
        answer = self._find_answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))

    def _find_answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v2/org/name/")
        self.log.append(f"{request.method} {path}")
        for fault in self.faults:
            if (answer := fault(request)) is not None:
                return answer
        return self._answer(request, path)

    def _answer(self, request: httpx.Request, path: str) -> httpx.Response:
        kind, _, reference = path.partition("/")
        if kind == "manifests":
            if request.method == "PUT":
                self.manifests |= {reference: request.content, _digest(request.content): request.content}
                return httpx.Response(201, headers={"Docker-Content-Digest": _digest(request.content)})
            found = self.manifests.get(reference)
            return httpx.Response(200, content=found) if found is not None else httpx.Response(404)
        if request.method == "HEAD":
            return httpx.Response(200 if reference in self.blobs else 404)
        if kind == "tags":
            return httpx.Response(200, json={"tags": ["a"]}, headers={"Link": '</v2/org/name/more?last=a>; rel="next"'})
        if kind == "more":
            return httpx.Response(200, json={"tags": ["b"]})
        return self._upload(request)

    def _upload(self, request: httpx.Request) -> httpx.Response:
        place = {"Location": "/v2/org/name/blobs/uploads/1?state=x"}
        if request.method == "POST":
            self.upload.clear()
            return httpx.Response(202, headers=place)
        if request.method == "PATCH":
            assert request.headers["Content-Range"].startswith(f"{len(self.upload)}-")
            self.upload += request.content
            return httpx.Response(202, headers=place)
        if request.method == "GET":
            return httpx.Response(204, headers=place | {"Range": f"0-{max(0, len(self.upload) - 1)}"})
        assert request.url.params["state"] == "x", "what the registry put into the address stays there"
        content = bytes(self.upload)
        if _digest(content) != request.url.params["digest"]:
            return httpx.Response(400)
        self.blobs[_digest(content)] = content
        return httpx.Response(201)


@pytest.fixture
def server() -> _Server:
    return _Server()


@pytest.fixture
def uploader(server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uploader:
    monkeypatch.setattr("builder.registry.writer._PIECE", 10)
    return Uploader(pretend_registry(server, tmp_path / "cache").transport)


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    file = tmp_path / "blob"
    file.write_bytes(bytes(range(35)))
    return file


def test_a_blob_is_sent_in_pieces_and_only_once(server: _Server, uploader: Uploader, blob: Path) -> None:
    digest = _digest(blob.read_bytes())
    assert uploader.send_blob(_NAME, digest, blob)
    assert server.blobs == {digest: blob.read_bytes()}
    assert [line.split()[0] for line in server.log] == ["HEAD", "POST", "PATCH", "PATCH", "PATCH", "PATCH", "PUT"]
    assert not uploader.send_blob(_NAME, digest, blob)
    assert (uploader.blobs_sent, uploader.bytes_sent) == (1, 35)


@pytest.mark.parametrize("failure", [httpx.Response(500), httpx.Response(429, headers={"Retry-After": "1"}), None])
def test_an_upload_that_broke_off_goes_on_where_it_was(
    server: _Server, uploader: Uploader, blob: Path, failure: httpx.Response | None
) -> None:
    broken: list[int] = []

    def fault(request: httpx.Request) -> httpx.Response | None:
        if request.method == "PATCH" and len(server.upload) == 20 and not broken:
            broken.append(1)
            if failure is None:
                raise httpx.ReadError("the connection was reset")
            return failure
        return None

    server.faults.append(fault)
    assert uploader.send_blob(_NAME, _digest(blob.read_bytes()), blob)
    assert broken
    assert uploader.bytes_sent == 35, "nothing is sent twice"


def test_an_upload_that_the_registry_forgot_starts_again(server: _Server, uploader: Uploader, blob: Path) -> None:
    answers = iter([httpx.Response(503), httpx.Response(404)])

    def fault(request: httpx.Request) -> httpx.Response | None:
        started = request.method in {"PATCH", "GET"} and len(server.upload) == 20
        return next(answers, None) if started else None

    server.faults.append(fault)
    assert uploader.send_blob(_NAME, _digest(blob.read_bytes()), blob)
    assert [line.split()[0] for line in server.log].count("POST") == 2


def test_a_blob_that_arrives_damaged_is_refused_by_the_registry(
    server: _Server, uploader: Uploader, blob: Path
) -> None:
    with pytest.raises(SourceError, match="HTTP 400"):
        uploader.send_blob(_NAME, _digest(b"another"), blob)
    assert server.blobs == {}


def test_a_registry_that_makes_something_else_of_a_manifest(server: _Server, uploader: Uploader) -> None:
    uploader.send_manifest(_NAME, b"{}", "application/vnd.oci.image.manifest.v1+json")
    assert uploader.tags.resolve(_NAME) == _digest(b"{}")
    server.faults.append(lambda _: httpx.Response(201, headers={"Docker-Content-Digest": _digest(b"other")}))
    with pytest.raises(SourceError, match="the registry made sha256"):
        uploader.send_manifest(_NAME, b"{}", "application/vnd.oci.image.manifest.v1+json")


def test_an_expired_token_is_asked_for_again(tmp_path: Path, blob: Path) -> None:
    server = _Server()
    tokens: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            tokens.append(request.url.params["scope"])
            return httpx.Response(200, json={"token": f"t{len(tokens)}"}, stream=None)
        # A token is good for three requests.
        if request.headers.get("authorization") != f"Bearer t{len(tokens)}" or len(server.log) % 4 == 3:
            server.log.append("expired")
            challenge = 'Bearer realm="https://quay.test/token",service="quay.test"'
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        return server._find_answer(request)

    def streamed(request: httpx.Request) -> httpx.Response:
        found = answer(request)
        return httpx.Response(found.status_code, headers=found.headers, stream=httpx.ByteStream(found.content))

    secrets = tmp_path / "auth.json"
    secrets.write_text(json.dumps({"auths": {"quay.test": {"auth": "dTpzZWNyZXQ="}}}))
    registry = pretend_registry(streamed, tmp_path / "cache", secrets)
    assert Uploader(registry.transport).send_blob(_NAME, _digest(blob.read_bytes()), blob)
    assert len(tokens) > 1
    assert set(tokens) == {"repository:org/name:pull,push"}


def test_a_blob_whose_last_answer_was_lost_is_not_sent_again(server: _Server, uploader: Uploader, blob: Path) -> None:
    digest = _digest(blob.read_bytes())
    lost: list[httpx.Request] = []

    def lose_answer(request: httpx.Request) -> httpx.Response | None:
        if request.method == "PUT" and not lost:
            server._answer(request, request.url.path.removeprefix("/v2/org/name/"))
            lost.append(request)
            raise httpx.ReadError("the connection broke off")
        if request.method == "GET" and "/uploads/" in request.url.path:
            return httpx.Response(404)
        return None

    server.faults.append(lose_answer)
    assert uploader.send_blob(_NAME, digest, blob)
    assert len(lost) == 1
    assert len([line for line in server.log if line.startswith("POST")]) == 1
    assert server.blobs[digest] == blob.read_bytes()


@pytest.mark.parametrize(("status", "is_mounted"), [(201, True), (202, False)])
def test_a_blob_of_another_repository_is_mounted_where_the_registry_does_that(
    server: _Server, uploader: Uploader, status: int, is_mounted: bool
) -> None:
    asked: list[dict[str, str]] = []

    def mount(request: httpx.Request) -> httpx.Response | None:
        asked.append(dict(request.url.params))
        return httpx.Response(status, headers={"Location": "/v2/org/name/blobs/uploads/1"})

    server.faults.append(mount)
    digest = _digest(b"x")
    assert uploader.mount_blob(_NAME, digest, parse_pullspec(f"quay.test/ubi/base@{digest}")) is is_mounted
    assert asked == [{"mount": digest, "from": "ubi/base"}]


def test_nothing_is_mounted_from_another_registry(server: _Server, uploader: Uploader) -> None:
    digest = _digest(b"x")
    assert not uploader.mount_blob(_NAME, digest, parse_pullspec(f"other.test/ubi/base@{digest}"))
    assert server.log == []


class _Tokens:
    """A registry that mounts only for who may read there, as its token service grants it (distribution, "auth")."""

    def __init__(self, folder: Path, *granted: str) -> None:
        self.asked: list[list[str]] = []
        self.log: list[str] = []
        self._granted = granted
        secrets = folder / "auth.json"
        secrets.write_text(json.dumps({"auths": {"quay.test": {"auth": "dTpzZWNyZXQ="}}}))
        self.uploader = Uploader(pretend_registry(self._answer, folder / "cache", secrets).transport)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            self.asked.append(request.url.params.get_list("scope"))
            token = "+".join(scope for scope in self.asked[-1] if scope in self._granted)
            return httpx.Response(200, stream=httpx.ByteStream(json.dumps({"token": token or "none"}).encode()))
        self.log.append(request.method)
        token = request.headers.get("authorization", "")
        origin = request.url.params.get("from")
        needed = ["repository:org/name:pull,push", *([f"repository:{origin}:pull"] if origin else [])]
        if not all(scope in token for scope in needed):
            challenge = f'Bearer realm="https://quay.test/token",service="quay.test",scope="{" ".join(needed)}"'
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        return httpx.Response(201 if origin else 404)


_BASE = parse_pullspec(f"quay.test/ubi/base@sha256:{'1' * 64}")
_OWN, _OF_BASE = "repository:org/name:pull,push", "repository:ubi/base:pull"


def test_a_mount_asks_for_the_right_to_read_there(tmp_path: Path) -> None:
    registry = _Tokens(tmp_path, _OWN, _OF_BASE)
    assert not registry.uploader.tags.has_blob(_NAME, _digest(b"x"))
    assert registry.uploader.mount_blob(_NAME, _digest(b"x"), _BASE)
    assert registry.asked == [[_OWN], [_OWN, _OF_BASE]]
    assert registry.uploader.mount_blob(_NAME, _digest(b"y"), _BASE)
    assert not registry.uploader.tags.has_blob(_NAME, _digest(b"x"))
    assert len(registry.asked) == 2, "both tokens are kept"


def test_who_may_not_read_the_base_there_can_publish_all_the_same(tmp_path: Path) -> None:
    registry = _Tokens(tmp_path, _OWN)
    assert not registry.uploader.mount_blob(_NAME, _digest(b"x"), _BASE)
    assert not registry.uploader.tags.has_blob(_NAME, _digest(b"x"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_mount_that_is_refused_is_none(server: _Server, uploader: Uploader, status: int) -> None:
    """What is refused to who sends the blob instead is told then."""
    server.faults.append(lambda _: httpx.Response(status))
    assert not uploader.mount_blob(_NAME, _digest(b"x"), _BASE)


def test_a_mount_without_an_answer_is_an_error(server: _Server, uploader: Uploader) -> None:
    server.faults.append(lambda _: httpx.Response(503))
    with pytest.raises(SourceUnreachableError):
        uploader.mount_blob(_NAME, _digest(b"x"), _BASE)
