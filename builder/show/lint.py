"""Findings in YAML for KMM, for people and for programs. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from builder.show.table import make_table
from builder.writing import count, emit_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from builder.emit.kmm.lint import ImageChoice, LintResult

FORMAT_VERSION = 1


def emit_lint(result: LintResult, what: str = "KMM") -> str:
    """Return a line for each finding, as compilers write them, and a line that counts objects of ``what``."""
    lines = [
        f"{item.mistake.file}:{item.mistake.line}:{item.mistake.column}: {item.severity}: "
        f"{f'{item.field}: ' if item.field else ''}{item.mistake.message} [{item.code}]"
        for item in sorted(result.findings, key=lambda item: item.mistake)
    ]
    counts = Counter(str(item.severity) for item in result.findings)
    parts = ", ".join(count(number, severity) for severity, number in sorted(counts.items())) or "nothing wrong"
    if result.is_empty:
        seen = ", ".join(f"{number} {kind}" for kind, number in sorted(result.others.items())) or "no object at all"
        parts = f"nothing to judge; there is {seen}"
    return "\n".join([*lines, f"{count(result.objects, 'object')} of {what}: {parts}"])


def emit_choices(choices: Sequence[ImageChoice]) -> RenderableType:
    table = make_table("module", "kernel", "mapping", "image")
    for item in choices:
        number = "none" if item.mapping is None else f"kernelMappings[{item.mapping}]"
        table.add_row(item.module, item.kernel, number, item.image or "its nodes are left alone")
    return table


def emit_lint_json(result: LintResult, choices: Sequence[ImageChoice] = ()) -> str:
    findings = [
        {
            "file": str(item.mistake.file),
            "line": item.mistake.line,
            "column": item.mistake.column,
            "path": item.mistake.path,
            "object": item.subject,
            "severity": item.severity,
            "code": item.code,
            "message": item.mistake.message,
        }
        for item in result.findings
    ]
    chosen = [
        {"module": item.module, "kernel": item.kernel, "mapping": item.mapping, "image": item.image} for item in choices
    ]
    data = {
        "format": FORMAT_VERSION,
        "objects": result.objects,
        "others": dict(result.others),
        "findings": findings,
        "choices": chosen,
    }
    return emit_json(data)
