"""The artefact operator."""

from __future__ import annotations

import re

from builder.emit.artefact import Artefact, Emitted, Option, Order
from builder.emit.kmm.version import KMM_OPTIONS, Flavour, KmmVersion
from builder.emit.operator.bundle import emit_bundle, emit_catalog
from builder.emit.operator.chart import emit_chart
from builder.emit.operator.facts import read_operator_facts
from builder.emit.operator.model import make_operator
from builder.emit.operator.plain import emit_plain
from builder.errors import UsageError
from builder.writing import emit_yaml

_HELP = """What installs the operator that brings drivers onto nodes: the same objects in four formats.

plain/ for kubectl and kustomize, bundle/ and catalog/ for Operator Lifecycle Manager, chart/ for Helm; example.yaml is
the first object that people write. Names come from 'operator' of versions.yaml, images are named by digest. Rights that
it can do without are in plain/optional/.

\b
emit operator --group openshift
emit operator --group debian --flavour upstream --output deploy/operator
emit operator --group openshift --bundle-image quay.io/org/bundle@sha256:...
"""
_BUNDLE = Option(
    flag="--bundle-image",
    name="bundle",
    metavar="IMAGE",
    help="The published image of bundle/, by digest: without it there is no catalog, which names it.",
)
_PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")


def _emit(order: Order) -> Emitted:
    images = tuple(order.options["bundle"] or ())
    if len(images) > 1:
        raise UsageError("--bundle-image is given twice, and there is one bundle")
    bundle = images[0] if images else ""
    if bundle and not _PINNED.fullmatch(bundle):
        raise UsageError(
            f"{bundle!r} does not name an image by digest, and a catalog names nothing else",
            hint="push the image of bundle/, and take the digest that it got: IMAGE@sha256:...",
        )
    facts, missing = read_operator_facts(
        order.project,
        order.selector,
        flavour=Flavour(order.options["flavour"]),
        kmm_version=KmmVersion(order.options["version"]),
        bundle=bundle,
        progress=order.progress,
    )
    objects = make_operator(facts)
    folders = {
        "plain": emit_plain(objects),
        "bundle": emit_bundle(facts, objects),
        "catalog": emit_catalog(facts, objects),
        "chart": emit_chart(facts, objects),
    }
    files = {f"{folder}/{name}": content for folder, found in folders.items() for name, content in found.items()}
    told = [] if bundle else ["There is no catalog: it names the bundle's image, by --bundle-image."]
    return Emitted(
        files=files | {"example.yaml": emit_yaml(*objects.example)},
        left_out=tuple(f"{item.cell}: {item.why}" for item in missing),
        told=tuple(told),
        # Also the catalog: one of an earlier time would offer that time's bundle.
        owned=(
            "plain/*.yaml", "plain/optional/*.yaml", "bundle/manifests/*.yaml", "chart/templates/*.yaml",
            "catalog/*/catalog.yaml", "catalog/catalog.Dockerfile",
        ),
    )  # fmt: skip


ARTEFACT = Artefact(
    help=_HELP,
    folder="deploy/operator",
    emit=_emit,
    selects=True,
    waits_for="images asked for",
    options=(*KMM_OPTIONS, _BUNDLE),
)
