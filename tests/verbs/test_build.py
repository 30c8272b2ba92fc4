"""The verb build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.bench import Bench
from fakes.hostile import make_hostile

from builder.boot.stage import Booter, BootReport, BootRequest
from builder.build import cells as build_module
from builder.evidence.journal import Journal
from builder.host.locks import hold_project

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.components import Parts
    from fakes.registry import FakeRegistry

    from builder.boot.stage import BootReport, BootRequest


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


def test_every_build_tells_in_what_its_compiles_run(bench: Bench) -> None:
    """Also who reads no documents sees what surrounds strangers' code here; where nothing is compiled there is nothing."""
    told = (
        "compiles run in this pod alone (KMODSMITH_JAIL=pod), without a user namespace, "
        "limits of single processes: no control groups here [1/1] built"
    )
    assert " ".join(bench.run("build", "--kernel", "6.12*")[2].split()).count(told) == 1
    assert "compiles run in" not in bench.run("build", "--kernel", "6.12*")[2]


def test_what_was_interrupted_signs_boots_and_names_nothing_more(
    bench: Bench,
    booting: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others wait where their images are read, until the run is told to stop; then they could go on."""
    boots: list[str] = []

    def boot(_self: Booter, request: BootRequest) -> BootReport:
        boots.append(request.kernel.raw)
        raise KeyboardInterrupt

    monkeypatch.setattr(Booter, "boot", boot)
    monkeypatch.setattr(build_module, "stop_all", (bench.store / "stopped").touch)
    wait = 'case "$*" in *6.12*) ;; *) while [ ! -f "$store/stopped" ]; do sleep 0.02; done ;; esac\n'
    (bench.store / "before-push").write_text(wait)
    assert bench.run("build", "--jobs", "4")[0] == 130
    assert boots == ["6.12.5+deb12-amd64"]
    assert (bench.store / "names").read_text() == "", "no name is left, neither final nor passing"


def test_results_table_clusters_one_cause(bench: Bench) -> None:
    for kernel in ("6.1.0-10-amd64", "6.1.0-10-rt-amd64", "6.1.0-10-cloud-amd64"):
        bench.break_kernel(kernel, "/usr/src/driver/demo.c:3:1: error: expected ';'")
    _, out, err = bench.run("build")
    assert "compile: compiler-error in 3 cells" in out
    assert out.count("expected ';'") == 1
    assert "1 built, 3 failed" in out
    assert "[4/4]" in err


def test_results_are_kept_as_json_and_junit(bench: Bench) -> None:
    bench.break_kernel("6.12.5+deb12-amd64", "demo.c:1:1: error: \x1b[1m<&>")
    bench.build()
    kept = json.loads((bench.folder / ".kmodsmith" / "results.json").read_text())
    assert kept["counts"] == {"built": 3, "failed": 1}
    assert (
        '<testsuite name="demo" tests="4" failures="1" errors="0" skipped="0"'
        in (bench.folder / ".kmodsmith" / "junit.xml").read_text()
    )


def test_left_out_cells_are_shown(bench: Bench) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text() + 'exclude: [{kernel: "*-cloud-*", reason: no devices}]\n')
    code, report = bench.build()
    assert (code, report["counts"]) == (0, {"built": 3, "excluded": 1})


def test_two_runs_do_not_trample_each_other(bench: Bench) -> None:

    with hold_project(bench.folder / ".kmodsmith"):
        code, _, err = bench.run("build")
    assert code == 5
    assert "another run is at work" in err
    assert "process " in err


def test_cells_and_component_images_are_built_by_one_command(parts: Parts) -> None:
    parts.offer()
    code, out, err = parts.bench.run("build", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert ({cell["status"] for cell in report["cells"]}, [item["status"] for item in report["components"]]) == (
        {"built"}, ["built"],
    )  # fmt: skip
    assert report["run"]
    work = parts.project().work_dir
    assert json.loads((work / "results.json").read_text()) == report
    assert "plugin-0.1.0/x86_64" in (work / "junit.xml").read_text()
    again = json.loads(parts.bench.run("build", "--json")[1])
    assert {item["status"] for item in (*again["cells"], *again["components"])} == {"skipped"}


@pytest.mark.parametrize(("arguments", "cells", "images"), [(("--component", "*"), 0, 1), (("--driver", "demo"), 4, 0)])
def test_only_what_was_named_is_built(parts: Parts, arguments: tuple[str, ...], cells: int, images: int) -> None:
    parts.offer()
    report = json.loads(parts.bench.run("build", "--json", *arguments)[1])
    assert (len(report["cells"]), len(report["components"])) == (cells, images)
    assert (parts.bench.started_builds() > 0, parts.started() > parts.bench.started_builds()) == (
        bool(cells), bool(images) or parts.started() > parts.bench.started_builds(),
    )  # fmt: skip


def test_a_component_that_fails_is_told_and_has_its_exit_code(parts: Parts) -> None:
    parts.offer(labels={"summary": None})
    code, out, err = parts.bench.run("build", "--component", "plugin")
    assert code == 13
    assert "failed" in out
    assert "label-missing" in out
    assert "plugin-0.1.0/x86_64" in err
    assert "log: components/plugin-0.1.0/x86_64/build.log" in out
    assert parts.bench.run("build")[0] == 13, "of cells that are well and an image that is not"
    parts.bench.break_kernel("6.1.0-10-amd64", "a.c:1: error: x")
    assert parts.bench.run("build", "--force")[0] == 20


def test_what_a_killed_machine_published_under_one_of_two_names_is_made_again(
    bench: Bench, registry: FakeRegistry
) -> None:
    """Else a night on a new machine would call it published, and nobody ever would complete it."""
    with (bench.folder / "versions.yaml").open("a") as file:
        file.write("publish: {tags: [version-kernel, kernel]}\n")
    bench.offer_with_keys()
    bench.build("--boot", "never")
    assert bench.run("publish")[0] == 0
    build = ("--work-dir", str(bench.folder.parent / "new"), "build", "--unless-published", "--boot", "never", "--json")
    (bench.store / "names").write_text("")
    code, out, _ = bench.run(*build)
    assert (code, {item["status"] for item in json.loads(out)["cells"]}) == (0, {"skipped"})
    del registry.manifests["demo", "6.1.0-10-amd64"]
    (bench.store / "names").write_text("")
    code, out, _ = bench.run(*build)
    assert {item["kernel"] for item in json.loads(out)["cells"] if item["status"] != "skipped"} == {"6.1.0-10-amd64"}
