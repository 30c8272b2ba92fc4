"""Writes to registries by the OCI distribution protocol: blobs once, manifests by digest, tags never twice.

What is there already is not sent again; an upload that broke off goes on where the registry says that it is.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from builder.digest import sha256_of
from builder.errors import SourceError, SourceUnreachableError
from builder.registry.tags import Tags
from builder.registry.transport import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from builder.pullspec import Pullspec
    from builder.registry.transport import Transport

_log = logging.getLogger(__name__)

_PIECE = 8 * 1024**2
_RIGHTS = "pull,push"
_CREATED = 201


class Uploader:
    """Writes into repositories; safe to use from several threads. Counts what it sent.

    Args:
        transport: carries the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.tags = Tags(transport, actions=_RIGHTS)
        self.bytes_sent = 0
        self.blobs_sent = 0

    def send_blob(self, name: Pullspec, digest: str, file: Path) -> bool:
        """Send a blob, unless the repository has it; returns whether it was sent.

        Raises:
            SourceError: the registry refuses it, or gives no answer after several tries.
        """
        if self.tags.has_blob(name, digest):
            return False
        self.upload_blob(name, digest, file)
        return True

    def upload_blob(self, name: Pullspec, digest: str, file: Path) -> None:
        """Send a blob that the repository does not have. Errors are those of ``send_blob``."""
        upload = _BlobUpload(self._transport, self.tags, name, digest, file)
        self._transport.retrying(upload.go_on)
        self.bytes_sent += upload.sent
        self.blobs_sent += 1

    def mount_blob(self, name: Pullspec, digest: str, origin: Pullspec) -> bool:
        """Have a repository take a blob from another one of the same registry; returns whether it did.

        Source: distribution-spec 1.1, "Mounting a blob from another repository". A registry that does not, or may not
        let us read there, begins an upload instead, which ends by itself; or it refuses, as those do that want a right
        to read there in the token.

        Raises:
            SourceUnreachableError: it gives no answer after several tries.
        """
        if name.host != origin.host:
            return False
        query = urlencode({"mount": digest, "from": origin.repository})
        request = replace(_request("POST", b"", _CREATED, 202), origin=origin.repository)

        def read(answer: httpx.Response) -> bool:
            return answer.status_code == _CREATED

        try:
            return self._transport.exchange_often(name, f"blobs/uploads/?{query}", read, request)
        except SourceUnreachableError:
            raise
        except SourceError as error:
            _log.debug("%s: layer %s is sent, and not mounted from %s: %s", name, digest, origin, error.message)
            return False

    def send_content(self, name: Pullspec, content: bytes) -> bool:
        """Send a small blob, unless the repository has it; returns whether it was sent.

        Errors are those of ``send_blob``.
        """
        digest = sha256_of(content)
        if self.tags.has_blob(name, digest):
            return False

        def send() -> None:
            place = self._transport.exchange(name, "blobs/uploads/", _read_place, _request("POST", b"", 202))
            last = _with_digest(_require_place(place, name), digest)
            self._transport.exchange(name, last, lambda _: None, _request("PUT", content, 201))

        self._transport.retrying(send)
        self.bytes_sent += len(content)
        self.blobs_sent += 1
        return True

    def send_manifest(self, name: Pullspec, content: bytes, media_type: str, *, once: bool = False) -> bool:
        """Put a manifest under a tag or under its digest; returns whether the registry lists it as a referrer.

        Source of the answer: distribution-spec 1.1, "Pushing Manifests with Subject". Errors are those of
        ``send_blob``.

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
            return self._transport.exchange(name, f"manifests/{name.reference}", read, request)

        told, is_listed = send() if once else self._transport.retrying(send)
        digest = sha256_of(content)
        if told and told != digest:
            raise SourceError(f"{name}: the registry made {told} of the manifest {digest}")
        return is_listed


class _BlobUpload:
    """One upload in pieces. ``go_on`` may be called again after a failure: it asks the registry how far it came."""

    def __init__(self, transport: Transport, tags: Tags, name: Pullspec, digest: str, file: Path) -> None:
        self._transport = transport
        self._tags = tags
        self._name = name
        self._digest = digest
        self._file = file
        self._place = ""
        self.sent = 0

    def go_on(self) -> None:
        was_begun = bool(self._place)
        done = self._find_out() if was_begun else 0
        if was_begun and not self._place and self._tags.ask_for_blob(self._name, self._digest):
            return  # only the answer to its last request was lost
        if not self._place:
            self._place = self._ask("blobs/uploads/", _request("POST", b"", 202))
            done = 0
        for start, piece in self._pieces(done):
            end = start + len(piece) - 1
            self._place = self._ask(
                self._place, _request("PATCH", piece, 202, 204, **{"Content-Range": f"{start}-{end}"})
            )
            self.sent += len(piece)
        last = _with_digest(self._place, self._digest)
        self._transport.exchange(self._name, last, lambda _: None, _request("PUT", b"", 201))

    def _find_out(self) -> int:
        """Return how many bytes the registry has; an upload that it no longer knows starts again."""
        request = Request(actions=_RIGHTS, accepted=frozenset({200, 204}))

        def read(answer: httpx.Response) -> tuple[str, str]:
            return answer.headers.get("Range", ""), answer.headers.get("Location", "")

        try:
            told, place = self._transport.exchange(self._name, self._place, read, request)
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
        return _require_place(self._transport.exchange(self._name, path, _read_place, request), self._name)


def _read_place(answer: httpx.Response) -> str:
    return str(answer.headers.get("Location", ""))


def _require_place(place: str, name: Pullspec) -> str:
    if not place:
        raise SourceError(f"{name}: the registry does not say where its upload is")
    return place


def _request(method: str, content: bytes, *accepted: int, **headers: str) -> Request:
    types = {"Content-Type": "application/octet-stream"}
    return Request(
        method=method, content=content, headers=types | headers, actions=_RIGHTS, accepted=frozenset(accepted)
    )


def _with_digest(place: str, digest: str) -> str:
    parts = urlsplit(place)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("digest", digest)]
    return urlunsplit(parts._replace(query=urlencode(query)))
