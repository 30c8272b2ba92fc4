"""Gets an index from a registry by the OCI distribution protocol. The only module here that speaks HTTP.

The registry may be hostile: it never decides who gets the password (its own address and the token services that are
known beforehand do), sizes, times and redirects have bounds, and every digest is compared. That it is the vendor's
index is for the signature to say: ``reading.py``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpx2

from kmod_operator.index.reading import LARGEST_INDEX, PAYLOAD_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ANSWERS_WITHIN_S = 15.0
_WHOLE_WITHIN_S = 60.0
_LARGEST_MANIFEST = 256 * 1024
_LARGEST_TOKEN = 64 * 1024
_LARGEST_SECRET = 1024**2
_MOST_REDIRECTS = 5
_SHOWN = 200
_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
_REFUSALS = frozenset({401, 403})
_PORTS = {"https": ":443", "http": ":80"}
# The registry behind a name that is not its address, and token services elsewhere, as their documentation says.
_ADDRESSES = {"docker.io": "registry-1.docker.io"}
_TOKEN_SERVICES = {
    "docker.io": ("auth.docker.io",),
    "registry.gitlab.com": ("gitlab.com",),
    "registry.redhat.io": ("sso.redhat.com",),
    "registry.connect.redhat.com": ("sso.redhat.com",),
}
_NAME = re.compile(
    r"(?P<host>[a-zA-Z0-9.-]+(?::\d{1,5})?|\[[0-9a-f:]+\](?::\d{1,5})?)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_LONGEST_NAME = 512
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TOKEN = re.compile(r"[\x21-\x7e]+")
# Bounded: a header may be a word of 100,000 letters, from each of which a search would begin.
_CHALLENGE = re.compile(r'(?<!\w)(\w{1,64})="([^"]*)"', re.ASCII)


class FetchError(Exception):
    """The index cannot be had; the message is a sentence that names the image."""


@dataclass(frozen=True, slots=True)
class _Name:
    host: str
    repository: str
    reference: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}{'@' if ':' in self.reference else ':'}{self.reference}"


async def fetch_index(
    image: str,
    secret: bytes | None = None,
    *,
    plain_http: bool = False,
    carrier: httpx2.AsyncBaseTransport | None = None,
    context: ssl.SSLContext | None = None,
) -> bytes:
    """Return the bytes of an index, which nobody has verified yet.

    Args:
        image: full name with tag or digest; a digest counts more than a tag beside it.
        secret: ``.dockerconfigjson`` of a Secret; None: the registry is asked without a password.
        plain_http: it is spoken to without TLS.
        carrier: what carries requests; for tests.
        context: whose certificates are believed; None: those of the system (``SSL_CERT_FILE``).

    Raises:
        FetchError: the registry refuses, does not answer, or what it has is no index.
    """
    name = _parse_name(image)
    password = _find_password(secret, name) if secret is not None else ""
    try:
        async with (
            asyncio.timeout(_WHOLE_WITHIN_S),
            httpx2.AsyncClient(
                transport=carrier,
                verify=context or ssl.create_default_context(),
                timeout=_ANSWERS_WITHIN_S,
                follow_redirects=False,
            ) as client,
        ):
            return await _Fetch(client, name, password, is_plain=plain_http).index()
    except TimeoutError:
        raise FetchError(f"{name}: the registry has not given it within {_WHOLE_WITHIN_S:.0f} s") from None
    except httpx2.TimeoutException:
        raise FetchError(f"{name}: the registry has not answered for {_ANSWERS_WITHIN_S:.0f} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
        words = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
        raise FetchError(f"{name}: the registry cannot be reached: {words}") from error


class _Fetch:
    """One image out of its registry."""

    def __init__(self, client: httpx2.AsyncClient, name: _Name, password: str, *, is_plain: bool) -> None:
        self._client, self._name, self._is_plain = client, name, is_plain
        self._basic = f"Basic {base64.b64encode(password.encode()).decode()}" if password else ""
        self._authorization = ""

    async def index(self) -> bytes:
        content = await self._get(f"manifests/{self._name.reference}", _LARGEST_MANIFEST, accept=_MANIFEST)
        if ":" in self._name.reference and _digest_of(content) != self._name.reference:
            raise self._wrong(f"the registry gives {_digest_of(content)} for this digest")
        digest = find_blob(content, str(self._name))
        blob = await self._get(f"blobs/{digest}", LARGEST_INDEX, accept="*/*")
        if _digest_of(blob) != digest:
            raise self._wrong(f"the registry gives {_digest_of(blob)} for its blob {digest}")
        return blob

    def _wrong(self, why: str) -> FetchError:
        return FetchError(f"{self._name}: {why}")

    @property
    def _own(self) -> str:
        scheme = "http" if self._is_plain else "https"
        return f"{scheme}://{_ADDRESSES.get(self._name.host, self._name.host)}"

    async def _get(self, path: str, most: int, *, accept: str) -> bytes:
        """Return what is there; a redirect is followed, and what the registry may know stays with it."""
        url = f"{self._own}/v2/{self._name.repository}/{path}"
        was_challenged = False
        for _ in range(_MOST_REDIRECTS + 2):
            is_own = _origin(url) == _origin(self._own)
            headers = {"Accept": accept, "Accept-Encoding": "identity"}
            headers |= {"Authorization": self._authorization} if self._authorization and is_own else {}
            async with self._client.stream("GET", url, headers=headers) as answer:
                if answer.status_code == _UNAUTHORIZED and is_own and not was_challenged:
                    was_challenged = True
                    challenges = answer.headers.get_list("WWW-Authenticate")
                elif answer.is_redirect:
                    url = self._follow(url, answer.headers.get("Location", ""))
                    continue
                else:
                    self._check(answer)
                    return await self._read(answer, most)
            # Outside of the answer: what it holds of the connection is given back first.
            self._authorization = await self._answer_challenge(challenges)
        raise self._wrong("the registry redirects in a circle")

    def _check(self, answer: httpx2.Response) -> None:
        status = answer.status_code
        if status == _OK:
            return
        if status in _REFUSALS:
            has = (
                "the pull secret for it is wrong, or may not read it"
                if self._basic
                else "there is no pull secret for it"
            )
            raise self._wrong(f"the registry refuses it ({status}): {has}; spec.index.pullSecret names one")
        if status == _NOT_FOUND:
            raise self._wrong("the registry does not have it (404): correct spec.index.image, or ask the vendor")
        raise self._wrong(f"the registry answers {status}")

    async def _read(self, answer: httpx2.Response, most: int) -> bytes:
        content = bytearray()
        async for piece in answer.aiter_raw():
            content += piece
            if len(content) > most:
                raise self._wrong(f"the registry answers with more than {most} bytes")
        return bytes(content)

    def _follow(self, url: str, location: str) -> str:
        target = self._address(url, location)
        scheme = urlsplit(target).scheme
        if scheme not in _PORTS or (scheme == "http" and urlsplit(url).scheme == "https"):
            raise self._wrong(f"the registry redirects to {target[:_SHOWN]!a}, which is not followed")
        return target

    def _address(self, base: str, given: str) -> str:
        """Return an address that a registry gave, made absolute."""
        try:
            parts = urlsplit(urljoin(base, given))
            has_host = bool(parts.hostname)
            _ = parts.port
        except ValueError:
            raise self._wrong("what the registry names as an address cannot be read as one") from None
        if not has_host:
            raise self._wrong(f"the registry names an address without a host: {given[:_SHOWN]!a}")
        if "@" in parts.netloc:
            raise self._wrong("the registry names an address with a user in it")
        return parts.geturl()

    async def _answer_challenge(self, challenges: Iterable[str]) -> str:
        for challenge in challenges:
            kind, _, rest = challenge.partition(" ")
            if kind.lower() == "bearer":
                return f"Bearer {await self._token(dict(_CHALLENGE.findall(rest)))}"
            if kind.lower() == "basic" and self._basic:
                return self._basic
        return ""

    async def _token(self, challenge: Mapping[str, str]) -> str:
        realm = self._address("", challenge.get("realm", ""))
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and self._is_plain):
            raise self._wrong(f"the registry asks for a token from {realm[:_SHOWN]!a}, which is not https")
        known = [self._own, *(f"https://{host}" for host in _TOKEN_SERVICES.get(self._name.host, ()))]
        may_know = _origin(realm) in {_origin(address) for address in known}
        query = {"service": challenge.get("service", ""), "scope": f"repository:{self._name.repository}:pull"}
        headers = {"Authorization": self._basic} if self._basic and may_know else {}
        async with self._client.stream("GET", realm, params=query, headers=headers) as answer:
            if self._basic and not may_know and answer.status_code != _OK:
                raise self._wrong(
                    f"the registry names the token service {parts.netloc[:_SHOWN]!a}, which does not get its password"
                )
            self._check(answer)
            content = await self._read(answer, _LARGEST_TOKEN)
        data = _read_object(content, self._wrong("the token service gave no token"))
        token = data.get("token") or data.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise self._wrong("the token service gave no token")
        return token


def _parse_name(image: str) -> _Name:
    match = _NAME.fullmatch(image) if len(image) <= _LONGEST_NAME else None
    if match is None or not (match["tag"] or match["digest"]):
        raise FetchError(f"{image[:_SHOWN]!a} is no full name of an image such as quay.io/org/name:index")
    return _Name(match["host"].lower(), match["repository"], match["digest"] or match["tag"])


def find_blob(manifest: bytes, name: str) -> str:
    """Return the digest of the one blob of an index, of which this is the manifest.

    Raises:
        FetchError: it is of none.
    """
    data = _read_object(manifest, FetchError(f"{name}: what the registry has is no manifest"))
    layers, kind = data.get("layers"), data.get("artifactType")
    if kind != PAYLOAD_TYPE or not isinstance(layers, list):
        raise FetchError(f"{name}: it is an artefact of type {str(kind)[:_SHOWN]!a}, and no index ({PAYLOAD_TYPE})")
    if len(layers) != 1 or not isinstance(layers[0], dict):
        raise FetchError(f"{name}: it is an index, and not of one part")
    digest, size = layers[0].get("digest"), layers[0].get("size")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise FetchError(f"{name}: its blob has no digest of SHA-256: {str(digest)[:_SHOWN]!a}")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_INDEX:
        raise FetchError(f"{name}: its size is {str(size)[:_SHOWN]!a}, and an index has at most {LARGEST_INDEX} bytes")
    return digest


def check_secret(secret: bytes, image: str) -> bool:
    """Tell whether a pull secret has a password for an image.

    Raises:
        FetchError: it is none, or the image's name is none.
    """
    return bool(_find_password(secret, _parse_name(image)))


def _find_password(secret: bytes, name: _Name) -> str:
    """Return ``user:password`` for an image: the entry with the longest matching beginning of its name counts.

    Raises:
        FetchError: the Secret is none of that kind.
    """
    problem = FetchError(
        f"{name}: its pull secret is no .dockerconfigjson: JSON with 'auths', as podman login writes it"
    )
    if len(secret) > _LARGEST_SECRET:
        raise problem
    auths = _read_object(secret, problem).get("auths")
    if not isinstance(auths, dict):
        raise problem
    entries = {_plain_host(key): value for key, value in auths.items()}
    words = [name.host, *name.repository.split("/")]
    for length in range(len(words), 0, -1):
        if (entry := entries.get("/".join(words[:length]))) is not None:
            return _password_of(entry, problem)
    return ""


def _password_of(entry: Any, problem: FetchError) -> str:
    if not isinstance(entry, dict):
        raise problem
    try:
        if entry.get("auth"):
            return base64.b64decode(entry["auth"], validate=True).decode()
    except (binascii.Error, ValueError, TypeError):
        raise problem from None
    user, password = entry.get("username", ""), entry.get("password", "")
    if not isinstance(user, str) or not isinstance(password, str):
        raise problem
    return f"{user}:{password}" if user else ""


def _plain_host(name: str) -> str:
    """Return an entry's name without the address that old Docker clients wrote: https://index.docker.io/v1/."""
    without = re.sub(r"^https?://", "", name).rstrip("/")
    without = re.sub(r"/v[12]$", "", without)
    return "docker.io" if without == "index.docker.io" else without


def _read_object(content: bytes, problem: FetchError) -> dict[str, Any]:
    try:
        data = json.loads(content.decode())
    except (ValueError, RecursionError):
        raise problem from None
    if not isinstance(data, dict):
        raise problem
    return data


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower().removesuffix(_PORTS.get(parts.scheme, ""))


def _digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
