"""Asks the operator's own program why a node has its driver, or has it not: it decides by the same code in clusters."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from builder.errors import CommandError, FormatError, SourceError, UsageError
from builder.foreign import Parsed, parse_json, read_json

if TYPE_CHECKING:
    from pathlib import Path

    from builder.components.program import ComponentProgram
    from builder.host.run import Outcome

# It looks for half a minute, and for as long at an index.
_ANSWERS_WITHIN_S = 180.0
_BAD_SETTING, _NOT_ANSWERED = 2, 1
_NOT_CONCERNED = frozenset({"NoNode", "NotSelected"})
_READY = "Ready"


class DriverOnNode(Parsed):
    """One object of the vendor's kind; ``state`` is a word of docs/operator.md, or why the node is in none."""

    name: str
    state: str
    sentences: tuple[str, ...]


class ExplainedNode(Parsed):
    """What the program says; ``at`` is the time of what was saved, and None for now."""

    format: Literal[1]
    node: str
    kind: str
    at: str | None
    drivers: tuple[DriverOnNode, ...]

    @property
    def is_concerned(self) -> bool:
        """Whether the node is there and any object asks for a driver on it."""
        return any(one.state not in _NOT_CONCERNED for one in self.drivers)

    @property
    def is_ready(self) -> bool:
        """Whether it has every driver that is asked for."""
        return all(one.state == _READY for one in self.drivers if one.state not in _NOT_CONCERNED)


def explain_node(
    program: ComponentProgram, node: str, *, namespace: str, driver: str = "", saved: Path | None = None
) -> ExplainedNode:
    """Return why a node has its drivers, or has them not.

    Args:
        program: the operator's.
        node: name of a node.
        namespace: the operator's.
        driver: name of one object of the vendor's kind; empty: all.
        saved: file or folder of a cluster that was saved; None: the cluster of the user's kubeconfig.

    Raises:
        UsageError: there is no such file, no kubeconfig, or no operator in the namespace.
        SourceError: the API server refuses or does not answer.
        CommandError: the program did something else.
    """
    # Its own --driver=... form: a name that begins with a dash stays a name.
    words = ["explain", "--json", f"--driver={driver}", *([f"--from={saved}"] if saved else []), "--", node]
    environment = {"KMOD_NAMESPACE": namespace}
    if "KUBECONFIG" in os.environ:
        environment["KUBECONFIG"] = os.environ["KUBECONFIG"]
    outcome = program.run(*words, environment=environment, timeout_s=_ANSWERS_WITHIN_S)
    if outcome.stdout.strip():
        try:
            return parse_json(ExplainedNode, outcome.stdout, "explanation of a node")
        except FormatError as error:
            raise CommandError(f"the operator's program answers nonsense: {error.message}") from None
    said = _last_words(outcome)
    if outcome.exit_code == _BAD_SETTING and said:
        hint = "--from FOLDER explains what was saved; KUBECONFIG says which cluster is asked"
        raise UsageError(said, hint=None if saved else hint)
    if outcome.exit_code == _NOT_ANSWERED and said:
        raise SourceError(said)
    outcome.check()
    raise CommandError("the operator's program answers nothing")


def _last_words(outcome: Outcome) -> str:
    """Return the message of its last line of log; empty where it is none."""
    lines = outcome.stderr.strip().splitlines()
    try:
        return str(read_json(lines[-1], "it").get("message", "")) if lines else ""
    except FormatError:
        return ""
