"""The verb publish."""

from __future__ import annotations

from typing import Any

import click

from builder.errors import FailureClass
from builder.publish.cells import Force, publish_project
from builder.publish.components import publish_components
from builder.publish.index import publish_indexes
from builder.publish.result import PublishResult, advise
from builder.show.publish import emit_publish_json, emit_publish_summary, emit_publish_table
from builder.verbs.options import COMPONENT_OPTION, choose_components, make_selector, with_selectors
from builder.verbs.session import WIDE, Session, show_progress


@click.command()
@with_selectors
@COMPONENT_OPTION
@click.option(
    "--force",
    "forced",
    multiple=True,
    metavar="CELL",
    help="Move tags of this cell (its id, globs), or of a driver's lists (NAME-VERSION), or its index (NAME/index).",
)
@click.option("--reason", default="", help="Why tags are moved; required with --force, and recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def publish(
    session: Session, /, *, components: tuple[str, ...], forced: tuple[str, ...], reason: str, as_json: bool,
    **selectors: Any,
) -> int:  # fmt: skip
    """Put the images of the selected cells, and component images, into their registries.

    Only images that are built, proven and (where versions.yaml wants it) booted; the driver's 'image' names the
    registry. Blobs that are there are not sent again; the manifest goes in by digest and is looked at there; tags are
    written last, and never moved: another image under the same tag is a conflict, unless it was made of the same inputs
    elsewhere and is signed, or holds the very files of the one that is here. Last comes each driver's signed index,
    which operators in clusters believe: REPOSITORY:index, the one tag that moves. Killed or interrupted, the same
    command goes on. Secrets come from podman login, or registry.auth_files.

    \b
    publish
    publish --group openshift-418 --driver mydriver
    publish --force 'mydriver-1.4.0/*' --reason 'the key of 1.4.0 leaked'

    Exit codes: 0 all there, or a list waits for other machines; 16 not.
    """
    force = Force(cells=forced, reason=reason)
    chosen = choose_components(session.project, selectors, components)
    results: list[PublishResult] = []
    images: list[PublishResult] = []
    indexes: list[PublishResult] = []
    with show_progress(session.err, "images published") as progress:
        if not components:
            results += publish_project(session.project, make_selector(selectors), force=force, progress=progress)
            indexes += publish_indexes(session.project, results, force)
        if chosen:
            images += publish_components(session.project, chosen, force=force, progress=progress)
    if as_json:
        session.out.file.write(emit_publish_json(results, images, indexes))
    else:
        for title, rows in (("cell", results), ("component", images), ("index", indexes)):
            if rows:
                session.out.print(emit_publish_table(rows, wide=session.out.width >= WIDE, title=title))
        session.out.print(emit_publish_summary([*results, *images, *indexes]), markup=False, soft_wrap=True)
        if advice := advise([*results, *images, *indexes]):
            session.out.print(advice, markup=False, soft_wrap=True)
    return FailureClass.PUBLISH.exit_code if any(result.is_failure for result in (*results, *images, *indexes)) else 0
