"""The verbs. Each reads, decides, acts and tells; what it does lives in the module that it names."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from builder import __version__
from builder.build.result import exit_code_of
from builder.build.runs import (
    BootOptions,
    boot_project,
    booted_arches,
    build_project,
    plan_project,
    prune_project,
)
from builder.errors import ConfigError, HostError, UsageError
from builder.host.places import write_below
from builder.kernel import Arch, Variant
from builder.plan.matrix import Selector
from builder.plan.project import Project, open_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from builder.build.doctor import Finding
    from builder.build.runs import BuildReport, FindElsewhere

# Wide enough for a row of every table; a pipe has no width of its own.
_PIPE_WIDTH = 150
# From this width on, tables have room for keys and digests.
WIDE = 100
# A line for every so many things where there is no terminal to draw a bar in.
_EVERY = 100

SELECTORS = (
    click.option("--group", help="Group of kernels from versions.yaml; default: its default_group."),
    click.option("--driver", "drivers", multiple=True, metavar="GLOB", help="Only these drivers; repeatable."),
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


def with_selectors(function: Callable[..., int | None]) -> Callable[..., int | None]:
    for option in reversed(SELECTORS):
        function = option(function)
    return function


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
    if context.info_name not in {"plan", "build", "boot"}:
        return
    session.err.print(
        "untrusted: no host command, no key and no secret is used; images stay unsigned, are named "
        f"localhost/untrusted/..., and never count as others. Results: {context.obj.project.work_dir}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Session:
    """What all verbs share: the project and the two consoles (results to stdout, everything else to stderr)."""

    project: Project
    out: Console
    err: Console


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
def cli(context: click.Context, folder: Path, work_dir: Path | None, svg: Path | None, *, verbose: bool) -> None:
    """Driver containers for every kernel that your customers run.

    \b
    doctor     is this machine ready?  --install makes it so
    discover   ask the kernel sources which kernels there are, write versions.lock.yaml
    matrix     which releases run which kernels, and what is known of each
    upgrade-check  are all images there for a release?
    publish    put images into their registries, tags last and once
    audit      do registries have what was published?
    emit       write files for clusters and hosts: kmm, policy
    lint       check YAML for KMM without a cluster
    bundle     write published images into one file, for sites without a network; bundle load brings it there
    verify     check an image of a registry, and all that is said of it, with a public key
    nightly    discover, then build and publish what is missing; safe to run every hour
    plan       what would be built, and why
    build      build it
    boot       load what is built on its own kernels, in virtual machines
    log        show the build log of a cell
    schema     the reference of versions.yaml
    prune      remove images that no cell needs any more
    fit        prove that an image's modules would load on its kernel
    sign       sign modules, or the modules of an image
    keys       make a development key, show certificates and the signing log
    compat     on which other kernels would the built modules load?
    drift      what changed between two kernels for a driver
    """
    from builder.build.reporter import set_up_logging  # noqa: PLC0415 - rich.live is not needed to print help

    err = Console(stderr=True, highlight=False)
    set_up_logging(err, verbose=verbose)
    out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH, record=svg is not None)
    if svg is not None:
        context.call_on_close(lambda: out.save_svg(str(svg), title=f"kmodsmith {context.invoked_subcommand}"))
    context.obj = Session(project=open_project(folder, work_dir), out=out, err=err)


_BOOT_OPTION = click.option(
    "--boot", "when", type=click.Choice(["always", "changed", "never"]),
    help="Which cells are loaded on their kernels; default: build.boot of versions.yaml.",
)  # fmt: skip


@cli.command()
@with_selectors
@click.option("--force", is_flag=True, help="Plan to build even what is up to date.")
@_BOOT_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def plan(session: Session, /, *, force: bool, when: str | None, as_json: bool, **selectors: Any) -> None:
    """Show what would be built, and why; builds nothing.

    \b
    plan                             the default group
    plan --group debian --json       everything, for a program
    plan --kernel '6.12*' --variant rt
    """
    from builder.show.report import emit_plan_json  # noqa: PLC0415 - see cli()
    from builder.show.table import emit_plan_summary, emit_plan_table  # noqa: PLC0415

    planned = plan_project(session.project, make_selector(selectors), force=force, boot=BootOptions(when=when))
    if as_json:
        session.out.file.write(emit_plan_json(planned.plan, planned.predicted_s, planned.workers))
        return
    session.out.print(emit_plan_table(planned.plan, wide=session.out.width >= WIDE))
    session.out.print(emit_plan_summary(planned.plan, planned.predicted_s, planned.workers), markup=False)


@cli.command()
@with_selectors
@click.option("--force", is_flag=True, help="Build even what is up to date.")
@click.option("--jobs", type=click.IntRange(min=1), help="Cells at once; default: by cores and memory.")
@click.option("--locked", is_flag=True, help="Fail rather than refresh a lock whose packages the archive dropped.")
@click.option(
    "--unless-published", is_flag=True, help="Leave alone what its registry has already, made from the same inputs."
)
@_BOOT_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def build(
    session: Session, /, *, force: bool, jobs: int | None, locked: bool, unless_published: bool, when: str | None,
    as_json: bool, **selectors: Any,
) -> int:  # fmt: skip
    """Build the driver container of every selected cell that is not up to date.

    Results are also written to results.json and junit.xml in the work folder. Killed or interrupted, the same
    command goes on where it was. Exit codes: 0 all there, 10-17 cells failed in one class, 20 in several.
    """
    elsewhere: FindElsewhere | None = None
    if unless_published:
        from builder.publish.elsewhere import find_elsewhere  # noqa: PLC0415 - httpx takes long to import

        elsewhere = find_elsewhere
    report = build_project(
        session.project, make_selector(selectors), session.err, force=force, jobs=jobs, locked=locked,
        boot=BootOptions(when=when), elsewhere=elsewhere,
    )  # fmt: skip
    return tell_results(session, report, as_json=as_json)


@cli.command()
@with_selectors
@click.option(
    "--mode",
    type=click.Choice(["auto", "secure", "plain"]),
    default="auto",
    show_default=True,
    help="secure: UEFI Secure Boot and lockdown; plain: none of it; auto: as versions.yaml says for each driver.",
)
@click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="auto: KVM where a small guest answers, else software emulation (tcg).",
)
@click.option(
    "--os-image",
    metavar="IMAGE",
    help="Boot the kernel inside this operating system image of the container store instead of the kernel source's.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Guests at once; default: by cores and memory.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def boot(
    session: Session, /, *, mode: str, accel: str, os_image: str | None, jobs: int | None, as_json: bool,
    **selectors: Any,
) -> int:  # fmt: skip
    """Load the modules of every selected cell on its own kernel, in a virtual machine, and test them.

    The image must be built. Its very kernel is started with Secure Boot and lockdown; unsigned copies and copies signed
    by a key that nobody enrolled must be refused, the modules must load, pass the driver's smoke test, unload and leave
    nothing behind, and the kernel must not complain. The console of each guest is in cells/CELL/boot.log of the work
    folder, every step with its time in boot.json beside it.

    \b
    boot                                       the default group
    boot --kernel '6.12*' --variant rt
    boot --kernel 6.1.0-56-amd64 --mode plain  without Secure Boot: twice as fast
    """
    options = BootOptions(mode=mode, acceleration=accel, os_image=os_image)
    report = boot_project(session.project, make_selector(selectors), session.err, jobs=jobs, boot=options)
    return tell_results(session, report, as_json=as_json)


def tell_results(session: Session, report: BuildReport, *, as_json: bool | None) -> int:
    """Print results (not if ``as_json`` is None), write them to the work folder, and return the exit code."""
    from builder.show.junit import emit_junit  # noqa: PLC0415 - see cli()
    from builder.show.report import emit_results_json  # noqa: PLC0415
    from builder.show.table import emit_results_summary, emit_results_table  # noqa: PLC0415

    project = session.project
    as_text = emit_results_json(report.results, run_id=report.run_id, wall_s=report.wall_s)
    if report.run_id:
        (project.work_dir / "results.json").write_text(as_text)
        (project.work_dir / "junit.xml").write_text(emit_junit(report.results))
    if as_json:
        session.out.file.write(as_text)
    elif as_json is not None:
        session.out.print(emit_results_table(report.results, wide=session.out.width >= WIDE))
        session.out.print(emit_results_summary(report.results, report.wall_s), markup=False)
    return exit_code_of(report.results)


@cli.command()
@click.argument("cell", required=False)
@click.pass_obj
def log(session: Session, cell: str | None) -> None:
    """Print the build log of a cell (its id, or a kernel); without one, of the last cell that failed."""
    cells = session.project.journal.cells
    wanted = [item for item in cells.values() if cell in {item.cell, item.kernel}] if cell else [
        item for item in cells.values() if item.failure
    ]  # fmt: skip
    if not wanted:
        raise UsageError(f"no build of {cell!r} is known" if cell else "no failed build is known")
    latest = max(wanted, key=lambda item: item.finished)
    file = session.project.work_dir / latest.log
    if not file.is_file():
        raise UsageError(f"the log {file} is no longer there")
    session.out.file.write(file.read_text(errors="replace"))


@cli.command()
@click.option("--install", is_flag=True, help="Install what is missing, where this user may.")
@click.option("--boot", is_flag=True, help="Look also at what boot tests need, of all architectures.")
@click.option("--tests", is_flag=True, help="Look also at what the project's own tests need.")
@click.option("--quiet", is_flag=True, help="Print only what is not in order.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def doctor(session: Session, *, install: bool, boot: bool, tests: bool, quiet: bool, as_json: bool) -> int:
    """Check whether this machine can build, and say what to do where it cannot.

    What boot tests need is looked at where versions.yaml wants them (build.boot), for the default group. A certificate
    of a signer that expires within 30 days, or may not sign, is a warning.
    """
    from builder.build.doctor import BOOT_TOOLS, FindingStatus, examine, install_missing  # noqa: PLC0415 - see cli()

    cache_dir = session.project.cache_dir
    arches = tuple(BOOT_TOOLS) if boot or tests else booted_arches(session.project)
    findings = examine(cache_dir, tests=tests, boot=arches)
    if install and install_missing(findings, say=lambda text: session.err.print(text, markup=False)):
        findings = examine(cache_dir, tests=tests, boot=arches)
    findings += _look_at_certificates(session.project)
    if as_json:
        session.out.file.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    else:
        for finding in findings:
            if not quiet or finding.status is not FindingStatus.OK:
                session.out.print(str(finding), markup=False, soft_wrap=True)
    return 0 if all(finding.is_fine for finding in findings) else HostError.exit_code


def _look_at_certificates(project: Project) -> list[Finding]:
    try:
        config = project.config
    except ConfigError:  # what builds will say so, as for booted_arches
        return []
    if not config.signers or project.untrusted:
        return []
    from builder.build.doctor_certificates import examine_certificates  # noqa: PLC0415 - cryptography takes long to import

    return examine_certificates(config, now=datetime.now(UTC))


@cli.command()
@click.option("--write", is_flag=True, help="Write versions.schema.json and docs/versions-yaml.md.")
@click.pass_obj
def schema(session: Session, *, write: bool) -> None:
    """Print the JSON schema of versions.yaml, or write it and the reference page."""
    from builder.emit.reference import emit_reference, emit_schema  # noqa: PLC0415 - see cli()

    if not write:
        session.out.file.write(emit_schema())
        return
    folder = session.project.file.parent
    write_below(folder, "versions.schema.json", emit_schema())
    write_below(folder, "docs/versions-yaml.md", emit_reference())


@cli.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.pass_obj
def prune(session: Session, *, dry_run: bool) -> None:
    """Remove toolkits, cells and compile results that no group of versions.yaml needs any more.

    Other projects that share the store make theirs again when they need them.
    """
    names = prune_project(session.project, dry_run=dry_run)
    for name in names:
        session.out.print(name, markup=False)
    session.out.print(f"{len(names)} {'would be ' if dry_run else ''}removed", markup=False)


@contextmanager
def show_progress(err: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Give what shows how far long work is: a bar in a terminal, now and then a line elsewhere."""
    from rich.progress import Progress as Bar  # noqa: PLC0415 - see cli()

    if not sys.stderr.isatty():

        def say(done: int, total: int) -> None:
            if done % _EVERY == 0 or (done == total and total >= _EVERY):
                err.print(f"{done} of {total} {what}", markup=False)

        yield say
        return
    with Bar(console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def make_selector(options: dict[str, Any]) -> Selector:
    return Selector(
        group=options["group"],
        drivers=options["drivers"],
        kernels=options["kernels"],
        arches=tuple(Arch(name) for name in options["arches"]),
        variants=tuple(Variant(name) for name in options["variants"]),
    )
