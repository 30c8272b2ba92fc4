"""The artefact nfd."""

from __future__ import annotations

from builder.emit.artefact import Artefact, Emitted, Order
from builder.emit.kmm.version import FLAVOUR_OPTION, Flavour
from builder.emit.nfd.facts import read_nfd_facts
from builder.emit.nfd.files import EXAMPLE_FILE, emit_nfd
from builder.errors import UsageError

_HELP = """What Node Feature Discovery needs to label the nodes that the selected drivers are for.

A NodeFeatureRule made of the device tables in the published modules (registries are asked): PCI and USB. Its label is
the one that kmm.selector of the driver names. A driver without such a device gets a rule for the administrator's word.
Beside them stand labels for kernels that have an image, and for those that want signed modules.

\b
emit nfd --group openshift
emit nfd --group debian --flavour upstream --output deploy/nfd
"""


def _emit(order: Order) -> Emitted:
    flavour = Flavour(order.options["flavour"])
    drivers, missing = read_nfd_facts(order.project, order.selector, progress=order.progress)
    if not drivers:
        raise UsageError(
            "no image is published, so there is nothing to make a rule of", hint="run 'nox -s publish' first"
        )
    files: dict[str, str] = {}
    told: list[str] = []
    for facts in drivers:
        emitted = emit_nfd(facts, flavour)
        files |= {f"{facts.driver.name}/{name}": content for name, content in emitted.files.items()}
        told += emitted.told
    return Emitted(
        files=files,
        left_out=tuple(f"{item.cell}: {item.why}" for item in missing),
        told=tuple(told),
        owned=tuple(f"{facts.driver.name}/{EXAMPLE_FILE}" for facts in drivers),
    )


ARTEFACT = Artefact(
    help=_HELP,
    folder="deploy/nfd",
    emit=_emit,
    selects=True,
    waits_for="images asked for",
    options=(FLAVOUR_OPTION,),
)
