"""The verbs about kernels and releases: discover, matrix, upgrade-check, nightly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from builder.errors import EXIT_NOT_READY, FailureClass
from builder.kernel import Arch, Variant
from builder.plan.discovery import check_sources, complain, discover_project
from builder.sources.lock import LOCK_FILE_NAME, ReleaseState
from builder.sources.openshift.releases import Wish
from builder.verbs.cli import WIDE, make_selector, show_progress, tell_results, with_selectors

if TYPE_CHECKING:
    from builder.verbs.cli import Session


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
    image is pulled. Releases that the lock knows are not read again. What cannot be read keeps the older answer, and
    the exit code is 7; each source has its own outcome, whatever ends another one. A kernel leaves the lock only for a
    reason that is printed, and many at once only with --accept-loss. One whose packages are not all there is left out
    with the reason.

    \b
    discover
    discover --source openshift --refresh
    """
    from builder.show.matrix import emit_discovery, emit_discovery_json  # noqa: PLC0415 - see builder.verbs.cli

    wish = Wish(refresh=refresh, newest_toolkits=newest_toolkits, accept_loss=accept_loss)
    with show_progress(session.err, "releases read") as progress:
        discovery = discover_project(session.project, sources, wish=wish, progress=progress)
    if as_json:
        session.out.file.write(emit_discovery_json(discovery))
    else:
        for line in emit_discovery(discovery):
            session.out.print(line, markup=False)
        count = len(discovery.changes)
        session.out.print(f"{count} changes in {LOCK_FILE_NAME}" if count else "nothing changed", markup=False)
    if problem := complain(discovery):
        raise problem


@click.command()
@click.option(
    "--by", type=click.Choice(["kernel", "release"]), default="kernel", show_default=True, help="What a row is."
)
@click.option("--source", "sources", multiple=True, help="Only this source of versions.yaml; repeatable.")
@click.option("--kernel", "kernels", multiple=True, metavar="GLOB", help="Only these kernels (uname -r); repeatable.")
@click.option("--release", "releases", multiple=True, metavar="GLOB", help="Only these releases; repeatable.")
@click.option("--arch", "arches", multiple=True, type=click.Choice([arch.value for arch in Arch]))
@click.option("--variant", "variants", multiple=True, type=click.Choice([variant.value for variant in Variant]))
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in ReleaseState]))
@click.option("--json", "as_json", is_flag=True, help="Print kernels and releases as JSON.")
@click.pass_obj
def matrix(session: Session, /, *, by: str, as_json: bool, **filters: Any) -> None:
    """Show the kernel matrix of the lock: which releases run which kernel, and what is known of each.

    \b
    matrix --release '4.18.*'
    matrix --by release --state toolkit-differs --state no-toolkit
    matrix --arch x86_64 --variant rt --json

    States: complete (toolkit and node name the same kernel), unconfirmed (only one of them is known), toolkit-differs,
    no-toolkit, kernel-unknown, unreachable, malformed.
    """
    from builder.show.matrix import (  # noqa: PLC0415 - see builder.verbs.cli
        emit_kernel_table,
        emit_matrix_json,
        emit_matrix_summary,
        emit_release_table,
    )
    from builder.sources.survey import View, list_kernels, list_notes, list_releases  # noqa: PLC0415

    check_sources(session.project.config, filters["sources"])
    view = View(
        sources=filters["sources"],
        kernels=filters["kernels"],
        releases=filters["releases"],
        arches=tuple(map(Arch, filters["arches"])),
        variants=tuple(map(Variant, filters["variants"])),
        states=tuple(map(ReleaseState, filters["states"])),
    )
    kernels, releases = list_kernels(session.project.lock, view), list_releases(session.project.lock, view)
    notes = list_notes(session.project.lock, view)
    if as_json:
        session.out.file.write(emit_matrix_json(kernels, releases, notes))
        return
    now = datetime.now(UTC)
    table = emit_kernel_table(kernels, now=now) if by == "kernel" else emit_release_table(releases, now=now)
    session.out.print(table)
    session.out.print(emit_matrix_summary(kernels, releases), markup=False)
    for note in notes:
        session.out.print(note, markup=False, soft_wrap=True)


@click.command("upgrade-check")
@click.argument("version")
@click.option("--driver", "drivers", multiple=True, metavar="GLOB", help="Only these drivers; repeatable.")
@click.option("--arch", "arches", multiple=True, type=click.Choice([arch.value for arch in Arch]))
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.pass_obj
def upgrade_check(
    session: Session, /, *, version: str, drivers: tuple[str, ...], arches: tuple[str, ...], as_json: bool
) -> int:
    """Does every driver have its image for all kernels of release VERSION?

    Images are looked for where their names say that they are: in the container store for localhost/..., else in their
    registry or its mirrors. ready: made of what versions.yaml, the sources and the lock name now, and signed by the key
    of publish.signer. absent: nothing has the name. stale: it was made of other inputs. unsigned, other-key: it has no
    signature, or none by that key for this name. unknown: no answer. Exit codes: 0 all ready, 18 not.

    \b
    upgrade-check 4.18.12
    upgrade-check 4.18.12 --arch x86_64 --json
    """
    from builder.publish.upgrade import check_upgrade  # noqa: PLC0415
    from builder.show.matrix import (  # noqa: PLC0415 - see builder.verbs.cli
        emit_readiness_json,
        emit_readiness_summary,
        emit_readiness_table,
    )

    rows = check_upgrade(session.project, version, drivers=drivers, arches=tuple(map(Arch, arches)))
    if as_json:
        session.out.file.write(emit_readiness_json(version, rows))
    else:
        session.out.print(emit_readiness_table(rows, wide=session.out.width >= WIDE))
        session.out.print(emit_readiness_summary(version, rows), markup=False)
    return EXIT_NOT_READY if any(row.is_missing for row in rows) else 0


@click.command()
@with_selectors
@click.option("--jobs", type=click.IntRange(min=1), help="Cells at once; default: by cores and memory.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def nightly(session: Session, /, *, jobs: int | None, as_json: bool, **selectors: Any) -> int:
    """Discover, then build, prove, sign, boot and publish what is missing, and report how fresh it is.

    Safe to run every hour: where nothing changed, nothing is done. What came of it is in nightly.json, results.json and
    junit.xml of the work folder. Exit codes: as build; 16 if an image that is wanted is not in its registry in the end,
    or waits for one that is not: each is named; 7 if all was done but a source did not answer.
    """
    from builder.publish.nightly import run_nightly  # noqa: PLC0415
    from builder.show.matrix import emit_discovery, emit_freshness, emit_nightly_json  # noqa: PLC0415 - see builder.verbs.cli
    from builder.show.publish import emit_publish_summary  # noqa: PLC0415

    project = session.project
    with show_progress(session.err, "releases read") as progress:
        report = run_nightly(project, make_selector(selectors), session.err, jobs=jobs, progress=progress)
    as_text = emit_nightly_json(report)
    project.work_dir.mkdir(parents=True, exist_ok=True)
    (project.work_dir / "nightly.json").write_text(as_text)
    if as_json:
        session.out.file.write(as_text)
    else:
        for line in emit_discovery(report.discovery):
            session.out.print(line, markup=False)
    code = tell_results(session, report.build, as_json=None if as_json else False)
    for line in () if as_json else emit_freshness(report):
        session.out.print(line, markup=False)
    if report.published and not as_json:
        session.out.print(emit_publish_summary(report.published), markup=False)
    for item in report.missing:
        session.err.print(f"not in its registry: {item.names[0]}: {item.why}", markup=False, soft_wrap=True)
    if code == 0 and report.missing:
        code = FailureClass.PUBLISH.exit_code
    if code == 0 and (problem := complain(report.discovery)):
        raise problem
    return code


VERBS = (discover, matrix, upgrade_check, nightly)
