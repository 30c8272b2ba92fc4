"""What was read once is not asked for again, and a damaged copy is not believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.pull_server import PullServer

    from builder.registry.reader import Registry


def _last_layer(registry: Registry, server: PullServer) -> dict[str, bytes]:
    layer = registry.manifest(server.name).layers[-1]
    return registry.files(server.name, layer, {"release/image-references"}, largest_layer=10**6)


_REFERENCES = "release/image-references"


def test_a_damaged_cache_is_read_again(
    server: PullServer, open_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    open_registry().manifest(server.name)
    for file in (tmp_path / "cache").glob("*/*"):
        file.write_bytes(b"damaged")
    before = len(server.requests)
    assert open_registry().manifest(server.name).layers
    assert len(server.requests) == before + 1


def test_what_was_found_in_a_layer_is_kept_and_so_is_what_was_not(
    server: PullServer, open_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    _last_layer(open_registry(), server)
    layer = open_registry().manifest(server.name).layers[-1]
    assert open_registry().files(server.name, layer, {"absent"}, largest_layer=10**6) == {}
    before = len(server.requests)
    assert _last_layer(open_registry(), server) == {_REFERENCES: b"refs"}
    assert open_registry().files(server.name, layer, {"absent"}, largest_layer=10**6) == {}
    assert len(server.requests) == before
    for file in (tmp_path / "cache").glob("*/*"):
        if file.read_bytes() == b"refs":
            file.write_bytes(b"damaged")
    assert _last_layer(open_registry(), server) == {_REFERENCES: b"refs"}
    assert len(server.requests) == before + 1
