"""The artefact index."""

from __future__ import annotations

from builder.emit.artefact import Artefact, Emitted, Option, Order
from builder.emit.index.facts import read_indexes
from builder.emit.index.files import emit_index_map

_HELP = """Each driver's signed index as a ConfigMap, for operators at sites without a registry.

The bytes are those that 'publish' put into the registry, packed; their signature is verified before they are written,
and again by the operator. spec.index.configMap of the vendor's object names the ConfigMap.

\b
emit index
emit index --driver mydriver --output deploy/index
"""
_DRIVER = Option(flag="--driver", name="drivers", metavar="GLOB", help="Only these drivers; repeatable.")


def _emit(order: Order) -> Emitted:
    found = read_indexes(order.project, order.options["drivers"] or (), progress=order.progress)
    files = {f"{item.driver}-index.yaml": emit_index_map(item) for item in found.indexes}
    return Emitted(files=files, left_out=found.left_out)


ARTEFACT = Artefact(help=_HELP, folder="deploy/index", emit=_emit, waits_for="indexes read", options=(_DRIVER,))
