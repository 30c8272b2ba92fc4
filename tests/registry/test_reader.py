"""The registry client against a pretended registry: formats, credentials, and everything that servers do wrong."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from builder.errors import FormatError, KmodsmithError, SourceError, SourceGoneError, SourceUnreachableError, UsageError
from builder.pullspec import Pullspec, parse_pullspec
from builder.registry.reader import Credentials, Descriptor, Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_WANTED = frozenset({"release/image-references", "etc/release.json"})


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _layer(files: dict[str, bytes], *, packed: bool = True) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(data.getvalue(), mtime=0) if packed else data.getvalue()


class _Server:
    """quay.test with one image; ``answers`` are what comes before it, by path."""

    def __init__(self, layers: list[bytes]) -> None:
        self.blobs = {_digest(layer): layer for layer in layers}
        config = b'{"config": {}}'
        self.blobs[_digest(config)] = config
        types = "application/vnd.oci.image.layer.v1.tar+gzip"
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"digest": _digest(config), "size": len(config)},
                "layers": [{"digest": _digest(item), "size": len(item), "mediaType": types} for item in layers],
            }
        ).encode()
        self.answers: list[Callable[[httpx.Request], httpx.Response] | httpx.Response | Exception] = []
        self.requests: list[httpx.Request] = []

    @property
    def name(self) -> Pullspec:
        return Pullspec("quay.test", "org/name", _digest(self.manifest))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as a network does: in a stream that can be read once."""
        answer = self._answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer(request) if callable(answer) else answer
        reference = request.url.path.rpartition("/")[2]
        if "/manifests/" in request.url.path:
            known = reference in {_digest(self.manifest), "latest"}
            return httpx.Response(200, content=self.manifest) if known else httpx.Response(404)
        return httpx.Response(200, content=self.blobs[reference]) if reference in self.blobs else httpx.Response(404)


@pytest.fixture
def server() -> _Server:
    return _Server(
        [_layer({"etc/release.json": b"{}", "big": bytes(100_000)}), _layer({"release/image-references": b"refs"})]
    )


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def open_registry(server: _Server, tmp_path: Path, slept: list[float]) -> Callable[..., Registry]:
    def opened(auths: dict[str, str] | None = None, **options: Any) -> Registry:
        file = tmp_path / "auth.json"
        entries = {name: {"auth": base64.b64encode(secret.encode()).decode()} for name, secret in (auths or {}).items()}
        file.write_text(json.dumps({"auths": entries}))
        settings: dict[str, Any] = {"transport": httpx.MockTransport(server), "sleep": slept.append, **options}
        return Registry(Credentials([file]), tmp_path / "cache", **settings)

    return opened


def _last_layer(registry: Registry, server: _Server) -> dict[str, bytes]:
    layer = registry.manifest(server.name).layers[-1]
    return registry.files(server.name, layer, {"release/image-references"}, largest_layer=10**6)


def test_reads_files_of_a_layer_and_keeps_the_manifest(server: _Server, open_registry: Callable[..., Registry]) -> None:
    assert _last_layer(open_registry(), server) == {"release/image-references": b"refs"}
    before = len(server.requests)
    manifest = open_registry().manifest(server.name)
    assert len(server.requests) == before, "what a digest names is asked for once"
    assert [item.digest for item in manifest.layers] == list(server.blobs)[:2]
    assert open_registry().blob(server.name, manifest.config or Descriptor("", 0)) == b'{"config": {}}'
    assert open_registry().manifest(Pullspec("quay.test", "org/name", "latest")) == manifest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quay.io/org/a/b@sha256:" + "0" * 64, ("quay.io", "org/a/b", "sha256:" + "0" * 64)),
        ("Registry.Test:5000/a:v1.2", ("registry.test:5000", "a", "v1.2")),
        ("quay.io/a:tag@sha256:" + "1" * 64, ("quay.io", "a", "sha256:" + "1" * 64)),
    ],
)
def test_pullspecs(text: str, expected: tuple[str, str, str]) -> None:
    assert parse_pullspec(text) == Pullspec(*expected)


@pytest.mark.parametrize(
    "text", ["", "name", "quay.io/a", "quay.io/A:1", "quay.io/a@sha256:12", "http://quay.io/a:1", "q/a:1\n"]
)
def test_what_is_no_pullspec(text: str) -> None:
    with pytest.raises(FormatError, match="not a full image name"):
        parse_pullspec(text)


def test_the_longest_prefix_decides_and_the_first_file_wins(tmp_path: Path) -> None:
    def write(name: str, **auths: str) -> Path:
        entries = {key: {"auth": base64.b64encode(f"u:{value}".encode()).decode()} for key, value in auths.items()}
        (tmp_path / name).write_text(json.dumps({"auths": entries}))
        return tmp_path / name

    first = write("1", **{"quay.io": "host", "quay.io/org": "org", "https://index.docker.io/v1/": "hub"})
    second = write("2", **{"quay.io": "other", "quay.io/org/name": "name"})
    credentials = Credentials([first, second])
    found = {name: credentials.find(parse_pullspec(f"{name}:1")) for name in
        ("quay.io/x", "quay.io/org/x", "quay.io/org/name", "quay.io/org/name2", "quay.io/organ", "docker.io/a", "other.io/a")}  # fmt: skip
    assert found == {
        "quay.io/x": "u:host", "quay.io/org/x": "u:org", "quay.io/org/name": "u:name", "quay.io/org/name2": "u:org",
        "quay.io/organ": "u:host", "docker.io/a": "u:hub", "other.io/a": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"auths": []}', '{"auths": {"a": {"auth": "%"}}}', '{"auths": {"a": 1}}']
)
def test_a_file_that_holds_no_pull_secrets(tmp_path: Path, text: str) -> None:
    (tmp_path / "auth.json").write_text(text)
    with pytest.raises(UsageError, match="auth.json is not a file of pull secrets"):
        Credentials([tmp_path / "auth.json"])


def _challenge(realm: str) -> httpx.Response:
    return httpx.Response(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="quay.test"'})


def test_a_token_is_fetched_with_the_pull_secret_and_used(
    server: _Server, open_registry: Callable[..., Registry]
) -> None:
    server.answers = [_challenge("https://quay.test/token"), httpx.Response(200, json={"token": "tok"})]
    registry = open_registry({"quay.test/org": "user:secret"})
    _last_layer(registry, server)
    token, manifest, layer = server.requests[1:]
    assert token.headers["Authorization"] == "Basic " + base64.b64encode(b"user:secret").decode()
    assert dict(token.url.params) == {"service": "quay.test", "scope": "repository:org/name:pull"}
    assert {manifest.headers["Authorization"], layer.headers["Authorization"]} == {"Bearer tok"}


def test_basic_authentication(server: _Server, open_registry: Callable[..., Registry]) -> None:
    server.answers = [httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})]
    _last_layer(open_registry({"quay.test": "u:p"}), server)
    assert server.requests[1].headers["Authorization"] == "Basic " + base64.b64encode(b"u:p").decode()


def _who_got_it(server: _Server, registry: Registry, name: str, realm: str) -> bool:
    """Tell whether a token service got a password of a registry."""
    server.answers = [_challenge(realm), httpx.Response(200, json={"token": "tok"})]
    registry.manifest(parse_pullspec(name))
    return "Authorization" in server.requests[1].headers


@pytest.mark.parametrize(
    ("host", "realm"),
    [
        ("quay.test", "https://evil.example/token"),
        ("quay.test", "https://auth.quay.test/token"),
        ("registry.vendor.co.uk", "https://attacker.co.uk/token"),
        ("vendor.azurecr.io", "https://attacker.azurecr.io/token"),
        ("registry.a.svc.cluster.local", "https://registry.b.svc.cluster.local/token"),
        ("quay.test", "https://quay.test:8443/token"),
        ("quay.test:5000", "https://quay.test/token"),
        ("quay.test", "https://evil.example#@quay.test/token"),
        ("quay.test", "https://quay.test.evil.example/token"),
        ("docker.io", "https://auth.docker.io.evil.example/token"),
    ],
)
def test_a_password_does_not_go_to_a_token_service_elsewhere(
    server: _Server, open_registry: Callable[..., Registry], host: str, realm: str
) -> None:
    assert not _who_got_it(server, open_registry({host: "u:p"}), f"{host}/org/name:latest", realm)


@pytest.mark.parametrize(
    ("host", "realm"),
    [
        ("quay.io", "https://quay.io/v2/auth"),
        ("quay.io", "https://QUAY.io:443/v2/auth"),
        ("docker.io", "https://auth.docker.io/token"),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("registry.redhat.io", "https://registry.redhat.io/auth/realms/rhcc/protocol/redhat-docker-v2/auth"),
        ("registry.connect.redhat.com", "https://sso.redhat.com/auth/realms/rhc4tp/protocol/docker-v2/auth"),
        ("vendor.azurecr.io", "https://vendor.azurecr.io/oauth2/token"),
        ("registry.local:5000", "https://registry.local:5000/token"),
        ("registry.site", "https://tokens.site:8443/jwt"),
    ],
)
def test_a_password_goes_to_the_registry_and_to_known_token_services(
    server: _Server, open_registry: Callable[..., Registry], host: str, realm: str
) -> None:
    registry = open_registry({host: "u:p"}, token_services={"registry.site": ("tokens.site:8443",)})
    assert _who_got_it(server, registry, f"{host}/org/name:latest", realm)


def test_who_lacks_the_password_is_told_where_to_name_the_token_service(
    server: _Server, open_registry: Callable[..., Registry]
) -> None:
    server.answers = [_challenge("https://gitlab.site/jwt"), httpx.Response(401)]
    with pytest.raises(SourceError, match="refuses access") as caught:
        open_registry({"registry.site": "u:p"}).manifest(parse_pullspec("registry.site/org/name:1"))
    assert "registry: {token_services: {'registry.site': ['gitlab.site']}}" in (caught.value.hint or "")


def test_docker_hub_is_asked_at_its_own_address(server: _Server, open_registry: Callable[..., Registry]) -> None:
    server.answers = [httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})]
    open_registry({"docker.io": "u:p"}).manifest(parse_pullspec("docker.io/org/name:latest"))
    assert {request.url.host for request in server.requests} == {"registry-1.docker.io"}
    assert "Authorization" in server.requests[-1].headers


@pytest.mark.parametrize("realm", ["https://quay.test@evil.example/token", "https://u:p@quay.test/token"])
def test_a_token_service_with_a_user_in_its_address_is_refused(
    server: _Server, open_registry: Callable[..., Registry], realm: str
) -> None:
    with pytest.raises(SourceError, match="an address with a user in it"):
        _who_got_it(server, open_registry({"quay.test": "u:p"}), "quay.test/org/name:latest", realm)
    assert len(server.requests) == 1


@pytest.mark.parametrize("where", ["https://quay.test:8443/x", "https://sub.quay.test/x", "https://cdn.test/quay.test"])
def test_a_redirect_to_another_address_of_the_host_gets_no_password(
    server: _Server, open_registry: Callable[..., Registry], where: str
) -> None:
    server.answers = [
        httpx.Response(401, headers={"WWW-Authenticate": "Basic"}),
        httpx.Response(307, headers={"Location": where}),
        httpx.Response(200, content=server.manifest),
    ]
    open_registry({"quay.test": "u:p"}).manifest(Pullspec("quay.test", "org/name", "latest"))
    assert (str(server.requests[-1].url), "Authorization" in server.requests[-1].headers) == (where, False)


def test_an_address_that_a_registry_gives_is_not_followed_to_plain_http(
    server: _Server, open_registry: Callable[..., Registry]
) -> None:
    registry = open_registry({"quay.test": "u:p"})
    with pytest.raises(SourceError, match="which is not followed"):
        registry.exchange(server.name, "http://quay.test/v2/upload", lambda answer: answer.status_code)
    assert not server.requests


@pytest.mark.parametrize("realm", ["http://auth.quay.test/token", "ftp://quay.test", ""])
def test_a_token_service_without_tls_is_refused(
    server: _Server, open_registry: Callable[..., Registry], realm: str
) -> None:
    server.answers = [_challenge(realm)]
    with pytest.raises(SourceError, match="which is not https"):
        _last_layer(open_registry({"quay.test": "u:p"}), server)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nb"}', b"x" * 100_000])
def test_a_token_that_is_none(server: _Server, open_registry: Callable[..., Registry], body: bytes) -> None:
    server.answers = [_challenge("https://quay.test/token"), httpx.Response(200, content=body)]
    with pytest.raises(SourceError, match="gave no token|longer than"):
        _last_layer(open_registry(), server)


def test_a_redirect_is_followed_without_credentials(server: _Server, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry({"quay.test": "u:p"})
    server.answers = [httpx.Response(401, headers={"WWW-Authenticate": "Basic"})]
    layer = registry.manifest(server.name).layers[-1]
    server.answers = [httpx.Response(307, headers={"Location": f"https://cdn.test/{layer.digest}"})]
    registry.files(server.name, layer, _WANTED, largest_layer=10**6)
    assert server.requests[-2].headers["Authorization"].startswith("Basic ")
    assert (server.requests[-1].url.host, "Authorization" in server.requests[-1].headers) == ("cdn.test", False)


@pytest.mark.parametrize("target", ["http://cdn.test/x", "file:///etc/passwd", "https://quay.test/v2/org/name/loop"])
def test_redirects_that_are_not_followed(server: _Server, open_registry: Callable[..., Registry], target: str) -> None:
    server.answers = [httpx.Response(302, headers={"Location": target}) for _ in range(8)]
    with pytest.raises(SourceError, match="not followed|in a circle"):
        open_registry().manifest(server.name)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, SourceError, "refuses access"),
        (403, SourceError, "refuses access"),
        (404, SourceGoneError, "does not exist"),
        (410, SourceGoneError, "does not exist"),
        (418, SourceError, "answers HTTP 418"),
    ],
)
def test_definite_answers_are_not_asked_for_again(
    server: _Server, open_registry: Callable[..., Registry], status: int, error: type[KmodsmithError], words: str
) -> None:
    server.answers = [httpx.Response(status)] * 9
    with pytest.raises(error, match=words) as caught:
        open_registry().manifest(server.name)
    assert len(server.requests) <= 2
    if status in {401, 403}:
        assert "there is no pull secret for it" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "fault",
    [
        httpx.Response(500),
        httpx.Response(503),
        httpx.Response(429),
        httpx.ConnectError("no route"),
        httpx.ReadTimeout(""),
    ],
)
def test_what_may_pass_is_tried_again(
    server: _Server, open_registry: Callable[..., Registry], slept: list[float], fault: Any
) -> None:
    server.answers = [fault, fault]
    assert open_registry().manifest(server.name).layers
    assert slept == [0.5, 1.0]
    server.answers = [fault] * 9
    with pytest.raises(SourceUnreachableError, match="quay.test"):
        open_registry().manifest(Pullspec("quay.test", "org/name", "latest"))


@pytest.mark.parametrize(
    ("header", "pause"), [("7", 7.0), ("100000", 60.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("x", 0.5)]
)
def test_patience_that_the_server_asks_for(
    server: _Server, open_registry: Callable[..., Registry], slept: list[float], header: str, pause: float
) -> None:
    server.answers = [httpx.Response(429, headers={"Retry-After": header})]
    open_registry().manifest(server.name)
    assert slept == [pause]


def test_another_manifest_than_asked_for(server: _Server, open_registry: Callable[..., Registry]) -> None:
    server.answers = [httpx.Response(200, content=b"{}")]
    with pytest.raises(SourceError, match="served another manifest"):
        open_registry().manifest(server.name)


# Both a list and an image: which one, each client would decide for itself.
_BOTH = b'{"manifests": [], "config": {}}'


@pytest.mark.parametrize(
    "body",
    [_BOTH, _BOTH.replace(b'"config": {}', b'"mediaType": "application/vnd.oci.image.manifest.v1+json"'),
     b"", b"[]", b'"x"', b"{}", b"\xff", b'{"layers": [], "config": {}}', b'{"layers": [{}], "config": {"digest": "x"}}',
     b'{"manifests": [{"platform": 1}]}', b'{"config": {"digest": "sha256:00", "size": 1}, "layers": []}',
     b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_manifest(server: _Server, open_registry: Callable[..., Registry], body: bytes) -> None:
    server.answers = [httpx.Response(200, content=body)]
    with pytest.raises(FormatError, match="is no manifest"):
        open_registry().manifest(Pullspec("quay.test", "org/name", "latest"))


def test_a_manifest_list_is_told_from_an_image(server: _Server, open_registry: Callable[..., Registry]) -> None:
    entries = [{"digest": "sha256:" + "a" * 64, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}]
    server.answers = [httpx.Response(200, json={"manifests": entries})]
    manifest = open_registry().manifest(Pullspec("quay.test", "org/name", "latest"))
    assert (manifest.is_index, list(manifest.images)) == (True, ["linux/amd64"])


def test_a_layer_that_was_changed_on_the_way(server: _Server, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry()
    layer = registry.manifest(server.name).layers[-1]
    other = _layer({"release/image-references": b"evil"})
    server.answers = [httpx.Response(200, content=other.ljust(layer.size, b"\0")[: layer.size])]
    with pytest.raises((SourceError, FormatError)):
        registry.files(server.name, layer, _WANTED, largest_layer=10**6)


def test_a_layer_that_breaks_off_is_read_again(
    server: _Server, open_registry: Callable[..., Registry], slept: list[float]
) -> None:
    registry = open_registry()
    layer = registry.manifest(server.name).layers[-1]
    server.answers = [httpx.Response(200, content=server.blobs[layer.digest][:-20])]
    assert registry.files(server.name, layer, _WANTED, largest_layer=10**6) == {"release/image-references": b"refs"}
    assert slept == [0.5]


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def _member(name: str, *, size: int = 0, **fields: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    for field, value in fields.items():
        setattr(member, field, value)
    return member


_REFERENCES = "release/image-references"
_SYMLINK: dict[str, Any] = {"type": tarfile.SYMTYPE, "linkname": "../../../etc/shadow"}
_HARD_LINK: dict[str, Any] = {"type": tarfile.LNKTYPE, "linkname": "/etc/shadow"}


@pytest.mark.parametrize(
    ("tar", "words"),
    [
        (_tar((_member("../../etc/passwd", size=1), b"x")), "points out of"),
        (_tar((_member("a/../../x", size=1), b"x")), "points out of"),
        (_tar((_member("/../x", size=1), b"x")), "points out of"),
        (_tar((_member(_REFERENCES, **_SYMLINK), b"")), "no plain file"),
        (_tar((_member(_REFERENCES, **_HARD_LINK), b"")), "no plain file"),
        (_tar((_member(_REFERENCES, type=tarfile.DIRTYPE), b"")), "no plain file"),
        (_tar((_member(_REFERENCES, type=tarfile.FIFOTYPE), b"")), "no plain file"),
        # 10 GB that only the header claims, and a header that is none.
        (_member(_REFERENCES, size=10 * 1024**3).tobuf(tarfile.GNU_FORMAT), "no plain file of at most"),
        (b"\xff" * 10_240, "cannot be read"),
    ],
)
def test_a_malicious_layer(tar: bytes, words: str, tmp_path: Path, slept: list[float]) -> None:
    server = _Server([gzip.compress(tar, mtime=0)])
    registry = Registry(Credentials(), tmp_path, transport=httpx.MockTransport(server), sleep=slept.append)
    with pytest.raises(FormatError, match=words) as caught:
        registry.files(server.name, registry.manifest(server.name).layers[0], _WANTED, largest_layer=10**6)
    assert "quay.test/org/name" in caught.value.message
    assert not slept, "trying again would not help"


def test_a_bomb_and_a_layer_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.image.layer._MOST_UNPACKED", 1_000_000)
    server = _Server([_layer({"zeros": bytes(3_000_000)})])
    registry = Registry(Credentials(), tmp_path, transport=httpx.MockTransport(server))
    layer = registry.manifest(server.name).layers[0]
    with pytest.raises(FormatError, match="unpacks to more"):
        registry.files(server.name, layer, _WANTED, largest_layer=10**6)
    with pytest.raises(FormatError, match="may be read"):
        registry.files(server.name, layer, _WANTED, largest_layer=100)


def test_mirrors_come_first_and_the_name_itself_last(server: _Server, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry(mirrors={"quay.test/org": ["mirror.test:5000/copy"], "quay.test": ["wrong.test"]})
    server.answers = [httpx.Response(404)]
    assert registry.manifest(server.name).layers
    assert [str(request.url).partition("/manifests")[0] for request in server.requests] == [
        "https://mirror.test:5000/v2/copy/name",
        "https://quay.test/v2/org/name",
    ]


@pytest.mark.parametrize("silence", [httpx.Response(503), httpx.Response(403), httpx.ConnectError("dead")])
def test_a_mirror_without_an_answer_makes_absence_unknown(
    silence: httpx.Response | httpx.ConnectError, server: _Server, open_registry: Callable[..., Registry]
) -> None:
    registry = open_registry(mirrors={"quay.test/org": ["mirror.test"]})
    server.answers = [silence] * (1 if isinstance(silence, httpx.Response) and silence.status_code == 403 else 5)
    server.answers.append(httpx.Response(404))
    with pytest.raises(SourceError, match=r"whether a mirror has it is not known: mirror.test/name") as caught:
        registry.manifest(server.name)
    assert not isinstance(caught.value, SourceGoneError)


def test_a_damaged_cache_is_read_again(server: _Server, open_registry: Callable[..., Registry], tmp_path: Path) -> None:
    open_registry().manifest(server.name)
    for file in (tmp_path / "cache").glob("*/*"):
        file.write_bytes(b"damaged")
    before = len(server.requests)
    assert open_registry().manifest(server.name).layers
    assert len(server.requests) == before + 1


def test_names_that_are_not_utf_8_are_passed_over(tmp_path: Path) -> None:
    server = _Server(
        [gzip.compress(_tar((_member("\udcff\udcfe", size=1), b"x"), (_member(_REFERENCES, size=4), b"refs")))]
    )
    registry = Registry(Credentials(), tmp_path, transport=httpx.MockTransport(server))
    layer = registry.manifest(server.name).layers[0]
    assert registry.files(server.name, layer, {_REFERENCES}, largest_layer=10**6) == {_REFERENCES: b"refs"}


def test_what_was_found_in_a_layer_is_kept_and_so_is_what_was_not(
    server: _Server, open_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    _last_layer(open_registry(), server)
    layer = open_registry().manifest(server.name).layers[-1]
    assert open_registry().files(server.name, layer, {"absent"}, largest_layer=10**6) == {}
    before = len(server.requests)
    assert _last_layer(open_registry(), server) == {_REFERENCES: b"refs"}
    assert open_registry().files(server.name, layer, {"absent"}, largest_layer=10**6) == {}
    assert len(server.requests) == before
    for file in (tmp_path / "cache").glob("*/*"):
        if file.read_bytes() == b"refs":
            file.write_bytes(b"damaged")
    assert _last_layer(open_registry(), server) == {_REFERENCES: b"refs"}
    assert len(server.requests) == before + 1


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{"a/f": b"old"}, {"other": b""}], b"old"),
        ([{"a/f": b"old"}, {"a/f": b"new"}, {"other": b""}], b"new"),
        ([{"a/f": b"old"}, {"a/.wh.f": b""}], None),
        ([{"a/f": b"old"}, {".wh.a": b""}], None),
        ([{"a/f": b"old"}, {"a/.wh..wh..opq": b""}], None),
        ([{"a/f": b"old"}, {"a/.wh..wh..opq": b"", "a/f": b"new"}], b"new"),
        ([{"a/f": b"old"}, {"a/.wh.g": b""}], b"old"),
        ([{"other": b""}], None),
    ],
)
def test_layers_are_read_from_the_top(layers: list[dict[str, bytes]], expected: bytes | None, tmp_path: Path) -> None:
    server = _Server([_layer(files) for files in layers])
    registry = Registry(Credentials(), tmp_path, transport=httpx.MockTransport(server))
    found = registry.find_file(server.name, registry.manifest(server.name), "a/f", largest_layer=10**6)
    assert found == expected


def test_no_layer_below_a_large_one_is_read(tmp_path: Path) -> None:
    server = _Server([_layer({"a/f": b"x"}), _layer({"big": bytes(range(256)) * 40}), _layer({"top": b""})])
    registry = Registry(Credentials(), tmp_path, transport=httpx.MockTransport(server))
    assert registry.find_file(server.name, registry.manifest(server.name), "a/f", largest_layer=250) is None
    assert len(server.requests) == 2, "the manifest and the top layer"


def test_the_image_of_an_architecture_out_of_a_list(server: _Server, open_registry: Callable[..., Registry]) -> None:
    platforms = [("linux", "amd64"), ("linux", "arm64"), ("windows", "s390x")]
    entries = [
        {"digest": _digest(server.manifest), "size": 1, "platform": {"os": system, "architecture": arch}}
        for system, arch in platforms
    ]
    index = json.dumps({"manifests": entries}).encode()
    server.answers = [httpx.Response(200, content=index)]
    listed = Pullspec("quay.test", "org/name", _digest(index))
    name, manifest = open_registry().image(listed, "arm64")
    assert (str(name), len(manifest.layers)) == (str(server.name), 2)
    with pytest.raises(FormatError, match=r"no image for s390x, only for linux/amd64"):
        open_registry().image(listed, "s390x")
    assert open_registry().image(server.name, "amd64")[0] == server.name


def test_a_registry_that_must_not_be_asked_is_not(server: _Server, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry(mirrors={"quay.test/org": ["mirror.test"]}, never_contact=["quay.test/org"])
    server.answers = [httpx.Response(404)]
    with pytest.raises(SourceGoneError):
        registry.manifest(server.name)
    assert {request.url.host for request in server.requests} == {"mirror.test"}
