"""Images of several architectures in a registry, and machines that publish lists of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from builder.digest import sha256_of
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_MANIFEST, dump, make_descriptor
from builder.kernel import parse_kernel_version
from builder.plan.decide import Action, Decision, Reason
from builder.plan.matrix import Cell
from builder.publish.attest.statements import CELL_PREDICATES
from builder.publish.attester import Attester
from builder.publish.publishable import ImageNames, Publishable, PublishableList, Statements
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from builder.publish.attachments import AttachmentWriter
    from builder.registry.writer import Uploader
    from builder.signing.image_key import OpenImageSigner


def names_of(arch: str, shared: str) -> ImageNames:
    return ImageNames(own=(f"{shared}-{arch}",), shared=(shared,))


def make_decision(arch: str, shared: str, **changes: Any) -> Decision:
    kernel = parse_kernel_version(f"6.1.0-9-{arch}")
    cell = Cell(driver="drv", driver_version="1.0.0", kernel=kernel, source="debian")
    decision = Decision(
        cell=cell, action=Action.SKIP, reason=Reason.UP_TO_DATE, explanation="",
        image=names_of(arch, shared).own[0], key=arch[0] * 64,
    )  # fmt: skip
    return replace(decision, **changes)


def never(_digest: str = "") -> Statements:
    raise AssertionError("nothing is stated of what others made")


def make_item(arch: str, shared: str, **changes: Any) -> Publishable:
    item = Publishable(
        title=f"drv-1.0.0/6.1.0-9-{arch}", key=arch[0] * 64, arch=arch, names=names_of(arch, shared),
        predicates=CELL_PREDICATES, state=never,
    )  # fmt: skip
    return replace(item, **changes)


def make_list(shared: str, *items: Publishable) -> PublishableList:
    return PublishableList(name=shared, title="drv-1.0.0", members=items)


def put_image(
    uploader: Uploader,
    attachments: AttachmentWriter,
    arch: str,
    shared: str,
    signer: OpenImageSigner | None,
    key: str = "",
) -> str:
    """Put an image without layers under its own name, as a machine that publishes does; returns its digest."""
    names = names_of(arch, shared)
    labels = {KEY_LABEL: key or arch[0] * 64}
    config = dump({"architecture": arch, "os": "linux", "config": {"Labels": labels}})
    described = make_descriptor("application/vnd.oci.image.config.v1+json", sha256_of(config), len(config))
    manifest = dump({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": []})
    digest = sha256_of(manifest)
    image = names.image(digest)
    uploader.send_content(image, config)
    uploader.send_manifest(image, manifest, OCI_MANIFEST)
    if signer is not None:
        made = Statements(by_kind=_statements(digest), made="2026-11-26T00:00:00Z")
        Attester(attachments, signer).complete(image, manifest, names.all, CELL_PREDICATES, lambda: made)
    uploader.send_manifest(parse_pullspec(names.own[0]), manifest, OCI_MANIFEST)
    return digest


def _statements(digest: str) -> dict[str, bytes]:
    subject = [{"name": "drv", "digest": {"sha256": digest.removeprefix("sha256:")}}]
    form = {"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicate": {}}
    return {kind: json.dumps(form | {"predicateType": kind}).encode() for kind in CELL_PREDICATES}
