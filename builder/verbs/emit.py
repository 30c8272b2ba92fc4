"""The verb emit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.emit.kmm.facts import read_kmm_facts
from builder.emit.kmm.files import emit_kmm
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.emit.policy.facts import emit_policy_files
from builder.errors import UsageError
from builder.host.places import write_below
from builder.verbs.kmm_options import with_kmm
from builder.verbs.options import make_selector, with_selectors
from builder.verbs.session import Session, show_progress

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    _tell(session, emit_policy_files(session.project), output, as_json=as_json)


@emit.command()
@with_selectors
@with_kmm
@click.option(
    "--release",
    "releases",
    multiple=True,
    metavar="GLOB",
    help="OpenShift releases to write preflights for; repeatable. Default: the newest of each minor.",
)
@click.option(
    "--output",
    type=_FOLDER,
    default=Path("deploy/kmm"),
    show_default=True,
    help="Where they go, a folder for each driver.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the files' names and contents as JSON; writes nothing.")
@click.pass_obj
def kmm(
    session: Session, /, *, version: str, flavour: str, releases: tuple[str, ...], output: Path, as_json: bool,
    **selectors: Any,
) -> None:  # fmt: skip
    """What the Kernel Module Management operator needs for the selected drivers.

    Module with a mapping by digest for every image that is published (registries are asked), namespace, account and
    rights, skeletons of Secrets, preflights for releases, an image set for oc-mirror, and images.json, which says for
    programs which image each kernel gets. With kmm.in_cluster_build in versions.yaml also the Containerfile, and
    mappings that build. Files are checked by the rules of 'lint kmm' before they are written.

    \b
    emit kmm --group openshift
    emit kmm --group openshift --kmm 2.7 --release '4.18.*' --output deploy/kmm
    """
    with show_progress(session.err, "images asked for") as progress:
        found = read_kmm_facts(session.project, make_selector(selectors), releases=releases, progress=progress)
    for item in found.left_out:
        session.err.print(f"left out: {item.cell}: {item.why}", markup=False, soft_wrap=True)
    files = {
        f"{facts.driver.name}/{name}": content
        for facts in found.drivers
        for name, content in emit_kmm(facts, KmmVersion(version), Flavour(flavour)).items()
    }
    if not files:
        raise UsageError("no image is published, so there is nothing to map", hint="run 'nox -s publish' first")
    _tell(session, files, output, as_json=as_json)
    for driver in () if as_json else {name.partition("/")[0] for name in files}:
        preflights = output / driver / "preflight"
        for stale in () if preflights.is_symlink() else preflights.glob("*.yaml"):
            if f"{driver}/preflight/{stale.name}" not in files:
                stale.unlink()


def _tell(session: Session, files: Mapping[str, str], folder: Path, *, as_json: bool) -> None:
    """Write files, or print them as JSON."""
    if as_json:
        session.out.file.write(json.dumps({"format": 1, "files": dict(files)}, indent=2) + "\n")
        return
    for name, content in files.items():
        file = write_below(folder, name, content)
        session.out.print(str(file), markup=False, soft_wrap=True)
