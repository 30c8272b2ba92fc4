"""What certification says of images and bundles, for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from builder.certify.policies import PREFLIGHT, CheckState
from builder.show.table import make_table
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from builder.certify.policies import Certification, CheckVerdict
    from builder.publish.published import LeftOutCell

_STYLE = {
    CheckState.PASSED: "green",
    CheckState.FAILED: "bold red",
    CheckState.ERROR: "bold red",
    CheckState.NOT_JUDGED: "yellow",
}
_MOST_NAMED = 3
_FEW = 3


def emit_certifications(items: Sequence[Certification], left_out: Sequence[LeftOutCell] = ()) -> RenderableType:
    """Return a row for each check of a few subjects; of many, a row for each, and what was not passed once."""
    parts: list[RenderableType] = []
    if len(items) <= _FEW:
        parts += [_emit_one(item) for item in items]
    elif items:
        parts += [_emit_rows(items), _emit_causes(items)]
    for item in left_out:
        parts.append(Text(f"not judged: {item.cell}: {item.why}", style="dim"))
    return Group(*parts)


def _emit_one(item: Certification) -> RenderableType:
    head = Text(f"{item.subject} {item.digest}".rstrip(), style="bold")
    head.append(f"\npolicy {item.policy}: {item.because}", style="not bold")
    table = make_table("", "check", "what was seen")
    for verdict in item.checks:
        table.add_row(Text(_word(verdict), style=_style(verdict)), str(verdict.check), verdict.sentence)
    return Group(head, table)


def _word(verdict: CheckVerdict) -> str:
    return str(verdict.state) if verdict.is_enforced else f"{verdict.state}, not enforced"


def _style(verdict: CheckVerdict) -> str:
    is_harmless = not verdict.is_enforced and verdict.state is not CheckState.PASSED
    return "dim" if is_harmless else _STYLE[verdict.state]


def _emit_rows(items: Sequence[Certification]) -> RenderableType:
    table = make_table("image or bundle", "policy", "result", "checks")
    for item in items:
        word, style = ("refused", "bold red") if item.is_refused else ("passes", "green")
        unjudged = f", {len(item.unjudged)} not judged" if item.unjudged else ""
        passed = sum(verdict.state is CheckState.PASSED for verdict in item.checks)
        table.add_row(item.subject, str(item.policy), Text(word, style=style), f"{passed} passed{unjudged}")
    return table


def _emit_causes(items: Sequence[Certification]) -> Text:
    """Return what did not pass, once for all subjects that share it."""
    shared: dict[CheckVerdict, list[str]] = {}
    for item in items:
        for verdict in item.checks:
            if verdict.state is not CheckState.PASSED:
                shared.setdefault(verdict, []).append(item.subject)
    lines = Text()
    for verdict, subjects in shared.items():
        lines.append(f"{verdict.check} {_word(verdict)}", style=_style(verdict))
        named = ", ".join(subjects[:_MOST_NAMED])
        more = f" and {len(subjects) - _MOST_NAMED} more" if len(subjects) > _MOST_NAMED else ""
        lines.append(f": {verdict.sentence}\n    {named}{more}\n")
    return lines


def emit_certification_summary(items: Sequence[Certification]) -> str:
    """Return all of it in a sentence: what is not judged is no part of what passes."""
    refused = sum(item.is_refused for item in items)
    named = sorted({str(verdict.check) for item in items for verdict in item.unjudged if verdict.is_enforced})
    judged = (
        f"{count(len(items), 'image')} judged by the conditions of {PREFLIGHT}: {refused or 'none'} would be refused"
    )
    left = f"; not judged, because only Red Hat or a cluster can tell: {', '.join(named)}" if named else ""
    return f"{judged}{left}"
