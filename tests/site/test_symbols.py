"""What a build keeps of kernels and compiles is enough to tell how kernels changed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from fakes.bench import Bench

from builder.kernel import parse_kernel_version
from builder.plan.project import Project, open_project
from builder.site.failures import find_causes
from builder.site.read import read_facts

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench

    from builder.site.facts import SiteFacts

_NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
_BEFORE, _AFTER = "6.1.0-9-amd64", "6.1.0-10-amd64"


@pytest.fixture
def built(bench: Bench) -> Bench:
    assert bench.run("build", "--group", "all", "--arch", "x86_64")[0] == 0
    return bench


def _facts(bench: Bench) -> SiteFacts:
    return read_facts(open_project(bench.folder), (), made=_NOW)


def _symbols(bench: Bench, kernel: str) -> Path:
    project: Project = open_project(bench.folder)
    source = next(name for name, item in project.lock.sources.items() if parse_kernel_version(kernel) in item.kernels)
    return (
        project.kernel_facts_dir
        / project.kernel_source(source).toolkit_id(parse_kernel_version(kernel))
        / "Module.symvers"
    )


def _change(bench: Bench, kernel: str, name: str, line: str) -> None:
    file = _symbols(bench, kernel)
    kept = [old for old in file.read_text().splitlines() if old.split("\t")[1] != name]
    file.write_text("\n".join([*kept, *([line] if line else [])]) + "\n")


def test_kernels_of_a_kind_are_compared_with_the_one_before(built: Bench) -> None:
    facts = _facts(built)
    (lineage,) = [item for item in facts.lineages if item.variant == "standard"]
    assert [(step.before, step.after) for step in lineage.steps] == [(_BEFORE, _AFTER)]
    (step,) = lineage.steps
    assert (step.counts.changed, step.counts.gone, step.counts.new) == (0, 0, 0)
    assert step.counts.same > 0
    assert step.drivers["demo"].symbols == ()


def test_what_changed_is_counted_and_what_a_driver_uses_of_it_is_named(built: Bench) -> None:
    used = _symbols(built, _AFTER).read_text().splitlines()[0].split("\t")[1]
    _change(built, _AFTER, used, "")
    _change(built, _AFTER, "brand_new", "0x12345678\tbrand_new\tvmlinux\tEXPORT_SYMBOL\t")
    (step,) = next(item for item in _facts(built).lineages if item.variant == "standard").steps
    assert (step.counts.changed, step.counts.gone, step.counts.new) == (0, 1, 1)
    names = [item.symbol for item in step.drivers["demo"].symbols]
    assert "brand_new" not in names, "no driver uses it"


def test_what_is_damaged_or_not_kept_is_not_known(built: Bench) -> None:
    _symbols(built, _AFTER).write_text("no symbols\n")
    assert [item for item in _facts(built).lineages if item.variant == "standard"] == []
    shutil.rmtree(_symbols(built, _AFTER).parent)
    assert [item for item in _facts(built).lineages if item.variant == "standard"] == []


def test_a_crc_that_is_none_is_no_traceback(built: Bench) -> None:
    file = _symbols(built, _AFTER)
    file.write_text(file.read_text().replace("0x", "0xzz"))
    assert [item for item in _facts(built).lineages if item.variant == "standard"] == []


def test_modules_that_are_not_kept_leave_the_kernels_comparison(built: Bench) -> None:
    shutil.rmtree(built.folder / ".kmodsmith" / "compiled")
    (step,) = next(item for item in _facts(built).lineages if item.variant == "standard").steps
    assert step.drivers == {}


def test_a_failure_is_told_with_what_the_kernel_changed_of_it(built: Bench) -> None:
    _change(built, _AFTER, "gone_here", "")
    _change(built, _BEFORE, "gone_here", "0x12345678\tgone_here\tvmlinux\tEXPORT_SYMBOL\t")
    built.break_kernel(_AFTER, "src/demo.c:3:1: error: implicit declaration of function 'gone_here'")
    (built.folder / "src" / "demo.c").write_text("int other;\n")
    built.run("build", "--group", "all", "--arch", "x86_64")
    (cause,) = find_causes(_facts(built))
    assert [(item.symbol, item.change) for item in cause.changes] == [("gone_here", "no longer exported")]
    assert (cause.before, cause.after) == (_BEFORE, _AFTER)
    _symbols(built, _BEFORE).write_text("damaged")
    (cause,) = find_causes(_facts(built))
    assert cause.changes == (), "unknown is not absent: nothing is said"


def test_before_the_first_build_nothing_is_known(bench: Bench) -> None:
    facts = _facts(bench)
    assert (facts.lineages, facts.changes) == ((), {})
