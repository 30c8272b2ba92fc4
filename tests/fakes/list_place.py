"""A registry in which a list of two architectures is published, and machines that do so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.evidence.journal import Journal
from builder.publish.attester import Attester
from builder.publish.audit import Audit, Auditor, TagState, WantedTag
from builder.publish.publisher import Publisher, PublishTools
from builder.publish.reading import RegistryReader
from builder.signing.image_key import OpenImageSigner
from fakes.image_keys import make_image_signer
from fakes.lists import make_item, make_list, names_of, put_image

if TYPE_CHECKING:
    from pathlib import Path

    from builder.publish.publishable import ImageNames, Publishable, PublishableList
    from builder.publish.result import PublishResult
    from builder.signing.image_key import OpenImageSigner
    from fakes.registry import FakeRegistry

LIST_REPOSITORY = "org/drv"


LIST = f"quay.test/{LIST_REPOSITORY}:1.0.0-6.1.0-9"


LIST_SIGNER, LIST_OTHER = make_image_signer(), make_image_signer()


def own_names(arch: str) -> ImageNames:
    return names_of(arch, LIST)


def list_item(arch: str, **changes: Any) -> Publishable:
    return make_item(arch, LIST, **changes)


def list_of(*items: Publishable) -> PublishableList:
    return make_list(LIST, *items)


REFUSED = list_item("arm64", why="there is no toolkit", key="")


BOTH = list_of(list_item("amd64"), list_item("arm64"))


@dataclass
class Place:
    """A registry, and one machine that publishes into it."""

    server: FakeRegistry
    folder: Path
    is_signing: bool = True

    def put(self, arch: str, *, key: str = "", signer: OpenImageSigner | None = LIST_SIGNER) -> str:
        """Put an image of an architecture under its own name; returns its digest."""
        _, uploader, attachments = self.server.open(self.folder / "signing")
        return put_image(uploader, attachments, arch, LIST, signer, key)

    def publisher(self, journal: Journal | None = None) -> Publisher:
        registry, uploader, attachments = self.server.open(self.folder / "cache")
        attester = Attester(attachments, LIST_SIGNER) if self.is_signing else None
        journal = journal or Journal(self.folder / "journal.jsonl")
        return Publisher(
            PublishTools(
                registry=registry, uploader=uploader, journal=journal, attester=attester, scratch=self.folder, run_id="r"
            )
        )  # fmt: skip

    def publish(self, shared: PublishableList = BOTH, **options: Any) -> PublishResult:
        return self.publisher().publish_list(shared, **options)

    def reader(self) -> RegistryReader:
        registry, uploader, attachments = self.server.open(self.folder / "reader")
        keys = [LIST_SIGNER.key] if self.is_signing else []
        return RegistryReader(registry=registry, tags=uploader.tags, attachments=attachments, keys=keys)

    def audit_of(self, shared: PublishableList = BOTH, name: str = LIST) -> Audit:
        auditor = Auditor(journal=Journal(self.folder / "journal.jsonl"), reader=self.reader())
        return auditor.audit(WantedTag(name=name, of=shared))

    def audit(self, shared: PublishableList = BOTH, name: str = LIST) -> tuple[TagState, str]:
        found = self.audit_of(shared, name)
        return found.drift, found.why

    def list(self) -> bytes | None:
        return self.server.manifests.get((LIST_REPOSITORY, LIST.rpartition(":")[2]))
