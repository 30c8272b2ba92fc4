"""Options of several verbs: what is selected, and what is trusted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.errors import UsageError
from builder.kernel import Arch, Variant
from builder.plan.matrix import Selector
from builder.verbs.completion import complete_drivers, complete_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from builder.components.decide import ComponentSelector
    from builder.emit.artefact import Option
    from builder.plan.project import Project
    from builder.verbs.session import Session


SELECTORS = (
    click.option(
        "--group",
        help="Group of kernels from versions.yaml; default: its default_group.",
        shell_complete=complete_groups,
    ),
    click.option(
        "--driver",
        "drivers",
        multiple=True,
        metavar="GLOB",
        help="Only these drivers; repeatable.",
        shell_complete=complete_drivers,
    ),
    click.option(
        "--kernel",
        "kernels",
        multiple=True,
        metavar="GLOB",
        help="Only these kernels (uname -r); repeatable.",
    ),
    click.option(
        "--arch",
        "arches",
        multiple=True,
        type=click.Choice([arch.value for arch in Arch]),
        help="Only this architecture.",
    ),
    click.option(
        "--variant",
        "variants",
        multiple=True,
        type=click.Choice([variant.value for variant in Variant]),
        help="Only this variant.",
    ),
)

COMPONENT_OPTION = click.option(
    "--component", "components", multiple=True, metavar="GLOB",
    help="Only component images of these names, and no cells; repeatable. Without any selection, all of both.",
)  # fmt: skip

BOOT_OPTION = click.option(
    "--boot", "when", type=click.Choice(["always", "changed", "never"]),
    help="Which cells are loaded on their kernels; default: build.boot of versions.yaml.",
)  # fmt: skip

RETRY_OPTION = click.option(
    "--retry-failed", is_flag=True, help="Compile also what failed to compile before, though nothing of it changed."
)


def with_selectors(function: Callable[..., int | None]) -> Callable[..., int | None]:
    for option in reversed(SELECTORS):
        function = option(function)
    return function


def as_click(option: Option) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Return what adds an option of an artefact to a command."""
    if option.values:
        return click.option(
            option.flag, option.name, type=click.Choice([str(value) for value in option.values]),
            default=str(option.default), show_default=True, help=option.help,
        )  # fmt: skip
    return click.option(option.flag, option.name, multiple=True, metavar=option.metavar, help=option.help)


def with_options(options: Sequence[Option]) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    def add(function: Callable[..., int | None]) -> Callable[..., int | None]:
        for option in reversed(options):
            function = as_click(option)(function)
        return function

    return add


def with_trust(verb: click.Command, *, needs_trust: bool) -> None:
    """Give a verb, and all verbs below it, the options that say what of a project is trusted; it sees none of them."""
    allow = click.Option(
        ["--allow-outside"], multiple=True, metavar="DIR", expose_value=False, callback=_allow_outside,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="versions.yaml may name things in this folder, too, not only in its own; repeatable.",
    )  # fmt: skip
    distrust = click.Option(
        ["--untrusted"], is_flag=True, expose_value=False, envvar="KMODSMITH_UNTRUSTED",
        callback=partial(_distrust, needs_trust=needs_trust),
        help="versions.yaml is a stranger's: no host commands, no signers, no secrets. Also: KMODSMITH_UNTRUSTED=1.",
    )  # fmt: skip
    verb.params += [allow, distrust]
    for inner in verb.commands.values() if isinstance(verb, click.Group) else ():
        with_trust(inner, needs_trust=needs_trust)


def _allow_outside(context: click.Context, _option: click.Parameter, folders: tuple[Path, ...]) -> None:
    session: Session = context.obj
    if folders:
        outside = (*session.project.outside, *(folder.absolute() for folder in folders))
        context.obj = replace(session, project=replace(session.project, outside=outside))


def _distrust(context: click.Context, _option: click.Parameter, wanted: bool, *, needs_trust: bool) -> None:
    session: Session = context.obj
    if not wanted or session.project.untrusted:
        return
    if needs_trust:
        raise UsageError(
            f"'{context.info_name}' cannot be done with --untrusted: it needs keys, secrets, or images that others use",
            hint="run it where versions.yaml was reviewed; see docs/security.md",
        )
    context.obj = replace(session, project=session.project.distrust())
    if context.info_name not in {"plan", "build", "shard", "boot"}:
        return
    session.err.print(
        "untrusted: no host command, no key and no secret is used; images stay unsigned, are named "
        f"localhost/untrusted/..., and never count as others. Results: {context.obj.project.work_dir}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def choose_components(project: Project, options: dict[str, Any], names: tuple[str, ...]) -> ComponentSelector | None:
    """Return which component images are meant; None where kernels or drivers were named, or there are no components.

    Raises:
        UsageError: both were named.
    """
    of_cells = [name for name in ("group", "driver", "kernel", "variant") if options[_KEYS.get(name, name)]]
    if names and of_cells:
        raise UsageError(f"--component and --{of_cells[0]} exclude each other: component images have no kernels")
    if of_cells or not (names or project.config.components):
        return None
    from builder.components.decide import ComponentSelector  # noqa: PLC0415 - projects without them pay nothing

    return ComponentSelector(names=names, arches=tuple(Arch(name) for name in options["arches"]))


_KEYS = {"driver": "drivers", "kernel": "kernels", "variant": "variants"}


def make_selector(options: dict[str, Any]) -> Selector:
    return Selector(
        group=options["group"],
        drivers=options["drivers"],
        kernels=options["kernels"],
        arches=tuple(Arch(name) for name in options["arches"]),
        variants=tuple(Variant(name) for name in options["variants"]),
    )
