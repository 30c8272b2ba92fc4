"""Writes to registries by the OCI distribution protocol: blobs once, manifests by digest, tags never twice.

What is there already is not sent again; an upload that broke off goes on where the registry says that it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from builder.digest import sha256_of
from builder.errors import FormatError, SourceError, SourceGoneError, SourceUnreachableError
from builder.foreign import Parsed, parse_json
from builder.registry.reader import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from builder.pullspec import Pullspec
    from builder.registry.reader import Registry

_LARGEST_ANSWER = 4 * 1024**2
_PIECE = 8 * 1024**2
_MOST_PAGES = 1000
_RIGHTS = "pull,push"
# How registries say, other than by 404, that they have no list of referrers.
_NO_REFERRERS = frozenset({400, 405, 501})
_NEXT = re.compile(r'<([^>]+)>; *rel="?next"?')


class Uploader:
    """Writes into repositories; safe to use from several threads. Counts what it sent.

    Args:
        registry: carries the requests.
        actions: the rights that tokens are asked for; ``pull`` is enough for who only reads.
    """

    def __init__(self, registry: Registry, *, actions: str = _RIGHTS) -> None:
        self._registry = registry
        self._actions = actions
        self.bytes_sent = 0
        self.blobs_sent = 0

    def resolve(self, name: Pullspec) -> str | None:
        """Return the digest that a tag stands for now; None only if the registry says that there is no such tag.

        Raises:
            SourceError: refused, or no answer: then nothing is known about the tag.
        """
        content = self.read_manifest(name)
        return None if content is None else sha256_of(content)

    def read_manifest(self, name: Pullspec) -> bytes | None:
        """Return what a tag stands for now; None and errors are those of ``resolve``."""

        def read(answer: httpx.Response) -> bytes:
            return self._registry.read_body(answer, _LARGEST_ANSWER, str(name))

        request = Request(actions=self._actions)
        try:
            return self._registry.retrying(
                lambda: self._registry.exchange(name, f"manifests/{name.reference}", read, request)
            )
        except SourceGoneError:
            return None

    def has_blob(self, name: Pullspec, digest: str) -> bool:
        """Tell whether a repository has a blob. Raises as ``resolve`` does."""
        return self._registry.retrying(lambda: _has_blob(self._registry, name, digest, self._actions))

    def send_blob(self, name: Pullspec, digest: str, file: Path) -> bool:
        """Send a blob, unless the repository has it; returns whether it was sent.

        Raises:
            SourceError: the registry refuses it, or gives no answer after several tries.
        """
        if self.has_blob(name, digest):
            return False
        upload = _BlobUpload(self._registry, name, digest, file)
        self._registry.retrying(upload.go_on)
        self.bytes_sent += upload.sent
        self.blobs_sent += 1
        return True

    def send_content(self, name: Pullspec, content: bytes) -> bool:
        """Send a small blob, unless the repository has it; returns whether it was. Raises as ``send_blob`` does."""
        digest = sha256_of(content)
        if self.has_blob(name, digest):
            return False

        def send() -> None:
            place = self._registry.exchange(name, "blobs/uploads/", _read_place, _send("POST", b"", 202))
            last = _with_digest(_known(place, name), digest)
            self._registry.exchange(name, last, lambda _: None, _send("PUT", content, 201))

        self._registry.retrying(send)
        self.bytes_sent += len(content)
        self.blobs_sent += 1
        return True

    def send_manifest(self, name: Pullspec, content: bytes, media_type: str, *, once: bool = False) -> bool:
        """Put a manifest under a tag or under its digest; returns whether the registry lists it as a referrer.

        Source of the answer: distribution-spec 1.1, "Pushing Manifests with Subject". Raises as ``send_blob`` does.

        Args:
            name: where to.
            content: the manifest.
            media_type: of it.
            once: do not try again: for lists that others write, too, who may have done so in between.
        """
        request = Request(
            method="PUT",
            content=content,
            headers={"Content-Type": media_type},
            actions=_RIGHTS,
            accepted=frozenset({200, 201}),
        )

        def read(answer: httpx.Response) -> tuple[str, bool]:
            return str(answer.headers.get("Docker-Content-Digest", "")), "OCI-Subject" in answer.headers

        def send() -> tuple[str, bool]:
            return self._registry.exchange(name, f"manifests/{name.reference}", read, request)

        told, is_listed = send() if once else self._registry.retrying(send)
        digest = sha256_of(content)
        if told and told != digest:
            raise SourceError(f"{name}: the registry made {told} of the manifest {digest}")
        return is_listed

    def read_referrers(self, image: Pullspec) -> list[bytes] | None:
        """Return the registry's own lists of what refers to an image, page by page; None if it has no such lists.

        Raises as ``resolve`` does.
        """

        def read(answer: httpx.Response) -> tuple[bytes | None, str]:
            if answer.status_code in _NO_REFERRERS:
                return None, ""
            content = self._registry.read_body(answer, _LARGEST_ANSWER, f"{image} (referrers)")
            return content, str(answer.headers.get("Link", ""))

        pages: list[bytes] = []
        path = f"referrers/{image.reference}"
        request = Request(actions=self._actions, accepted=_NO_REFERRERS | {200})
        for _ in range(_MOST_PAGES):
            try:
                content, link = self._registry.retrying(
                    lambda path=path: self._registry.exchange(image, path, read, request)  # type: ignore[misc]
                )
            except SourceGoneError:
                return pages or None
            if content is None:
                return None
            pages.append(content)
            if (following := _NEXT.match(link)) is None:
                return pages
            path = following[1]
        raise SourceError(f"{image}: its list of referrers has no end")

    def list_tags(self, name: Pullspec) -> list[str]:
        """Return all tags of a repository; empty if there is no such repository. Raises as ``resolve`` does."""
        tags: list[str] = []
        path = "tags/list?n=1000"
        for _ in range(_MOST_PAGES):
            try:
                found, link = self._registry.retrying(lambda path=path: self._read_tags(name, path))  # type: ignore[misc]
            except SourceGoneError:
                return []
            tags += found
            if (following := _NEXT.match(link)) is None:
                return tags
            path = following[1]
        raise SourceError(f"{name}: its list of tags has no end")

    def _read_tags(self, name: Pullspec, path: str) -> tuple[list[str], str]:
        def read(answer: httpx.Response) -> tuple[list[str], str]:
            content = self._registry.read_body(answer, _LARGEST_ANSWER, f"{name} (tags)")
            try:
                tags = parse_json(_Tags, content, "list of tags").tags or []
            except FormatError as error:
                raise SourceError(f"{name}: what the registry answers is wrong: {error.message}") from None
            return tags, str(answer.headers.get("Link", ""))

        return self._registry.exchange(name, path, read, Request(actions=self._actions))


class _Tags(Parsed):
    tags: list[str] | None


class _BlobUpload:
    """One upload in pieces. ``go_on`` may be called again after a failure: it asks the registry how far it came."""

    def __init__(self, registry: Registry, name: Pullspec, digest: str, file: Path) -> None:
        self._registry = registry
        self._name = name
        self._digest = digest
        self._file = file
        self._place = ""
        self.sent = 0

    def go_on(self) -> None:
        was_begun = bool(self._place)
        done = self._find_out() if was_begun else 0
        if was_begun and not self._place and _has_blob(self._registry, self._name, self._digest, _RIGHTS):
            return  # only the answer to its last request was lost
        if not self._place:
            self._place = self._ask("blobs/uploads/", _send("POST", b"", 202))
            done = 0
        for start, piece in self._pieces(done):
            end = start + len(piece) - 1
            self._place = self._ask(self._place, _send("PATCH", piece, 202, 204, **{"Content-Range": f"{start}-{end}"}))
            self.sent += len(piece)
        last = _with_digest(self._place, self._digest)
        self._registry.exchange(self._name, last, lambda _: None, _send("PUT", b"", 201))

    def _find_out(self) -> int:
        """Return how many bytes the registry has; an upload that it no longer knows starts again."""
        request = Request(actions=_RIGHTS, accepted=frozenset({200, 204}))

        def read(answer: httpx.Response) -> tuple[str, str]:
            return answer.headers.get("Range", ""), answer.headers.get("Location", "")

        try:
            told, place = self._registry.exchange(self._name, self._place, read, request)
        except SourceUnreachableError:
            raise
        except SourceError:
            self._place = ""
            return 0
        self._place = place or self._place
        match = re.fullmatch(r"(?:bytes=)?0-(\d+)", told)
        size = self._file.stat().st_size
        done = int(match[1]) + 1 if match else 0
        if done in {0, 1} or done > size:  # 0-0 stands for nothing as well as for one byte
            self._place = ""
            return 0
        return done

    def _pieces(self, done: int) -> Iterator[tuple[int, bytes]]:
        with self._file.open("rb") as stream:
            stream.seek(done)
            while piece := stream.read(_PIECE):
                yield done, piece
                done += len(piece)

    def _ask(self, path: str, request: Request) -> str:
        """Send a part of the upload; returns where it goes on."""
        return _known(self._registry.exchange(self._name, path, _read_place, request), self._name)


def _has_blob(registry: Registry, name: Pullspec, digest: str, actions: str) -> bool:
    try:
        registry.exchange(name, f"blobs/{digest}", lambda _: None, Request(method="HEAD", actions=actions))
    except SourceGoneError:
        return False
    return True


def _read_place(answer: httpx.Response) -> str:
    return str(answer.headers.get("Location", ""))


def _known(place: str, name: Pullspec) -> str:
    if not place:
        raise SourceError(f"{name}: the registry does not say where its upload is")
    return place


def _send(method: str, content: bytes, *accepted: int, **headers: str) -> Request:
    types = {"Content-Type": "application/octet-stream"}
    return Request(
        method=method, content=content, headers=types | headers, actions=_RIGHTS, accepted=frozenset(accepted)
    )


def _with_digest(place: str, digest: str) -> str:
    parts = urlsplit(place)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("digest", digest)]
    return urlunsplit(parts._replace(query=urlencode(query)))
