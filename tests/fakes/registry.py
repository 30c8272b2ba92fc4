"""A registry in memory, for the fast suite: blobs, manifests, tags, uploads, and referrers if wanted."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from builder.publish.attachments import AttachmentWriter
from builder.registry.credentials import Credentials
from builder.registry.reader import Registry
from builder.registry.transport import Connection, Transport
from builder.registry.writer import Uploader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def pretend_registry(
    answer: Callable[[httpx.Request], httpx.Response], folder: Path, *secrets: Path, **connection: Any
) -> Registry:
    """Open registries that ``answer`` plays, with a cache in ``folder``; what waits does not wait, unless said."""
    options: dict[str, Any] = {"carrier": httpx.MockTransport(answer), "sleep": lambda _: None} | connection
    return Registry(Transport(Credentials(secrets), Connection(**options)), folder)


@dataclass
class FakeRegistry:
    """``faults`` are asked first, with each request; ``log`` has method and path of every request."""

    lists_referrers: bool = False
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    faults: list[Callable[[httpx.Request], httpx.Response | None]] = field(default_factory=list)
    pending: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def open(self, folder: Path) -> tuple[Registry, Uploader, AttachmentWriter]:
        registry = pretend_registry(self, folder)
        uploader = Uploader(registry.transport)
        return registry, uploader, AttachmentWriter(registry, uploader)

    @property
    def final_tags(self) -> set[str]:
        """The tags that people use: neither digests nor tags that stand for one."""
        return {name for _, name in self.manifests if not name.startswith("sha256")}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as a network does: in a stream that can be read once."""
        self.log.append(f"{request.method} {request.url.path}")
        faulty = (answer for fault in self.faults if (answer := fault(request)) is not None)
        answer = next(faulty, None) or self._answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags|referrers)/(.*)", request.url.path)
        if match is None:
            upload = re.fullmatch(r"/v2/(.+)/blobs/uploads/.*", request.url.path)
            return httpx.Response(404) if upload is None else httpx.Response(500)
        repository, kind, reference = match.groups()
        if repository.endswith("/blobs"):
            repository, kind, reference = repository.removesuffix("/blobs"), "blobs", "uploads/1"
        return {
            "manifests": self._manifest,
            "blobs": self._blob,
            "tags": self._tags,
            "referrers": self._referrers,
        }[kind](request, repository, reference)

    def _manifest(self, request: httpx.Request, repository: str, reference: str) -> httpx.Response:
        if request.method == "PUT":
            digest = digest_of(request.content)
            self.manifests |= {(repository, reference): request.content, (repository, digest): request.content}
            headers = {"Docker-Content-Digest": digest}
            if self.lists_referrers and "subject" in json.loads(request.content):
                headers["OCI-Subject"] = json.loads(request.content)["subject"]["digest"]
            return httpx.Response(201, headers=headers)
        content = self.manifests.get((repository, reference))
        return httpx.Response(404) if content is None else httpx.Response(200, content=content)

    def _blob(self, request: httpx.Request, repository: str, reference: str) -> httpx.Response:
        if reference.startswith("uploads"):
            return self._upload(request, repository, reference)
        content = self.blobs.get((repository, reference))
        if content is None:
            return httpx.Response(404)
        return httpx.Response(200, content=b"" if request.method == "HEAD" else content)

    def _upload(self, request: httpx.Request, repository: str, reference: str) -> httpx.Response:
        """Take an upload; several go on at once."""
        number = reference.partition("/")[2] if request.method != "POST" else f"{next(self.numbers)}"
        place = {"Location": f"/v2/{repository}/blobs/uploads/{number}"}
        if request.method == "POST":
            self.pending[number] = b""
            return httpx.Response(202, headers=place)
        self.pending[number] = self.pending.get(number, b"") + request.content
        if request.method == "PATCH":
            return httpx.Response(202, headers=place)
        content = self.pending[number]
        if digest_of(content) != request.url.params["digest"]:
            return httpx.Response(400)
        self.blobs[repository, digest_of(content)] = content
        return httpx.Response(201)

    def _tags(self, _: httpx.Request, repository: str, __: str) -> httpx.Response:
        tags = [name for place, name in self.manifests if place == repository and ":" not in name]
        return httpx.Response(200, json={"tags": sorted(tags)})

    def _referrers(self, _: httpx.Request, repository: str, reference: str) -> httpx.Response:
        if not self.lists_referrers:
            return httpx.Response(404)
        found: dict[str, dict[str, Any]] = {}
        for (place, _name), content in self.manifests.items():
            data = json.loads(content)
            if place == repository and (data.get("subject") or {}).get("digest") == reference:
                found[digest_of(content)] = {
                    "mediaType": data["mediaType"],
                    "digest": digest_of(content),
                    "size": len(content),
                    "artifactType": data["artifactType"],
                    "annotations": data["annotations"],
                }
        return httpx.Response(200, json={"schemaVersion": 2, "manifests": list(found.values())})

    def put_blob(self, repository: str, content: bytes) -> dict[str, Any]:
        """Store a blob and return its descriptor."""
        self.blobs[repository, digest_of(content)] = content
        return {"mediaType": "application/octet-stream", "digest": digest_of(content), "size": len(content)}

    def put_manifest(self, repository: str, data: dict[str, Any], *tags: str) -> str:
        content = json.dumps(data).encode()
        for reference in (digest_of(content), *tags):
            self.manifests[repository, reference] = content
        return digest_of(content)
