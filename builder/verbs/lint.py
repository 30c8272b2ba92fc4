"""The verb lint: the work is done in emit/kmm/lint.py and emit/operator/lint.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.config.yamlfile import read_documents_leniently
from builder.emit.kmm.lint import choose_images
from builder.emit.kmm.lint import lint as find_problems
from builder.emit.kmm.version import KMM_OPTIONS, Flavour, KmmVersion
from builder.emit.operator.bundle_reading import read_bundle, read_definitions
from builder.emit.operator.lint import lint_bundle
from builder.errors import EXIT_NOTHING_TO_JUDGE, ConfigError
from builder.show.lint import emit_choices, emit_lint, emit_lint_json
from builder.verbs.options import with_options

if TYPE_CHECKING:
    from builder.errors import Mistake
    from builder.verbs.session import Session


def _check_minor(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"1\.\d{1,3}", value, re.ASCII):
        raise click.BadParameter(f"{value!r} is no version such as 1.31")
    return value


@click.group()
def lint() -> None:
    """Check files that people wrote.

    \b
    lint kmm module.yaml

    Exit codes: those of the verb below.
    """


@lint.command("operator")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--against", "older", type=click.Path(path_type=Path, exists=True), metavar="PLACE",
    help="Definitions of the release before: its bundle, a folder of files, or a file.",
)  # fmt: skip
@click.option(
    "--kubernetes", "kubernetes", metavar="1.N", default="", callback=_check_minor,
    help="Newest Kubernetes that it is for; APIs that are removed later are not told. Default: any.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON.")
@click.pass_obj
def lint_operator(session: Session, *, folder: Path, older: Path | None, kubernetes: str, as_json: bool) -> int:
    """Check a bundle of an operator (registry+v1) that anybody wrote: FOLDER has manifests/ and metadata/.

    What clusters, catalogs and certification refuse is an error: parts that do not fit each other, schemas that are not
    structural, images without a digest or not in relatedImages, APIs that are gone, and with --against what OLM v1
    refuses in an upgrade. What is probably not meant is a warning: rights that are wider than needed, pods with
    privilege or without probes. Exit codes: 0 nothing refused, 3 errors, 19 there was nothing to judge, 2 no bundle.

    \b
    lint operator deploy/operator/bundle
    lint operator bundle --against ../1.3.0/bundle --kubernetes 1.31 --json
    """
    bundle = read_bundle(folder)
    definitions, mistakes = read_definitions(older) if older else ([], [])
    result = lint_bundle(bundle, older=definitions, mistakes=mistakes, version=kubernetes)
    if as_json:
        session.out.file.write(emit_lint_json(result))
    else:
        session.out.print(emit_lint(result, "OLM"), markup=False, soft_wrap=True)
    if result.has_errors:
        return ConfigError.exit_code
    return EXIT_NOTHING_TO_JUDGE if result.is_empty else 0


@lint.command("kmm")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_options(KMM_OPTIONS)
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
    in KMM's order, variables, modprobe, signing, tolerations, host paths, name lengths, and what the same files have of
    Secrets, ConfigMaps and NodeFeatureRules. Objects in Lists, Policies and ManifestWorks are looked into.

    \b
    lint kmm module.yaml --kmm 2.7
    lint kmm module.yaml --kernel 5.14.0-427.68.1.el9_4.x86_64+rt

    Exit codes: 0 nothing is refused; 3 errors; 19 there was nothing to judge.
    """
    documents = []
    mistakes: list[Mistake] = []
    for file in files:
        read, wrong = read_documents_leniently(file)
        documents += read
        mistakes += wrong
    result = find_problems(documents, KmmVersion(version), Flavour(flavour), mistakes=mistakes)
    choices = choose_images(documents, kernels)
    if as_json:
        session.out.file.write(emit_lint_json(result, choices))
    else:
        session.out.print(emit_lint(result), markup=False, soft_wrap=True)
        if choices:
            session.out.print(emit_choices(choices))
    if result.has_errors:
        return ConfigError.exit_code
    return EXIT_NOTHING_TO_JUDGE if result.is_empty else 0
