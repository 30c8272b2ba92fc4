"""Entry point and the one place that turns errors into text and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from builder.errors import EXIT_DEFECT, EXIT_INTERRUPTED, EXIT_OK, HostError, KmodsmithError
from builder.evidence.blame import describe_os_error, machine_fault
from builder.host.run import stop_all
from builder.verbs.root import root
from builder.verbs.session import SafeConsole

if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from rich.console import Console


_PROGRAM = "kmodsmith"
_COMPLETE = "_KMODSMITH_COMPLETE"


def main() -> NoReturn:
    sys.exit(run_cli(sys.argv[1:]))


def run_cli(arguments: list[str]) -> int:
    """Run one verb and return the exit code; see ``builder.errors`` for what the codes mean."""
    errors = SafeConsole(stderr=True, highlight=False)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        # A shell completes the words of a program, and that has a name of its own.
        program = _PROGRAM if _COMPLETE in os.environ else "python -m builder"
        result = root.main(args=arguments, prog_name=program, complete_var=_COMPLETE, standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KmodsmithError as error:
        errors.print(f"error: {error.message}", style="bold red", markup=False, soft_wrap=True)
        if error.hint:
            errors.print(f"hint: {error.hint}", markup=False, soft_wrap=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        stop_all()
        errors.print("interrupted: what was finished is kept, the same command goes on from there", style="bold")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_OK
    except Exception as error:  # noqa: BLE001 - nobody sees a traceback unless asking for it
        return _tell_unforeseen(error, errors)
    return result if isinstance(result, int) else EXIT_OK


def _tell_unforeseen(error: Exception, errors: Console) -> int:
    """Tell of an error that nobody meant: a file that cannot be read or written is the machine's, the rest is ours."""
    if machine_fault(error):
        what = describe_os_error(error) if isinstance(error, OSError) else "there is not enough memory"
        hint = "look at that place, its rights and its disk; what was finished is kept, the same command goes on"
        errors.print(f"error: {what}", style="bold red", markup=False, soft_wrap=True)
        errors.print(f"hint: {hint}", markup=False, soft_wrap=True)
        code = HostError.exit_code
    else:
        text = f"defect in kmodsmith: {type(error).__name__}: {error}"
        errors.print(text, style="bold red", markup=False, soft_wrap=True)
        errors.print("please report it; KMODSMITH_TRACEBACK=1 shows where it happened")
        code = EXIT_DEFECT
    if "KMODSMITH_TRACEBACK" in os.environ:
        errors.print_exception()
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
