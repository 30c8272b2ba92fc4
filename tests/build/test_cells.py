"""Carrying out plans, with a buildah on PATH that pretends."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from fakes.bench import FEW, Bench
from fakes.registry import pretend_registry
from fakes.signers import certify

from builder.boot.stage import Booter, BootReport, BootRequest
from builder.boot.verdict import BootCheck, BootProblem
from builder.build import cells as build_module
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
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


def test_builds_all_cells_and_then_nothing(bench: Bench) -> None:
    code, report = bench.build()
    assert (code, report["counts"]) == (0, {"built": 4})
    assert {cell["digest"] for cell in report["cells"]} == {bench.digest(raw) for raw in FEW}
    before = bench.started_builds()
    assert before == 8
    code, report = bench.build()
    assert (code, report["counts"], bench.started_builds()) == (0, {"skipped": 4}, before)


def test_a_changed_source_file_rebuilds_all_cells_of_the_driver_and_says_why(bench: Bench) -> None:
    bench.build()
    (bench.folder / "README").write_text("not part of the driver")
    assert bench.build()[1]["counts"] == {"skipped": 4}
    (bench.folder / "src" / "demo.c").write_text("int changed;\n")
    report = bench.build()[1]
    assert report["counts"] == {"built": 4}
    assert {cell["reason"] for cell in report["cells"]} == {"source-changed"}


def test_a_new_kernel_in_the_lock_builds_that_cell(bench: Bench) -> None:
    bench.build("--group", "all", "--kernel", "6.1.0-10-*")
    report = bench.build("--group", "all", "--kernel", "6.1.0-*")[1]
    assert report["counts"] == {"built": 1, "skipped": 3}


def test_one_failing_kernel_does_not_stop_the_others(bench: Bench) -> None:
    bench.break_kernel("6.12.5+deb12-amd64", "/usr/src/driver/demo.c:3:1: error: too few arguments to function 'x'")
    code, report = bench.build()
    assert code == FailureClass.COMPILE.exit_code
    assert report["counts"] == {"built": 3, "failed": 1}
    assert report["failures"][0]["code"] == "api-arity"
    assert report["failures"][0]["location"] == "demo.c:3"
    code, out, _ = bench.run("log")
    assert "too few arguments" in out
    failed = next(cell for cell in bench.build()[1]["cells"] if cell["status"] == "failed")
    assert failed["reason"] == "failed-before"


def test_classes_have_exit_codes_and_several_have_their_own(bench: Bench) -> None:
    bench.break_kernel("6.12.5+deb12-amd64", 'ERROR: modpost: "gone" [/usr/src/driver/demo.ko] undefined!')
    assert bench.build()[0] == FailureClass.UNRESOLVED_SYMBOL.exit_code
    bench.break_kernel("6.1.0-10-amd64", "driver-container: toolkit has no /lib/modules/x/build")
    assert bench.build("--force")[0] == 20


def test_only_infrastructure_is_tried_again(bench: Bench) -> None:
    bench.break_kernel("6.1.0-10-amd64", "as: No space left on device")
    code, report = bench.build("--kernel", "6.1.0-10-amd64")
    assert (code, report["failures"][0]["code"]) == (FailureClass.INFRASTRUCTURE.exit_code, "disk-full")
    assert bench.started_builds() == 3
    bench.break_kernel("6.1.0-10-rt-amd64", "demo.c:1:1: error: x")
    bench.build("--kernel", "6.1.0-10-rt-amd64")
    assert bench.started_builds() == 4


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


def test_an_image_that_is_replaced_while_it_is_named_is_not_green(bench: Bench) -> None:
    kernel, other = "6.1.0-10-amd64", "6.1.0-9-amd64"
    key = json.loads(bench.run("plan", "--json", "--kernel", kernel)[1])["cells"][0]["key"]
    hook = f'echo "localhost/kmodsmith/cell:{key} {other}" >>"$store/names"\n'
    (bench.store / "before-inspect").write_text(hook)
    code, report = bench.build("--kernel", kernel)
    assert (code, report["failures"][0]["code"]) == (FailureClass.INFRASTRUCTURE.exit_code, "image-replaced")


def test_runs_do_not_share_names_that_pass(bench: Bench) -> None:
    bench.build("--kernel", "6.1.0-10-amd64")
    bench.build("--kernel", "6.1.0-10-amd64", "--force")
    calls = bench.calls("build")
    names = [call[place + 1] for call in calls for place, word in enumerate(call) if word == "--tag"]
    assert len(names) == len(set(names)) == 2


def test_naming_an_image_again_forgets_nothing(bench: Bench) -> None:
    bench.build()
    names = (bench.store / "names").read_text().splitlines()
    (bench.store / "names").write_text("\n".join(name for name in names if "kmodsmith/cell" in name) + "\n")
    assert bench.build()[1]["counts"] == {"tagged": 4}
    cells = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    assert all(item.timings["compile"] > 0 and item.modules for item in cells)


def test_digests_of_finished_cells_come_from_their_images(bench: Bench) -> None:
    bench.build()
    assert {cell["digest"] for cell in bench.build()[1]["cells"]} == {bench.digest(raw) for raw in FEW}


def test_the_first_error_counts_however_long_the_log(bench: Bench) -> None:
    bench.break_kernel("6.12.5+deb12-amd64", "/usr/src/driver/demo.c:3:1: error: too few arguments to function 'x'")
    with (bench.store / "noise").open("w") as noise:
        noise.write("  CC [M]  /usr/src/driver/other.o\n" * 20_000)
    assert bench.build()[1]["failures"][0]["code"] == "api-arity"


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

    def ensure(_self: object, kernel: object) -> str:
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


def test_left_out_cells_are_shown(bench: Bench) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text() + 'exclude: [{kernel: "*-cloud-*", reason: no devices}]\n')
    code, report = bench.build()
    assert (code, report["counts"]) == (0, {"built": 3, "excluded": 1})


def test_plan_table_and_json_agree(bench: Bench) -> None:
    code, out, _ = bench.run("plan")
    assert code == 0
    assert "4 cells: 4 to build; no recorded timings to predict from" in out
    bench.build()
    plan = json.loads(bench.run("plan", "--json", "--group", "all")[1])
    assert plan["counts"] == {"build": 2, "skip": 4}
    assert plan["predicted_s"] is not None


def test_a_full_disk_is_found_out_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    code, _, err = bench.run("build")
    assert code == 6
    assert "not enough disk" in err
    assert bench.started_builds() == 0


def test_two_runs_do_not_trample_each_other(bench: Bench) -> None:
    from builder.host.locks import hold_project

    with hold_project(bench.folder / ".kmodsmith"):
        code, _, err = bench.run("build")
    assert code == 5
    assert "another run is at work" in err
    assert "process " in err


def test_a_vanished_package_refreshes_the_lock_unless_locked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.errors import SourceGoneError
    from builder.sources.debian import discover as debian

    gone = {"6.1.0-10-amd64"}

    def ensure(_self: object, kernel: Any) -> str:
        if kernel.raw in gone:
            raise SourceGoneError("http://archive.test/x.deb is no longer served (HTTP 404)")
        return "toolkit:x"

    def discover(_source: object, previous: Any, *_: object, **_options: object) -> Any:
        gone.clear()
        return debian.DebianAnswer(locked=previous, lost={}, problems=[])

    monkeypatch.setattr("builder.sources.debian.toolkit.DebianToolkits.ensure", ensure)
    monkeypatch.setattr("builder.sources.debian.discover.discover", discover)
    code, report = bench.build("--locked")
    assert (code, report["failures"][0]["code"]) == (FailureClass.TOOLKIT.exit_code, "package-gone")
    code, report = bench.build()
    assert (code, report["counts"]) == (0, {"built": 1, "skipped": 3})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("build", "--group", "fwe"), 2, "did you mean 'few'?"),
        (("plan", "--arch", "i386"), 2, "x86_64"),
        (("discover", "--source", "x"), 2, "there is no source 'x'"),
        (("log", "nothing"), 2, "no build of 'nothing' is known"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_wrong_words_are_explained(bench: Bench, arguments: tuple[str, ...], code: int, words: str) -> None:
    found, _, err = bench.run(*arguments)
    assert found == code
    assert words in err
    assert "Traceback" not in err


def test_mistakes_in_the_configuration_have_their_exit_code(bench: Bench) -> None:
    (bench.folder / "versions.yaml").write_text("drivers: 3\n")
    code, _, err = bench.run("plan")
    assert code == 3
    assert "versions.yaml:1:10: at drivers must be a list" in err


def test_a_defect_is_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("builder.verbs.plan.plan_project", explode)
    code, _, err = bench.run("plan")
    assert code == 1
    assert "defect in kmodsmith: ZeroDivisionError: oops" in err
    assert "Traceback" not in err


def test_prune_keeps_what_is_needed(bench: Bench) -> None:
    bench.build()
    with (bench.store / "names").open("a") as file:
        file.write("localhost/kmodsmith/cell:old 1\nlocalhost/kmodsmith/toolkit:old 2\nlocalhost/other:1 3\n")
    _, out, _ = bench.run("prune", "--dry-run")
    assert out.splitlines() == [
        "localhost/kmodsmith/cell:old",
        "localhost/kmodsmith/toolkit:old",
        "2 would be removed",
    ]


def _use_signer(bench: Bench, *, until: datetime = datetime(2120, 1, 1, tzinfo=UTC), **signer: str) -> None:
    certificate = certify(since=datetime(2020, 1, 1, tzinfo=UTC), until=until)
    (bench.folder / "vendor.pem").write_bytes(certificate.x509.public_bytes(Encoding.PEM))
    file = bench.folder / "versions.yaml"
    wanted = "{source: debian, newest: true, signing: required, signers: [vendor],"
    text = file.read_text().replace("{source: debian, newest: true,", wanted)
    file.write_text(f"{text}signers: {json.dumps({'vendor': {'certificate': 'vendor.pem', **signer}})}\n")


def test_a_key_in_a_drivers_source_is_refused_before_anything_is_compiled(bench: Bench) -> None:
    (bench.folder / "src" / "sign.key").write_text("secret")
    _use_signer(bench, key_file="src/sign.key")
    code, _, err = bench.run("build")
    assert (code, "lies in the driver source" in err, bench.started_builds()) == (9, True, 0)


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        (("plan", "--group", "few"), 0),
        (("prune", "--dry-run"), 0),
        (("audit",), 0),
        (("publish",), 0),  # all of it is local
        (("emit", "kmm"), 2),  # no image goes to a registry
        (("bundle",), 2),
        (("compat",), 2),  # nothing is built
        (("build",), 9),
    ],
)
def test_only_what_signs_needs_a_certificate_that_may_sign_now(bench: Bench, verb: tuple[str, ...], code: int) -> None:
    _use_signer(bench, until=datetime(2025, 1, 1, tzinfo=UTC), key_file="sign.key")
    found, _, err = bench.run(*verb)
    sentence = "signer vendor: the certificate of CN=Vendor expired on 2025-01-01"
    assert (found, err.count(f"{sentence}: nothing new can be signed by it")) == (code, 1), err
    assert (f"error: {sentence}" in err) is (code == 9)
    assert bench.started_builds() == 0


def test_the_doctor_warns_before_a_certificate_expires(bench: Bench) -> None:
    def look() -> list[tuple[str, str]]:
        found = json.loads(bench.run("doctor", "--json")[1])
        return [(item["status"], item["message"]) for item in found if item["name"] == "certificate of vendor"]

    now = datetime.now(UTC)
    text = (bench.folder / "versions.yaml").read_text()
    for until, status, words in (
        (now + timedelta(days=31), "ok", "valid until"),
        (now + timedelta(days=29, hours=1), "warn", "in 29 days; after that nothing new can be signed by it"),
        (now - timedelta(days=1), "warn", "expired on"),
    ):
        (bench.folder / "versions.yaml").write_text(text)
        _use_signer(bench, until=until, key_file="sign.key")
        ((found, message),) = look()
        assert (found, words in message) == (status, True), message
    (bench.folder / "vendor.pem").write_text("no certificate")
    assert look()[0][0] == "warn"
    assert "certificate of vendor" in bench.run("doctor", "--quiet")[1]


def test_what_was_compiled_is_not_compiled_again(bench: Bench) -> None:
    bench.build()
    bench.offer("6.1.0-10-amd64", imports=["kfree", "absent"])
    (bench.store / "names").write_text("")
    report = bench.build()[1]
    assert report["counts"] == {"assembled": 3, "failed": 1}
    assert {cell["reason"] for cell in report["cells"]} == {"image-gone"}
    (failure,) = report["failures"]
    assert (failure["failure_class"], failure["code"]) == ("unresolved-symbol", "symbol-missing")
    assert "needs absent" in (bench.folder / ".kmodsmith" / "cells" / failure["cells"][0] / "build.log").read_text()
    damaged = next((bench.folder / ".kmodsmith" / "compiled").glob("*.tar"))
    damaged.write_bytes(b"x")
    (bench.store / "names").write_text("")
    bench.offer("6.1.0-10-amd64")
    assert bench.build()[1]["counts"] == {"assembled": 4}


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


def test_kernel_facts_are_not_read_through_links(bench: Bench, fake_tools: FakeTools) -> None:
    (fake_tools.folder / "ln").symlink_to(shutil.which("ln", path="/usr/bin:/bin") or "ln")
    (bench.store / "hostile-facts").write_text('ln -s "$store/names" modules.builtin')
    (failure,) = bench.build("--kernel", "6.1.0-10-amd64")[1]["failures"]
    assert (failure["failure_class"], "modules.builtin is a link" in failure["detail"]) == ("toolkit", True)


def test_what_a_killed_run_left_is_removed_however_deep(bench: Bench) -> None:
    left = bench.folder / ".kmodsmith" / "cell-killed"
    left.mkdir(parents=True)
    folder = os.open(left, os.O_RDONLY)
    for _ in range(1100):  # a recursion of Python ends at 1000
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    assert bench.build("--kernel", "6.1.0-10-amd64")[1]["counts"] == {"built": 1}
    assert not left.exists()


def test_an_image_that_does_not_fit_gets_no_name(bench: Bench) -> None:
    bench.offer("6.1.0-10-amd64", machine=183)
    code, report = bench.build("--kernel", "6.1.0-10-amd64")
    assert (code, report["failures"][0]["code"]) == (13, "wrong-machine")
    assert "localhost/demo" not in (bench.store / "names").read_text()


def test_the_proof_of_one_image_and_of_one_that_is_not_there(bench: Bench) -> None:
    bench.build()
    image = "localhost/demo:1.2.0-6.1.0-10-amd64"
    code, out, _ = bench.run("fit", image, "--json")
    proof = json.loads(out)
    assert (code, proof["fits"], [module["name"] for module in proof["modules"]]) == (0, True, ["demo.ko"])
    code, out, _ = bench.run("fit", image, "--module", "other")
    assert (code, "module-missing other.ko" in out) == (13, True)
    code, _, err = bench.run("fit", "localhost/nothing:1")
    assert (code, "the container store has no image localhost/nothing:1" in err) == (2, True)


_OOPS = BootProblem(
    check=BootCheck.KERNEL_OOPS, step="load demo", sentence="Oops: 0002", place="demo_init+0x1/0x2 [demo]"
)


def test_new_images_are_booted_once(bench: Bench, booting: dict[str, Any]) -> None:
    code, report = bench.build()
    assert (code, report["counts"], len(booting["boots"])) == (0, {"built": 4}, 4)
    assert {cell["boot"]["passed"] for cell in report["cells"]} == {True}
    assert bench.build()[1]["counts"] == {"skipped": 4}
    assert len(booting["boots"]) == 4
    assert "4 to boot" in bench.run("plan", "--boot", "always")[1]
    assert "4 to skip" in bench.run("plan", "--boot", "never")[1]


def test_what_passed_its_boot_test_is_published_also_where_every_build_boots_again(
    bench: Bench, booting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(
        file.read_text()
        .replace("boot: changed", "boot: always")
        .replace("    vendor:", "    image: quay.test/demo\n    vendor:")
    )
    booting["6.1.0-10-amd64"] = (_OOPS,)
    bench.build()

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        registry = pretend_registry(lambda _: httpx.Response(403), cache_dir)
        return RegistryAccess(registry, Credentials(), frozenset())

    monkeypatch.setattr("builder.publish.cells.open_registries", open_pretended)
    code, out, _ = bench.run("publish", "--json")
    found = {cell["kernel"]: cell["status"] for cell in json.loads(out)["cells"]}
    assert (code, found.pop("6.1.0-10-amd64"), set(found.values())) == (16, "not-built", {"unknown"})


def test_what_was_built_before_is_booted_when_that_is_asked_for(bench: Bench, booting: dict[str, Any]) -> None:
    bench.build("--boot", "never")
    assert booting["boots"] == []
    report = bench.build()[1]
    assert report["counts"] == {"booted": 4}
    assert {cell["reason"] for cell in report["cells"]} == {"not-booted"}
    assert "secure, signed copies, tcg, 8.0 s" in bench.run("boot", "--kernel", "6.12*")[1]


def test_a_boot_that_fails_fails_the_cell_and_names_no_image(bench: Bench, booting: dict[str, Any]) -> None:
    booting["6.12.5+deb12-amd64"] = (_OOPS,)
    code, report = bench.build()
    assert (code, report["counts"]) == (FailureClass.BOOT.exit_code, {"built": 3, "failed": 1})
    failure = report["failures"][0]
    assert (failure["code"], failure["location"]) == ("kernel-oops", "demo_init+0x1/0x2 [demo]")
    failed = next(cell for cell in report["cells"] if cell["status"] == "failed")
    assert failed["image"] not in (bench.store / "names").read_text()
    assert failed["log"].endswith("boot.log")
    booting["6.12.5+deb12-amd64"] = ()
    before = bench.started_builds()
    report = bench.build()[1]
    assert report["counts"] == {"assembled": 1, "skipped": 3}
    assert bench.started_builds() == before + 1


def test_a_guest_that_does_not_come_up_proves_nothing(bench: Bench, booting: dict[str, Any]) -> None:
    booting["6.12.5+deb12-amd64"] = CellError(FailureClass.INFRASTRUCTURE, "kernel-did-not-start", "no word")
    code, report = bench.build()
    assert (code, report["counts"]) == (FailureClass.INFRASTRUCTURE.exit_code, {"built": 3, "unproven": 1})
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


def test_a_missing_emulator_is_told_before_anything_is_built(
    bench: Bench, booting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(_self: Booter, _arches: object) -> None:
        raise HostError("qemu-system-x86_64 is not installed", hint="doctor")

    monkeypatch.setattr(Booter, "check", check)
    assert bench.run("build")[0] == HostError.exit_code
    assert bench.started_builds() == 0


def test_a_driver_that_opts_out_is_not_booted_and_says_why(bench: Bench, booting: dict[str, Any]) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", "    boot: {opt_out: a card must answer}\n    vendor:", 1))
    code, report = bench.build()
    assert (code, report["counts"], booting["boots"]) == (0, {"built": 4}, [])
    assert {cell["explanation"].partition("; ")[2] for cell in report["cells"]} == {"not booted: a card must answer"}
    assert {cell["boot_opt_out"] for cell in report["cells"]} == {"a card must answer"}
    assert "not booted: a card must answer" in bench.run("boot", "--kernel", "6.12*")[1]
    assert booting["boots"] == []


def test_a_kernel_that_dkms_conf_excludes_when_it_is_run_is_no_failure(bench: Bench) -> None:
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


def test_boot_alone_builds_nothing(bench: Bench, booting: dict[str, Any]) -> None:
    code, out, _ = bench.run("boot", "--json")
    assert (code, json.loads(out)["counts"]) == (FailureClass.TOOLKIT.exit_code, {"refused": 4})
    assert {cell["reason"] for cell in json.loads(out)["cells"]} == {"not-built"}
    assert bench.started_builds() == 0


def test_a_kernel_of_an_os_image_is_another_test(bench: Bench, booting: dict[str, Any]) -> None:
    bench.build("--kernel", "6.12*")
    with (bench.store / "names").open("a") as names:
        names.write("localhost/os:1 6.1.0-9-amd64\n")
    code, out, _ = bench.run("boot", "--kernel", "6.12*", "--os-image", "localhost/os:1", "--json")
    assert (code, json.loads(out)["cells"][0]["reason"]) == (0, "boot-changed")
    assert bench.build("--kernel", "6.12*")[1]["cells"][0]["reason"] == "boot-changed"
    code, _, err = bench.run("boot", "--os-image", "localhost/none:1")
    assert (code, "no image localhost/none:1" in err) == (2, True)


def test_kernels_that_cannot_be_booted_are_refused_where_boots_are_wanted(bench: Bench) -> None:
    code, out, _ = bench.run("build", "--boot", "changed", "--json")
    assert (code, json.loads(out)["counts"]) == (FailureClass.TOOLKIT.exit_code, {"refused": 4})
    assert {cell["reason"] for cell in json.loads(out)["cells"]} == {"no-bootable-kernel"}
