"""Runs that are at work at the same time, and one that cannot say what it did: whatever the verb is."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

import pytest

from builder.host.line_file import LineFile
from builder.host.locks import hold_lock_file, hold_project

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench


_KERNEL = "6.1.0-10-amd64"


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", f"localhost/demo:1.2.0-{_KERNEL}"),
        ("compat",),
        ("drift", _KERNEL, _KERNEL),
        ("sign", f"localhost/demo:1.2.0-{_KERNEL}", "--signer", "vendor", "--tag", "localhost/x:1"),
    ],
)
def test_who_looks_into_the_store_holds_it(bench: Bench, arguments: tuple[str, ...]) -> None:
    """While an image is read, nobody has the store alone; a look at the lock from within the pretended buildah."""
    bench.build("--kernel", _KERNEL)
    free = f"import fcntl, os; fcntl.flock(os.open('{bench.store}', os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    look = f'"{sys.executable}" -c "{free}" 2>/dev/null && echo free || echo held; '
    (bench.store / "before-push").write_text(f'{{ {look} }} >>"$store/seen"\n')
    bench.run(*arguments)
    assert set((bench.store / "seen").read_text().split()) == {"held"}


def test_what_is_asked_for_twice_at_once_is_written_once(bench: Bench, tmp_path: Path) -> None:
    with hold_project(bench.folder / ".kmodsmith"):
        code, _, err = bench.run("discover")
        assert (code, "another run is at work" in err) == (5, True)
    with hold_lock_file(bench.folder / "versions.lock.yaml"):
        code, _, err = bench.run("--work-dir", str(tmp_path / "other"), "discover")
        assert (code, "another run is asking the kernel sources" in err) == (5, True)


def test_a_run_that_cannot_record_what_it_did_ends_with_a_sentence(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_self: LineFile, line: bytes) -> None:
        if b'"type":"cell"' in line:
            raise OSError(errno.ENOSPC, "No space left on device", "journal.jsonl")

    bench.offer_with_keys()
    with monkeypatch.context() as patch:
        patch.setattr(LineFile, "append", refuse)
        code, _, err = bench.run("build", "--kernel", _KERNEL)
    assert (code, "what was done cannot be recorded: No space left on device" in err) == (6, True)
    assert bench.build("--kernel", _KERNEL)[1]["counts"] == {"proven": 1}
