from __future__ import annotations

import json
from typing import Any

import pytest

from builder.errors import FormatError
from builder.image.packed_layer import PackedLayer, layers_of_base, media_type_of

_OCI = "application/vnd.oci.image.layer.v1.tar"
_DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
_DIGEST = f"sha256:{'a' * 64}"


def _layer(**changes: Any) -> dict[str, Any]:
    return {"mediaType": f"{_OCI}+gzip", "digest": _DIGEST, "size": 7, **changes}


def _manifest(*layers: dict[str, Any]) -> bytes:
    return json.dumps({"layers": layers}).encode()


@pytest.mark.parametrize(
    ("media_type", "packing"),
    [
        (_OCI, ""), (f"{_OCI}+gzip", "gzip"), (f"{_OCI}+zstd", "zstd"),
        (_DOCKER, ""), (f"{_DOCKER}.gzip", "gzip"), (f"{_DOCKER}.zstd", "zstd"),
    ],
)  # fmt: skip
def test_a_layer_of_a_base_stays_packed_as_it_is(media_type: str, packing: str) -> None:
    found = layers_of_base(_manifest(_layer(mediaType=media_type)), ["sha256:1"])
    assert found == {"sha256:1": PackedLayer(digest=_DIGEST, size=7, packing=packing)}
    assert media_type_of(media_type.removesuffix(f"+{packing}").removesuffix(f".{packing}"), packing) == media_type


def test_a_docker_layer_in_an_oci_image_gets_its_word() -> None:
    layer = layers_of_base(_manifest(_layer(mediaType=f"{_DOCKER}.gzip")), ["sha256:1"])["sha256:1"]
    assert media_type_of(_OCI, layer.packing) == f"{_OCI}+gzip"


@pytest.mark.parametrize("plain", [f"{_OCI}+gzip", "application/octet-stream", ""])
def test_what_is_not_plain_is_not_packed(plain: str) -> None:
    with pytest.raises(FormatError, match="a plain one was expected"):
        media_type_of(plain, "gzip")


@pytest.mark.parametrize(
    "manifest",
    [
        b"", b"[]", b"{}", b'{"layers": 1}', b'{"layers": [1]}', b'{"layers": [{}]}', _manifest(), _manifest(_layer(), _layer()),
        _manifest(_layer(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")),
        _manifest(_layer(digest="sha256:1")), _manifest(_layer(digest=1)), _manifest(_layer(size=-1)),
        _manifest(_layer(size=True)), _manifest(_layer(size="7")),
    ],
)  # fmt: skip
def test_a_base_that_is_no_image_is_refused(manifest: bytes) -> None:
    with pytest.raises(FormatError):
        layers_of_base(manifest, ["sha256:1"])
