"""The signing log, and what shows that somebody touched it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from fakes.full_disk import room, tear
from fakes.samples import Sample
from fakes.signers import make_job, make_signer

from builder.errors import FormatError
from builder.show.proof import emit_signing_log
from builder.signing.log import SigningLog
from builder.signing.modules import sign_content

if TYPE_CHECKING:
    from pathlib import Path


_CONTENT = Sample().write()


def test_the_log_says_who_signed_what(tmp_path: Path) -> None:
    signer = make_signer()
    for _ in range(2):  # a log that is opened again goes on
        signed = sign_content(_CONTENT, "demo.ko", make_job(tmp_path, signer))
    log = SigningLog(tmp_path / "signing.jsonl")
    entries = log.read()
    assert len(entries) == 2
    assert entries[0]["digest"] == hashlib.sha256(_CONTENT).hexdigest()
    assert entries[1]["signed_sha256"] == hashlib.sha256(signed).hexdigest()
    assert {entry["certificate"] for entry in entries} == {signer.identity.certificate.fingerprint}
    assert entries[0]["cell"] == "demo-1/k"


@pytest.mark.parametrize("damage", ["change", "remove", "insert", "tear"])
def test_a_log_that_was_touched_is_found_out(damage: str, tmp_path: Path) -> None:
    job = make_job(tmp_path, make_signer())
    for name in ("a.ko", "b.ko", "c.ko"):
        sign_content(_CONTENT, name, job)
    file = tmp_path / "signing.jsonl"
    lines = file.read_text().splitlines()
    if damage == "change":
        lines[1] = lines[1].replace("b.ko", "x.ko")
    elif damage == "remove":
        del lines[1]
    elif damage == "insert":
        lines.insert(1, lines[1])
    else:
        lines[2] = lines[2][:40]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(FormatError, match=r"signing.jsonl:\d: this line does not follow"):
        SigningLog(file).read()


def test_a_torn_line_of_the_signing_log_is_set_aside_and_the_chain_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "signing.jsonl"
    job = make_job(tmp_path, make_signer())
    sign_content(Sample().write(), "a.ko", job)
    tear(file, monkeypatch, lambda: sign_content(Sample().write(), "b.ko", job))
    assert [entry["module"] for entry in SigningLog(file).read()] == ["a.ko"]
    for again in (job, make_job(tmp_path, make_signer())):  # the same process, and the next one
        sign_content(Sample().write(), "c.ko", again)
    first, torn, *others = SigningLog(file).read()
    assert (first["module"], torn["torn_bytes"], [entry["module"] for entry in others]) == ("a.ko", "40", ["c.ko"] * 2)
    assert emit_signing_log(SigningLog(file).read())


def test_a_signature_that_cannot_be_logged_is_none(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_signer())
    sign_content(Sample().write(), "a.ko", job)
    with room(tmp_path / "signing.jsonl", 40), pytest.raises(OSError, match="File too large"):
        sign_content(Sample().write(), "b.ko", job)
    sign_content(Sample().write(), "c.ko", job)
    assert [entry["module"] for entry in SigningLog(tmp_path / "signing.jsonl").read()] == ["a.ko", "c.ko"]
