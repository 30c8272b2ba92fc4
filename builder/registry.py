"""Reads registries by the OCI distribution protocol (distribution-spec 1.1): manifests, small blobs, files of layers.

Everything that is believed was checked against its digest. What a digest names never changes, so it is kept and never
asked for again. Registries, blobs and the sites that they redirect to may be hostile: sizes, times, redirects and
unpacked bytes have bounds, and credentials go to the registry that they are for and to its own token service only.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import logging
import os
import posixpath
import re
import sys
import tarfile
import threading
import time
import zlib
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import httpx

from builder.errors import FormatError, SourceError, SourceGoneError, SourceUnreachableError, UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

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
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(
    r"(?P<host>[a-zA-Z0-9.-]+(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LARGEST_MANIFEST = 4 * 1024**2
_TRIES = 5
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_MOST_REDIRECTS = 5
_CHUNK = 256 * 1024
_LONGEST_NAME = 512
_LARGEST_TOKEN = 64 * 1024
_MOST_UNPACKED = 8 * 1024**3
_MOST_ENTRIES = 1_000_000
_LARGEST_FILE = 64 * 1024**2


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


@dataclass(frozen=True, slots=True)
class Pullspec:
    """An image's full name: registry host, repository, and a digest or a tag."""

    host: str
    repository: str
    reference: str

    @property
    def is_pinned(self) -> bool:
        return bool(_DIGEST.fullmatch(self.reference))

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}{'@' if self.is_pinned else ':'}{self.reference}"

    def at(self, digest: str) -> Pullspec:
        """Return the name of another image of the repository, by digest."""
        return Pullspec(self.host, self.repository, digest)


def parse_pullspec(text: str) -> Pullspec:
    """Parse a full image name; a digest counts more than a tag beside it.

    Raises:
        FormatError: it is none, or has neither digest nor tag.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or not (match["digest"] or match["tag"]) or len(text) > _LONGEST_NAME:
        raise FormatError(f"{text[:200]!r} is not a full image name such as quay.io/org/name@sha256:...")
    return Pullspec(match["host"].lower(), match["repository"], match["digest"] or match["tag"])


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
        data = json.loads(file.read_text(encoding="utf-8"))
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
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise UsageError(
            f"{file} is not a file of pull secrets: {error}",
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
        plain_http: hosts that are spoken to without TLS.
        unverified_tls: hosts whose certificate is not verified.
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
        plain_http: Collection[str] = (),
        unverified_tls: Collection[str] = (),
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._credentials = credentials
        self._cache_dir = cache_dir
        self._mirrors = mirrors
        self._plain_http = frozenset(plain_http)
        self._unverified_tls = frozenset(unverified_tls)
        self._timeout_s = timeout_s
        self._transport = transport
        self._sleep = sleep
        self._guard = threading.Lock()
        self._clients: dict[bool, httpx.Client] = {}
        self._tokens: dict[tuple[str, str], str] = {}
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
        if pullspec.is_pinned and (kept := self._kept(pullspec.reference)) is not None:
            return _parse_manifest(kept, pullspec)
        content = self._from_anywhere(pullspec, f"manifests/{pullspec.reference}", _LARGEST_MANIFEST)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if pullspec.is_pinned and digest != pullspec.reference:
            raise SourceError(f"{pullspec}: the registry served another manifest, {digest}")
        manifest = _parse_manifest(content, pullspec)
        self._keep(digest, content)
        return manifest

    def blob(self, pullspec: Pullspec, descriptor: Descriptor) -> bytes:
        """Return a small blob, such as an image's configuration; it is kept. Raises as ``manifest`` does."""
        if (kept := self._kept(descriptor.digest)) is not None:
            return kept
        if descriptor.size > _LARGEST_MANIFEST:
            raise SourceError(
                f"{pullspec}: blob {descriptor.digest} claims {descriptor.size} bytes, more than it may have"
            )
        content = self._from_anywhere(pullspec, f"blobs/{descriptor.digest}", descriptor.size)
        _check_blob(content, descriptor, pullspec)
        self._keep(descriptor.digest, content)
        return content

    def files(
        self, pullspec: Pullspec, layer: Descriptor, wanted: Callable[[str], bool], *, largest_layer: int
    ) -> dict[str, bytes]:
        """Return wanted regular files of a layer, by path; the layer is streamed and not kept.

        All of it is read, because only then its digest says that what was found in it is true.

        Args:
            pullspec: an image that has the layer.
            layer: the layer.
            wanted: tells which paths are wanted; paths have no leading slash.
            largest_layer: bytes, packed, that may be read for it.

        Raises:
            FormatError: it is no layer, holds paths out of its tree, or unpacks to more than it may.
            SourceError: as ``manifest`` does.
        """
        if layer.size > largest_layer:
            raise FormatError(f"{pullspec}: layer {layer.digest} has {layer.size} bytes, {largest_layer} may be read")
        return self._try_places(pullspec, lambda place: self._stream_files(place, layer, wanted))

    def _from_anywhere(self, pullspec: Pullspec, path: str, most: int) -> bytes:
        return self._try_places(pullspec, lambda place: self._get(place, path, most))

    def _try_places(self, pullspec: Pullspec, read: Callable[[Pullspec], _T]) -> _T:
        """Ask the mirrors of a name in order, then the name itself.

        "Absent" counts only when the last place says it: a mirror need not hold everything.
        """
        *mirrors, original = self._places(pullspec)
        for place in mirrors:
            try:
                return read(place)
            except SourceError as error:
                _log.debug("%s: mirror %s did not help: %s", pullspec, place, error.message)
        return read(original)

    def _places(self, pullspec: Pullspec) -> Iterator[Pullspec]:
        name = f"{pullspec.host}/{pullspec.repository}"
        prefixes = [prefix for prefix in self._mirrors if name == prefix or name.startswith(f"{prefix}/")]
        for prefix in sorted(prefixes, key=len, reverse=True)[:1]:
            for mirror in self._mirrors[prefix]:
                host, _, repository = f"{mirror}{name.removeprefix(prefix)}".partition("/")
                yield Pullspec(host, repository, pullspec.reference)
        yield pullspec

    def _get(self, place: Pullspec, path: str, most: int) -> bytes:
        """Read an answer whole, trying again where the network or the server failed."""

        def read(answer: httpx.Response) -> bytes:
            content = b"".join(self._chunks(answer, most, f"{place} ({path})"))
            self._check_length(answer, len(content), str(place))
            return content

        return self._with_retries(place, lambda: self._request(place, path, read))

    def _stream_files(self, place: Pullspec, layer: Descriptor, wanted: Callable[[str], bool]) -> dict[str, bytes]:
        def read(answer: httpx.Response) -> dict[str, bytes]:
            stream = _HashedStream(self._chunks(answer, layer.size, f"layer {layer.digest}"))
            found = _read_layer_files(stream, layer, wanted)
            stream.drain()
            if stream.size < layer.size:
                raise SourceUnreachableError(
                    f"{place}: layer {layer.digest} ended after {stream.size} of {layer.size} bytes"
                )
            if stream.digest != layer.digest:
                raise SourceError(
                    f"{place}: layer {layer.digest} is damaged: its content has the digest {stream.digest}"
                )
            return found

        return self._with_retries(place, lambda: self._request(place, f"blobs/{layer.digest}", read))

    def _chunks(self, answer: httpx.Response, most: int, what: str) -> Iterator[bytes]:
        size = 0
        for chunk in answer.iter_raw(_CHUNK):
            size += len(chunk)
            with self._guard:
                self.bytes_read += len(chunk)
            if size > most:
                raise SourceError(f"{what}: the answer is longer than {most} bytes")
            yield chunk

    @staticmethod
    def _check_length(answer: httpx.Response, size: int, what: str) -> None:
        promised = answer.headers.get("Content-Length", "")
        if promised.isdecimal() and int(promised) != size:
            raise SourceUnreachableError(f"{what}: the answer ended after {size} of {promised} bytes")

    def _with_retries(self, place: Pullspec, read: Callable[[], _T]) -> _T:
        for attempt in range(_TRIES):
            try:
                return read()
            except _RetryError as error:
                failure: SourceUnreachableError = error
                pause = error.pause_s
            except SourceUnreachableError as error:
                failure, pause = error, None
            if attempt == _TRIES - 1:
                raise SourceUnreachableError(failure.message, hint="try again later; what was read is kept") from None
            self._sleep(min(_PAUSE_S * 2**attempt if pause is None else pause, _LONGEST_PAUSE_S))
        raise AssertionError(place)

    def _request(self, place: Pullspec, path: str, read: Callable[[httpx.Response], _T]) -> _T:
        """Send one request, with a token where the registry asks for one, and read its answer.

        Redirects are followed by hand: credentials stay with the registry's own host, and never go to plain HTTP.
        """
        url = f"{self._scheme(place.host)}://{place.host}/v2/{place.repository}/{path}"
        headers = {"Accept": ", ".join(MANIFEST_TYPES), "Accept-Encoding": "identity"}
        authorization = self._tokens.get((place.host, place.repository))
        was_challenged = False
        for _ in range(_MOST_REDIRECTS + 2):
            sent = headers | ({"Authorization": authorization} if authorization and _is_host(url, place.host) else {})
            try:
                with self._client(place.host).stream("GET", url, headers=sent) as answer:
                    if answer.status_code == 401 and not was_challenged and _is_host(url, place.host):  # noqa: PLR2004
                        was_challenged = True
                        authorization = self._answer_challenge(place, answer.headers.get_list("WWW-Authenticate"))
                        continue
                    if answer.is_redirect:
                        url = self._follow(url, answer.headers.get("Location", ""), place)
                        continue
                    _check_status(answer, place, self._credentials)
                    return read(answer)
            except httpx.TransportError as error:
                raise SourceUnreachableError(f"{place}: {str(error) or type(error).__name__}") from error
        raise SourceError(f"{place}: the registry redirects in a circle")

    def _follow(self, url: str, location: str, place: Pullspec) -> str:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
        if scheme not in {"http", "https"} or (scheme == "http" and urlsplit(url).scheme == "https"):
            raise SourceError(f"{place}: the registry redirects to {target[:200]}, which is not followed")
        return target

    def _answer_challenge(self, place: Pullspec, challenges: Sequence[str]) -> str:
        """Return an Authorization header for what a registry asked for (distribution-spec, token authentication)."""
        secret = self._credentials.find(place)
        basic = "Basic " + base64.b64encode(secret.encode()).decode() if secret else ""
        for challenge in challenges:
            kind, _, rest = challenge.partition(" ")
            if kind.lower() == "bearer":
                authorization = f"Bearer {self._fetch_token(place, dict(_CHALLENGE.findall(rest)), basic)}"
            elif kind.lower() == "basic" and basic:
                authorization = basic
            else:
                continue
            with self._guard:
                self._tokens[place.host, place.repository] = authorization
            return authorization
        return ""

    def _fetch_token(self, place: Pullspec, challenge: Mapping[str, str], basic: str) -> str:
        realm = challenge.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and place.host in self._plain_http):
            raise SourceError(f"{place}: the registry asks for a token from {realm[:200]!r}, which is not https")
        query = {"service": challenge.get("service", ""), "scope": f"repository:{place.repository}:pull"}
        # Of the same organisation only: a registry may not send our password to whom it likes.
        trusted = _same_site(parts.hostname or "", place.host)
        headers = {"Authorization": basic} if basic and trusted else {}
        with self._client(parts.netloc).stream("GET", realm, params=query, headers=headers) as answer:
            _check_status(answer, place, self._credentials)
            content = b"".join(self._chunks(answer, _LARGEST_TOKEN, f"the token for {place}"))
        try:
            data = json.loads(content)
            token = data.get("token") or data["access_token"]
        except (ValueError, KeyError, AttributeError):
            token = None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise SourceError(f"{place}: the token service {parts.netloc} gave no token")
        return token

    def _client(self, host: str) -> httpx.Client:
        is_verified = host not in self._unverified_tls
        with self._guard:
            if is_verified not in self._clients:
                self._clients[is_verified] = httpx.Client(
                    verify=is_verified, timeout=self._timeout_s, transport=self._transport, follow_redirects=False
                )
            return self._clients[is_verified]

    def _scheme(self, host: str) -> str:
        return "http" if host in self._plain_http else "https"

    def _kept(self, digest: str) -> bytes | None:
        try:
            content = (self._cache_dir / digest.removeprefix("sha256:")).read_bytes()
        except OSError:
            return None
        # A disk that filled up, or somebody's hand: what is damaged is read again.
        return content if f"sha256:{hashlib.sha256(content).hexdigest()}" == digest else None

    def _keep(self, digest: str, content: bytes) -> None:
        self._cache_dir.mkdir(parents=True, exist_ok=True)
        target = self._cache_dir / digest.removeprefix("sha256:")
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_bytes(content)
        temporary.replace(target)


class _RetryError(SourceUnreachableError):
    """The server asked for patience: try again after ``pause_s`` seconds, None for a pause of our choice."""

    def __init__(self, message: str, pause_s: float | None) -> None:
        super().__init__(message)
        self.pause_s = pause_s


def _check_status(answer: httpx.Response, place: Pullspec, credentials: Credentials) -> None:
    status = answer.status_code
    if status == 200:  # noqa: PLR2004 - RFC 9110
        return
    if status in {401, 403}:
        has_secret = credentials.find(place) is not None
        fault = "the pull secret for it is wrong or may not read it" if has_secret else "there is no pull secret for it"
        raise SourceError(
            f"{place}: the registry refuses access (HTTP {status})", hint=f"{fault}; files read: {credentials.sources}"
        )
    if status in {404, 410}:
        raise SourceGoneError(f"{place}: the registry says that it does not exist (HTTP {status})")
    if status == 429 or status >= 500:  # noqa: PLR2004 - RFC 9110
        pause_s = _retry_after(answer.headers.get("Retry-After"))
        raise _RetryError(f"{place}: the registry answers HTTP {status}", pause_s)
    raise SourceError(f"{place}: the registry answers HTTP {status}")


def _retry_after(text: str | None) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110, section 10.2.3)."""
    if text is None:
        return None
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _is_host(url: str, host: str) -> bool:
    return urlsplit(url).netloc.lower() == host


def _same_site(one: str, other: str) -> bool:
    """Tell whether two hosts are one or share their last two words: registry-1.docker.io and auth.docker.io."""
    first, second = one.lower(), other.rpartition(":")[0].lower() or other.lower()
    if first == second:
        return True
    words = [host.split(".")[-2:] for host in (first, second)]
    return words[0] == words[1] and len(words[0]) == 2 and not words[0][-1].isdecimal()  # noqa: PLR2004


def _check_blob(content: bytes, descriptor: Descriptor, pullspec: Pullspec) -> None:
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != descriptor.digest:
        raise SourceError(f"{pullspec}: blob {descriptor.digest} is damaged: its content has the digest {found}")


def _parse_manifest(content: bytes, pullspec: Pullspec) -> Manifest:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    try:
        data = json.loads(content)
        media_type = str(data.get("mediaType", ""))
        annotations = {str(key): str(value) for key, value in (data.get("annotations") or {}).items()}
        if "manifests" in data:
            entries = [entry for entry in data["manifests"] if "platform" in entry]
            images = {_platform(entry["platform"]): _parse_descriptor(entry) for entry in entries}
            return Manifest(digest, media_type, None, (), images, annotations)
        layers = tuple(_parse_descriptor(entry) for entry in data["layers"])
        return Manifest(digest, media_type, _parse_descriptor(data["config"]), layers, {}, annotations)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{pullspec}: what the registry served is no manifest: {error!r}"[:300]) from None


def _platform(data: Mapping[str, str]) -> str:
    return "/".join(str(data[key]) for key in ("os", "architecture", "variant") if data.get(key))


def _parse_descriptor(data: dict[str, Any]) -> Descriptor:
    digest, size = data["digest"], data["size"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or type(size) is not int or size < 0:
        raise ValueError(f"{digest!r} with {size!r} bytes names no blob")
    return Descriptor(digest, size, str(data.get("mediaType", "")))


class _HashedStream:
    """A file made of chunks that come over the network, with the digest of all that went through."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self._rest = b""
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._hash.update(chunk)
            self.size += len(chunk)
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass


class _Bounded:
    """Refuses to give more than a number of bytes: what is packed may unpack to anything."""

    def __init__(self, stream: IO[bytes], most: int, what: str) -> None:
        self._stream = stream
        self._left = most
        self._what = what

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise FormatError(f"{self._what} unpacks to more than any layer should")
        return data


def _read_layer_files(stream: _HashedStream, layer: Descriptor, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    what = f"layer {layer.digest}"
    found: dict[str, bytes] = {}
    try:
        unpacked = _unpack(stream, layer.media_type)
        bounded = cast("IO[bytes]", _Bounded(unpacked, _MOST_UNPACKED, what))
        with tarfile.open(fileobj=bounded, mode="r|", errorlevel=2) as archive:
            for number, member in enumerate(archive):
                path = posixpath.normpath(member.name.lstrip("/"))
                if path == ".." or path.startswith("../") or number > _MOST_ENTRIES:
                    raise FormatError(
                        f"{what}: {member.name[:200]!r} points out of the layer, or there are too many files"
                    )
                if not wanted(path):
                    continue
                if not member.isreg() or member.size > _LARGEST_FILE:
                    raise FormatError(f"{what}: {path} is no plain file of at most {_LARGEST_FILE >> 20} MiB")
                content = archive.extractfile(member)
                found[path] = content.read() if content else b""
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        zstd.ZstdError,
        UnicodeError,
        ValueError,
    ) as error:
        # A network that broke off looks like a damaged layer; which of the two it is, the size tells.
        stream.drain()
        if stream.size < layer.size:
            raise SourceUnreachableError(f"{what} ended after {stream.size} of {layer.size} bytes") from None
        raise FormatError(f"{what} cannot be read: {error}") from None
    return found


def _unpack(stream: _HashedStream, media_type: str) -> IO[bytes]:
    raw = cast("IO[bytes]", stream)
    if media_type.endswith("zstd"):
        return cast("IO[bytes]", zstd.ZstdFile(raw))
    if media_type.endswith(("gzip", "tar.gzip")):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    return raw
