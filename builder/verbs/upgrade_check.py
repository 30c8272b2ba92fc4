"""The verb upgrade-check."""

from __future__ import annotations

import click

from builder.errors import EXIT_NOT_READY
from builder.kernel import Arch
from builder.publish.upgrade import check_upgrade
from builder.show.matrix import emit_readiness_json, emit_readiness_summary, emit_readiness_table
from builder.verbs.session import WIDE, Session


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
    signature, or none by that key for this name. unknown: no answer. disputed: several payloads are served as VERSION.
    withdrawn: no channel has it any more. known-bad: so says versions.yaml; what 'exclude' or the driver leaves out is
    not-wanted, and counts as ready.

    \b
    upgrade-check 4.18.12
    upgrade-check 4.18.12 --arch x86_64 --json

    Exit codes: 0 all ready; 18 not; 2 there never was such a release.
    """
    rows = check_upgrade(session.project, version, drivers=drivers, arches=tuple(map(Arch, arches)))
    if as_json:
        session.out.file.write(emit_readiness_json(version, rows))
    else:
        session.out.print(emit_readiness_table(rows, wide=session.out.width >= WIDE))
        session.out.print(emit_readiness_summary(version, rows), markup=False, soft_wrap=True)
    return EXIT_NOT_READY if any(row.is_missing for row in rows) else 0
