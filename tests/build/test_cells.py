"""Carrying out plans, with a buildah on PATH that pretends."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from fakes.bench import FEW, OOPS, Bench
from fakes.git import GitRepository

from builder.boot.stage import Booter, BootReport, BootRequest
from builder.build import cells as build_module
from builder.drivers.commit import Dirty, SourceCommit
from builder.errors import (
    BusyServerError,
    CellError,
    CommandError,
    DamagedError,
    FailureClass,
    FormatError,
    HostError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
)
from builder.evidence.journal import Journal
from builder.sources.debian.source import DebianSource

if TYPE_CHECKING:
    from fakes.bench import Bench
    from fakes.tools import FakeTools

    from builder.boot.stage import BootReport, BootRequest


# Where more would say the same again.
_ONE = ("--kernel", "6.1.0-10-amd64")
_TWO = ("--kernel", "6.1.0-10-amd64", "--kernel", "6.12*")


def test_builds_all_cells_and_then_nothing(bench: Bench) -> None:
    code, report = bench.build()
    assert (code, report["counts"]) == (0, {"built": 4})
    assert {cell["digest"] for cell in report["cells"]} == {bench.digest(raw) for raw in FEW}
    before = bench.started_builds()
    assert before == 8
    code, report = bench.build()
    assert (code, report["counts"], bench.started_builds()) == (0, {"skipped": 4}, before)
    assert {cell["digest"] for cell in report["cells"]} == {bench.digest(raw) for raw in FEW}


def test_a_changed_source_file_rebuilds_all_cells_of_the_driver_and_says_why(bench: Bench) -> None:
    bench.build(*_TWO)
    (bench.folder / "README").write_text("not part of the driver")
    assert bench.build(*_TWO)[1]["counts"] == {"skipped": 2}
    (bench.folder / "src" / "demo.c").write_text("int changed;\n")
    report = bench.build(*_TWO)[1]
    assert report["counts"] == {"built": 2}
    assert {cell["reason"] for cell in report["cells"]} == {"source-changed"}


def test_a_new_kernel_in_the_lock_builds_that_cell(bench: Bench) -> None:
    bench.build("--group", "all", "--kernel", "6.1.0-10-*")
    report = bench.build("--group", "all", "--kernel", "6.1.0-*")[1]
    assert report["counts"] == {"built": 1, "skipped": 3}


def test_one_failing_kernel_does_not_stop_the_others(bench: Bench) -> None:
    bench.break_kernel("6.12.5+deb12-amd64", "/usr/src/driver/demo.c:3:1: error: too few arguments to function 'x'")
    code, report = bench.build(*_TWO)
    assert code == FailureClass.COMPILE.exit_code
    assert report["counts"] == {"built": 1, "failed": 1}
    assert report["failures"][0]["code"] == "api-arity"
    assert report["failures"][0]["location"] == "demo.c:3"
    code, out, _ = bench.run("log")
    assert "too few arguments" in out


def test_what_failed_to_compile_is_told_again_and_not_compiled_again(bench: Bench) -> None:
    bench.break_kernel("6.12.5+deb12-amd64", "/usr/src/driver/demo.c:3:1: error: too few arguments to function 'x'")
    bench.build(*_TWO)
    cells = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    (first,) = (cell for cell in cells if "6.12.5+" in cell.cell)  # two are built at once, and either is told first
    before = bench.started_builds()
    (bench.folder / ".kmodsmith" / "junit.xml").unlink()
    code, report = bench.build(*_TWO)
    assert (code, bench.started_builds()) == (FailureClass.COMPILE.exit_code, before)
    assert report["counts"] == {"failed": 1, "skipped": 1}
    (failed,) = (cell for cell in report["cells"] if cell["status"] == "failed")
    assert (failed["action"], failed["reason"], failed["timings"]) == ("fail", "failed-before", {})
    assert failed["failure"]["location"] == "demo.c:3"
    assert failed["log"] == first.log
    junit = (bench.folder / ".kmodsmith" / "junit.xml").read_text()
    assert f"its compile failed on {first.finished} (api-arity)" in junit
    out = bench.run("build", *_TWO)[1]
    assert f"failed {first.cell}: its compile failed on {first.finished} (api-arity), and nothing that" in out
    assert "demo.c:3" in out
    (bench.store / "broken").unlink()  # the same inputs, so nobody knows
    assert bench.build(*_TWO)[0] == FailureClass.COMPILE.exit_code
    assert bench.run("plan", "--json", "--retry-failed", *_TWO)[1].count('"action": "build"') == 1
    assert bench.build(*_TWO, "--retry-failed")[1]["counts"] == {"built": 1, "skipped": 1}
    assert bench.build(*_TWO)[1]["counts"] == {"skipped": 2}


@pytest.mark.usefixtures("booting")
def test_what_failed_to_compile_cannot_be_booted(bench: Bench) -> None:
    kernel = ("--kernel", "6.12.5+deb12-amd64")
    bench.break_kernel(kernel[1], "demo.c:3:1: error: x")
    bench.build(*kernel)
    (cell,) = json.loads(bench.run("boot", "--json", *kernel)[1])["cells"]
    assert (cell["status"], cell["reason"]) == ("refused", "not-built")
    assert "its compile failed on " in cell["explanation"]


def test_a_night_does_not_repeat_a_failed_compile_unless_it_is_told_to(bench: Bench) -> None:
    kernel = ("--kernel", "6.12.5+deb12-amd64")
    bench.break_kernel(kernel[1], "demo.c:3:1: error: x")
    assert bench.run("nightly", *kernel)[0] == FailureClass.COMPILE.exit_code
    before = bench.started_builds()
    assert bench.run("nightly", *kernel)[0] == FailureClass.COMPILE.exit_code
    assert bench.started_builds() == before
    bench.run("nightly", *kernel, "--retry-failed")
    assert bench.started_builds() == before + 1


def test_results_tell_the_time_of_each_stage_of_this_run(bench: Bench, booting: dict[str, Any]) -> None:
    (cell,) = bench.build("--kernel", "6.1.0-10-amd64")[1]["cells"]
    stages = ["toolkit", "compile", "fit", "sign", "assemble", "verify", "boot"]
    assert list(cell["timings"]) == [stage for stage in stages if stage in cell["timings"]]
    assert {"toolkit", "compile", "fit", "assemble", "verify", "boot"} <= cell["timings"].keys()
    assert all(isinstance(seconds, float) for seconds in cell["timings"].values())
    assert 0 < sum(cell["timings"].values()) <= cell["duration_s"]
    (again,) = json.loads(bench.run("boot", "--kernel", "6.1.0-10-amd64", "--json")[1])["cells"]
    assert list(again["timings"]) == ["boot"], "what was not done by this run took no time of it"
    (evidence,) = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    assert list(evidence.timings) == list(cell["timings"]), "and is on record all the same"
    assert list(evidence.cpu) == list(evidence.timings)
    assert (list(cell["cpu"]), list(again["cpu"])) == (list(cell["timings"]), ["boot"])
    assert evidence.cpu["compile"] > 0
    assert (evidence.reason, evidence.why) == ("never-built", "no build of it is known here"), "a boot test is no build"
    bench.break_kernel("6.1.0-10-rt-amd64", "demo.c:1:1: error: x")
    (failed,) = bench.build("--kernel", "6.1.0-10-rt-amd64")[1]["cells"]
    assert list(failed["timings"]) == ["toolkit", "compile"]


def test_classes_have_exit_codes_and_several_have_their_own(bench: Bench) -> None:
    bench.break_kernel("6.12.5+deb12-amd64", 'ERROR: modpost: "gone" [/usr/src/driver/demo.ko] undefined!')
    assert bench.build(*_TWO)[0] == FailureClass.UNRESOLVED_SYMBOL.exit_code
    bench.break_kernel("6.1.0-10-amd64", "driver-container: toolkit has no /lib/modules/x/build")
    assert bench.build("--force", *_TWO)[0] == 20


def test_only_infrastructure_is_tried_again(bench: Bench) -> None:
    bench.break_kernel("6.1.0-10-amd64", "as: No space left on device")
    code, report = bench.build("--kernel", "6.1.0-10-amd64")
    assert (code, report["failures"][0]["code"]) == (FailureClass.INFRASTRUCTURE.exit_code, "disk-full")
    assert bench.started_builds() == 3
    bench.break_kernel("6.1.0-10-rt-amd64", "demo.c:1:1: error: x")
    bench.build("--kernel", "6.1.0-10-rt-amd64")
    assert bench.started_builds() == 4


def test_what_a_killed_run_finished_is_adopted(bench: Bench) -> None:
    bench.offer_with_keys()
    bench.build()
    (bench.folder / ".kmodsmith" / "journal.jsonl").unlink()
    before = bench.started_builds()
    report = bench.build()[1]
    assert (report["counts"], {cell["reason"] for cell in report["cells"]}) == ({"proven": 4}, {"not-on-record"})
    assert {cell["digest"] for cell in report["cells"]} == {bench.digest(raw) for raw in FEW}
    assert bench.build()[1]["counts"] == {"skipped": 4}
    names = (bench.store / "names").read_text().splitlines()
    (bench.store / "names").write_text("\n".join(name for name in names if "kmodsmith/cell" in name) + "\n")
    assert bench.build()[1]["counts"] == {"tagged": 4}
    assert bench.started_builds() == before
    evidence = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    assert all(item.derived and item.modules and not item.timings.get("compile") for item in evidence)


@pytest.mark.parametrize("damage", [{"labels": {"io.kmodsmith.cell.key": "0" * 64}}, {"machine": 183}])
def test_an_image_without_evidence_that_does_not_stand_its_proof_is_built_again(
    bench: Bench, damage: dict[str, Any]
) -> None:
    kernel = "6.1.0-10-amd64"
    bench.build("--kernel", kernel)
    (bench.folder / ".kmodsmith" / "journal.jsonl").unlink()
    bench.offer(kernel, **damage)
    code, report = bench.build("--kernel", kernel)
    assert (code, report["counts"]) == (FailureClass.FIT.exit_code, {"failed": 1})
    bench.offer(kernel)
    assert bench.build("--kernel", kernel)[1]["counts"] == {"assembled": 1}


def test_the_image_that_is_named_is_the_one_that_was_proven(bench: Bench) -> None:
    """Another run gives the same names to its own image, of another build, between any two steps of this one."""
    kernel, other = "6.1.0-10-amd64", "6.1.0-9-amd64"
    steal = f'while read -r name id; do echo "$name {other}"; done <"$store/names" >"$store/moved"; cat "$store/moved" >"$store/names"\n'
    (bench.store / "before-push").write_text(steal)
    code, report = bench.build("--kernel", kernel)
    assert (code, report["cells"][0]["digest"]) == (0, bench.digest(kernel))
    named = dict(line.split() for line in (bench.store / "names").read_text().splitlines())
    assert {named[name] for name in named if "unproven" not in name} == {kernel}


@pytest.mark.parametrize("of_people", [False, True])
def test_an_image_that_is_replaced_while_it_is_named_is_not_green(bench: Bench, of_people: bool) -> None:
    """The name that people use may stand for another kernel's image, whose own key nobody touched."""
    kernel, other = "6.1.0-10-amd64", "6.1.0-9-amd64"
    bench.offer_with_keys()
    cell = json.loads(bench.run("plan", "--json", "--kernel", kernel)[1])["cells"][0]
    moved = cell["image"] if of_people else f"localhost/kmodsmith/cell:{cell['key']}"
    (bench.store / "before-inspect").write_text(f'echo "{moved} {other}" >>"$store/names"\n')
    code, report = bench.build("--kernel", kernel)
    (failure,) = report["failures"]
    assert (code, failure["code"]) == (FailureClass.INFRASTRUCTURE.exit_code, "image-replaced")
    assert failure["detail"].startswith(f"{moved} stands for ")
    (bench.store / "before-inspect").unlink()
    assert bench.build("--kernel", kernel)[0] == (0 if of_people else FailureClass.FIT.exit_code)
    assert bench.build("--kernel", kernel)[0] == 0, "mended at once, or after the other's key was found in its place"
    named = dict(line.split() for line in (bench.store / "names").read_text().splitlines())
    assert named[moved] == kernel


def test_runs_do_not_share_names_that_pass(bench: Bench) -> None:
    bench.build("--kernel", "6.1.0-10-amd64")
    bench.build("--kernel", "6.1.0-10-amd64", "--force")
    calls = bench.calls("build")
    names = [call[place + 1] for call in calls for place, word in enumerate(call) if word == "--tag"]
    assert len(names) == len(set(names)) == 2


def test_naming_an_image_again_forgets_nothing(bench: Bench) -> None:
    bench.build(*_TWO)
    names = (bench.store / "names").read_text().splitlines()
    (bench.store / "names").write_text("\n".join(name for name in names if "kmodsmith/cell" in name) + "\n")
    assert bench.build(*_TWO)[1]["counts"] == {"tagged": 2}
    cells = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    assert all(item.timings["compile"] > 0 and item.modules for item in cells)


def test_where_files_came_from_is_on_record_and_changes_no_key(bench: Bench) -> None:
    """A commit is what was built, and no input of it."""
    kernel = ("--kernel", "6.1.0-10-amd64")
    bench.build(*kernel)
    repository = GitRepository(bench.folder)
    commit = repository.commit()
    assert bench.build(*kernel)[1]["counts"] == {"skipped": 1}
    bench.build(*kernel, "--force")
    journal = bench.folder / ".kmodsmith" / "journal.jsonl"
    (evidence,) = Journal(journal).cells.values()
    assert evidence.commits == (
        SourceCommit(name="source", commit=commit, dirty=Dirty.NO, path="src"),
        SourceCommit(name="project", commit=commit, dirty=Dirty.NO),
    )
    assert "" < evidence.started <= evidence.finished
    names = (bench.store / "names").read_text().splitlines()
    (bench.store / "names").write_text("\n".join(name for name in names if "kmodsmith/cell" in name) + "\n")
    repository.write("versions.yaml", (bench.folder / "versions.yaml").read_bytes() + b"# changed\n")
    assert bench.build(*kernel)[1]["counts"] == {"tagged": 1}
    (named,) = Journal(journal).cells.values()
    assert (named.commits, named.started) == (evidence.commits, evidence.started), "what made the image"
    bench.build(*kernel, "--force")
    (again,) = Journal(journal).cells.values()
    assert [item.dirty for item in again.commits] == [Dirty.NO, Dirty.YES]


def test_of_an_image_whose_evidence_was_lost_no_commit_is_told(bench: Bench) -> None:
    bench.offer_with_keys()
    kernel = ("--kernel", "6.1.0-10-amd64")
    bench.build(*kernel)
    (bench.folder / ".kmodsmith" / "journal.jsonl").unlink()
    GitRepository(bench.folder).commit()
    assert bench.build(*kernel)[1]["counts"] == {"proven": 1}
    (evidence,) = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    assert (evidence.derived, evidence.commits) == (True, ())


def test_the_first_error_counts_however_long_the_log(bench: Bench) -> None:
    bench.break_kernel("6.12.5+deb12-amd64", "/usr/src/driver/demo.c:3:1: error: too few arguments to function 'x'")
    with (bench.store / "noise").open("w") as noise:
        noise.write("  CC [M]  /usr/src/driver/other.o\n" * 20_000)
    assert bench.build("--kernel", "6.12*")[1]["failures"][0]["code"] == "api-arity"


@pytest.mark.parametrize(
    ("error", "failure_class", "code", "exit_code", "tries"),
    [
        (SourceUnreachableError("no answer"), "infrastructure", "source-unreachable", 17, 3),
        (BusyServerError("HTTP 500", None), "infrastructure", "source-unreachable", 17, 3),
        (SourceRefusedError("a wrong password"), "infrastructure", "access-refused", 17, 1),
        (SourceGoneError("HTTP 404"), "toolkit", "package-gone", 10, 1),
        (SourceError("another file"), "toolkit", "package-wrong", 10, 1),
        (DamagedError("another digest"), "toolkit", "package-wrong", 10, 1),
        (FormatError("is no image"), "toolkit", "toolkit-unreadable", 10, 1),
        (CommandError("buildah failed"), "infrastructure", "command-failed", 17, 3),
        (CommandError("buildah failed:\nno space left on device"), "infrastructure", "disk-full", 17, 3),
        (CommandError("buildah failed:\nError: x: image not known"), "toolkit", "toolkit-image-missing", 10, 1),
        (HostError("no buildah"), "infrastructure", "host", 17, 1),
        (OSError(28, "No space left on device"), "infrastructure", "disk-full", 17, 3),
        (OSError(122, "Disk quota exceeded"), "infrastructure", "disk-full", 17, 3),
        (OSError(30, "Read-only file system", "/work"), "infrastructure", "host", 17, 1),
        (MemoryError(), "infrastructure", "out-of-memory", 17, 3),
        (ZeroDivisionError("oops"), "infrastructure", "defect", 17, 3),
    ],
)
def test_errors_around_a_compile_have_their_class(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    failure_class: str,
    code: str,
    exit_code: int,
    tries: int,
) -> None:
    """Cause, class, exit code, and whether it is tried again: one wrong password tried thrice can lock an account."""
    asked: list[object] = []

    def ensure(_self: object, kernel: object, _wanted: object = ()) -> str:
        asked.append(kernel)
        raise error

    monkeypatch.setattr("builder.sources.debian.toolkit.DebianToolkits.ensure", ensure)
    monkeypatch.setattr("builder.sources.debian.toolkit.DebianToolkits.prefetch", lambda *_: None)
    found, report = bench.build("--locked", "--kernel", FEW[0])
    (failure,) = report["failures"]
    assert (failure["failure_class"], failure["code"], found) == (failure_class, code, exit_code)
    assert len(asked) == tries
    log = (bench.folder / ".kmodsmith" / "cells" / f"demo-1.2.0/{FEW[0]}" / "build.log").read_text()
    assert ("Traceback" in log) is (code == "defect")


def test_what_was_compiled_is_not_compiled_again(bench: Bench) -> None:
    bench.build(*_TWO)
    bench.offer("6.1.0-10-amd64", imports=["kfree", "absent"])
    (bench.store / "names").write_text("")
    report = bench.build(*_TWO)[1]
    assert report["counts"] == {"assembled": 1, "failed": 1}
    assert {cell["reason"] for cell in report["cells"]} == {"image-gone"}
    (failure,) = report["failures"]
    assert (failure["failure_class"], failure["code"]) == ("unresolved-symbol", "symbol-missing")
    assert "needs absent" in (bench.folder / ".kmodsmith" / "cells" / failure["cells"][0] / "build.log").read_text()
    damaged = next((bench.folder / ".kmodsmith" / "compiled").glob("*.tar"))
    damaged.write_bytes(b"x")
    (bench.store / "names").write_text("")
    bench.offer("6.1.0-10-amd64")
    assert bench.build(*_TWO)[1]["counts"] == {"assembled": 2}


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('ln -s "{victim}" "opt/lib/modules/$kernel/modules.alias.bin"', "result-link"),
        ('mv "opt/lib/modules/$kernel" other; ln -s "{folder}" "opt/lib/modules/$kernel"', "result-link"),
        ('ln -s "{victim}" "opt/lib/modules/$kernel/extra/.demo.ko.xz"', "module-not-a-file"),
        ('mkdir "opt/lib/modules/$kernel/modules.dep"; : >"opt/lib/modules/$kernel/modules.dep/x"', "result-twice"),
    ],
)
def test_nothing_of_the_host_is_written_through_what_a_compile_left(
    bench: Bench, fake_tools: FakeTools, script: str, code: str
) -> None:
    """With compress and reuse depmod's output, whose words a driver chooses, went through links of its compile."""
    for tool in ("mv", "ln"):
        (fake_tools.folder / tool).symlink_to(shutil.which(tool, path="/usr/bin:/bin") or tool)
    victim = bench.folder / "victim"
    victim.write_text("mine")
    before = sorted(bench.folder.iterdir())
    text = (bench.folder / "versions.yaml").read_text().replace("vendor: V", "compress: xz\n    vendor: V")
    (bench.folder / "versions.yaml").write_text(text)
    (bench.store / "hostile").write_text(script.format(victim=victim, folder=bench.folder))
    report = bench.build("--kernel", "6.1.0-10-amd64")[1]
    assert [failure["code"] for failure in report["failures"]] == [code]
    assert victim.read_text() == "mine"
    assert [file for file in sorted(bench.folder.iterdir()) if file.name != ".kmodsmith"] == before
    assert not list((bench.folder / ".kmodsmith").glob("cell-*"))


def test_an_image_that_does_not_fit_gets_no_name(bench: Bench) -> None:
    bench.offer("6.1.0-10-amd64", machine=183)
    code, report = bench.build("--kernel", "6.1.0-10-amd64")
    assert (code, report["failures"][0]["code"]) == (13, "wrong-machine")
    assert "localhost/demo" not in (bench.store / "names").read_text()


def test_new_images_are_booted_once(bench: Bench, booting: dict[str, Any]) -> None:
    code, report = bench.build(*_TWO)
    assert (code, report["counts"], len(booting["boots"])) == (0, {"built": 2}, 2)
    assert {cell["boot"]["passed"] for cell in report["cells"]} == {True}
    assert bench.build(*_TWO)[1]["counts"] == {"skipped": 2}
    assert len(booting["boots"]) == 2
    assert "2 to boot" in bench.run("plan", "--boot", "always", *_TWO)[1]
    assert "2 to skip" in bench.run("plan", "--boot", "never", *_TWO)[1]


def test_what_was_built_before_is_booted_when_that_is_asked_for(bench: Bench, booting: dict[str, Any]) -> None:
    bench.build("--boot", "never", *_TWO)
    assert booting["boots"] == []
    report = bench.build(*_TWO)[1]
    assert report["counts"] == {"booted": 2}
    assert {cell["reason"] for cell in report["cells"]} == {"not-booted"}
    assert "secure, signed copies, tcg, 8.0 s" in bench.run("boot", "--kernel", "6.12*")[1]


def test_what_is_on_record_is_booted_without_its_base(
    bench: Bench, booting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its registry may be down, or the base gone from it: nothing of the image has to be worked out again."""
    bench.build("--boot", "never", *_TWO)

    def gone(*_: object) -> None:
        raise SourceError("the base is gone")

    for name in ("ensure", "packing"):
        monkeypatch.setattr(f"builder.build.bases.Bases.{name}", gone)
    code, report = bench.build(*_TWO)
    assert (code, report["counts"]) == (0, {"booted": 2})
    assert len(booting["boots"]) == 2
    journal = Journal(bench.folder / ".kmodsmith" / "journal.jsonl")
    assert {boot.digest for boot in journal.boots.values()} == {cell["digest"] for cell in report["cells"]}


def test_a_boot_that_fails_fails_the_cell_and_names_no_image(bench: Bench, booting: dict[str, Any]) -> None:
    booting["6.12.5+deb12-amd64"] = (OOPS,)
    code, report = bench.build(*_TWO)
    assert (code, report["counts"]) == (FailureClass.BOOT.exit_code, {"built": 1, "failed": 1})
    failure = report["failures"][0]
    assert (failure["code"], failure["location"]) == ("kernel-oops", "demo_init+0x1/0x2 [demo]")
    failed = next(cell for cell in report["cells"] if cell["status"] == "failed")
    assert failed["image"] not in (bench.store / "names").read_text()
    assert failed["log"].endswith("boot.log")
    booting["6.12.5+deb12-amd64"] = ()
    before = bench.started_builds()
    report = bench.build(*_TWO)[1]
    assert report["counts"] == {"assembled": 1, "skipped": 1}
    assert bench.started_builds() == before + 1


def test_a_guest_that_does_not_come_up_proves_nothing(bench: Bench, booting: dict[str, Any]) -> None:
    booting["6.12.5+deb12-amd64"] = CellError(FailureClass.INFRASTRUCTURE, "kernel-did-not-start", "no word")
    code, report = bench.build(*_TWO)
    assert (code, report["counts"]) == (FailureClass.INFRASTRUCTURE.exit_code, {"built": 1, "unproven": 1})
    assert booting["boots"].count("6.12.5+deb12-amd64") == 3
    assert "<error type=" in (bench.folder / ".kmodsmith" / "junit.xml").read_text()


def test_an_interrupt_stops_guests_and_records_nothing(
    bench: Bench, booting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr(build_module, "stop_all", lambda: stopped.append(True))

    def interrupt(_self: Booter, request: BootRequest) -> BootReport:
        if request.kernel.raw == "6.12.5+deb12-amd64":
            raise KeyboardInterrupt
        deadline = time.monotonic() + 10
        while not stopped and time.monotonic() < deadline:
            time.sleep(0.01)
        raise CellError(FailureClass.INFRASTRUCTURE, "kernel-did-not-start", "was killed by SIGKILL")

    monkeypatch.setattr(Booter, "boot", interrupt)
    assert bench.run("build", "--jobs", "4")[0] == 130
    assert stopped
    assert Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells == {}


def test_a_driver_that_opts_out_is_not_booted_and_says_why(bench: Bench, booting: dict[str, Any]) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", "    boot: {opt_out: a card must answer}\n    vendor:", 1))
    code, report = bench.build()
    assert (code, report["counts"], booting["boots"]) == (0, {"built": 4}, [])
    assert {cell["explanation"].partition("; ")[2] for cell in report["cells"]} == {"not booted: a card must answer"}
    assert {cell["boot_opt_out"] for cell in report["cells"]} == {"a card must answer"}
    assert "not booted: a card must answer" in bench.run("boot", "--kernel", "6.12*")[1]
    assert booting["boots"] == []


_DKMS_CONF = """\
PACKAGE_NAME=demo
PACKAGE_VERSION=1.2.0
BUILT_MODULE_NAME[0]=demo
DEST_MODULE_LOCATION[0]=/extra
BUILD_EXCLUSIVE_CONFIG=CONFIG_X
"""


def _ask_dkms(bench: Bench) -> None:
    """Have the driver's dkms.conf, which excludes kernels without CONFIG_X, say what is compiled."""
    (bench.folder / "src" / "dkms.conf").write_text(_DKMS_CONF)
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    modules: [demo]\n", "    dkms: dkms.conf\n", 1))


def test_a_driver_whose_dkms_conf_is_not_asked_excludes_no_kernel(bench: Bench) -> None:
    """Whoever prints the words of our own script, and ends as it does, has failed all the same."""
    said = "driver-container: dkms excludes this kernel: I say so\\nError: building at STEP x: exit status 77"
    bench.break_kernel("6.1.0-10-amd64", said)
    code, report = bench.build("--kernel", "6.1.0-10-amd64")
    assert (code, report["counts"]) == (FailureClass.COMPILE.exit_code, {"failed": 1})


def test_a_kernel_that_dkms_conf_excludes_when_it_is_run_is_no_failure(bench: Bench) -> None:
    _ask_dkms(bench)
    said = "driver-container: dkms excludes this kernel: no CONFIG_X\\nError: building at STEP x: exit status 77"
    bench.break_kernel("6.1.0-10-amd64", said)
    code, report = bench.build("--kernel", "6.1.0-10-amd64")
    assert (code, report["counts"], report["failures"]) == (0, {"excluded": 1}, [])
    cell = report["cells"][0]
    assert (cell["reason"], "run for this kernel: no CONFIG_X" in cell["explanation"]) == ("driver-excludes", True)
    started = bench.started_builds()
    again = bench.build("--kernel", "6.1.0-10-amd64")[1]["cells"][0]
    assert (again["status"], again["reason"], bench.started_builds()) == ("excluded", "driver-excludes", started)
    assert "(of 20" in again["explanation"], "with its date"
    assert bench.build("--kernel", "6.1.0-10-amd64", "--force")[1]["counts"] == {"excluded": 1}
    assert bench.started_builds() > started


def test_a_changed_smoke_test_compiles_nothing_and_is_named(bench: Bench, booting: dict[str, Any]) -> None:
    source = bench.folder / "src"
    (source / "smoke.sh").write_text("#!/bin/sh\n")
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", "    boot: {smoke_test: smoke.sh}\n    vendor:", 1))
    assert bench.build()[1]["counts"] == {"built": 4}
    started = bench.started_builds()
    assert not any(path.name == "smoke.sh" for path in bench.store.rglob("*")), "it is no part of a compile"
    (source / "smoke.sh").write_text("#!/bin/sh\nexit 0\n")
    report = bench.build()[1]
    assert (report["counts"], bench.started_builds()) == ({"booted": 4}, started)
    assert {cell["explanation"] for cell in report["cells"]} == {"smoke.sh changed since it was booted"}
    file.write_text(file.read_text().replace("smoke.sh}", "smoke.sh, memory: 1024}"))
    cell = bench.build("--kernel", "6.12*")[1]["cells"][0]
    assert (cell["status"], cell["explanation"]) == ("booted", "boot in versions.yaml changed since it was booted")


def test_a_changed_device_compiles_nothing_and_boots_again(bench: Bench, booting: dict[str, Any]) -> None:
    file = bench.folder / "versions.yaml"
    text = file.read_text()
    kernel = ("--kernel", "6.12*")
    file.write_text(text.replace("    vendor:", "    boot: {repeat: 2}\n    vendor:", 1))
    assert bench.build(*kernel)[1]["counts"] == {"built": 1}
    started = bench.started_builds()
    for settings in ("devices: [edu]", "devices: [edu], hot_plug: false", "devices: [edu, pci-testdev]"):
        file.write_text(text.replace("    vendor:", f"    boot: {{repeat: 2, {settings}}}\n    vendor:", 1))
        (cell,) = bench.build(*kernel)[1]["cells"]
        assert (cell["status"], cell["explanation"]) == ("booted", "boot in versions.yaml changed since it was booted")
        assert bench.build(*kernel)[1]["counts"] == {"skipped": 1}
    file.write_text(text.replace("    vendor:", "    boot: {repeat: 2, hot_plug: false}\n    vendor:", 1))
    assert bench.build(*kernel)[1]["cells"][0]["status"] == "booted", "back to none"
    file.write_text(text.replace("    vendor:", "    boot: {repeat: 2}\n    vendor:", 1))
    assert bench.build(*kernel)[1]["counts"] == {"skipped": 1}, "without devices it says nothing"
    assert bench.started_builds() == started


_KERNEL = "6.1.0-10-amd64"
_OTHER = "6.1.0-9-amd64"


def _reuse(bench: Bench, compiled_for: str) -> None:
    entry = f"reuse: [{{kernel: '{_OTHER}', compiled_for: '{compiled_for}', reason: test}}]"
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", f"    {entry}\n    vendor:"))


_BOTH = ("--group", "all", "--kernel", _KERNEL, "--kernel", _OTHER, "--jobs", "2")


def _compiles(bench: Bench) -> int:
    calls = (call for call in bench.calls("build") if "--target" in call)
    return sum(any(word.startswith("BUILD_COMMAND=") for word in call) for call in calls)


def test_what_several_cells_share_is_compiled_once(bench: Bench) -> None:
    _reuse(bench, _KERNEL)
    bench.build(*_BOTH)
    assert _compiles(bench) == 1
    assert len(list((bench.folder / ".kmodsmith" / "compiled").iterdir())) == 1


def test_what_several_cells_share_fails_once_and_for_all_of_them(bench: Bench) -> None:
    _reuse(bench, _KERNEL)
    bench.break_kernel(_KERNEL, "/usr/src/driver/demo.c:3:1: error: expected ';'")
    _, report = bench.build(*_BOTH)
    assert (report["counts"], len(report["failures"][0]["cells"]), _compiles(bench)) == ({"failed": 2}, 2, 1)


def test_reuse_of_a_kernel_that_is_not_known_refuses_that_cell_alone(bench: Bench) -> None:
    _reuse(bench, "6.1.0-77-amd64")
    code, report = bench.build(*_BOTH)
    assert (code, report["counts"]) == (FailureClass.TOOLKIT.exit_code, {"built": 1, "refused": 1})
    refused = next(cell for cell in report["cells"] if cell["status"] == "refused")
    assert refused["kernel"] == _OTHER
    assert "those of 6.1.0-77-amd64 (reuse): the lock has no kernel" in bench.run("plan", "--json", *_BOTH[:-2])[1]


def test_groups_with_endings_have_cells_of_their_own(bench: Bench) -> None:
    """Names, journal and logs are theirs; what both have is made once."""
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("{source: debian}", "{source: debian, tag_suffix: -dev}"))
    kernel = ("--kernel", "6.1.0-10-amd64")
    bench.offer_with_keys()
    assert bench.build(*kernel)[1]["counts"] == {"built": 1}
    before = bench.started_builds()
    (cell,) = bench.build(*kernel, "--group", "all")[1]["cells"]
    assert (cell["status"], cell["cell"]) == ("proven", "demo-1.2.0/6.1.0-10-amd64-dev")
    assert cell["image"] == "localhost/demo:1.2.0-6.1.0-10-amd64-dev"
    assert bench.build(*kernel)[1]["counts"] == {"skipped": 1}
    assert bench.build(*kernel, "--group", "all")[1]["counts"] == {"skipped": 1}
    assert bench.started_builds() == before


def test_nothing_is_built_whose_name_another_group_would_take(bench: Bench) -> None:
    bench.use_signer(key_file="sign.key")
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace(", tag_suffix: -unsigned", ""))
    for verb in ("build", "plan", "publish", "audit"):
        code, _, err = bench.run(verb, "--group", "all")
        assert (code, "at groups.all.signers nobody signs, and vendor signs in group 'few'" in err) == (3, True), err
    assert not bench.started_builds()


_KEEP = """
mkdir -p "$new/d6"; printf '\\314\\254x' >"$new/d6/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
echo cache_miss >"$own/statistics"; echo direct_cache_hit >>"$own/statistics"
"""


@pytest.fixture
def cached(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose driver has so many files that its compiles use the cache, each of them with a hit and a miss."""
    ccache = bench.folder.parent / "ccache"
    ccache.mkdir()
    monkeypatch.setattr(DebianSource, "ensure_ccache", lambda *_: ccache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(bench.folder.parent / "cache"))
    for number in range(6):
        (bench.folder / "src" / f"{number}.c").write_text("int x;\n")
    (bench.store / "cached").write_text(_KEEP)
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text() + "build: {compile_cache_check: 0}\n")
    return bench


def _lanes(bench: Bench) -> list[str]:
    return sorted(
        file.name
        for file in (bench.folder.parent / "cache/kmodsmith/compile-cache").glob("*/?*")
        if len(file.name) == 64
    )


def test_hits_of_the_compile_cache_are_told(cached: Bench) -> None:
    code, report = cached.build(*_TWO)
    assert code == 0
    assert len(_lanes(cached)) == 1, "two kernels, and equal entries"
    assert [(cell["compile_cache"]["hits"], cell["compile_cache"]["misses"]) for cell in report["cells"]] == [
        (1, 1)
    ] * 2
    assert "1 of 2" in cached.run("build", "--force", *_TWO)[1]
    (cell,) = json.loads((cached.folder / ".kmodsmith/results.json").read_text())["cells"][:1]
    assert cell["compile_cache"]["hits"] == 1
    assert {cell["compile_cache"] for cell in cached.build(*_TWO)[1]["cells"]} == {None}, "nothing was compiled"


def test_the_compile_cache_can_be_off(cached: Bench) -> None:
    assert {cell["compile_cache"] for cell in cached.build("--compile-cache", "off", *_TWO)[1]["cells"]} == {None}
    file = cached.folder / "versions.yaml"
    file.write_text(file.read_text().replace("compile_cache_check: 0", "compile_cache: 0"))
    assert {cell["compile_cache"] for cell in cached.build("--force", *_TWO)[1]["cells"]} == {None}
    assert not _lanes(cached)


def test_a_checked_compile_that_is_equal_is_said_to_be(cached: Bench) -> None:
    before = cached.started_builds()
    report = cached.build("--compile-cache", "check", *_ONE)[1]
    assert report["cells"][0]["compile_cache"]["checked"] == "equal"
    assert cached.started_builds() == before + 3
    assert _lanes(cached)


def test_where_a_compile_without_the_cache_differs_that_one_counts(cached: Bench) -> None:
    honest = cached.build("--compile-cache", "off", *_ONE)[1]["cells"][0]["digest"]
    spoil = '\nkernel_file=$(echo "$out"/opt/lib/modules/*/extra/demo.ko); printf x >>"$kernel_file"\n'
    (cached.store / "cached").write_text(_KEEP + spoil)
    code, out, err = cached.run("build", "--force", "--compile-cache", "check", "--json", *_ONE)
    (cell,) = json.loads(out)["cells"]
    assert (code, cell["compile_cache"]["checked"], cell["digest"]) == (0, "differs", honest)
    assert "compiled without the compile cache it is another module" in err
    assert not _lanes(cached)


def test_a_changed_entry_of_the_compile_cache_is_told(cached: Bench) -> None:
    cached.build(*_ONE)
    (file,) = (cached.folder.parent / "cache/kmodsmith/compile-cache").glob(f"*/{_lanes(cached)[0]}")
    file.write_bytes(b"\xcc\xacevil")
    _, out, err = cached.run("build", "--force", "--json", *_ONE)
    assert json.loads(out)["cells"][0]["compile_cache"]["damaged"] == 1
    assert "1 of the compile cache's entries had been changed since they were kept" in err


def test_what_is_not_trusted_leaves_nothing_in_the_cache_that_others_read(cached: Bench) -> None:
    code, out, _ = cached.run("build", "--untrusted", "--json", *_ONE)
    assert code == 0
    assert json.loads(out)["cells"][0]["compile_cache"]["kept"] == 1
    assert not _lanes(cached)


def test_the_cell_that_took_longest_is_begun_first(bench: Bench) -> None:
    bench.build(*_TWO)
    file = bench.folder / ".kmodsmith" / "journal.jsonl"
    lines = []
    for line in file.read_text().splitlines():
        entry = json.loads(line)
        if entry.get("type") == "cell":
            entry["timings"]["compile"] = 100.0 if "6.12.5" in entry["cell"] else 1.0
        lines.append(json.dumps(entry, separators=(",", ":")))
    file.write_text("\n".join(lines) + "\n")
    _, _, err = bench.run("build", "--force", "--jobs", "1", *_TWO)
    told = [line for line in err.splitlines() if line.startswith("[")]
    assert ["6.12.5" in line for line in told] == [True, False], told
