"""What the site reads of a project, and what it says where something cannot be read."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from fakes.bench import OOPS, Bench
from fakes.site_facts import BUILD_LOG, HOSTILE, make_boot, make_build, make_cell, make_publish

from builder.errors import ConfigError, UsageError
from builder.evidence.journal import Journal
from builder.plan.matrix import Selector
from builder.plan.planning import plan_project
from builder.plan.project import open_project
from builder.publish.attest.sbom import SBOM_PREDICATE
from builder.publish.attest.statements import PROVENANCE_PREDICATE, TEST_PREDICATE, make_statements
from builder.publish.cells import name_cells
from builder.publish.cells import read_facts as read_facts_of_cell
from builder.site.facts import CellState
from builder.site.read import read_documents, read_facts, read_statements

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.site.facts import SiteFacts

_KERNEL = "5.14.0-427.50.1.el9_4.x86_64"
_NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
_BROKEN, _GOOD = "6.1.0-10-amd64", "6.12.5+deb12-amd64"


def _read(folder: Path, *groups: str) -> SiteFacts:
    return read_facts(open_project(folder), groups, made=_NOW)


def _states(facts: SiteFacts) -> dict[str, CellState]:
    return {cell.kernel: cell.state for cell in facts.cells}


def test_a_fresh_project_has_cells_of_all_groups_and_says_what_is_missing(bench: Bench) -> None:
    facts = _read(bench.folder)
    assert set(_states(facts).values()) == {CellState.NOT_BUILT}
    assert (len(facts.cells), len(facts.kernels)) == (6, 6), "each once, though two groups have it"
    assert [(item.what, item.command) for item in facts.missing] == [("builds", "nox -s build")]
    assert len(_read(bench.folder, "few").cells) == 4


def test_what_was_built_failed_and_is_published_is_told(bench: Bench) -> None:
    bench.break_kernel(_BROKEN, "src/demo.c:3:1: error: implicit declaration of function 'x'")
    bench.build()
    facts = _read(bench.folder)
    states = _states(facts)
    assert (states[_BROKEN], states[_GOOD], states["6.12.5+deb12-arm64"]) == (
        CellState.FAILED, CellState.PROVEN, CellState.NOT_BUILT,
    )  # fmt: skip
    assert [item.what for item in facts.missing] == ["published images"]
    assert len(facts.builds) == 4
    cell = next(cell for cell in facts.cells if cell.kernel == _GOOD)
    Journal(bench.folder / ".kmodsmith" / "journal.jsonl").record_publish(
        replace(make_publish(cell.id, _GOOD), key=cell.key)
    )
    facts = _read(bench.folder)
    assert (_states(facts)[_GOOD], facts.missing, len(facts.publishes)) == (CellState.PUBLISHED, (), 1)
    documents = read_documents(
        bench.folder / ".kmodsmith", next(cell for cell in facts.cells if cell.kernel == _BROKEN)
    )
    assert "implicit declaration" in documents.build_log


def test_of_what_is_proven_statements_are_those_that_publish_makes(bench: Bench) -> None:
    lock = bench.folder / "versions.lock.yaml"  # what is attested names packages as archives do
    lock.write_text(re.sub(r"\b(gcc|busybox|headers-[^\s\":]+)", r"\1_1_amd64", lock.read_text()))
    bench.build()
    project = open_project(bench.folder)
    facts = _read(bench.folder)
    cell = next(cell for cell in facts.cells if cell.kernel == _GOOD)
    told = read_statements(project, cell)
    assert told is not None
    decision = next(
        item for item in plan_project(project, Selector(group="all")).plan.decisions if item.cell.id == cell.id
    )
    names = name_cells(project, Selector(group="all"))[cell.id]
    signed = make_statements(read_facts_of_cell(project, decision, decision.digest, names))
    assert told.files["provenance"].encode().strip() == signed[PROVENANCE_PREDICATE]
    assert told.files["sbom"].encode().strip() == signed[SBOM_PREDICATE]
    assert told.files["tests"].encode().strip() == signed[TEST_PREDICATE]
    assert cell.evidence
    for strange in (
        replace(cell, steps=()), replace(cell, evidence=None), replace(cell, source=""),
        replace(cell, evidence=replace(cell.evidence, driver="gone")), replace(cell, source="gone"),
        replace(cell, evidence=replace(cell.evidence, finished="no time")),
        replace(cell, evidence=replace(cell.evidence, inputs={"compiled_for": "no kernel"})),
    ):  # fmt: skip
        assert read_statements(project, strange) is None


def test_a_changed_source_makes_cells_stale(bench: Bench) -> None:
    bench.build()
    (bench.folder / "src" / "demo.c").write_text("int other;\n")
    facts = _read(bench.folder, "few")
    assert set(_states(facts).values()) == {CellState.STALE}
    assert facts.cells[0].why == "the driver's source changed"


def test_boots_and_what_was_wrong_in_them(bench: Bench, booting: dict[str, object]) -> None:
    booting[_BROKEN] = (OOPS,)
    bench.build()
    facts = _read(bench.folder)
    states = _states(facts)
    assert (states[_BROKEN], states[_GOOD]) == (CellState.FAILED, CellState.BOOTED)
    assert len(facts.boots) == 4


def test_known_bad_has_its_last_day(bench: Bench) -> None:
    file = bench.folder / "versions.yaml"
    last = date.today() + timedelta(days=30)  # noqa: DTZ011 - entries that have expired are mistakes
    entry = {"kernel": "6.12*", "reason": "r", "owner": "jo", "expires": str(last)}
    file.write_text(f"{file.read_text()}known_bad: [{json.dumps(entry)}]\n")
    found = {cell.kernel: (cell.state, cell.until) for cell in _read(bench.folder).cells}
    assert found[_GOOD] == (CellState.KNOWN_BAD, str(last))
    assert found[_BROKEN] == (CellState.NOT_BUILT, "")


def test_without_a_lock_what_is_on_record_stays(bench: Bench) -> None:
    bench.build()
    (bench.folder / "versions.lock.yaml").unlink()
    facts = _read(bench.folder)
    assert set(_states(facts).values()) == {CellState.PROVEN}
    assert (facts.kernels, facts.missing[0].what, facts.missing[0].command) == (
        (),
        "kernels and releases",
        "nox -s discover",
    )


def test_without_a_container_store_nothing_is_called_absent(bench: Bench, fake_tools: FakeTools) -> None:
    bench.build()
    fake_tools.add("buildah", "echo 'Error: database is locked' >&2; exit 125")
    facts = _read(bench.folder)
    states = _states(facts)
    assert (states[_GOOD], states["6.12.5+deb12-arm64"]) == (CellState.PROVEN, CellState.UNKNOWN)
    assert {item.what for item in facts.missing} >= {"plan of group few", "plan of group all"}
    assert "database is locked" in facts.cells[0].why


def test_a_group_whose_source_is_not_in_the_lock_is_missing_and_the_others_are_there(bench: Bench) -> None:
    file = bench.folder / "versions.yaml"
    text = file.read_text().replace(
        "groups:\n", "  ocp: {provider: openshift, channels: [fast-4.17]}\ngroups:\n  ocp: {source: ocp}\n"
    )
    file.write_text(text)
    facts = _read(bench.folder)
    assert len(facts.cells) == 6
    assert [item.what for item in facts.missing if item.what.startswith("plan")] == ["plan of group ocp"]


def test_no_such_group(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no group 'fewest'"):
        _read(bench.folder, "fewest")


def test_mistakes_are_mistakes(bench: Bench) -> None:
    (bench.folder / "versions.yaml").write_text("drivers: 5\n")
    with pytest.raises(ConfigError):
        _read(bench.folder)


def test_a_journal_of_a_strangers_is_told_as_text(bench: Bench) -> None:
    journal = Journal(bench.folder / ".kmodsmith" / "journal.jsonl")
    journal.record(make_build(f"{HOSTILE}/{_KERNEL}", _KERNEL, driver=HOSTILE))
    journal.record(make_build("../../x", "no kernel"))
    (bench.folder / "versions.lock.yaml").unlink()
    (cell,) = _read(bench.folder).cells
    assert cell.driver == HOSTILE


def _lay(work_dir: Path, text: str = BUILD_LOG) -> Path:
    file = work_dir / "cells" / make_cell(_KERNEL).id / "build.log"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


def test_logs_and_reports(tmp_path: Path) -> None:
    log = _lay(tmp_path)
    log.with_name("boot.log").write_text("[    0.0] Linux\r\n\x1b[2Jgone")
    report = {
        "steps": [{"step": "load gpu", "code": 0, "seconds": 1}, {"step": 5}, "text", {"step": "x", "code": "0", "seconds": []}],
        "facts": {"release": _KERNEL, "five": 5},
        "verdict": {"problems": [{"check": "kernel-oops", "step": "load gpu", "sentence": "Oops"}, 7]},
    }  # fmt: skip
    log.with_name("boot.json").write_text(json.dumps(report))
    found = read_documents(tmp_path, make_cell(_KERNEL))
    assert found.build_log == BUILD_LOG
    assert found.boot_log == "[    0.0] Linux\n\\x1b[2Jgone"
    assert found.boot_steps == (("load gpu", 0, 1.0), ("x", None, None))
    assert (found.boot_facts, found.boot_problems) == ({"release": _KERNEL}, ("kernel-oops: load gpu: Oops",))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"steps": {}, "facts": [], "verdict": []}', '{"verdict": {"problems": 1}}']
)
def test_a_report_of_another_form_says_nothing(tmp_path: Path, text: str) -> None:
    _lay(tmp_path).with_name("boot.json").write_text(text)
    found = read_documents(tmp_path, make_cell(_KERNEL))
    assert (found.boot_steps, found.boot_facts, found.boot_problems) == ((), {}, ())


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_documents(tmp_path / "absent", make_cell(_KERNEL)).build_log == ""
    assert read_documents(tmp_path, make_cell(_KERNEL, CellState.NOT_BUILT)).build_log == ""


def test_a_long_log_keeps_its_beginning_and_its_end_and_says_what_is_left_out(tmp_path: Path) -> None:
    _lay(tmp_path, "first\n" + "x" * 79 + "\n" * 600_000 + "last\n")
    found = read_documents(tmp_path, make_cell(_KERNEL)).build_log
    assert found.startswith("first\n")
    assert found.endswith("last\n")
    assert "bytes are left out here" in found
    assert len(found) < 300 * 1024


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "link", "cells", "fifo", ""])
def test_a_journal_names_no_file_outside_and_nothing_that_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    work_dir = tmp_path / "work"
    (work_dir / "cells").mkdir(parents=True)
    (work_dir / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(work_dir / "fifo")
    cell = make_cell(_KERNEL)
    assert cell.evidence
    boot = replace(make_boot(cell.id), log=name)
    cell = replace(cell, evidence=replace(cell.evidence, log=name), boot=boot)
    found = read_documents(work_dir, cell)
    assert (found.build_log, found.boot_log) == ("", "")


def test_of_a_failed_boot_the_build_log_is_shown_too(tmp_path: Path) -> None:
    _lay(tmp_path).with_name("boot.log").write_text("console")
    cell = make_cell(_KERNEL, CellState.FAILED)
    assert cell.evidence
    boot = make_boot(cell.id, passed=False)
    cell = replace(cell, evidence=replace(cell.evidence, log=boot.log), boot=boot)
    found = read_documents(tmp_path, cell)
    assert (found.build_log, found.boot_log) == (BUILD_LOG, "console")
