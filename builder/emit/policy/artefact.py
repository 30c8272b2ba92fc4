"""The artefact policy."""

from __future__ import annotations

from builder.emit.artefact import Artefact, Emitted, Order
from builder.emit.policy.facts import emit_policy_files

_HELP = """What lets clusters and hosts run only images that publish.signer signed.

policy.json and registries.d.yaml are for /etc/containers of podman and CRI-O hosts; clusterimagepolicy.yaml is for
OpenShift, whose machine config operator writes both. Images of other repositories are left alone.

\b
emit policy
emit policy --output deploy/policy
"""


def _emit(order: Order) -> Emitted:
    return Emitted(files=emit_policy_files(order.project))


ARTEFACT = Artefact(help=_HELP, folder="deploy/policy", emit=_emit)
