"""The verb build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.hostile import make_hostile

from builder.evidence.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from fakes.bench import Bench


def test_an_untrusted_build_runs_nothing_signs_nothing_and_counts_as_nothing(bench: Bench, outside: Path) -> None:
    trace = make_hostile(bench.folder, outside)
    code, out, err = bench.run("build", "--untrusted", "--json")
    report = json.loads(out)
    assert (code, report["counts"], trace.exists()) == (0, {"built": 4}, False)
    assert "images stay unsigned" in err
    names = [line.split()[0] for line in (bench.store / "names").read_text().splitlines()]
    keys = {name for name in names if name.startswith("localhost/kmodsmith/cell:")}
    assert {name.rpartition(":")[0] for name in names} - {"localhost/kmodsmith/cell"} == {"localhost/untrusted/demo"}
    assert not (bench.folder / ".kmodsmith").exists()
    assert bench.run("build", "--untrusted", "--json")[1].count('"skipped"') >= 1
    labels = [word for call in bench.calls("build") for word in call if word.startswith("io.kmodsmith.")]
    assert "io.kmodsmith.untrusted=yes" in labels
    # What is trusted knows nothing of it, whether it is signed or not.
    text = (bench.folder / "versions.yaml").read_text()
    (bench.folder / "versions.yaml").write_text(text.replace("signing: production, signers: [vendor],", ""))
    plan = json.loads(bench.run("plan", "--json")[1])
    assert (plan["counts"], {cell["reason"] for cell in plan["cells"]}) == ({"build": 4}, {"never-built"})
    assert not keys & {f"localhost/kmodsmith/cell:{cell['key']}" for cell in plan["cells"]}


def test_an_environment_variable_forbids_as_well(
    bench: Bench,
    outside: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = make_hostile(bench.folder, outside)
    monkeypatch.setenv("KMODSMITH_UNTRUSTED", "1")
    code, report = bench.build()
    assert (code, report["counts"], trace.exists()) == (0, {"built": 4}, False)
    assert not Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells
