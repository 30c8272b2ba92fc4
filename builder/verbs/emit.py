"""The verb emit: one command for each artefact of the table."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.emit.artefact import Order
from builder.emit.artefacts import ARTEFACTS
from builder.host.places import write_below
from builder.plan.matrix import Selector
from builder.verbs.options import as_click, make_selector, with_selectors, with_trust
from builder.verbs.session import Session, show_progress
from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.emit.artefact import Artefact, Emitted


class _Artefacts(click.Group):
    """Commands made of the table; an artefact is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(ARTEFACTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in ARTEFACTS and cmd_name not in self.commands:
            command = _make_command(cmd_name, import_module(ARTEFACTS[cmd_name].module).ARTEFACT)
            with_trust(command, needs_trust=False)
            self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Artefacts"):
            formatter.write_dl([(name, row.summary) for name, row in ARTEFACTS.items()])


@click.group(cls=_Artefacts)
def emit() -> None:
    """Write files for clusters and hosts."""


def _make_command(name: str, artefact: Artefact) -> click.Command:
    def run(session: Session, /, *, output: Path, as_json: bool, **options: Any) -> None:
        selector = make_selector(options) if artefact.selects else Selector()
        with show_progress(session.err, artefact.waits_for) as progress:
            order = Order(project=session.project, selector=selector, progress=progress, options=options)
            emitted = artefact.emit(order)
        _tell(session, emitted, output, as_json=as_json)

    decorated: Callable[..., Any] = click.pass_obj(run)
    own: tuple[Callable[..., Any], ...] = (
        *map(as_click, artefact.options),
        click.option(
            "--output", type=click.Path(file_okay=False, path_type=Path), default=Path(artefact.folder),
            show_default=True, help="Where they go.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Print the files' names and contents as JSON; writes nothing."
        ),
    )  # fmt: skip
    for option in reversed(own):
        decorated = option(decorated)
    if artefact.selects:
        decorated = with_selectors(decorated)
    return click.command(name, help=artefact.help)(decorated)


def _tell(session: Session, emitted: Emitted, folder: Path, *, as_json: bool) -> None:
    """Write files, or print them as JSON."""
    for sentence in emitted.left_out:
        session.err.print(f"left out: {sentence}", markup=False, soft_wrap=True)
    for sentence in emitted.told:
        session.err.print(sentence, markup=False, soft_wrap=True)
    if as_json:
        session.out.file.write(emit_json({"format": 1, "files": dict(emitted.files)}))
        return
    for name, content in emitted.files.items():
        file = write_below(folder, name, content)
        session.out.print(str(file), markup=False, soft_wrap=True)
    _remove_old(folder, emitted)


def _remove_old(folder: Path, emitted: Emitted) -> None:
    """Remove files that were written at an earlier time; a folder that is a link is somebody else's."""
    there = folder.resolve()
    for old in {file for glob in emitted.owned for file in folder.glob(glob)}:
        place = old.relative_to(folder)
        is_below = old.parent.resolve() == there / place.parent
        if is_below and place.as_posix() not in emitted.files and (old.is_symlink() or not old.is_dir()):
            old.unlink()
