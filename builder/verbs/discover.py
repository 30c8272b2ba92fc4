"""The verb discover."""

from __future__ import annotations

import click

from builder.plan.discovery import complain, discover_project
from builder.show.matrix import emit_discovery, emit_discovery_json
from builder.sources.lock_file import LOCK_FILE_NAME
from builder.sources.provider import DiscoverOptions
from builder.verbs.session import Session, show_progress
from builder.writing import count


@click.command()
@click.option("--source", "sources", multiple=True, help="Only this source of versions.yaml; repeatable.")
@click.option("--refresh", is_flag=True, help="Read every release again, not only those that the lock does not know.")
@click.option("--newest-toolkits", is_flag=True, help="Build kernels with their newest toolkit; their cells change.")
@click.option("--accept-loss", is_flag=True, help="Believe an answer that lost many releases or kernels at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
@click.pass_obj
def discover(
    session: Session, /, *, sources: tuple[str, ...], refresh: bool, newest_toolkits: bool, accept_loss: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Ask the kernel sources which kernels there are, and write versions.lock.yaml.

    For OpenShift: update graph, release payloads, toolkits and operating systems, by registry metadata alone; no oc, no
    image is pulled. Releases that the lock knows are not read again. What cannot be read keeps the older answer; each
    source has its own outcome, whatever ends another one. A kernel leaves the lock only for a reason that is printed,
    and many at once only with --accept-loss. One whose packages are not all there is left out with the reason.

    \b
    discover
    discover --source openshift --refresh

    Exit codes: 0 all was read, or known_problems of versions.yaml name what was not; 7 something was not.
    """
    options = DiscoverOptions(refresh=refresh, newest_toolkits=newest_toolkits, accept_loss=accept_loss)
    with show_progress(session.err, "releases read") as progress:
        discovery = discover_project(session.project, sources, options=options, progress=progress)
    if as_json:
        session.out.file.write(emit_discovery_json(discovery))
    else:
        for line in emit_discovery(discovery):
            session.out.print(line, markup=False, soft_wrap=True)
        changes = count(len(discovery.changes), "change")
        told = f"{changes} in {LOCK_FILE_NAME}" if discovery.changes else "nothing changed"
        session.out.print(told, markup=False, soft_wrap=True)
    if problem := complain(discovery):
        raise problem
