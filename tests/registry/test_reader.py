"""The registry client against a pretended registry: formats, credentials, and everything that servers do wrong."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.pull_server import PullServer, digest_of, make_layer
from fakes.registry import pretend_registry

from builder.errors import FormatError, SourceError
from builder.pullspec import Pullspec
from builder.registry.manifest import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.registry.reader import Registry


_WANTED = frozenset({"release/image-references", "etc/release.json"})


def _last_layer(registry: Registry, server: PullServer) -> dict[str, bytes]:
    layer = registry.manifest(server.name).layers[-1]
    return registry.files(server.name, layer, {"release/image-references"}, largest_layer=10**6)


def test_reads_files_of_a_layer_and_keeps_the_manifest(
    server: PullServer, open_registry: Callable[..., Registry]
) -> None:
    assert _last_layer(open_registry(), server) == {"release/image-references": b"refs"}
    before = len(server.requests)
    manifest = open_registry().manifest(server.name)
    assert len(server.requests) == before, "what a digest names is asked for once"
    assert [item.digest for item in manifest.layers] == list(server.blobs)[:2]
    assert open_registry().blob(server.name, manifest.config or Descriptor("", 0)) == b'{"config": {}}'
    assert open_registry().manifest(Pullspec("quay.test", "org/name", "latest")) == manifest


def test_another_manifest_than_asked_for(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    server.answers = [httpx.Response(200, content=b"{}")]
    with pytest.raises(SourceError, match="served another manifest"):
        open_registry().manifest(server.name)


# Both a list and an image: which one, each client would decide for itself.


def test_a_layer_that_was_changed_on_the_way(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    registry = open_registry()
    layer = registry.manifest(server.name).layers[-1]
    other = make_layer({"release/image-references": b"evil"})
    server.answers = [httpx.Response(200, content=other.ljust(layer.size, b"\0")[: layer.size])]
    with pytest.raises((SourceError, FormatError)):
        registry.files(server.name, layer, _WANTED, largest_layer=10**6)


def test_a_layer_that_breaks_off_is_read_again(
    server: PullServer, open_registry: Callable[..., Registry], slept: list[float]
) -> None:
    registry = open_registry()
    layer = registry.manifest(server.name).layers[-1]
    server.answers = [httpx.Response(200, content=server.blobs[layer.digest][:-20])]
    assert registry.files(server.name, layer, _WANTED, largest_layer=10**6) == {"release/image-references": b"refs"}
    assert slept == [0.5]


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def _member(name: str, *, size: int = 0, **fields: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    for field, value in fields.items():
        setattr(member, field, value)
    return member


_REFERENCES = "release/image-references"
_SYMLINK: dict[str, Any] = {"type": tarfile.SYMTYPE, "linkname": "../../../etc/shadow"}
_HARD_LINK: dict[str, Any] = {"type": tarfile.LNKTYPE, "linkname": "/etc/shadow"}


@pytest.mark.parametrize(
    ("tar", "words"),
    [
        (_tar((_member("../../etc/passwd", size=1), b"x")), "points out of"),
        (_tar((_member("a/../../x", size=1), b"x")), "points out of"),
        (_tar((_member("/../x", size=1), b"x")), "points out of"),
        (_tar((_member(_REFERENCES, **_SYMLINK), b"")), "no plain file"),
        (_tar((_member(_REFERENCES, **_HARD_LINK), b"")), "no plain file"),
        (_tar((_member(_REFERENCES, type=tarfile.DIRTYPE), b"")), "no plain file"),
        (_tar((_member(_REFERENCES, type=tarfile.FIFOTYPE), b"")), "no plain file"),
        # 10 GB that only the header claims, and a header that is none.
        (_member(_REFERENCES, size=10 * 1024**3).tobuf(tarfile.GNU_FORMAT), "no plain file of at most"),
        (b"\xff" * 10_240, "cannot be read"),
    ],
)
def test_a_malicious_layer(tar: bytes, words: str, tmp_path: Path, slept: list[float]) -> None:
    server = PullServer([gzip.compress(tar, mtime=0)])
    registry = pretend_registry(server, tmp_path, sleep=slept.append)
    with pytest.raises(FormatError, match=words) as caught:
        registry.files(server.name, registry.manifest(server.name).layers[0], _WANTED, largest_layer=10**6)
    assert "quay.test/org/name" in caught.value.message
    assert not slept, "trying again would not help"


def test_a_bomb_and_a_layer_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.image.layer._MOST_UNPACKED", 1_000_000)
    server = PullServer([make_layer({"zeros": bytes(3_000_000)})])
    registry = pretend_registry(server, tmp_path)
    layer = registry.manifest(server.name).layers[0]
    with pytest.raises(FormatError, match="unpacks to more"):
        registry.files(server.name, layer, _WANTED, largest_layer=10**6)
    with pytest.raises(FormatError, match="may be read"):
        registry.files(server.name, layer, _WANTED, largest_layer=100)


def test_names_that_are_not_utf_8_are_passed_over(tmp_path: Path) -> None:
    server = PullServer(
        [gzip.compress(_tar((_member("\udcff\udcfe", size=1), b"x"), (_member(_REFERENCES, size=4), b"refs")))]
    )
    registry = pretend_registry(server, tmp_path)
    layer = registry.manifest(server.name).layers[0]
    assert registry.files(server.name, layer, {_REFERENCES}, largest_layer=10**6) == {_REFERENCES: b"refs"}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{"a/f": b"old"}, {"other": b""}], b"old"),
        ([{"a/f": b"old"}, {"a/f": b"new"}, {"other": b""}], b"new"),
        ([{"a/f": b"old"}, {"a/.wh.f": b""}], None),
        ([{"a/f": b"old"}, {".wh.a": b""}], None),
        ([{"a/f": b"old"}, {"a/.wh..wh..opq": b""}], None),
        ([{"a/f": b"old"}, {"a/.wh..wh..opq": b"", "a/f": b"new"}], b"new"),
        ([{"a/f": b"old"}, {"a/.wh.g": b""}], b"old"),
        ([{"other": b""}], None),
    ],
)
def test_layers_are_read_from_the_top(layers: list[dict[str, bytes]], expected: bytes | None, tmp_path: Path) -> None:
    server = PullServer([make_layer(files) for files in layers])
    registry = pretend_registry(server, tmp_path)
    found = registry.find_file(server.name, registry.manifest(server.name), "a/f", largest_layer=10**6)
    assert found == expected


def test_no_layer_below_a_large_one_is_read(tmp_path: Path) -> None:
    server = PullServer(
        [make_layer({"a/f": b"x"}), make_layer({"big": bytes(range(256)) * 40}), make_layer({"top": b""})]
    )
    registry = pretend_registry(server, tmp_path)
    assert registry.find_file(server.name, registry.manifest(server.name), "a/f", largest_layer=250) is None
    assert len(server.requests) == 2, "the manifest and the top layer"


def test_the_image_of_an_architecture_out_of_a_list(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    platforms = [("linux", "amd64"), ("linux", "arm64"), ("windows", "s390x")]
    entries = [
        {"digest": digest_of(server.manifest), "size": 1, "platform": {"os": system, "architecture": arch}}
        for system, arch in platforms
    ]
    index = json.dumps({"manifests": entries}).encode()
    server.answers = [httpx.Response(200, content=index)]
    listed = Pullspec("quay.test", "org/name", digest_of(index))
    name, manifest = open_registry().image(listed, "arm64")
    assert (str(name), len(manifest.layers)) == (str(server.name), 2)
    with pytest.raises(FormatError, match=r"no image for s390x, only for linux/amd64"):
        open_registry().image(listed, "s390x")
    assert open_registry().image(server.name, "amd64")[0] == server.name


def test_a_list_that_names_no_platform_says_so(server: PullServer, open_registry: Callable[..., Registry]) -> None:
    index = json.dumps({"manifests": [{"digest": digest_of(server.manifest), "size": 1}]}).encode()
    server.answers = [httpx.Response(200, content=index)]
    listed = Pullspec("quay.test", "org/name", digest_of(index))
    with pytest.raises(FormatError, match=r"no image for amd64: it is a list of images that names no platform$"):
        open_registry().image(listed, "amd64")


@pytest.mark.parametrize(
    ("answer", "is_gone"),
    [(200, False), (404, True), (410, True), (401, False), (403, False), (429, False), (500, False)],
)
def test_only_a_registry_that_says_so_now_has_lost_an_image(
    server: PullServer, open_registry: Callable[..., Registry], answer: int, is_gone: bool
) -> None:
    registry = open_registry()
    registry.manifest(server.name)
    server.answers = [httpx.Response(answer, content=server.manifest)] * 9
    assert registry.is_gone(server.name) is is_gone, "what was read before says nothing of today"
    assert server.requests[-1].method == "HEAD"


def test_an_image_is_not_gone_while_a_mirror_gives_no_answer(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503 if request.url.host == "mirror.test" else 404)

    name = Pullspec("quay.test", "org/name", f"sha256:{'0' * 64}")
    registry = pretend_registry(answer, tmp_path, mirrors={"quay.test/org": ["mirror.test/org"]})
    assert not registry.is_gone(name)
    assert pretend_registry(lambda _: httpx.Response(404), tmp_path).is_gone(name)
