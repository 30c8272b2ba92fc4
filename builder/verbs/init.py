"""The verb init."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.errors import UsageError
from builder.init.known import Wish
from builder.init.start import StartOptions, start_project
from builder.pullspec import find_repository_problem
from builder.show.init import emit_start, emit_start_json

if TYPE_CHECKING:
    from builder.verbs.session import Session

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")
_LONGEST_VENDOR = 100
_LONGEST_DOMAIN = 180


@click.command()
@click.option(
    "--source", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True,
    help="Folder with the driver's source; nothing in it is run, and nothing written to it.",
)  # fmt: skip
@click.option("--vendor", required=True, help="Your company, as images name it: 'My Company'.")
@click.option("--name", default="", help="Name of the driver; default: that of its dkms.conf or folder.")
@click.option("--domain", default="", help="Your domain, mycompany.com: for the operator's group and the contact.")
@click.option("--image", default="", help="Where images will be published: quay.io/mycompany/mydriver.")
@click.option("--in-place", is_flag=True, help="Name the source where it lies, rather than copy it into the project.")
@click.option("--force", is_flag=True, help="Change also files that git cannot bring back, and an entry that is there.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print guesses, questions and changes as JSON.")
@click.pass_obj
def init(
    session: Session, /, *, source: Path, vendor: str, name: str, domain: str, image: str, in_place: bool, force: bool,
    dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Put your driver into versions.yaml: look at its source, guess what can be guessed, ask the rest.

    In a fork of this repository it takes the place of the sample driver: in versions.yaml, and in the documents that
    show the sample's names. In an empty folder a whole project is begun. Guesses are told with their reasons, what
    nobody could guess as questions with the key that answers them; the first build runs before they are answered. A
    file is changed only if git has it as it is, so that nothing is lost. docs/init.md has more.

    \b
    init --vendor 'My Company' --source ../driver --dry-run
    init --vendor 'My Company' --source ../driver --name mydriver --domain mycompany.com
    init --vendor 'My Company' --source ../driver --in-place --json

    Exit codes: 0 done, or nothing to do; 2 the source cannot be used, or a file would be lost; 3 versions.yaml has
    mistakes; 5 another run is at work in the project.
    """
    wish = _check(Wish(vendor=" ".join(vendor.split()), name=name, domain=domain.lower(), image=image))
    options = StartOptions(in_place=in_place, force=force, dry_run=dry_run)
    start = start_project(session.project, source, wish, options)
    if as_json:
        session.out.file.write(emit_start_json(start, dry_run=dry_run))
        return
    for part in emit_start(start, dry_run=dry_run):
        session.out.print(part, soft_wrap=True)


def _check(wish: Wish) -> Wish:
    """Check what the person said, before anything is read.

    Raises:
        UsageError: it cannot stand where it would stand.
    """
    if not wish.vendor or not wish.vendor.isprintable() or len(wish.vendor) > _LONGEST_VENDOR:
        raise UsageError(
            "--vendor is empty, longer than 100 characters, or not printable", hint="--vendor 'My Company'"
        )
    if wish.name and not _NAME.fullmatch(wish.name):
        what = "small letters, digits and '-', a letter or digit first and last, at most 39 characters"
        raise UsageError(f"--name {wish.name!r} cannot be the name of a driver: {what}")
    if wish.domain and (not _DOMAIN.fullmatch(wish.domain) or len(wish.domain) > _LONGEST_DOMAIN):
        raise UsageError(f"--domain {wish.domain!r} is no domain", hint="one of yours with a dot in it: mycompany.com")
    if wish.image and (problem := find_repository_problem(wish.image)):
        raise UsageError(f"--image: {problem}")
    return wish
