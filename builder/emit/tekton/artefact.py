"""The artefact tekton."""

from __future__ import annotations

from builder.emit.artefact import Artefact, Emitted, Order
from builder.emit.tekton.facts import make_tekton_facts, tell
from builder.emit.tekton.files import emit_tekton_files

_HELP = """Pipelines that carry out the same plan on a cluster: Tekton, OpenShift Pipelines.

Tasks, Pipelines (build, nightly, release, pull-request), the nightly's CronJob, accounts, and files for
Pipelines-as-Code go into pipelines/ and .tekton/. All of it comes from 'tekton' of versions.yaml; no registry and no
cluster is asked. The files are meant to be committed: --check says whether they are what versions.yaml stands for.

\b
emit tekton
emit tekton --check              exit code 18 if they are not, with their names
emit tekton --output elsewhere
"""


def _emit(order: Order) -> Emitted:
    config = order.project.config
    facts = make_tekton_facts(config)
    return Emitted(
        files=emit_tekton_files(facts),
        told=tuple(tell(config, facts)),
    )


ARTEFACT = Artefact(help=_HELP, folder=".", emit=_emit)
