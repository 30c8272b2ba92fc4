"""Compares what kmodsmith and dkms said of a source on a kernel, and looks up what was found out by hand. Pure but for files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import yaml

from builder.errors import FailureClass

if TYPE_CHECKING:
    from pathlib import Path

    from vendors.sources import VendorSource

_TOLD = ("source", "version", "kernel", "ours", "line", "dkms", "dkms_line")
_GREEN = {"built", "booted", "skipped", "tagged", "proven", "assembled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a look by hand found of some rows, by globs: ``is_right`` is whether kmodsmith's verdict is.

    ``says`` is what of both was looked into: of another error, or another failure of dkms, it tells nothing.
    """

    package: str
    kernel: str
    ours: str
    dkms: str
    says: str
    is_right: bool
    because: str

    def is_about(self, row: Row) -> bool:
        said = f"{row.line} {row.dkms_line}"
        texts = (row.source, row.kernel, row.ours, row.dkms, said)
        globs = (self.package, self.kernel, self.ours, self.dkms, self.says)
        return all(map(fnmatchcase, texts, globs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One source on one kernel.

    ``ours`` is ``green``, ``excluded``, ``refused``, the code of a failed compile, or ``CLASS:CODE`` of another failure.
    """

    source: str
    version: str
    kernel: str
    ours: str
    line: str
    notes: tuple[str, ...]
    dkms: str
    dkms_line: str
    found: str = ""
    """The day on which both were asked."""
    truth: Truth | None = None

    @staticmethod
    def of(
        source: VendorSource,
        kernel: str,
        dkms: dict[str, Any],
        cell: dict[str, Any] | None,
        refusal: str,
        found: str = "",
    ) -> Row:
        ours, line, notes = _read_cell(cell) if cell else ("refused", refusal.splitlines()[0] if refusal else "", ())
        return Row(
            source=source.id, version=source.version, kernel=kernel, ours=ours, line=line, notes=notes,
            dkms=dkms["verdict"], dkms_line=_first_error(dkms["words"]) if dkms["verdict"] == "failed" else "",
            found=found,
        )  # fmt: skip

    @property
    def key(self) -> tuple[str, str, str]:
        return self.source, self.version, self.kernel

    @property
    def agrees(self) -> bool:
        """Whether both say the same, as far as dkms can tell: it loads nothing."""
        if self.ours in {"green", "excluded"}:
            return self.dkms == {"green": "built"}.get(self.ours, self.ours)
        kind, _, _ = self.ours.rpartition(":")
        return self.dkms == "failed" and self.ours != "refused" and kind in {"", FailureClass.UNRESOLVED_SYMBOL}

    @property
    def is_open(self) -> bool:
        return not self.agrees and not (self.truth and self.truth.is_right)

    @property
    def sentence(self) -> str:
        told = f"{self.source} {self.version} on {self.kernel}: kmodsmith {self.ours} ({self.line}); dkms {self.dkms}"
        return f"{told} ({self.dkms_line})" if self.dkms_line else told


def _read_cell(cell: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    boot = cell.get("boot") or {}
    notes = tuple(boot.get("notes") or ())
    failure = cell.get("failure")
    if failure:
        kind = failure["failure_class"]
        return (
            f"{kind}:{failure['code']}" if kind != FailureClass.COMPILE else failure["code"],
            f"{failure['location'] or ''} {failure['detail']}".strip(),
            notes,
        )
    if cell["status"] in _GREEN:
        return "green", "", notes
    return cell["status"], cell["explanation"], notes


def _first_error(words: list[str]) -> str:
    told = [word for word in words if "rror" in word and "make[" not in word and "Error! " not in word]
    return (told or words or [""])[0]


def read_truth(file: Path) -> list[Truth]:
    return [Truth(**entry) for entry in yaml.safe_load(file.read_text()) or []]


def read_earlier(folder: Path) -> dict[tuple[str, str, str], Row]:
    """Return what the newest results tell, by source, version and kernel: a survey takes longer than most machines live."""
    rows: dict[tuple[str, str, str], Row] = {}
    for file in sorted(folder.glob("*.json"))[-1:]:
        for told in json.loads(file.read_text())["rows"]:
            fields = {name: told[name] for name in _TOLD}
            row = Row(**fields, notes=tuple(told["notes"]), found=told.get("found") or file.stem)
            rows[row.key] = row
    return rows


def judge_rows(rows: list[Row], truths: list[Truth]) -> list[Row]:
    """Give each row that needs it the first truth that is about it."""
    return [
        row if row.agrees else replace(row, truth=next((truth for truth in truths if truth.is_about(row)), None))
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Rows of a survey that wanted ``wanted`` of them."""

    rows: list[Row]
    wanted: int

    @property
    def open_rows(self) -> list[Row]:
        return [row for row in self.rows if row.is_open]

    @property
    def is_settled(self) -> bool:
        """Whether all that was asked is known, and none of it is open: what nobody asked is not known to be right."""
        return bool(self.rows) and len(self.rows) == self.wanted and not self.open_rows

    @property
    def sentence(self) -> str:
        return f"{len(self.rows)} of {self.wanted} rows are known, {len(self.open_rows)} of them to be looked into or wrong"


def write_table(judgement: Judgement, kernels: list[str], machine: dict[str, Any], file: Path) -> None:
    """Write the rows as JSON, and as a table with a line for each source and a column for each kernel."""
    rows = judgement.rows
    file.parent.mkdir(exist_ok=True)
    data = {
        "machine": machine,
        "wanted": judgement.wanted,
        "rows": [asdict(row) | {"agrees": row.agrees, "is_open": row.is_open} for row in rows],
    }
    file.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    counts = Counter("open" if row.is_open else "same" if row.agrees else "looked into" for row in rows)
    lines = [f"# Other people's drivers, {file.name}", "", f"{judgement.sentence}: {dict(counts)}.", ""]
    lines += [f"| source | version | {' | '.join(kernels)} |", f"|---|---|{'---|' * len(kernels)}"]
    of = {(row.source, row.kernel): row for row in rows}
    for source, version in dict.fromkeys((row.source, row.version) for row in rows):
        cells = [_sign(of.get((source, kernel))) for kernel in kernels]
        lines.append(f"| {source} | {version} | {' | '.join(cells)} |")
    lines += ["", "## Where they differ, and red boots", ""]
    for row in rows:
        if not row.agrees:
            truth = row.truth
            found = f"{'right' if truth.is_right else 'WRONG'}: {truth.because}" if truth else "NOT LOOKED INTO"
            lines.append(f"- {row.sentence}. **{found}**")
    file.with_suffix(".md").write_text("\n".join(lines) + "\n")


def _sign(row: Row | None) -> str:
    if row is None:
        return "not known"
    return row.ours if row.agrees else f"{row.ours} / dkms {row.dkms}"
