"""The verb explain: the work is done in components/explain.py, by the operator's own program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.components.explain import explain_node
from builder.components.program import open_program
from builder.emit.operator.facts import read_operator_settings
from builder.errors import EXIT_NOT_READY, EXIT_NOTHING_TO_JUDGE
from builder.show.explain import emit_explanation, emit_explanation_json

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@click.argument("node")
@click.option("--driver", default="", metavar="OBJECT", help="Only this object of the operator's kind.")
@click.option(
    "--from", "saved", type=click.Path(path_type=Path, exists=True), metavar="PLACE",
    help="A file or folder of objects that somebody saved (JSON, YAML, a must-gather), instead of a cluster.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as JSON.")
@click.pass_obj
def explain(session: Session, *, node: str, driver: str, saved: Path | None, as_json: bool) -> int:
    """Why does NODE have its driver, or why not?

    The operator's program says it, by the code by which it decides in clusters; it is run here with the packages of its
    lock, and reads the cluster of your kubeconfig (KUBECONFIG, else ~/.kube/config). Nothing is written, no Secret read
    and no registry asked: index and rights are those that the operator told of itself. docs/operator.md says how a
    cluster is saved.

    \b
    explain worker-3
    explain worker-3 --driver ptemplate --json
    explain worker-3 --from must-gather/

    Exit codes: 0 the node has all that it is to have; 18 it has not; 19 no object asks for a driver there; 7 the API
    server does not answer; 2 there is no kubeconfig or no operator.
    """
    config = session.project.config
    settings = read_operator_settings(config)
    (component,) = [item for item in config.components if item.name == settings.component]
    program = open_program(component, session.project.cache_dir)
    found = explain_node(program, node, namespace=settings.namespace_name, driver=driver, saved=saved)
    if as_json:
        session.out.file.write(emit_explanation_json(found))
    else:
        session.out.print(emit_explanation(found), markup=False, soft_wrap=True)
    if not found.is_concerned:
        return EXIT_NOTHING_TO_JUDGE
    return 0 if found.is_ready else EXIT_NOT_READY
