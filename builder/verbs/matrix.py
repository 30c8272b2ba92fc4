"""The verb matrix."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from builder.kernel import Arch, Variant
from builder.plan.discovery import check_sources
from builder.plan.matrix import find_kinds_left_out
from builder.show.matrix import (
    emit_kernel_table,
    emit_kind_notes,
    emit_matrix_json,
    emit_matrix_summary,
    emit_release_table,
)
from builder.sources.listing import View, list_kernels, list_notes, list_releases
from builder.sources.release import ReleaseState

if TYPE_CHECKING:
    from builder.verbs.session import Session


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
    no-toolkit, kernel-unknown, unreachable, malformed, withdrawn (no channel has it any more;
    shown only if asked for).

    Exit codes: 0 it is shown; 4 there is no lock yet: discover makes it.
    """
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
    notes = [*list_notes(session.project.lock, view), *_kind_notes(session, view)]
    if as_json:
        session.out.file.write(emit_matrix_json(kernels, releases, notes))
        return
    now = datetime.now(UTC)
    table = emit_kernel_table(kernels, now=now) if by == "kernel" else emit_release_table(releases, now=now)
    session.out.print(table)
    session.out.print(emit_matrix_summary(kernels, releases), markup=False, soft_wrap=True)
    for note in notes:
        session.out.print(note, markup=False, soft_wrap=True)


def _kind_notes(session: Session, view: View) -> list[str]:
    groups = session.project.config.groups
    left_out = find_kinds_left_out(session.project.config, session.project.lock)
    wanted = {
        name: [kernel for kernel in kernels if view.takes(kernel)]
        for name, kernels in left_out.items()
        if not view.sources or groups[name].source in view.sources
    }
    return emit_kind_notes(wanted)
