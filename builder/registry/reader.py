"""Reads registries by the OCI distribution protocol (distribution-spec 1.1): manifests, small blobs, files of layers.

Everything that is believed was checked against its digest. What a digest names never changes, so it is kept and never
asked for again. Registries, blobs and the sites that they redirect to may be hostile: sizes, times, redirects and
unpacked bytes have bounds. A password goes to the registry that it is for, by its very address, and to a token service
elsewhere only where that is known beforehand: what a registry answers never decides who gets it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from builder.digest import sha256_of
from builder.errors import (
    DamagedError,
    FormatError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
    UsageError,
)
from builder.foreign import read_json
from builder.host.http import check_status, pause_s, read_chunks, with_retries
from builder.image.layer import read_layer_files, whiteouts_of
from builder.pullspec import Pullspec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
INDEX_TYPES = frozenset(MANIFEST_TYPES[2:])
_IMAGE_TYPES = frozenset(MANIFEST_TYPES[:2])
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[!-~]{0,255}")  # it becomes a header
# Bounded: a header may be a word of 100,000 letters, from each of which a search would begin.
_CHALLENGE = re.compile(r'(?<!\w)(\w{1,64})="([^"]*)"', re.ASCII)
_LARGEST_MANIFEST = 4 * 1024**2
_MOST_REDIRECTS = 5
_LARGEST_TOKEN = 64 * 1024
# The registry behind a name that is not its address (containers/image does likewise).
_ADDRESSES = {"docker.io": "registry-1.docker.io"}
_PORTS = {"https": ":443", "http": ":80"}
# Token services that public registries have elsewhere, as their documentation says. Others: registry.token_services.
TOKEN_SERVICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "docker.io": ("auth.docker.io",),
        "registry-1.docker.io": ("auth.docker.io",),
        "registry.gitlab.com": ("gitlab.com",),
        "registry.redhat.io": ("sso.redhat.com",),
        "registry.connect.redhat.com": ("sso.redhat.com",),
    }
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that a manifest names: digest, size in bytes, media type."""

    digest: str
    size: int
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index, as parsed from bytes that have its digest.

    ``layers`` are those of an image, lowest first; ``images`` those of an index, by platform (``linux/amd64``).
    """

    digest: str
    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    images: Mapping[str, Descriptor]
    annotations: Mapping[str, str]

    @property
    def is_index(self) -> bool:
        return self.config is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How to ask a registry: method, content, further headers, the rights that a token needs, the good answers."""

    method: str = "GET"
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    actions: str = "pull"
    accepted: frozenset[int] = frozenset({200})


_READ = Request()


class Credentials:
    """Pull secrets (containers-auth.json(5)): the entry with the longest matching prefix of a name counts.

    Args:
        files: read in order; an entry of an earlier file counts more than the same one of a later file.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self._entries: dict[str, str] = {}
        self._files = tuple(files)
        for file in files:
            for name, secret in _read_auth_file(file).items():
                self._entries.setdefault(name, secret)

    def find(self, pullspec: Pullspec) -> str | None:
        """Return ``user:password`` for an image; None where no entry matches."""
        words = [pullspec.host, *pullspec.repository.split("/")]
        for length in range(len(words), 0, -1):
            secret = self._entries.get("/".join(words[:length]))
            if secret is not None:
                return secret
        return None

    @property
    def sources(self) -> str:
        return ", ".join(map(str, self._files)) or "none"


def default_auth_files() -> list[Path]:
    """Return the files that podman, buildah and skopeo read, where they exist."""
    run_dir = os.environ.get("XDG_RUNTIME_DIR")
    places = [os.environ.get("REGISTRY_AUTH_FILE"), f"{run_dir}/containers/auth.json" if run_dir else None]
    places += [f"/run/containers/{os.getuid()}/auth.json", "~/.config/containers/auth.json", "~/.docker/config.json"]
    return [path for place in places if place and (path := Path(place).expanduser()).is_file()]


def _read_auth_file(file: Path) -> dict[str, str]:
    try:
        data = read_json(file.read_text(encoding="utf-8"), "it")
        auths = data.get("auths", {})
        entries = {}
        for name, entry in auths.items():
            if "auth" in entry:
                secret = base64.b64decode(entry["auth"], validate=True).decode()
            elif "username" in entry:
                secret = f"{entry['username']}:{entry['password']}"
            else:
                continue  # a credential helper's; see the README
            user, _, password = secret.partition(":")
            entries[_plain_host(name)] = f"{user}:{password}"
    except (OSError, ValueError, AttributeError, TypeError, KeyError, FormatError) as error:
        raise UsageError(
            f"{file} is not a file of pull secrets: {error}"[:500],
            hint='it must be JSON with "auths", as podman login writes it',
        ) from None
    return entries


def _plain_host(name: str) -> str:
    """Return an entry's name without the address that old Docker clients wrote: https://index.docker.io/v1/."""
    without = re.sub(r"^https?://", "", name).rstrip("/")
    without = re.sub(r"/v[12]$", "", without)
    return "docker.io" if without == "index.docker.io" else without


class Registry:
    """Reads images of any registry; safe to use from several threads.

    Args:
        credentials: pull secrets.
        cache_dir: manifests and small blobs by digest; holds only what was verified, and may be shared by projects.
        mirrors: prefixes of image names with what to ask instead, in order; the name itself is asked last.
        never_contact: prefixes of image names whose own registry is not asked, only its mirrors.
        plain_http: hosts that are spoken to without TLS.
        unverified_tls: hosts whose certificate is not verified.
        token_services: further hosts that get a registry's password, beside those of ``TOKEN_SERVICES``.
        timeout_s: how long a server may be silent.
        transport: what carries requests; for tests.
        sleep: how to wait; for tests.
    """

    def __init__(
        self,
        credentials: Credentials,
        cache_dir: Path,
        *,
        mirrors: Mapping[str, Sequence[str]] = MappingProxyType({}),
        never_contact: Collection[str] = (),
        plain_http: Collection[str] = (),
        unverified_tls: Collection[str] = (),
        token_services: Mapping[str, Sequence[str]] = MappingProxyType({}),
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._credentials = credentials
        self._cache_dir = cache_dir
        self._mirrors = mirrors
        self._never_contact = frozenset(never_contact)
        self._plain_http = frozenset(plain_http)
        self._unverified_tls = frozenset(unverified_tls)
        self._token_services = token_services
        self._timeout_s = timeout_s
        self._transport = transport
        self._sleep = sleep
        self._guard = threading.Lock()
        self._clients: dict[bool, httpx.Client] = {}
        self._tokens: dict[tuple[str, str, str], str] = {}
        self.bytes_read = 0
        """Bytes of answers so far, for reports; what came from the cache does not count."""

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def manifest(self, pullspec: Pullspec) -> Manifest:
        """Return the manifest or index that a name stands for; by digest, from the cache if it was read before.

        Raises:
            SourceGoneError: the registry says that there is none.
            SourceUnreachableError: no registry gave an answer, after several tries: unknown, not absent.
            SourceError: it refused, or answered with something else than was asked for.
        """
        return _parse_manifest(self.manifest_bytes(pullspec), pullspec)

    def manifest_bytes(self, pullspec: Pullspec) -> bytes:
        """Return a manifest as it was served, and keep it; raises as ``manifest`` does."""
        if pullspec.is_pinned and (kept := self._kept(pullspec.reference)) is not None:
            return kept
        content = self._from_anywhere(pullspec, f"manifests/{pullspec.reference}", _LARGEST_MANIFEST)
        digest = sha256_of(content)
        if pullspec.is_pinned and digest != pullspec.reference:
            raise DamagedError(f"{pullspec}: the registry served another manifest, {digest}")
        self._keep(digest, content)
        return content

    def remember(self, content: bytes) -> None:
        """Keep a manifest or small blob that is known to be in a registry, as if it had been read."""
        self._keep(sha256_of(content), content)

    def blob(self, pullspec: Pullspec, descriptor: Descriptor) -> bytes:
        """Return a small blob, such as an image's configuration; it is kept. Raises as ``manifest`` does.

        Raises:
            FormatError: it claims to be larger than a small blob.
        """
        if (kept := self._kept(descriptor.digest)) is not None:
            return kept
        if descriptor.size > _LARGEST_MANIFEST:
            raise FormatError(
                f"{pullspec}: blob {descriptor.digest} claims {descriptor.size} bytes, more than it may have"
            )
        content = self._from_anywhere(pullspec, f"blobs/{descriptor.digest}", descriptor.size)
        _check_blob(content, descriptor, pullspec)
        self._keep(descriptor.digest, content)
        return content

    def save_blob(self, pullspec: Pullspec, descriptor: Descriptor, file: Path, *, largest: int) -> None:
        """Write a blob into a file as it comes; it is not kept. Raises as ``manifest`` does.

        Raises:
            FormatError: it claims to be larger than ``largest`` bytes.
        """
        if descriptor.size > largest:
            raise FormatError(f"blob {descriptor.digest} claims {descriptor.size} bytes, {largest} may be read")

        def save(answer: httpx.Response) -> None:
            hasher = hashlib.sha256()
            with file.open("wb") as stream:
                for chunk in self._chunks(answer, descriptor.size, f"blob {descriptor.digest}"):
                    hasher.update(chunk)
                    stream.write(chunk)
            if (found := f"sha256:{hasher.hexdigest()}") != descriptor.digest:
                raise DamagedError(f"blob {descriptor.digest} is damaged: its content has the digest {found}")

        self._try_places(
            pullspec,
            lambda place: self.retrying(lambda: self.exchange(place, f"blobs/{descriptor.digest}", save)),
        )

    def files(
        self, pullspec: Pullspec, layer: Descriptor, wanted: Collection[str], *, largest_layer: int
    ) -> dict[str, bytes]:
        """Return wanted regular files of a layer, by path without leading slash; they are kept, the layer is not.

        All of the layer is read, because only then its digest says that what was found in it is true.

        Args:
            pullspec: an image that has the layer.
            layer: the layer.
            wanted: paths.
            largest_layer: bytes, packed, that may be read for it.

        Raises:
            FormatError: it is no layer, holds paths out of its tree, or unpacks to more than it may.
            SourceError: as ``manifest`` does.
        """
        if (kept := self._kept_files(layer, wanted)) is not None:
            return kept
        if layer.size > largest_layer:
            raise FormatError(f"{pullspec}: layer {layer.digest} has {layer.size} bytes, {largest_layer} may be read")
        found = self._try_places(pullspec, lambda place: self._stream_files(place, layer, wanted))
        for content in found.values():
            self._keep(sha256_of(content), content)
        index = {path: sha256_of(found[path]) if path in found else "" for path in sorted(wanted)}
        self._keep_as(_index_name(layer, wanted), json.dumps(index).encode())
        return found

    def find_file(self, pullspec: Pullspec, manifest: Manifest, path: str, *, largest_layer: int) -> bytes | None:
        """Return a file of an image: layers are read from the top down to the first that has it, or takes it away.

        None: no layer that may be read has it, down to the first that is larger than ``largest_layer``. Raises as
        ``files`` does.
        """
        gone = whiteouts_of(path)
        for layer in reversed(manifest.layers):
            if layer.size > largest_layer:
                return None
            found = self.files(pullspec, layer, {path, *gone}, largest_layer=largest_layer)
            if path in found:
                return found[path]
            if found:
                return None
        return None

    def image(self, pullspec: Pullspec, arch: str) -> tuple[Pullspec, Manifest]:
        """Return an image for an architecture (OCI spelling) and its name by digest; a name may stand for several.

        Raises:
            FormatError: there is none for this architecture. Else as ``manifest`` does.
        """
        manifest = self.manifest(pullspec)
        if not manifest.is_index:
            return pullspec.at(manifest.digest), manifest
        platforms = [name for name in manifest.images if name.split("/")[:2] == ["linux", arch]]
        if not platforms:
            raise FormatError(f"{pullspec} has no image for {arch}, only for {', '.join(manifest.images) or 'nothing'}")
        chosen = pullspec.at(manifest.images[platforms[0]].digest)
        inner = self.manifest(chosen)
        if inner.is_index:
            raise FormatError(f"{pullspec}: its entry for {arch} is a list of images again")
        return chosen, inner

    def _from_anywhere(self, pullspec: Pullspec, path: str, most: int) -> bytes:
        return self._try_places(pullspec, lambda place: self._get(place, path, most))

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
        prefixes = [prefix for prefix in self._mirrors if name == prefix or name.startswith(f"{prefix}/")]
        if not prefixes:
            return [pullspec]
        prefix = max(prefixes, key=len)
        names = [f"{mirror}{name.removeprefix(prefix)}".partition("/") for mirror in self._mirrors[prefix]]
        mirrors = [Pullspec(host, repository, pullspec.reference) for host, _, repository in names]
        return mirrors if mirrors and prefix in self._never_contact else [*mirrors, pullspec]

    def _get(self, place: Pullspec, path: str, most: int) -> bytes:
        """Read an answer whole, trying again where the network or the server failed."""

        def read(answer: httpx.Response) -> bytes:
            return b"".join(self._chunks(answer, most, f"{place} ({path})"))

        return with_retries(lambda: self.exchange(place, path, read), sleep=self._sleep)

    def _stream_files(self, place: Pullspec, layer: Descriptor, wanted: Collection[str]) -> dict[str, bytes]:
        def read(answer: httpx.Response) -> dict[str, bytes]:
            chunks = self._chunks(answer, layer.size, f"layer {layer.digest}")
            try:
                return read_layer_files(chunks, wanted, digest=layer.digest, size=layer.size)
            except FormatError as error:
                raise FormatError(f"{place}: {error.message}") from None

        return with_retries(lambda: self.exchange(place, f"blobs/{layer.digest}", read), sleep=self._sleep)

    def _chunks(self, answer: httpx.Response, most: int, what: str) -> Iterator[bytes]:
        return read_chunks(answer, most, what, count=self._count)

    def _count(self, size: int) -> None:
        with self._guard:
            self.bytes_read += size

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
            SourceError: as ``manifest`` does; nothing is tried again.
        """
        own = self._address(place.host)
        is_given = path.startswith(("/", "http"))
        url = self._follow(own, path, place) if is_given else f"{own}/v2/{place.repository}/{path}"
        headers = {"Accept": ", ".join(MANIFEST_TYPES), "Accept-Encoding": "identity", **request.headers}
        authorization = self._tokens.get((place.host, place.repository, request.actions))
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
                        authorization = self._answer_challenge(place, challenges, request.actions)
                        continue
                    if answer.is_redirect:
                        url = self._follow(url, answer.headers.get("Location", ""), place)
                        continue
                    check_status(answer, str(place), refusal=self._refusal(place), accepted=request.accepted)
                    return read(answer)
            except httpx.HTTPError as error:
                raise SourceUnreachableError(f"{place}: {str(error) or type(error).__name__}") from error
            except httpx.InvalidURL as error:
                raise SourceRefusedError(f"{place}: the registry names an address that is none: {error}") from None
        raise SourceRefusedError(f"{place}: the registry redirects in a circle")

    def retrying(self, work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns, tried again while a registry gives no answer."""
        return with_retries(work, sleep=self._sleep)

    def pause(self, attempt: int) -> None:
        """Wait before something is tried again by other means than ``retrying``."""
        self._sleep(pause_s(attempt))

    def read_body(self, answer: httpx.Response, most: int, what: str) -> bytes:
        """Return an answer's content, unless it is longer than it may be."""
        return b"".join(self._chunks(answer, most, what))

    def _follow(self, url: str, location: str, place: Pullspec) -> str:
        target = _join(url, location, place)
        scheme = urlsplit(target).scheme
        if scheme not in {"http", "https"} or (scheme == "http" and urlsplit(url).scheme == "https"):
            raise SourceRefusedError(f"{place}: the registry redirects to {target[:200]}, which is not followed")
        return target

    def _answer_challenge(self, place: Pullspec, challenges: Sequence[str], actions: str) -> str:
        """Return an Authorization header for what a registry asked for (distribution-spec, token authentication)."""
        secret = self._credentials.find(place)
        basic = "Basic " + base64.b64encode(secret.encode()).decode() if secret else ""
        for challenge in challenges:
            kind, _, rest = challenge.partition(" ")
            if kind.lower() == "bearer":
                authorization = f"Bearer {self._fetch_token(place, dict(_CHALLENGE.findall(rest)), basic, actions)}"
            elif kind.lower() == "basic" and basic:
                authorization = basic
            else:
                continue
            with self._guard:
                self._tokens[place.host, place.repository, actions] = authorization
            return authorization
        return ""

    def _fetch_token(self, place: Pullspec, challenge: Mapping[str, str], basic: str, actions: str) -> str:
        realm = _join("", challenge.get("realm", ""), place)
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and place.host in self._plain_http):
            raise SourceRefusedError(f"{place}: the registry asks for a token from {realm[:200]!r}, which is not https")
        query = {"service": challenge.get("service", ""), "scope": f"repository:{place.repository}:{actions}"}
        is_trusted = self._is_token_service(realm, place.host)
        headers = {"Authorization": basic} if basic and is_trusted else {}
        refusal = _lacks_password(place, parts.netloc) if basic and not is_trusted else self._refusal(place)
        with self._client(parts.netloc).stream("GET", realm, params=query, headers=headers) as answer:
            check_status(answer, f"{place} (token)", refusal=refusal)
            content = b"".join(self._chunks(answer, _LARGEST_TOKEN, f"the token for {place}"))
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
        known = [*TOKEN_SERVICES.get(host, ()), *self._token_services.get(host, ())]
        return any(_is_at(realm, address) for address in [self._address(host), *(f"https://{name}" for name in known)])

    def _refusal(self, place: Pullspec) -> str:
        has_secret = self._credentials.find(place) is not None
        fault = "the pull secret for it is wrong or may not read it" if has_secret else "there is no pull secret for it"
        return f"{fault}; files read: {self._credentials.sources}"

    def _client(self, host: str) -> httpx.Client:
        is_verified = host not in self._unverified_tls
        with self._guard:
            if is_verified not in self._clients:
                self._clients[is_verified] = httpx.Client(
                    verify=is_verified, timeout=self._timeout_s, transport=self._transport, follow_redirects=False
                )
            return self._clients[is_verified]

    def _address(self, host: str) -> str:
        return f"{'http' if host in self._plain_http else 'https'}://{_ADDRESSES.get(host, host)}"

    def _kept(self, digest: str) -> bytes | None:
        content = self._read_kept(digest.removeprefix("sha256:"))
        # A disk that filled up, or somebody's hand: what is damaged is read again.
        return content if content is not None and sha256_of(content) == digest else None

    def _kept_files(self, layer: Descriptor, wanted: Collection[str]) -> dict[str, bytes] | None:
        """Return what was found in a layer before; None if it was not read for these paths, or not all is there."""
        index = self._read_kept(_index_name(layer, wanted))
        if index is None:
            return None
        try:
            digests = read_json(index, "it")
        except FormatError:
            return None
        found = {path: self._kept(str(digest)) for path, digest in digests.items() if digest}
        return {path: content for path, content in found.items() if content is not None} if all(
            content is not None for content in found.values()
        ) else None  # fmt: skip

    def _read_kept(self, name: str) -> bytes | None:
        try:
            return (self._cache_dir / name[:2] / name).read_bytes()
        except OSError:
            return None

    def _keep(self, digest: str, content: bytes) -> None:
        self._keep_as(digest.removeprefix("sha256:"), content)

    def _keep_as(self, name: str, content: bytes) -> None:
        target = self._cache_dir / name[:2] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_bytes(content)
        temporary.replace(target)


def _index_name(layer: Descriptor, wanted: Collection[str]) -> str:
    """Name what is known of some paths of a layer: both never change."""
    return hashlib.sha256("\n".join([layer.digest, *sorted(wanted)]).encode()).hexdigest()


def _join(base: str, address: str, place: Pullspec) -> str:
    """Return an address that a registry gave, made absolute; SourceError if it is none, or names a user."""
    try:
        parts = urlsplit(urljoin(base, address))
    except ValueError as error:
        raise SourceRefusedError(f"{place}: the registry names an address that is none: {error}") from None
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


def _check_blob(content: bytes, descriptor: Descriptor, pullspec: Pullspec) -> None:
    found = sha256_of(content)
    if found != descriptor.digest:
        raise DamagedError(f"{pullspec}: blob {descriptor.digest} is damaged: its content has the digest {found}")


def _parse_manifest(content: bytes, pullspec: Pullspec) -> Manifest:
    digest = sha256_of(content)
    try:
        data = read_json(content, "it")
        media_type = str(data.get("mediaType", ""))
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise ValueError(f"{media_type!r} is no media type")  # noqa: TRY301 - one message for all that is wrong
        annotations = {str(key): str(value) for key, value in (data.get("annotations") or {}).items()}
        if _is_list(data, media_type):
            entries = [entry for entry in data["manifests"] if "platform" in entry]
            images = {_platform(entry["platform"]): _parse_descriptor(entry) for entry in entries}
            return Manifest(digest, media_type, None, (), images, annotations)
        layers = tuple(_parse_descriptor(entry) for entry in data["layers"])
        return Manifest(digest, media_type, _parse_descriptor(data["config"]), layers, {}, annotations)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError) as error:
        raise FormatError(f"{pullspec}: what the registry served is no manifest: {error!r}"[:300]) from None


def _is_list(data: Mapping[str, Any], media_type: str) -> bool:
    """Tell whether a manifest is a list; ValueError where one client would say so, and another not (CVE-2021-41190)."""
    is_list = "manifests" in data
    is_both = is_list and not data.keys().isdisjoint({"config", "layers"})
    if is_both or media_type in (_IMAGE_TYPES if is_list else INDEX_TYPES):
        raise ValueError("it is a list and an image at once")
    return is_list


def _platform(data: Mapping[str, str]) -> str:
    return "/".join(str(data[key]) for key in ("os", "architecture", "variant") if data.get(key))


def _parse_descriptor(data: dict[str, Any]) -> Descriptor:
    digest, size = data["digest"], data["size"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or type(size) is not int or size < 0:
        raise ValueError(f"{digest!r} with {size!r} bytes names no blob")
    return Descriptor(digest, size, str(data.get("mediaType", "")))
