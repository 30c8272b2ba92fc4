"""The verb emit: files for clusters and hosts, made of what is configured and published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.emit.kmm.version import Flavour, KmmVersion
from builder.errors import ConfigError, UsageError
from builder.host.places import write_below
from builder.verbs.cli import make_selector, show_progress, with_selectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from builder.errors import Mistake
    from builder.verbs.cli import Session

_KMM = (
    click.option(
        "--kmm", "version", type=click.Choice([item.value for item in KmmVersion]), default="2.6", show_default=True,
        help="Version of KMM in the clusters; fields that came later are not known to it.",
    ),
    click.option(
        "--flavour", type=click.Choice([item.value for item in Flavour]), default="openshift", show_default=True,
        help="OpenShift's operator, or upstream's.",
    ),
)  # fmt: skip


def with_kmm(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Add the options that say which KMM the clusters run."""
    for option in reversed(_KMM):
        function = option(function)
    return function


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
    from builder.emit.policy.facts import emit_policy_files  # noqa: PLC0415 - cryptography takes long to import

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
    from builder.emit.kmm.facts import read_kmm_facts  # noqa: PLC0415
    from builder.emit.kmm.files import emit_kmm  # noqa: PLC0415 - httpx and cryptography take long to import

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


@click.group()
def lint() -> None:
    """Check files that people wrote."""


@lint.command("kmm")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_kmm
@click.option(
    "--kernel", "kernels", multiple=True, help="Show which image this kernel (uname -r) would get; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON.")
@click.pass_obj
def lint_kmm(
    session: Session, *, files: tuple[Path, ...], version: str, flavour: str, kernels: tuple[str, ...], as_json: bool
) -> int:
    """Check YAML for KMM without a cluster: what its admission would refuse, and traps that it does not see.

    Unknown fields (a cluster drops them silently), fields newer than KMM, kernelMappings with RE2's own semantics and
    in KMM's order, modprobe, signing, tolerations, host paths, name lengths, keys of Secrets and ConfigMaps in the same
    files. Exit codes: 0 nothing refused, 3 errors.

    \b
    lint kmm module.yaml --kmm 2.7
    lint kmm module.yaml --kernel 5.14.0-427.68.1.el9_4.x86_64+rt
    """
    from builder.config.yamlfile import read_documents  # noqa: PLC0415
    from builder.emit.kmm.lint import choose_images, lint  # noqa: PLC0415
    from builder.show.lint import emit_choices, emit_lint, emit_lint_json  # noqa: PLC0415 - see builder.verbs.cli

    documents = []
    mistakes: list[Mistake] = []
    for file in files:
        try:
            documents += read_documents(file)
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    result = lint(documents, KmmVersion(version), Flavour(flavour))
    choices = choose_images(documents, kernels)
    if as_json:
        session.out.file.write(emit_lint_json(result, choices))
    else:
        session.out.print(emit_lint(result), markup=False, soft_wrap=True)
        if choices:
            session.out.print(emit_choices(choices))
    return ConfigError.exit_code if result.has_errors else 0


VERBS = (emit, lint)
