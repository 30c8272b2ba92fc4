"""What exit codes say, for the help of every verb: its own stand in its text, those that all have in common here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.errors import (
    EXIT_DEFECT,
    EXIT_INTERRUPTED,
    BusyError,
    CommandError,
    ConfigError,
    FormatError,
    HostError,
    LockFileError,
    SignerError,
    SourceError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMON: Mapping[int, str] = {
    EXIT_DEFECT: "a defect of kmodsmith",
    UsageError.exit_code: "a wrong command line",
    ConfigError.exit_code: "mistakes in versions.yaml",
    LockFileError.exit_code: "no versions.lock.yaml, or a damaged one",
    BusyError.exit_code: "another run is at work",
    HostError.exit_code: "the machine lacks something",
    SourceError.exit_code: "a source, registry or cluster did not answer",
    FormatError.exit_code: "something is damaged",
    SignerError.exit_code: "a signer cannot sign",
    CommandError.exit_code: "the infrastructure failed",
    EXIT_INTERRUPTED: "interrupted",
}


def with_exit_codes(verb: click.Command) -> None:
    """Put what all verbs have in common below the help of a verb, and of all verbs below it."""
    verb.epilog = f"Every verb: {'; '.join(f'{code} {meaning}' for code, meaning in COMMON.items())}."
    for inner in verb.commands.values() if isinstance(verb, click.Group) else ():
        with_exit_codes(inner)
