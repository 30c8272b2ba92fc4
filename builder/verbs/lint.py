"""The verb lint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.config.yamlfile import read_documents
from builder.emit.kmm.lint import choose_images
from builder.emit.kmm.lint import lint as find_problems
from builder.emit.kmm.version import KMM_OPTIONS, Flavour, KmmVersion
from builder.errors import ConfigError
from builder.show.lint import emit_choices, emit_lint, emit_lint_json
from builder.verbs.options import with_options

if TYPE_CHECKING:
    from builder.errors import Mistake
    from builder.verbs.session import Session


@click.group()
def lint() -> None:
    """Check files that people wrote."""


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
    in KMM's order, modprobe, signing, tolerations, host paths, name lengths, keys of Secrets and ConfigMaps in the same
    files. Exit codes: 0 nothing refused, 3 errors.

    \b
    lint kmm module.yaml --kmm 2.7
    lint kmm module.yaml --kernel 5.14.0-427.68.1.el9_4.x86_64+rt
    """
    documents = []
    mistakes: list[Mistake] = []
    for file in files:
        try:
            documents += read_documents(file)
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    result = find_problems(documents, KmmVersion(version), Flavour(flavour))
    choices = choose_images(documents, kernels)
    if as_json:
        session.out.file.write(emit_lint_json(result, choices))
    else:
        session.out.print(emit_lint(result), markup=False, soft_wrap=True)
        if choices:
            session.out.print(emit_choices(choices))
    return ConfigError.exit_code if result.has_errors else 0
