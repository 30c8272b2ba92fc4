"""A registry that the project of a bench publishes to."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials
from builder.sources.debian import discover as debian
from fakes.published_image import SIGNER
from fakes.registry import FakeRegistry, pretend_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.bench import Bench


def use_image_signer(bench: Bench) -> None:
    """Have versions.yaml say that images are signed, by ``SIGNER``."""
    (bench.folder / "images.pub").write_text(SIGNER.key.pem)
    with (bench.folder / "versions.yaml").open("a") as file:
        file.write("publish: {signer: {public_key: images.pub, key_file: ~/images.key}}\n")


@pytest.fixture
def registry(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """A registry that the project publishes to, signed; the archive has nothing new."""
    server = FakeRegistry(lists_referrers=True)

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        return RegistryAccess(pretend_registry(server, cache_dir), Credentials(), frozenset())

    def nothing_new(_settings: object, previous: Any, *_: object, **__: object) -> debian.DebianAnswer:
        return debian.DebianAnswer(locked=previous, lost={})

    @contextmanager
    def open_signer(_config: object) -> Iterator[object]:
        yield SIGNER

    for module in (
        "publish.cells",
        "publish.index",
        "publish.reading",
        "publish.verify",
        "shards.artefact",
        "emit.tekton.send",
    ):
        monkeypatch.setattr(f"builder.{module}.open_registries", open_pretended)
    for module in ("cells", "index"):
        monkeypatch.setattr(f"builder.publish.{module}.open_image_signer", open_signer)
    # The sample lock's packages have no versions to name.
    monkeypatch.setattr("builder.sources.debian.source.DebianSource._describe", lambda *_: ())
    monkeypatch.setattr("builder.sources.debian.discover.discover", nothing_new)
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", "    image: quay.test/demo\n    vendor:"))
    bench.offer_with_keys()
    return server
