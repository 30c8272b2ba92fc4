"""Proofs of fit, the signing log and comparisons of kernels, for people and for programs. Pure."""

from __future__ import annotations

import re
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.text import Text

from builder.show.table import PlainTable
from builder.writing import count, emit_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from builder.build.prove import Proof
    from builder.kmod.compat import Compatibility, DriverDrift

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


def emit_compat(verdicts: Mapping[str, Sequence[Compatibility]], *, width: int) -> RenderableType:
    """Return a table kernel by kernel for each driver, and below it the symbols that stand in the way.

    Names of columns are folded where their parts end, and columns that do not fit into ``width`` go on below. ``+``
    loads, a number counts the symbols that changed or are missing, ``x`` stands for an obstacle that no symbol is:
    another architecture, other flags.
    """
    parts: list[RenderableType] = []
    for driver, items in verdicts.items():
        rows: dict[str, dict[str, Compatibility]] = {}
        for item in items:
            rows.setdefault(item.compiled_for, {})[item.kernel] = item
        kernels = list(dict.fromkeys(item.kernel for item in items))
        head = f"{driver}, compiled for"
        room = width - max(map(len, (head, *rows)))
        for band in _fit_columns(kernels, room):
            table = _table(head, *("\n".join(_fold_kernel(kernel)) for kernel in band))
            for compiled_for, row in rows.items():
                table.add_row(compiled_for, *(_mark(row[kernel]) for kernel in band))
            parts.append(table)
        parts.append(_list_causes(items))
    parts.append(
        Text("+ loads   number: symbols that changed or are missing   x: other architecture or vermagic flags")
    )
    return Group(*parts)


# Between two columns of a table.
_GAP = 2
_KERNEL_PARTS = re.compile(r"[-+](?=.)|\.(?=el\d|fc\d|x86_64|aarch64|ppc64le|s390x)")


def _fold_kernel(kernel: str) -> list[str]:
    """Return a kernel version in lines, cut only where one of its parts begins."""
    starts = [0, *(match.start() for match in _KERNEL_PARTS.finditer(kernel)), len(kernel)]
    return [kernel[begin:end] for begin, end in pairwise(starts)]


def _fit_columns(kernels: Sequence[str], room: int) -> Iterator[list[str]]:
    """Yield kernels in groups whose columns fit side by side."""
    band: list[str] = []
    used = 0
    for kernel in kernels:
        needed = max(map(len, _fold_kernel(kernel))) + _GAP
        if band and used + needed > room:
            yield band
            band, used = [], 0
        band.append(kernel)
        used += needed
    if band:
        yield band


def emit_compat_json(verdicts: Mapping[str, Sequence[Compatibility]]) -> str:
    return emit_json(
        {driver: [asdict(item) | {"loads": item.loads} for item in items] for driver, items in verdicts.items()}
    )


def emit_drift(drifts: Mapping[str, DriverDrift], before: str, after: str) -> RenderableType:
    parts: list[RenderableType] = []
    for driver, found in drifts.items():
        if not found.symbols:
            parts.append(Text(f"{driver}: none of the symbols that it uses differs between {before} and {after}"))
            continue
        table = _table(f"{driver} uses", "change", before, after)
        for item in found.symbols:
            change = f"{item.change}: {item.header} now" if item.header else item.change
            table.add_row(item.symbol, change, item.before, item.after)
        parts.append(table)
    return Group(*parts)


def emit_drift_basis(drifts: Mapping[str, DriverDrift]) -> str:
    """Say what was compared."""
    built = ", ".join(f"{driver} for {found.compiled_for}" for driver, found in drifts.items())
    return (
        f"compared are binaries: the symbols that built modules use ({built}) with what both kernels export; a source "
        "that asks for the kernel's version or features may use others on the other kernel"
    )


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
    table = PlainTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
