"""The verb doctor."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from builder.build.doctor import booted_arches
from builder.errors import ConfigError, HostError

if TYPE_CHECKING:
    from builder.build.doctor import Finding
    from builder.plan.project import Project
    from builder.verbs.session import Session


@click.command()
@click.option("--install", is_flag=True, help="Install what is missing, where this user may.")
@click.option("--boot", is_flag=True, help="Look also at what boot tests need, of all architectures.")
@click.option("--tests", is_flag=True, help="Look also at what the project's own tests need.")
@click.option("--quiet", is_flag=True, help="Print only what is not in order.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def doctor(session: Session, *, install: bool, boot: bool, tests: bool, quiet: bool, as_json: bool) -> int:
    """Check whether this machine can build, and say what to do where it cannot.

    What boot tests need is looked at where versions.yaml wants them (build.boot), for the default group. A certificate
    of a signer that expires within 30 days, or may not sign, is a warning.
    """
    from builder.build.doctor import BOOT_TOOLS, FindingStatus, examine, install_missing  # noqa: PLC0415 - see cli()

    cache_dir = session.project.cache_dir
    arches = tuple(BOOT_TOOLS) if boot or tests else booted_arches(session.project)
    findings = examine(cache_dir, tests=tests, boot=arches)
    if install and install_missing(findings, say=lambda text: session.err.print(text, markup=False)):
        findings = examine(cache_dir, tests=tests, boot=arches)
    findings += _look_at_certificates(session.project)
    if as_json:
        session.out.file.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    else:
        for finding in findings:
            if not quiet or finding.status is not FindingStatus.OK:
                session.out.print(str(finding), markup=False, soft_wrap=True)
    return 0 if all(finding.is_fine for finding in findings) else HostError.exit_code


def _look_at_certificates(project: Project) -> list[Finding]:
    try:
        config = project.config
    except ConfigError:  # what builds will say so, as for booted_arches
        return []
    if not config.signers or project.untrusted:
        return []
    from builder.build.doctor_certificates import examine_certificates  # noqa: PLC0415 - cryptography takes long to import

    return examine_certificates(config, now=datetime.now(UTC))
