"""The verb emit: one command for each artefact of the table."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.emit.artefact import Order
from builder.emit.artefacts import ARTEFACTS
from builder.errors import EXIT_NOT_READY, EXIT_OK, FormatError
from builder.host.places import open_regular, write_below
from builder.plan.matrix import Selector
from builder.verbs.exit_codes import with_exit_codes
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
            with_exit_codes(command)
            self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Artefacts"):
            formatter.write_dl([(name, row.summary) for name, row in ARTEFACTS.items()])


@click.group(cls=_Artefacts)
def emit() -> None:
    """Write files for clusters and hosts; each artefact has a help of its own.

    \b
    emit kmm --group openshift
    emit operator --help

    Exit codes: 0 all is written; 2 there is nothing to write.
    """


_EXIT_CODES = "Exit codes: 0 written, and what was left out is told; 2 there is nothing to write."


def _make_command(name: str, artefact: Artefact) -> click.Command:
    def run(session: Session, /, *, output: Path, as_json: bool, check: bool, **options: Any) -> int:
        selector = make_selector(options) if artefact.selects else Selector()
        with show_progress(session.err, artefact.waits_for) as progress:
            order = Order(project=session.project, selector=selector, progress=progress, options=options)
            emitted = artefact.emit(order)
        if check:
            return _compare(session, emitted, output, as_json=as_json)
        _tell(session, emitted, output, as_json=as_json)
        return EXIT_OK

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
        click.option(
            "--check", is_flag=True,
            help="Write nothing; name the files that are others than would be written. Exit codes: 0 none, 18 some.",
        ),
    )  # fmt: skip
    for option in reversed(own):
        decorated = option(decorated)
    if artefact.selects:
        decorated = with_selectors(decorated)
    return click.command(name, help=f"{artefact.help}\n{_EXIT_CODES}")(decorated)


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


def _compare(session: Session, emitted: Emitted, folder: Path, *, as_json: bool) -> int:
    """Say which files are not as they would be written; returns the exit code."""
    found = {name: why for name, content in emitted.files.items() if (why := _find_difference(folder / name, content))}
    found |= {old.relative_to(folder).as_posix(): "left from before" for old in _find_old(folder, emitted)}
    if as_json:
        session.out.file.write(emit_json({"format": 1, "stale": found}))
    else:
        for name, why in found.items():
            session.out.print(f"{folder / name}: {why}", markup=False, soft_wrap=True)
    if found:
        session.err.print("the same command without --check writes them", markup=False, soft_wrap=True)
    return EXIT_NOT_READY if found else EXIT_OK


def _find_difference(file: Path, content: str) -> str:
    """Return in words what is the matter with a file; empty where nothing is."""
    try:
        with open_regular(file, most=max(len(content.encode()), 1)) as stream:
            return "" if stream.read() == content.encode() else "not what would be written"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except FormatError as error:
        return f"not what would be written: it {error.message}"


def _remove_old(folder: Path, emitted: Emitted) -> None:
    """Remove files that were written at an earlier time."""
    for old in _find_old(folder, emitted):
        old.unlink()


def _find_old(folder: Path, emitted: Emitted) -> list[Path]:
    """Return files that were written at an earlier time; a folder that is a link is somebody else's."""
    there = folder.resolve()
    found = []
    for old in sorted({file for glob in emitted.owned for file in folder.glob(glob)}):
        place = old.relative_to(folder)
        is_below = old.parent.resolve() == there / place.parent
        if is_below and place.as_posix() not in emitted.files and (old.is_symlink() or not old.is_dir()):
            found.append(old)
    return found
