"""The verb lint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.config.yamlfile import read_documents_leniently
from builder.emit.kmm.lint import choose_images
from builder.emit.kmm.lint import lint as find_problems
from builder.emit.kmm.version import KMM_OPTIONS, Flavour, KmmVersion
from builder.errors import EXIT_NOTHING_TO_JUDGE, ConfigError
from builder.show.lint import emit_choices, emit_lint, emit_lint_json
from builder.verbs.options import with_options

if TYPE_CHECKING:
    from builder.errors import Mistake
    from builder.verbs.session import Session


@click.group()
def lint() -> None:
    """Check files that people wrote.

    \b
    lint kmm module.yaml

    Exit codes: those of the verb below.
    """


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
