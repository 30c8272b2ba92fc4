"""A repository in which a driver's index is, and who writes it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from builder.publish.index_document import DriverIndex, IndexedCell, open_index
from builder.publish.index_place import IndexReader, IndexWriter, WrittenIndex
from builder.pullspec import parse_pullspec
from fakes.image_keys import make_image_signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.signing.image_key import OpenImageSigner
    from fakes.registry import FakeRegistry

INDEX_SIGNER, INDEX_STRANGER = make_image_signer(), make_image_signer()
INDEX_PLACE = parse_pullspec("quay.test/org/drv:index")
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def cell_of(letter: str = "a", **changes: Any) -> IndexedCell:
    values: dict[str, Any] = {"image": f"quay.test/org/drv@sha256:{letter * 64}", "arch": "amd64", "proven": "secure"}
    return IndexedCell(**(values | changes))


def index_of(*kernels: str, **changes: Any) -> DriverIndex:
    images = {("1.0.0", kernel): cell_of() for kernel in kernels}
    values: dict[str, Any] = {"driver": "drv", "made": NOON, "images": images, "releases": {"4.18.1-x86_64": ("k1",)}}
    return DriverIndex(**(values | changes))


@dataclass
class IndexSite:
    """A registry, and machines that write an index there at a time of day of their own."""

    server: FakeRegistry
    folder: Path
    now: datetime = NOON
    calls: int = field(default=0)

    def writer(self, signer: OpenImageSigner = INDEX_SIGNER, now: datetime | None = None) -> IndexWriter:
        self.calls += 1
        registry, uploader, _ = self.server.open(self.folder / f"cache-{self.calls}")
        return IndexWriter(registry, uploader, signer, "drv", lambda: now or self.now)

    def write(
        self, *kernels: str, signer: OpenImageSigner = INDEX_SIGNER, force: bool = False, **changes: Any
    ) -> WrittenIndex:
        """Write an index that has these kernels, too."""
        written = self.writer(signer).write(INDEX_PLACE, adding(*kernels, **changes), force=force)
        assert written is not None
        return written

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    def read(self, tag: str = "index", signer: OpenImageSigner = INDEX_SIGNER) -> DriverIndex | None:
        self.calls += 1
        registry, uploader, _ = self.server.open(self.folder / f"reader-{self.calls}")
        found = IndexReader(registry, uploader.tags, [signer.key], "drv").read(INDEX_PLACE.at(tag))
        assert found is None or open_index(found.envelope, [signer.key]) == found.index
        return found.index if found else None

    def kernels(self) -> set[str]:
        found = self.read()
        return {kernel for _, kernel in found.images} if found else set()

    @property
    def tags(self) -> list[str]:
        return sorted(self.server.final_tags)


def adding(*kernels: str, **changes: Any) -> Callable[[DriverIndex | None], DriverIndex]:
    def extend(earlier: DriverIndex | None) -> DriverIndex:
        own = index_of(*kernels, **changes)
        return replace(own, images={**(earlier.images if earlier else {}), **own.images})

    return extend
