"""Proofs of fit, the signing log and comparisons of kernels, for people and for programs. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from builder.writing import count, emit_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from builder.build.prove import Proof
    from builder.kmod.compat import Compatibility, Drift

_MOST_NAMES = 6


def emit_proof(proof: Proof) -> RenderableType:
    """Return a row for each module, and every finding below."""
    table = _table("module", "vermagic", "symbols", "depends", "sha256")
    for module in proof.modules:
        table.add_row(module.name, module.vermagic, str(module.imports), ", ".join(module.depends), module.sha256[:12])
    lines = Text()
    for finding in proof.findings:
        lines.append(f"{finding.check}", style="bold red")
        lines.append(f" {finding.subject}\n    {finding.sentence}\n")
    if not proof.findings:
        signed = f"signed by {', '.join(item[:16] for item in proof.signers)}" if proof.signers else "not signed"
        lines.append("fits", style="green")
        lines.append(f" {proof.kernel}, {signed}")
    return Group(table, lines)


def emit_proof_json(proof: Proof) -> str:
    return emit_json(asdict(proof) | {"fits": not proof.findings})


def emit_signing_log(entries: Sequence[Mapping[str, str]]) -> RenderableType:
    table = _table("time", "signer", "module", "digest", "cell")
    made = [entry for entry in entries if "torn_bytes" not in entry]
    for entry in entries:
        if "torn_bytes" in entry:
            table.add_row(entry["time"], "", f"an incomplete line of {entry['torn_bytes']} bytes was set aside", "", "")
            continue
        marked = f"{entry['signer']} (development)" if entry.get("development") == "yes" else entry["signer"]
        digest = f"{entry['algorithm']}:{entry['digest'][:12]}"
        table.add_row(entry["time"], marked, entry["module"], digest, entry["cell"])
    return Group(table, Text(f"{count(len(made), 'signature')}; no line was changed or removed"))


def emit_compat(verdicts: Mapping[str, Sequence[Compatibility]]) -> RenderableType:
    """Return a table kernel by kernel for each driver, and below it the symbols that stand in the way.

    Columns carry numbers: thirty kernel versions fit into no terminal. ``+`` loads, a number counts the symbols
    that changed or are missing, ``x`` stands for an obstacle that no symbol is: another architecture, other flags.
    """
    parts: list[RenderableType] = []
    for driver, items in verdicts.items():
        numbers = {kernel: number for number, kernel in enumerate(dict.fromkeys(item.kernel for item in items), 1)}
        rows: dict[str, dict[str, Compatibility]] = {}
        for item in items:
            rows.setdefault(item.compiled_for, {})[item.kernel] = item
        table = _table("", f"{driver}, compiled for", *(str(number) for number in numbers.values()))
        for compiled_for, row in rows.items():
            marks = [_mark(row[kernel]) for kernel in numbers]
            table.add_row(str(numbers.get(compiled_for, "")), compiled_for, *marks)
        parts += [table, _list_causes(items)]
    parts.append(
        Text("+ loads   number: symbols that changed or are missing   x: other architecture or vermagic flags")
    )
    return Group(*parts)


def emit_compat_json(verdicts: Mapping[str, Sequence[Compatibility]]) -> str:
    return emit_json(
        {driver: [asdict(item) | {"loads": item.loads} for item in items] for driver, items in verdicts.items()}
    )


def emit_drift(drifts: Mapping[str, Sequence[Drift]], before: str, after: str) -> RenderableType:
    parts: list[RenderableType] = []
    for driver, items in drifts.items():
        if not items:
            parts.append(Text(f"{driver}: none of the symbols that it uses differs between {before} and {after}"))
            continue
        table = _table(f"{driver} uses", "change", before, after)
        for item in items:
            table.add_row(item.symbol, item.change, item.before, item.after)
        parts.append(table)
    return Group(*parts)


def _mark(verdict: Compatibility) -> Text:
    if verdict.loads:
        return Text("+", style="green")
    if verdict.other:
        return Text("x", style="dim")
    return Text(str(len(verdict.changed) + len(verdict.missing)), style="red")


def _list_causes(items: Sequence[Compatibility]) -> Text:
    """Name the symbols that stand in the way most often."""
    counts: dict[str, int] = {}
    for item in items:
        if not item.other:
            for symbol in (*item.changed, *item.missing):
                counts[symbol] = counts.get(symbol, 0) + 1
    ordered = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    more = f" and {len(ordered) - _MOST_NAMES} more (--json lists all)" if len(ordered) > _MOST_NAMES else ""
    named = ", ".join(ordered[:_MOST_NAMES])
    return Text(f"symbols in the way: {named}{more}\n" if ordered else "no symbol is in the way\n")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
