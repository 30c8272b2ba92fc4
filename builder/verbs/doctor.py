"""The verb doctor."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from builder.doctor.certificates import examine_certificates
from builder.doctor.condition import State
from builder.doctor.examine import booted_arches, examine, examine_tools
from builder.doctor.install import install_missing
from builder.doctor.tools import BOOT_TOOLS
from builder.errors import ConfigError, HostError
from builder.writing import emit_json

if TYPE_CHECKING:
    from builder.doctor.condition import Condition
    from builder.plan.project import Project
    from builder.verbs.session import Session


@click.command()
@click.option("--install", is_flag=True, help="Install what is missing, where this user may.")
@click.option("--boot", is_flag=True, help="Look also at what boot tests need, of all architectures.")
@click.option("--tests", is_flag=True, help="Look also at what the project's own tests need.")
@click.option("--e2e", is_flag=True, help="Look also at what the cluster of those tests needs.")
@click.option("--tools", is_flag=True, help="Look only at what is installed; start nothing.")
@click.option("--quiet", is_flag=True, help="Print only what is not in order.")
@click.option("--json", "as_json", is_flag=True, help="Print the conditions as JSON.")
@click.pass_obj
def doctor(
    session: Session, *, install: bool, boot: bool, tests: bool, e2e: bool, tools: bool, quiet: bool, as_json: bool
) -> int:
    """Check whether this machine can build, and say what to do where it cannot.

    What boot tests need is looked at where versions.yaml wants them (build.boot), for the default group. A certificate
    of a signer that expires within 30 days, or may not sign, is a warning.

    \b
    doctor
    doctor --install --boot
    doctor --json

    Exit codes: 0 it can; 6 something is missing.
    """
    cache_dir = session.project.cache_dir
    arches = tuple(BOOT_TOOLS) if boot or tests else booted_arches(session.project)

    def look() -> list[Condition]:
        return examine_tools(boot=arches) if tools else examine(cache_dir, tests=tests, e2e=e2e, boot=arches)

    conditions = look()
    if install and install_missing(conditions, say=lambda text: session.err.print(text, markup=False, soft_wrap=True)):
        conditions = look()
    conditions += _look_at_certificates(session.project)
    if as_json:
        session.out.file.write(emit_json([asdict(condition) for condition in conditions]))
    else:
        for condition in conditions:
            if not quiet or condition.status is not State.OK:
                session.out.print(str(condition), markup=False, soft_wrap=True)
    return 0 if all(condition.is_fine for condition in conditions) else HostError.exit_code


def _look_at_certificates(project: Project) -> list[Condition]:
    try:
        config = project.config
    except ConfigError:  # what builds will say so, as for booted_arches
        return []
    if not config.signers or project.untrusted:
        return []
    return examine_certificates(config, now=datetime.now(UTC))
