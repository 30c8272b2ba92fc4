"""What a manifest says, and what only looks like one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from builder.errors import FormatError
from builder.pullspec import Pullspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.pull_server import PullServer

    from builder.registry.reader import Registry

_BOTH = b'{"manifests": [], "config": {}}'


@pytest.mark.parametrize(
    "body",
    [_BOTH, _BOTH.replace(b'"config": {}', b'"mediaType": "application/vnd.oci.image.manifest.v1+json"'),
     b"", b"[]", b'"x"', b"{}", b"\xff", b'{"layers": [], "config": {}}', b'{"layers": [{}], "config": {"digest": "x"}}',
     b'{"manifests": [{"platform": 1}]}', b'{"config": {"digest": "sha256:00", "size": 1}, "layers": []}',
     b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_manifest(server: PullServer, open_registry: Callable[..., Registry], body: bytes) -> None:
    server.answers = [httpx.Response(200, content=body)]
    with pytest.raises(FormatError, match="is no manifest"):
        open_registry().manifest(Pullspec("quay.test", "org/name", "latest"))


def test_a_manifest_list_is_told_from_an_image(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    entries = [{"digest": "sha256:" + "a" * 64, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}]
    server.answers = [httpx.Response(200, json={"manifests": entries})]
    manifest = open_registry().manifest(Pullspec("quay.test", "org/name", "latest"))
    assert (manifest.is_index, list(manifest.images)) == (True, ["linux/amd64"])
