"""The command itself: what all verbs take, and the table of verbs. A verb's module is loaded when it is called."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder import __version__
from builder.verbs.exit_codes import with_exit_codes
from builder.verbs.options import with_trust
from builder.verbs.session import PIPE_WIDTH, SafeConsole, Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A verb as ``--help`` lists it; its command is in the module of its name.

    One that ``needs_trust`` is refused with ``--untrusted``: it writes where others read, opens keys, uses secrets, or
    removes what trusted runs made.
    """

    summary: str
    needs_trust: bool = False


VERBS: Mapping[str, Verb] = {
    "init": Verb(summary="put your driver into versions.yaml, in the place of the sample"),
    "doctor": Verb(summary="is this machine ready?  --install makes it so"),
    "discover": Verb(summary="ask the kernel sources which kernels there are, write versions.lock.yaml"),
    "matrix": Verb(summary="which releases run which kernels, and what is known of each"),
    "plan": Verb(summary="what would be built, and why"),
    "build": Verb(summary="build it"),
    "shard": Verb(summary="carry out one shard of a plan that was sent to a registry"),
    "gate": Verb(summary="what came of a plan that many machines carried out"),
    "follow": Verb(summary="a run of a pipeline on a cluster, as one table", needs_trust=True),
    "boot": Verb(summary="load what is built on its own kernels, in virtual machines"),
    "log": Verb(summary="show the build log of a cell"),
    "site": Verb(summary="write pages of all that is on record, to look at and to send on"),
    "publish": Verb(summary="put images into their registries, tags last and once", needs_trust=True),
    "audit": Verb(summary="do registries have what was published?"),
    "verify": Verb(summary="check an image of a registry, and all that is said of it, with a public key"),
    "certify": Verb(summary="would Red Hat's preflight pass the images and the operator's bundle?"),
    "checklist": Verb(summary="are the questions answered that are asked of a vendor before certification?"),
    "upgrade-check": Verb(summary="are all images there for a release?"),
    "nightly": Verb(summary="discover, build and publish what is missing; safe to run every hour", needs_trust=True),
    "emit": Verb(summary="write files for clusters and hosts: kmm, policy, tekton"),
    "explain": Verb(summary="why does a node of a cluster have its driver, or why not?", needs_trust=True),
    "submit": Verb(summary="start a pipeline on the cluster that this is a pod of", needs_trust=True),
    "lint": Verb(summary="check YAML for KMM, and bundles of operators, without a cluster"),
    "bundle": Verb(
        summary="one file of images for sites without a network; bundle load brings it in", needs_trust=True
    ),
    "fit": Verb(summary="prove that an image's modules would load on its kernel"),
    "compat": Verb(summary="on which other kernels would the built modules load?"),
    "drift": Verb(summary="what changed between two kernels for a driver"),
    "keys": Verb(summary="make a development key, show certificates and the signing log", needs_trust=True),
    "sign": Verb(summary="sign modules, or the modules of an image", needs_trust=True),
    "schema": Verb(summary="the reference of versions.yaml"),
    "prune": Verb(summary="remove images that no cell needs any more", needs_trust=True),
}


class Verbs(click.Group):
    """A group whose commands are imported when they are called: ``--help`` needs none, and a verb only its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.commands:
            word = cmd_name.replace("-", "_")
            command: click.Command = getattr(import_module(f"builder.verbs.{word}"), word)
            with_trust(command, needs_trust=VERBS[cmd_name].needs_trust)
            with_exit_codes(command)
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--project", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(),
    help="Folder with versions.yaml; default: this one.",
)  # fmt: skip
@click.option(
    "--work-dir", type=click.Path(file_okay=False, path_type=Path), envvar="KMODSMITH_WORK_DIR",
    help="Journal, logs and results; default: .kmodsmith in the project.",
)  # fmt: skip
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also save what is printed as a picture, for documents.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every command that is run.")
@click.version_option(__version__, prog_name="kmodsmith")
@click.pass_context
def root(context: click.Context, folder: Path, work_dir: Path | None, svg: Path | None, *, verbose: bool) -> None:
    """Driver containers for every kernel that your customers run."""
    from builder.plan.project import open_project  # noqa: PLC0415 - half of the time that --help would take

    err = SafeConsole(stderr=True, highlight=False)
    _set_up_logging(err, verbose=verbose)
    out = SafeConsole(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH, record=svg is not None)
    if svg is not None:
        context.call_on_close(lambda: out.save_svg(str(svg), title=f"kmodsmith {context.invoked_subcommand}"))
    context.obj = Session(project=open_project(folder, work_dir), out=out, err=err)


def _set_up_logging(console: Console, *, verbose: bool) -> None:
    """Send the log to stderr: warnings always, commands and their ends with ``--verbose``."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)

    root = logging.getLogger("builder")
    root.handlers = [Handler()]
    root.setLevel(logging.DEBUG if verbose else logging.WARNING)
    root.propagate = False
