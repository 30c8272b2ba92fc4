"""Signatures, signers and their refusals, and the signing log."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.samples import KERNEL, Sample
from fakes.signers import MemoryKey, certify, make_job, make_signer
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import CellError, FormatError
from builder.kmod.finding import Check
from builder.kmod.fit import ExpectedSigner, check_signatures, place_modules
from builder.kmod.packing import pack_module
from builder.kmod.signature import append_signature, split_signature
from builder.signing.log import SigningLog
from builder.signing.modules import read_file, sign_content, sign_result
from builder.store.result import File, make_result

if TYPE_CHECKING:
    from pathlib import Path


_PLACE = f"opt/lib/modules/{KERNEL}/extra/demo.ko"


def _codes(data: bytes, *expected: ExpectedSigner) -> set[str]:
    placed, findings = place_modules([(_PLACE, data)])
    return {finding.check for finding in [*findings, *check_signatures(placed, expected)]}


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_signs_and_verifies(kind: str, algorithm: str, tmp_path: Path) -> None:
    signer = make_signer(kind, algorithm)
    content = Sample().write()
    signed = sign_content(content, "demo.ko", make_job(tmp_path, signer))
    parts = split_signature(signed)
    assert parts.content == content
    assert [entry.digest_algorithm for entry in parts.signers] == [algorithm]
    assert _codes(signed, signer.identity.expected) == set()
    entry = parts.signers[0]
    assert append_signature(content, [(signer.identity.certificate, algorithm, entry.signature)]) == signed


def test_two_signers_in_a_rotation_window(tmp_path: Path) -> None:
    old, new = make_signer("other", "sha512"), make_signer("ec", "sha256")
    signed = sign_content(Sample().write(), "demo.ko", make_job(tmp_path, old, new))
    assert _codes(signed, old.identity.expected, new.identity.expected) == set()
    assert _codes(signed, new.identity.expected) == {Check.SIGNED_BY_OTHER}
    only_new = sign_content(Sample().write(), "demo.ko", make_job(tmp_path, new))
    assert _codes(only_new, old.identity.expected, new.identity.expected) == {Check.SIGNATURE_MISSING}


def test_each_wrong_signature_has_its_code(tmp_path: Path) -> None:
    signer = make_signer()
    content = Sample().write()
    signed = sign_content(content, "demo.ko", make_job(tmp_path, signer))
    expected = signer.identity.expected
    assert _codes(content, expected) == {Check.SIGNATURE_MISSING}
    assert _codes(signed) == {Check.SIGNATURE_UNEXPECTED}
    assert _codes(signed, make_signer("other").identity.expected) == {Check.SIGNED_BY_OTHER}
    sha384 = ExpectedSigner(certificate=expected.certificate, algorithm="sha384")
    assert _codes(signed, sha384) == {Check.WRONG_DIGEST_ALGORITHM}
    assert _codes(signed[:-60] + b"\xff" * 8 + signed[-52:], expected) <= {
        Check.SIGNATURE_UNREADABLE,
        Check.SIGNATURE_INVALID,
    }
    assert _codes(signed[:-34] + b"\xff\xff\xff\xff" + signed[-30:], expected) == {Check.SIGNATURE_UNREADABLE}
    changed = signed.replace(b"license=GPL", b"license=gpl")
    assert _codes(changed, expected) == {Check.SIGNATURE_INVALID}


def test_an_entry_that_names_another_algorithm_is_found_out(tmp_path: Path) -> None:
    rsa_oid, ecdsa_oid = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a8648ce3d040302")
    by_ec = make_signer("ec")
    signed = sign_content(Sample().write(), "demo.ko", make_job(tmp_path, by_ec))
    assert ecdsa_oid in signed
    sha384 = signed.replace(ecdsa_oid, ecdsa_oid[:-1] + b"\x03")
    assert _codes(sha384, by_ec.identity.expected) == {Check.SIGNATURE_UNREADABLE}
    by_rsa = make_signer()
    signed = sign_content(Sample().write(), "demo.ko", make_job(tmp_path, by_rsa))
    assert rsa_oid in signed
    other = signed.replace(rsa_oid, rsa_oid[:-1] + b"\x05")
    assert _codes(other, by_rsa.identity.expected) == {Check.SIGNATURE_UNREADABLE}
    (placed,), _ = place_modules([(_PLACE, signed)])
    claims_ec = replace(placed.signed, signers=(replace(placed.signed.signers[0], is_rsa=False),))
    findings = check_signatures([replace(placed, signed=claims_ec)], [by_rsa.identity.expected])
    assert [finding.check for finding in findings] == [Check.SIGNATURE_INVALID]


def test_a_stripped_module_loses_its_signature_and_is_found_out(tmp_path: Path) -> None:
    signer = make_signer()
    signed = sign_content(Sample().write(), "demo.ko", make_job(tmp_path, signer))
    assert _codes(signed[: signed.rindex(b"~Module")], signer.identity.expected) == {Check.SIGNATURE_MISSING}


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.data())
def test_mutated_signatures_are_read_or_refused(data: st.DataObject) -> None:
    mutated = bytearray(_SIGNED)
    start = len(_CONTENT)
    for _ in range(data.draw(st.integers(1, 6))):
        mutated[data.draw(st.integers(start, len(mutated) - 29))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 40))
    try:
        parts = split_signature(bytes(mutated[: start - cut] + mutated[start:]))
    except FormatError:
        return
    assert len(parts.content) <= len(mutated)


_CONTENT = Sample().write()
_RSA = certify()
_SIGNED = append_signature(
    _CONTENT, [(_RSA, "sha256", MemoryKey("rsa").sign(hashlib.sha256(_CONTENT).digest(), "sha256"))]
)


# Refusals.


def test_what_is_signed_already_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CellError, match="with a signature already") as caught:
        sign_content(_SIGNED, "demo.ko", make_job(tmp_path, make_signer()))
    assert caught.value.failure.code == "already-signed"


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CellError, match="does not belong to the certificate") as caught:
        sign_content(_CONTENT, "demo.ko", make_job(tmp_path, make_signer("rsa", key="other")))
    assert caught.value.failure.code == "key-mismatch"


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst", ".gz"])
def test_files_are_signed_before_they_are_compressed(suffix: str, tmp_path: Path) -> None:
    signer = make_signer()
    content = pack_module(_CONTENT, suffix[1:]) if suffix else _CONTENT
    result = make_result([(f"{_PLACE}{suffix}", File(content, is_program=True))])
    signed = sign_result(result, make_job(tmp_path, signer))
    placed, _ = place_modules(signed.modules())
    assert check_signatures(placed, [signer.identity.expected]) == []
    assert placed[0].signed.content == _CONTENT
    assert [entry["module"] for entry in SigningLog(tmp_path / "signing.jsonl").read()] == [f"demo.ko{suffix}"]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.ko")
    (tmp_path / "b.ko").symlink_to("/dev/zero")
    for name in ("a.ko", "b.ko", "c.ko"):
        with pytest.raises(FormatError, match=name):
            read_file(tmp_path / name)
