"""The artefact kmm."""

from __future__ import annotations

from builder.emit.artefact import Artefact, Emitted, Option, Order
from builder.emit.kmm.facts import read_kmm_facts
from builder.emit.kmm.files import emit_kmm
from builder.emit.kmm.version import KMM_OPTIONS, Flavour, KmmVersion
from builder.errors import UsageError

_HELP = """What the Kernel Module Management operator needs for the selected drivers.

Module with a mapping by digest for every image that is published (registries are asked), namespace, account and
rights, skeletons of Secrets, preflights for releases, an image set for oc-mirror, and images.json, which says for
programs which image each kernel gets. With kmm.in_cluster_build in versions.yaml also the Containerfile, and
mappings that build. Files are checked by the rules of 'lint kmm' before they are written.

\b
emit kmm --group openshift
emit kmm --group openshift --kmm 2.7 --release '4.18.*' --output deploy/kmm
"""
_RELEASES = Option(
    flag="--release",
    name="releases",
    metavar="GLOB",
    help="OpenShift releases to write preflights for; repeatable. Default: the newest of each minor.",
)


def _emit(order: Order) -> Emitted:
    version, flavour = KmmVersion(order.options["version"]), Flavour(order.options["flavour"])
    found = read_kmm_facts(order.project, order.selector, releases=order.options["releases"], progress=order.progress)
    files = {
        f"{facts.driver.name}/{name}": content
        for facts in found.drivers
        for name, content in emit_kmm(facts, version, flavour).items()
    }
    if not files:
        raise UsageError("no image is published, so there is nothing to map", hint="run 'nox -s publish' first")
    return Emitted(
        files=files,
        left_out=tuple(f"{item.cell}: {item.why}" for item in found.left_out),
        owned=tuple(f"{facts.driver.name}/preflight/*.yaml" for facts in found.drivers),
    )


ARTEFACT = Artefact(
    help=_HELP,
    folder="deploy/kmm",
    emit=_emit,
    selects=True,
    waits_for="images asked for",
    options=(*KMM_OPTIONS, _RELEASES),
)
