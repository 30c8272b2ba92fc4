"""One request to a registry: its address and mirrors, tries, token, redirects, and bounds of what comes back.

Registries and the sites that they redirect to may be hostile: sizes, times and redirects have bounds. A password goes
to the registry that it is for, by its very address, and to a token service elsewhere only where that is known
beforehand (``builder.registry.credentials``).
"""

from __future__ import annotations

import base64
import logging
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from builder.errors import FormatError, SourceError, SourceGoneError, SourceRefusedError, SourceUnreachableError
from builder.foreign import read_json
from builder.host.http import check_status, open_client, pause_s, read_chunks, with_retries
from builder.pullspec import Pullspec
from builder.registry.credentials import TOKEN_SERVICES
from builder.registry.manifest import MANIFEST_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from builder.registry.credentials import Credentials

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

# Bounded: a header may be a word of 100,000 letters, from each of which a search would begin.
_CHALLENGE = re.compile(r'(?<!\w)(\w{1,64})="([^"]*)"', re.ASCII)
READ_RIGHTS = "pull"
_MOST_REDIRECTS = 5
_NO_ADDRESS = "what the registry names as an address cannot be read as one"
_LARGEST_TOKEN = 64 * 1024
# The registry behind a name that is not its address (containers/image does likewise).
_ADDRESSES = {"docker.io": "registry-1.docker.io"}
_PORTS = {"https": ":443", "http": ":80"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How registries are reached.

    Args:
        mirrors: prefixes of image names with what to ask instead, in order; the name itself is asked last.
        never_contact: prefixes of image names whose own registry is not asked, only its mirrors.
        plain_http: hosts that are spoken to without TLS.
        unverified_tls: hosts whose certificate is not verified.
        token_services: further hosts that get a registry's password, beside those of ``TOKEN_SERVICES``.
        timeout_s: how long a server may be silent.
        carrier: what carries requests; for tests.
        sleep: how to wait; for tests.
    """

    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    never_contact: frozenset[str] = frozenset()
    plain_http: frozenset[str] = frozenset()
    unverified_tls: frozenset[str] = frozenset()
    token_services: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timeout_s: float = 30.0
    carrier: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep


_DIRECT = Connection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How to ask a registry: method, content, further headers, the rights that a token needs, the good answers.

    ``origin`` is another repository of the same registry, which the token must let us read, too.
    """

    method: str = "GET"
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    actions: str = READ_RIGHTS
    origin: str = ""
    accepted: frozenset[int] = frozenset({200})

    def scopes(self, repository: str) -> tuple[str, ...]:
        """Return what a token must be good for (distribution-spec, token authentication)."""
        own = f"repository:{repository}:{self.actions}"
        return (own, f"repository:{self.origin}:{READ_RIGHTS}") if self.origin else (own,)


_READ = Request()


class Transport:
    """Carries requests to any registry; safe to use from several threads."""

    def __init__(self, credentials: Credentials, connection: Connection = _DIRECT) -> None:
        self._credentials = credentials
        self._connection = connection
        self._guard = threading.Lock()
        self._clients: dict[bool, httpx.Client] = {}
        self._tokens: dict[tuple[str, tuple[str, ...]], str] = {}
        self.bytes_read = 0
        """Bytes of answers so far, for reports."""

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _try_places(self, pullspec: Pullspec, read: Callable[[Pullspec], _T]) -> _T:
        """Ask the mirrors of a name in order, then the name itself.

        "Absent" counts only when all say it: a mirror need not hold everything, and one that gives no answer may.
        """
        *others, last = self.places(pullspec)
        silent: SourceError | None = None
        for place in others:
            try:
                return read(place)
            except SourceError as error:
                _log.debug("%s: mirror %s did not help: %s", pullspec, place, error.message)
                silent = silent or (None if isinstance(error, SourceGoneError) else error)
        try:
            return read(last)
        except SourceGoneError as error:
            if silent is None:
                raise
            raise SourceUnreachableError(
                f"{error.message}; whether a mirror has it is not known: {silent.message}", hint=silent.hint
            ) from None

    def places(self, pullspec: Pullspec) -> list[Pullspec]:
        """Return where an image may be read, in the order in which the places are asked."""
        name = f"{pullspec.host}/{pullspec.repository}"
        prefixes = [prefix for prefix in self._connection.mirrors if name == prefix or name.startswith(f"{prefix}/")]
        if not prefixes:
            return [pullspec]
        prefix = max(prefixes, key=len)
        names = [f"{mirror}{name.removeprefix(prefix)}".partition("/") for mirror in self._connection.mirrors[prefix]]
        mirrors = [Pullspec(host, repository, pullspec.reference) for host, _, repository in names]
        return mirrors if mirrors and prefix in self._connection.never_contact else [*mirrors, pullspec]

    def read_anywhere(
        self,
        pullspec: Pullspec,
        path: str,
        read: Callable[[Pullspec, httpx.Response], _T],
        request: Request = _READ,
    ) -> _T:
        """Return what ``read`` makes of what the first place of an image that has it answers.

        Raises:
            SourceGoneError: all places say that it does not exist.
            SourceUnreachableError: no answer, after several tries, from a place that may have it.
            SourceError: it was refused, or is something else.
        """
        return self._try_places(
            pullspec, lambda place: self.exchange_often(place, path, lambda answer: read(place, answer), request)
        )

    def exchange_often(
        self, place: Pullspec, path: str, read: Callable[[httpx.Response], _T], request: Request = _READ
    ) -> _T:
        """Do ``exchange``, tried again while a registry gives no answer."""
        return self.retrying(lambda: self.exchange(place, path, read, request))

    def retrying(self, work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns, tried again while a registry gives no answer."""
        return with_retries(work, sleep=self._connection.sleep)

    def pause(self, attempt: int) -> None:
        """Wait before something is tried again by other means than ``retrying``."""
        self._connection.sleep(pause_s(attempt))

    def exchange(
        self, place: Pullspec, path: str, read: Callable[[httpx.Response], _T], request: Request = _READ
    ) -> _T:
        """Send one request, with a token where the registry asks for one, and return what ``read`` makes of its answer.

        Redirects are followed by hand: credentials stay with the registry's own host, and never go to plain HTTP.

        Args:
            place: the image; its registry is asked.
            path: below the repository, or an address that the registry gave.
            read: gets the answer.
            request: how to ask; its statuses are the good answers.

        Raises:
            SourceGoneError: the registry says that it does not exist.
            SourceUnreachableError: it gave no answer; nothing is tried again.
            SourceError: it refused, or answered something else.
        """
        own = self._address(place.host)
        is_given = path.startswith(("/", "http"))
        url = self._follow(own, path, place) if is_given else f"{own}/v2/{place.repository}/{path}"
        headers = {"Accept": ", ".join(MANIFEST_TYPES), "Accept-Encoding": "identity", **request.headers}
        scopes = request.scopes(place.repository)
        authorization = self._tokens.get((place.host, scopes))
        was_challenged = False
        for _ in range(_MOST_REDIRECTS + 2):
            sent = headers | ({"Authorization": authorization} if authorization and _is_at(url, own) else {})
            try:
                with self._client(place.host).stream(
                    request.method, url, headers=sent, content=request.content
                ) as answer:
                    if answer.status_code == 401 and not was_challenged and _is_at(url, own):  # noqa: PLR2004
                        was_challenged = True
                        challenges = answer.headers.get_list("WWW-Authenticate")
                        authorization = self._answer_challenge(place, challenges, scopes)
                        continue
                    if answer.is_redirect:
                        url = self._follow(url, answer.headers.get("Location", ""), place)
                        continue
                    check_status(
                        answer, str(place), refusal=self._credentials.explain_refusal(place), accepted=request.accepted
                    )
                    return read(answer)
            except httpx.HTTPError as error:
                raise SourceUnreachableError(f"{place}: {str(error) or type(error).__name__}") from error
            except httpx.InvalidURL as error:
                raise SourceRefusedError(f"{place}: {_NO_ADDRESS}: {error}") from None
        raise SourceRefusedError(f"{place}: the registry redirects in a circle")

    def read_body(self, answer: httpx.Response, most: int, what: str) -> bytes:
        """Return an answer's content, unless it is longer than it may be."""
        return b"".join(self.chunks(answer, most, what))

    def chunks(self, answer: httpx.Response, most: int, what: str) -> Iterator[bytes]:
        return read_chunks(answer, most, what, count=self._count)

    def _count(self, size: int) -> None:
        with self._guard:
            self.bytes_read += size

    def _follow(self, url: str, location: str, place: Pullspec) -> str:
        target = _join(url, location, place)
        scheme = urlsplit(target).scheme
        if scheme not in {"http", "https"} or (scheme == "http" and urlsplit(url).scheme == "https"):
            raise SourceRefusedError(f"{place}: the registry redirects to {target[:200]}, which is not followed")
        return target

    def _answer_challenge(self, place: Pullspec, challenges: Sequence[str], scopes: tuple[str, ...]) -> str:
        """Return an Authorization header for what a registry asked for (distribution-spec, token authentication)."""
        secret = self._credentials.find(place)
        basic = "Basic " + base64.b64encode(secret.encode()).decode() if secret else ""
        for challenge in challenges:
            kind, _, rest = challenge.partition(" ")
            if kind.lower() == "bearer":
                authorization = f"Bearer {self._fetch_token(place, dict(_CHALLENGE.findall(rest)), basic, scopes)}"
            elif kind.lower() == "basic" and basic:
                authorization = basic
            else:
                continue
            with self._guard:
                self._tokens[place.host, scopes] = authorization
            return authorization
        return ""

    def _fetch_token(self, place: Pullspec, challenge: Mapping[str, str], basic: str, scopes: tuple[str, ...]) -> str:
        realm = _join("", challenge.get("realm", ""), place)
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and place.host in self._connection.plain_http):
            raise SourceRefusedError(f"{place}: the registry asks for a token from {realm[:200]!r}, which is not https")
        query = {"service": challenge.get("service", ""), "scope": scopes}
        is_trusted = self._is_token_service(realm, place.host)
        headers = {"Authorization": basic} if basic and is_trusted else {}
        refusal = (
            _lacks_password(place, parts.netloc)
            if basic and not is_trusted
            else self._credentials.explain_refusal(place)
        )
        with self._client(parts.netloc).stream("GET", realm, params=query, headers=headers) as answer:
            check_status(answer, f"{place} (token)", refusal=refusal)
            content = b"".join(self.chunks(answer, _LARGEST_TOKEN, f"the token for {place}"))
        try:
            data = read_json(content, "it")
        except FormatError:
            data = {}
        token = data.get("token") or data.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise SourceRefusedError(f"{place}: the token service {parts.netloc} gave no token")
        return token

    def _is_token_service(self, realm: str, host: str) -> bool:
        """Tell whether an address may get a registry's password: it is its own, or that of a known token service."""
        known = [*TOKEN_SERVICES.get(host, ()), *self._connection.token_services.get(host, ())]
        return any(_is_at(realm, address) for address in [self._address(host), *(f"https://{name}" for name in known)])

    def _client(self, host: str) -> httpx.Client:
        is_verified = host not in self._connection.unverified_tls
        with self._guard:
            if is_verified not in self._clients:
                self._clients[is_verified] = open_client(
                    is_verified=is_verified, timeout_s=self._connection.timeout_s, carrier=self._connection.carrier
                )
            return self._clients[is_verified]

    def _address(self, host: str) -> str:
        return f"{'http' if host in self._connection.plain_http else 'https'}://{_ADDRESSES.get(host, host)}"


def _join(base: str, address: str, place: Pullspec) -> str:
    """Return an address that a registry gave, made absolute; SourceError if it is not one, or names a user."""
    try:
        parts = urlsplit(urljoin(base, address))
    except ValueError as error:
        raise SourceRefusedError(f"{place}: {_NO_ADDRESS}: {error}") from None
    if parts.scheme in {"http", "https"} and not parts.hostname:
        raise SourceError(f"{place}: the registry names an address without a host: {address[:200]!r}")
    if "@" in parts.netloc:
        raise SourceRefusedError(f"{place}: the registry names an address with a user in it, at {parts.hostname}")
    return parts.geturl()


def _is_at(url: str, address: str) -> bool:
    """Tell whether a URL is at an address: scheme, host and port."""
    return _origin(url) == _origin(address)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower().removesuffix(_PORTS.get(parts.scheme, ""))


def _lacks_password(place: Pullspec, service: str) -> str:
    return (
        f"the registry names the token service {service[:200]}, which does not get the password of {place.host}; if "
        f"it is its own, say so in versions.yaml: registry: {{token_services: {{{place.host!r}: [{service[:200]!r}]}}}}"
    )
