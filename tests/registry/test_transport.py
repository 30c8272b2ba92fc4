"""Requests to a pretended registry: tokens, redirects, tries, mirrors, and who gets a password."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from builder.errors import KmodsmithError, SourceError, SourceGoneError, SourceUnreachableError
from builder.pullspec import Pullspec, parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.pull_server import PullServer

    from builder.registry.reader import Registry

_WANTED = frozenset({"release/image-references", "etc/release.json"})


def _last_layer(registry: Registry, server: PullServer) -> dict[str, bytes]:
    layer = registry.manifest(server.name).layers[-1]
    return registry.files(server.name, layer, {"release/image-references"}, largest_layer=10**6)


def _challenge(realm: str) -> httpx.Response:
    return httpx.Response(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="quay.test"'})


def test_a_token_is_fetched_with_the_pull_secret_and_used(
    server: PullServer, open_registry: Callable[..., Registry]
) -> None:
    server.answers = [_challenge("https://quay.test/token"), httpx.Response(200, json={"token": "tok"})]
    registry = open_registry({"quay.test/org": "user:secret"})
    _last_layer(registry, server)
    token, manifest, layer = server.requests[1:]
    assert token.headers["Authorization"] == "Basic " + base64.b64encode(b"user:secret").decode()
    assert dict(token.url.params) == {"service": "quay.test", "scope": "repository:org/name:pull"}
    assert {manifest.headers["Authorization"], layer.headers["Authorization"]} == {"Bearer tok"}


def test_basic_authentication(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    server.answers = [httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})]
    _last_layer(open_registry({"quay.test": "u:p"}), server)
    assert server.requests[1].headers["Authorization"] == "Basic " + base64.b64encode(b"u:p").decode()


def _who_got_it(server: PullServer, registry: Registry, name: str, realm: str) -> bool:
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
    server: PullServer, open_registry: Callable[..., Registry], host: str, realm: str
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
    server: PullServer, open_registry: Callable[..., Registry], host: str, realm: str
) -> None:
    registry = open_registry({host: "u:p"}, token_services={"registry.site": ("tokens.site:8443",)})
    assert _who_got_it(server, registry, f"{host}/org/name:latest", realm)


def test_who_lacks_the_password_is_told_where_to_name_the_token_service(
    server: PullServer, open_registry: Callable[..., Registry]
) -> None:
    server.answers = [_challenge("https://gitlab.site/jwt"), httpx.Response(401)]
    with pytest.raises(SourceError, match="refuses access") as caught:
        open_registry({"registry.site": "u:p"}).manifest(parse_pullspec("registry.site/org/name:1"))
    assert "registry: {token_services: {'registry.site': ['gitlab.site']}}" in (caught.value.hint or "")


def test_docker_hub_is_asked_at_its_own_address(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    server.answers = [httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})]
    open_registry({"docker.io": "u:p"}).manifest(parse_pullspec("docker.io/org/name:latest"))
    assert {request.url.host for request in server.requests} == {"registry-1.docker.io"}
    assert "Authorization" in server.requests[-1].headers


@pytest.mark.parametrize("realm", ["https://quay.test@evil.example/token", "https://u:p@quay.test/token"])
def test_a_token_service_with_a_user_in_its_address_is_refused(
    server: PullServer, open_registry: Callable[..., Registry], realm: str
) -> None:
    with pytest.raises(SourceError, match="an address with a user in it"):
        _who_got_it(server, open_registry({"quay.test": "u:p"}), "quay.test/org/name:latest", realm)
    assert len(server.requests) == 1


@pytest.mark.parametrize("where", ["https://quay.test:8443/x", "https://sub.quay.test/x", "https://cdn.test/quay.test"])
def test_a_redirect_to_another_address_of_the_host_gets_no_password(
    server: PullServer, open_registry: Callable[..., Registry], where: str
) -> None:
    server.answers = [
        httpx.Response(401, headers={"WWW-Authenticate": "Basic"}),
        httpx.Response(307, headers={"Location": where}),
        httpx.Response(200, content=server.manifest),
    ]
    open_registry({"quay.test": "u:p"}).manifest(Pullspec("quay.test", "org/name", "latest"))
    assert (str(server.requests[-1].url), "Authorization" in server.requests[-1].headers) == (where, False)


def test_an_address_that_a_registry_gives_is_not_followed_to_plain_http(
    server: PullServer, open_registry: Callable[..., Registry]
) -> None:
    registry = open_registry({"quay.test": "u:p"})
    with pytest.raises(SourceError, match="which is not followed"):
        registry.transport.exchange(server.name, "http://quay.test/v2/upload", lambda answer: answer.status_code)
    assert not server.requests


@pytest.mark.parametrize("realm", ["http://auth.quay.test/token", "ftp://quay.test", ""])
def test_a_token_service_without_tls_is_refused(
    server: PullServer, open_registry: Callable[..., Registry], realm: str
) -> None:
    server.answers = [_challenge(realm)]
    with pytest.raises(SourceError, match="which is not https"):
        _last_layer(open_registry({"quay.test": "u:p"}), server)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nb"}', b"x" * 100_000])
def test_a_token_that_is_none(server: PullServer, open_registry: Callable[..., Registry], body: bytes) -> None:
    server.answers = [_challenge("https://quay.test/token"), httpx.Response(200, content=body)]
    with pytest.raises(SourceError, match="gave no token|longer than"):
        _last_layer(open_registry(), server)


def test_a_redirect_is_followed_without_credentials(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry({"quay.test": "u:p"})
    server.answers = [httpx.Response(401, headers={"WWW-Authenticate": "Basic"})]
    layer = registry.manifest(server.name).layers[-1]
    server.answers = [httpx.Response(307, headers={"Location": f"https://cdn.test/{layer.digest}"})]
    registry.files(server.name, layer, _WANTED, largest_layer=10**6)
    assert server.requests[-2].headers["Authorization"].startswith("Basic ")
    assert (server.requests[-1].url.host, "Authorization" in server.requests[-1].headers) == ("cdn.test", False)


@pytest.mark.parametrize("target", ["http://cdn.test/x", "file:///etc/passwd", "https://quay.test/v2/org/name/loop"])
def test_redirects_that_are_not_followed(
    server: PullServer, open_registry: Callable[..., Registry], target: str
) -> None:
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
    server: PullServer, open_registry: Callable[..., Registry], status: int, error: type[KmodsmithError], words: str
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
    server: PullServer, open_registry: Callable[..., Registry], slept: list[float], fault: Any
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
    server: PullServer, open_registry: Callable[..., Registry], slept: list[float], header: str, pause: float
) -> None:
    server.answers = [httpx.Response(429, headers={"Retry-After": header})]
    open_registry().manifest(server.name)
    assert slept == [pause]


def test_mirrors_come_first_and_the_name_itself_last(
    server: PullServer, open_registry: Callable[..., Registry]
) -> None:
    registry = open_registry(mirrors={"quay.test/org": ["mirror.test:5000/copy"], "quay.test": ["wrong.test"]})
    server.answers = [httpx.Response(404)]
    assert registry.manifest(server.name).layers
    assert [str(request.url).partition("/manifests")[0] for request in server.requests] == [
        "https://mirror.test:5000/v2/copy/name",
        "https://quay.test/v2/org/name",
    ]


@pytest.mark.parametrize("silence", [httpx.Response(503), httpx.Response(403), httpx.ConnectError("dead")])
def test_a_mirror_without_an_answer_makes_absence_unknown(
    silence: httpx.Response | httpx.ConnectError, server: PullServer, open_registry: Callable[..., Registry]
) -> None:
    registry = open_registry(mirrors={"quay.test/org": ["mirror.test"]})
    server.answers = [silence] * (1 if isinstance(silence, httpx.Response) and silence.status_code == 403 else 5)
    server.answers.append(httpx.Response(404))
    with pytest.raises(SourceError, match=r"whether a mirror has it is not known: mirror.test/name") as caught:
        registry.manifest(server.name)
    assert not isinstance(caught.value, SourceGoneError)


def test_a_registry_that_must_not_be_asked_is_not(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry(mirrors={"quay.test/org": ["mirror.test"]}, never_contact=frozenset({"quay.test/org"}))
    server.answers = [httpx.Response(404)]
    with pytest.raises(SourceGoneError):
        registry.manifest(server.name)
    assert {request.url.host for request in server.requests} == {"mirror.test"}
