"""The verb boot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from builder.build.runs import boot_project
from builder.plan.planning import BootOptions
from builder.verbs.options import make_selector, with_selectors
from builder.verbs.results import tell_results

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
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
@click.option("--from-reset", is_flag=True, help="Start each guest's firmware anew: from no snapshot, and take none.")
@click.option(
    "--os-image",
    metavar="IMAGE",
    help="Boot the kernel inside this operating system image of the container store instead of the kernel source's.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Guests at once; default: by cores and memory.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def boot(
    session: Session, /, *, mode: str, accel: str, from_reset: bool, os_image: str | None, jobs: int | None,
    as_json: bool, **selectors: Any,
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

    Exit codes: 0 all passed; 10 an image is not built, or has no kernel to boot; 15 a driver failed; 17 guests did not
    come up, so nothing is known; 20 cells failed in several of these ways.
    """
    options = BootOptions(mode=mode, acceleration=accel, from_reset=from_reset, os_image=os_image)
    report = boot_project(session.project, make_selector(selectors), session.err, jobs=jobs, boot=options)
    return tell_results(session, report, as_json=as_json)
