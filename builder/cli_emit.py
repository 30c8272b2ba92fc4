"""The verb emit: files for clusters and hosts, made of what is configured and published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.cli import Session

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def emit() -> None:
    """Write files for clusters and hosts."""


@emit.command()
@click.option("--output", type=_FOLDER, default=Path("deploy/policy"), show_default=True, help="Where they go.")
@click.option("--json", "as_json", is_flag=True, help="Print the files' names and contents as JSON; writes nothing.")
@click.pass_obj
def policy(session: Session, *, output: Path, as_json: bool) -> None:
    """What lets clusters and hosts run only images that publish.signer signed.

    policy.json and registries.d.yaml are for /etc/containers of podman and CRI-O hosts; clusterimagepolicy.yaml is for
    OpenShift, whose machine config operator writes both. Images of other repositories are left alone.
    """
    from builder.emitting import emit_policy_files  # noqa: PLC0415 - cryptography takes long to import

    _tell(session, emit_policy_files(session.project), output, as_json=as_json)


def _tell(session: Session, files: Mapping[str, str], folder: Path, *, as_json: bool) -> None:
    """Write files, or print them as JSON."""
    if as_json:
        session.out.file.write(json.dumps({"format": 1, "files": dict(files)}, indent=2) + "\n")
        return
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        session.out.print(str(file), markup=False, soft_wrap=True)


VERBS = (emit,)
