"""One image with its facts, and the registry that it is put into."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from builder.evidence.records import BootEvidence, CellEvidence, CellOutcome, ModuleRecord
from builder.image.manifests import OCI_MANIFEST, make_descriptor
from builder.publish.attachments import Artifact, AttachmentWriter
from builder.publish.attest.attached import attach_statement
from builder.publish.attest.bundle import (
    BUNDLE_TYPE,
    PREDICATE_ANNOTATION,
    envelope_of,
    sign_statement,
)
from builder.publish.attest.facts import CellFacts
from builder.publish.attest.statements import CELL_PREDICATES, make_statements
from builder.publish.attester import Attester
from builder.publish.publishable import ImageNames, Publishable, Statements
from builder.publish.publisher import Publisher, PublishTools
from builder.publish.verifier import Verifier
from builder.pullspec import parse_pullspec
from fakes.image_keys import make_image_signer
from fakes.lists import never

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from builder.evidence.journal import Journal
    from builder.publish.verifier import Verification
    from builder.registry.reader import Registry
    from builder.signing.image_key import OpenImageSigner
    from fakes.registry import FakeRegistry


REPOSITORY = "org/drv"


NAME = parse_pullspec(f"quay.test/{REPOSITORY}:1.0.0-6.1.0-9-amd64")


KERNEL = "6.1.0-9-amd64"


MODULE = b"\x7fELF a module"


SIGNER, OTHER = make_image_signer(), make_image_signer()


def _layer(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


@dataclass(frozen=True)
class _Beginning:
    """What a registry that was new has got, and what is kept of it, when something is done to it."""

    blobs: dict[tuple[str, str], bytes]
    manifests: dict[tuple[str, str], bytes]
    log: list[str]
    cache: dict[Path, bytes]
    result: int


_signed: dict[Hashable, _Beginning] = {}


def _begin(image: PublishedImage, what: Hashable, work: Callable[[], int]) -> int:
    """Do some work, or what it made when it was done before: it follows from these alone."""
    server, cache = image.server, image.folder / "cache"
    key = (what, server.lists_referrers, tuple(server.blobs), tuple(server.manifests.items()))
    if key not in _signed:
        result = work()
        kept = {file.relative_to(cache): file.read_bytes() for file in cache.rglob("*") if file.is_file()}
        _signed[key] = _Beginning(dict(server.blobs), dict(server.manifests), list(server.log), kept, result)
        return result
    begun = _signed[key]
    server.blobs |= begun.blobs
    server.manifests |= begun.manifests
    server.log += begun.log
    for name, content in begun.cache.items():
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(content)
    return begun.result


@dataclass
class PublishedImage:
    """One image with its facts; the registry that it is put into."""

    server: FakeRegistry
    registry: Registry
    attachments: AttachmentWriter
    facts: CellFacts
    folder: Path

    @property
    def image(self) -> Any:
        return NAME.at(self.facts.digest)

    @property
    def manifest(self) -> bytes:
        return self.server.manifests[REPOSITORY, self.facts.digest]

    def sign(
        self, facts: CellFacts | None = None, signer: OpenImageSigner = SIGNER, predicates: Any = CELL_PREDICATES
    ) -> int:
        known = facts or self.facts

        def state() -> Statements:
            return Statements(by_kind=make_statements(known), made=known.evidence.finished)

        def work() -> int:
            attester = Attester(self.attachments, signer)
            return attester.complete(self.image, self.manifest, [str(NAME)], predicates, state)

        if self.server.log or self.server.faults or signer is not SIGNER:
            return work()
        # Where most tests begin: made once for all that begin alike.
        return _begin(self, (repr(known), tuple(predicates)), work)

    def attach(self, kind: str, statement: bytes, *, listed_as: str = "", signer: OpenImageSigner = SIGNER) -> None:
        """Attach one statement, whatever it says, in both forms."""
        bundle = sign_statement(statement, signer.key, signer.sign)
        envelope = envelope_of(bundle)
        self.attachments.add_attestations(self.image, [(envelope, attach_statement(listed_as or kind, envelope))])
        artifact = Artifact(kind=BUNDLE_TYPE, content=bundle, annotations={PREDICATE_ANNOTATION: listed_as or kind})
        manifest = self.server.manifests[REPOSITORY, self.facts.digest]
        self.attachments.add(self.image, make_descriptor(OCI_MANIFEST, self.facts.digest, len(manifest)), [artifact])

    def verify(self, name: str = str(NAME), **options: Any) -> Verification:
        """Read everything anew."""
        registry, _, attachments = self.server.open(self.folder / f"cache-{len(self.server.log)}")
        return Verifier(registry, attachments, [SIGNER.key], **options).verify(parse_pullspec(name))

    def wrong(self, name: str = str(NAME), **options: Any) -> dict[str, str]:
        """Return what is wrong, by check."""
        verification = self.verify(name, **options)
        assert verification.passed is all(check.passed for check in verification.checks)
        return {check.name: check.finding for check in verification.checks if not check.passed}

    def item(self, *aliases: str, key: str = "k" * 64, **changes: Any) -> Publishable:
        """Return it as what is published; not to be found here, unless a digest is given."""
        item = Publishable(
            title=f"drv-1.0.0/{KERNEL}", key=key, arch="amd64", names=ImageNames(own=(str(NAME), *aliases)),
            predicates=CELL_PREDICATES, state=never, why="never built",
        )  # fmt: skip
        return replace(item, **changes)

    def publisher(self, journal: Journal, attester: Attester | None) -> Publisher:
        _, uploader, _ = self.server.open(self.folder / "publish-cache")
        return Publisher(
            PublishTools(
                registry=self.registry, uploader=uploader, journal=journal, attester=attester, scratch=self.folder,
                run_id="r",
            )
        )  # fmt: skip


def make_published_image(server: FakeRegistry, folder: Path, files: dict[str, bytes] | None = None) -> PublishedImage:
    registry, _, attachments = server.open(folder / "cache")
    layer = server.put_blob(REPOSITORY, _layer(files or {f"opt/lib/modules/{KERNEL}/extra/a.ko": MODULE}))
    labels = {
        "io.kmodsmith.kernel": KERNEL,
        "io.kmodsmith.cell.key": "k" * 64,
        "io.kmodsmith.toolkit.id": "t" * 64,
    }
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": labels}}
    described = server.put_blob(REPOSITORY, json.dumps(config).encode())
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": [layer]}
    digest = server.put_manifest(REPOSITORY, manifest, NAME.reference)
    cell = f"drv-1.0.0/{KERNEL}"
    evidence = CellEvidence(
        cell=cell, driver="drv", kernel=KERNEL, key="k" * 64, outcome=CellOutcome.BUILT, digest=digest, run="r",
        inputs={"source": "s" * 64, "toolkit": "t" * 64, "containerfile": "c" * 64}, finished="2026-11-23T00:00:00Z",
        modules=(ModuleRecord(name="a.ko", sha256=hashlib.sha256(MODULE).hexdigest(), size=len(MODULE)),),
        signers=("5" * 64,),
    )  # fmt: skip
    boot = BootEvidence(
        cell=cell, key="b", digest=digest, passed=True, run="r", finished="2026-11-23T00:00:00Z", mode="secure",
        acceleration="tcg", enrolled="e", signed_by="signers", seconds=1.0,
    )  # fmt: skip
    facts = CellFacts(
        evidence=evidence, boot=boot, repository=f"quay.test/{REPOSITORY}", digest=digest, driver_version="1.0.0",
        arch="amd64", vendor="V", description="D", toolkit=(), base=(), builder="urn:b", builder_version="0", recipe={},
    )  # fmt: skip
    return PublishedImage(server, registry, attachments, facts, folder)
