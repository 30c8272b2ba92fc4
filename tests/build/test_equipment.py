"""What a run has to have before it begins, and clears away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.bench import Bench

from builder.boot.stage import Booter
from builder.errors import (
    HostError,
)

if TYPE_CHECKING:
    import pytest
    from fakes.bench import Bench


_KERNEL = "6.1.0-10-amd64"
_WORKING_CONTAINER = '{"containername":"other","imagename":"localhost/kmodsmith/toolkit:x","builder":true}'


def test_a_run_leaves_the_containers_of_another_one_alone_whatever_home_that_has(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (bench.store / "before-containers").write_text(f"echo '[{_WORKING_CONTAINER}]'; exit\n")
    with bench.another_run():
        code, _, err = bench.run("build", "--kernel", _KERNEL)
    assert (code, bench.calls("rm"), "left behind" in err) == (0, [], False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(bench.folder.parent / "another-cache"))
    code, _, err = bench.run("build", "--kernel", _KERNEL, "--force")
    assert (code, bench.calls("rm"), "removed other, left behind" in err) == (0, [["rm", "other"]], True)


def test_what_many_stages_left_behind_is_one_line(bench: Bench) -> None:
    names = [f"localhost/kmodsmith/stage:{number:064x}-run-unproven" for number in range(50)]
    (bench.store / "names").write_text("".join(f"{name} {_KERNEL}\n" for name in names))
    _, _, err = bench.run("build", "--kernel", _KERNEL)
    (line,) = [line for line in err.splitlines() if "left behind" in line]
    assert line == f"removed {names[0]}, {names[1]} and 48 more, left behind by a run that was killed"
    (bench.store / "names").write_text("".join(f"{name} {_KERNEL}\n" for name in names[:3]))
    _, _, err = bench.run("build", "--kernel", _KERNEL, "--force")
    assert f"removed {', '.join(names[:3])}, left behind" in err, "one more is named, not counted"


def test_a_full_disk_is_found_out_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    code, _, err = bench.run("build")
    assert code == 6
    assert "not enough disk" in err
    assert bench.started_builds() == 0


def test_a_key_in_a_drivers_source_is_refused_before_anything_is_compiled(bench: Bench) -> None:
    (bench.folder / "src" / "sign.key").write_text("secret")
    bench.use_signer(key_file="src/sign.key")
    code, _, err = bench.run("build")
    assert (code, "lies in the driver source" in err, bench.started_builds()) == (9, True, 0)


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


def test_a_missing_emulator_is_told_before_anything_is_built(
    bench: Bench, booting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(_self: Booter, _arches: object) -> None:
        raise HostError("qemu-system-x86_64 is not installed", hint="doctor")

    monkeypatch.setattr(Booter, "check", check)
    assert bench.run("build")[0] == HostError.exit_code
    assert bench.started_builds() == 0
