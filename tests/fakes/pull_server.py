"""quay.test with one image: what a registry answers to who reads, and what else it may say instead."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import httpx

from builder.pullspec import Pullspec

if TYPE_CHECKING:
    from collections.abc import Callable


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def make_layer(files: dict[str, bytes], *, packed: bool = True) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(data.getvalue(), mtime=0) if packed else data.getvalue()


class PullServer:
    """quay.test with one image; ``answers`` are what comes before it, by path."""

    def __init__(self, layers: list[bytes]) -> None:
        self.blobs = {digest_of(layer): layer for layer in layers}
        config = b'{"config": {}}'
        self.blobs[digest_of(config)] = config
        types = "application/vnd.oci.image.layer.v1.tar+gzip"
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"digest": digest_of(config), "size": len(config)},
                "layers": [{"digest": digest_of(item), "size": len(item), "mediaType": types} for item in layers],
            }
        ).encode()
        self.answers: list[Callable[[httpx.Request], httpx.Response] | httpx.Response | Exception] = []
        self.requests: list[httpx.Request] = []

    @property
    def name(self) -> Pullspec:
        return Pullspec("quay.test", "org/name", digest_of(self.manifest))

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
            known = reference in {digest_of(self.manifest), "latest"}
            return httpx.Response(200, content=self.manifest) if known else httpx.Response(404)
        return httpx.Response(200, content=self.blobs[reference]) if reference in self.blobs else httpx.Response(404)
