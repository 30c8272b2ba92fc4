"""Files of lines on disks that fill up, and after kills."""

from __future__ import annotations

import contextlib
import json
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest
from fakes.evidence import make_evidence
from fakes.samples import Sample
from fakes.signers import make_job, make_signer

from builder.errors import HostError
from builder.evidence.journal import Journal
from builder.host.line_file import LineFile
from builder.show.proof import emit_signing_log
from builder.signing.log import SigningLog
from builder.signing.modules import sign_content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def _room(file: Path, more: int) -> Iterator[None]:
    """Let files grow by so many bytes over what this one has: the kernel takes a part, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_the_disk_takes_in_parts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))
    lines = LineFile(tmp_path / "lines")
    lines.append(b"one and more")
    lines.append(b"two")
    assert lines.read() == [b"one and more", b"two"]


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_line_for_which_there_is_no_room_leaves_nothing(tmp_path: Path, room: int) -> None:
    file = tmp_path / "lines"
    LineFile(file).append(b"one")
    with _room(file, room), pytest.raises(OSError, match="File too large") as caught:
        LineFile(file).append(b"x" * 50)
    assert (file.read_bytes(), caught.value.filename) == (b"one\n", str(file))


def test_a_journal_without_room_says_so_and_goes_on_later(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.record(make_evidence("one"))
    with _room(file, 100), pytest.raises(HostError, match="cannot be recorded: File too large"):
        journal.record(make_evidence("two"))
    assert set(journal.cells) == set(Journal(file).cells) == {"one"}, "what is not on the disk is not believed"
    journal.record(make_evidence("three"))
    assert set(Journal(file).cells) == {"one", "three"}


def _tear(file: Path, monkeypatch: pytest.MonkeyPatch, append: Any) -> None:
    """Leave half a line, as a disk that takes no change at all or a kill does."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", lambda *_: None)
        with _room(file, 40), pytest.raises((OSError, HostError)):
            append()
    assert not file.read_bytes().endswith(b"\n")


def test_a_torn_line_of_the_journal_is_set_aside_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.record(make_evidence("one"))
    _tear(file, monkeypatch, lambda: journal.record(make_evidence("two")))
    assert set(Journal(file).cells) == {"one"}
    Journal(file).record(make_evidence("three"))
    assert set(Journal(file).cells) == {"one", "three"}
    assert (tmp_path / "journal.jsonl.torn").read_bytes().startswith(b'{"type":"cell","cell":"two"')
    assert "40 bytes are in" in caplog.text
    events = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert [event["size"] for event in events if event.get("event") == "torn-line"] == [40]


def test_a_torn_line_of_the_signing_log_is_set_aside_and_the_chain_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "signing.jsonl"
    job = make_job(tmp_path, make_signer())
    sign_content(Sample().write(), "a.ko", job)
    _tear(file, monkeypatch, lambda: sign_content(Sample().write(), "b.ko", job))
    assert [entry["module"] for entry in SigningLog(file).read()] == ["a.ko"]
    for again in (job, make_job(tmp_path, make_signer())):  # the same process, and the next one
        sign_content(Sample().write(), "c.ko", again)
    first, torn, *others = SigningLog(file).read()
    assert (first["module"], torn["torn_bytes"], [entry["module"] for entry in others]) == ("a.ko", "40", ["c.ko"] * 2)
    assert emit_signing_log(SigningLog(file).read())


def test_a_signature_that_cannot_be_logged_is_none(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_signer())
    sign_content(Sample().write(), "a.ko", job)
    with _room(tmp_path / "signing.jsonl", 40), pytest.raises(OSError, match="File too large"):
        sign_content(Sample().write(), "b.ko", job)
    sign_content(Sample().write(), "c.ko", job)
    assert [entry["module"] for entry in SigningLog(tmp_path / "signing.jsonl").read()] == ["a.ko", "c.ko"]
