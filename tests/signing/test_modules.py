"""Signatures, signers and their refusals, and the signing log."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from fakes.samples import KERNEL, Sample
from fakes.signers import KEYS, NOW, MemoryKey, certify, make_job, make_signer
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.config.model import Config
from builder.config.pkcs11_uri import parse_pkcs11_uri
from builder.errors import CellError, FormatError, SignerError, UsageError
from builder.host.places import replace_file
from builder.kmod.finding import Check
from builder.kmod.fit import ExpectedSigner, check_signatures, place_modules
from builder.kmod.packing import pack_module
from builder.kmod.signature import append_signature, split_signature
from builder.signing import access as signer_module
from builder.signing.access import (
    CommandKey,
    HeldKey,
    SignerIdentity,
    check_certificate,
    check_policy,
    may_sign_code,
    read_certificate,
)
from builder.signing.create import create_development_key, create_image_key, emit_enrolment
from builder.signing.holder import FileKey, serve
from builder.signing.modules import SigningLog, read_file, sign_content, sign_result
from builder.store.result import File, make_result

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

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


@pytest.mark.parametrize(
    ("code", "certificate"),
    [
        ("certificate-expired", {"until": NOW - timedelta(hours=1)}),
        ("certificate-not-yet-valid", {"since": NOW + timedelta(hours=1)}),
        ("certificate-without-code-signing", {"digital_signature": False}),
        ("certificate-without-code-signing", {"digital_signature": None}),
        ("certificate-without-code-signing", {"extended": ExtendedKeyUsageOID.SERVER_AUTH}),
    ],
)
def test_certificates_that_may_not_sign(code: str, certificate: dict[str, Any]) -> None:
    with pytest.raises(SignerError) as caught:
        check_certificate(make_signer(**certificate).identity, now=NOW)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "extended", [None, ExtendedKeyUsageOID.CODE_SIGNING, x509.ObjectIdentifier("1.3.6.1.4.1.2312.16.1.2")]
)
def test_certificates_that_may_sign(extended: x509.ObjectIdentifier | None) -> None:
    assert may_sign_code(certify(extended=extended).x509)


def _config(signing: str) -> Config:
    driver = {
        "name": "d",
        "version": "1.0.0",
        "source": "s",
        "modules": ("m",),
        "vendor": "v",
        "summary": "s",
        "description": "d",
        "maintainer": "m",
    }
    group = {"source": "debian", "signing": signing}
    return Config.model_validate(
        {
            "drivers": (driver,),
            "sources": {"debian": {"provider": "debian"}},
            "groups": {"g": group},
            "default_group": "g",
        }
    )


def test_what_a_group_demands() -> None:
    development = make_signer(unit="kmodsmith development key").identity
    production = make_signer().identity
    check_policy(_config("optional"), "g", [])
    check_policy(_config("required"), "g", [development])
    check_policy(_config("production"), "g", [production])
    for signing in ("required", "production"):
        with pytest.raises(SignerError, match="names no signer") as caught:
            check_policy(_config(signing), "g", [])
        assert caught.value.code == "no-signer"
    with pytest.raises(SignerError, match="development key") as caught:
        check_policy(_config("production"), "g", [production, development])
    assert caught.value.code == "development-key-forbidden"


# The process that holds the key, here in this one.


def _ask(request: dict[str, str], *digests: bytes) -> list[dict[str, str]]:
    questions = [request, *({"digest": digest.hex(), "algorithm": "sha256"} for digest in digests)]
    lines = [{**question, "number": number} for number, question in enumerate(questions)]
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(line) + "\n" for line in lines)), answers)
    replies = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [reply.pop("number") for reply in replies] == list(range(len(replies)))
    return replies


# Answers as the key holder does, except for the first process that is started: it does what a test says.
_KEY_PROCESS = """
[ -f "$0.started" ] && first= || first=1; echo x >>"$0.started"
number() {{ number=${{line##*\\"number\\": }}; number=${{number%%\\}}*}}; }}
read -r line; number; echo "{{\\"ready\\": \\"yes\\", \\"number\\": $number}}"
while read -r line; do
    number; signature=0{number}
    [ -z "$first" ] || {{ signature=bad; {first}; }}
    echo "{{\\"signature\\": \\"$signature\\", \\"number\\": $number}}"
done
"""


def _held_key(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch, script: str) -> HeldKey:
    fake_tools.add("key-process", script)
    monkeypatch.setattr("sys.executable", "key-process")
    monkeypatch.setattr(signer_module, "_ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr("builder.host.run._STOP_STEPS", ((signal.SIGKILL, 5.0),))
    return HeldKey("release", {"key_file": "x"}, {})


@pytest.mark.parametrize("trouble", ["sleep 1", "number=7", "exit 1", "echo what", "printf half; sleep 1"])
def test_a_key_process_that_is_out_of_step_is_replaced_once(
    trouble: str, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _held_key(fake_tools, monkeypatch, _KEY_PROCESS.format(first=trouble, number="$number"))
    asked = key.sign(b"x", "sha256")
    assert key.sign(b"y", "sha256") > asked, "each answer is that to its own question"
    key.close()
    assert len(fake_tools.calls("key-process")) == 2


def test_a_key_process_that_never_answers_is_a_failure_to_sign(
    fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = _KEY_PROCESS.format(first=":", number="$number").replace("[ -z", "sleep 5; [ -z")
    key = _held_key(fake_tools, monkeypatch, script)
    with pytest.raises(SignerError, match=r"signer release: .* gave no answer for 0.3 s") as caught:
        key.sign(b"x", "sha256")
    key.close()
    assert (caught.value.code, len(fake_tools.calls("key-process"))) == ("no-answer", 2)


def _write_key(file: Path, kind: str = "rsa", passphrase: bytes | None = None, mode: int = 0o600) -> Path:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    file.write_bytes(
        KEYS[kind].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    file.chmod(mode)
    return file


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_the_key_holder_signs(kind: str, tmp_path: Path) -> None:
    file = _write_key(tmp_path / "key", kind, b"pass word")
    secret = tmp_path / "passphrase"
    secret.write_text("pass word\n")
    secret.chmod(0o600)
    digest = hashlib.sha256(b"x").digest()
    for request in ({"passphrase": "pass word"}, {"passphrase_file": str(secret)}):
        ready, answer = _ask({"key_file": str(file), **request}, digest)
        assert ready == {"ready": "yes"}
        assert certify(kind).accepts(bytes.fromhex(answer["signature"]), digest, "sha256")


@pytest.mark.parametrize(
    ("code", "kind", "options", "request_"),
    [
        ("key-readable-by-others", "rsa", {"mode": 0o640}, {}),
        ("key-readable-by-others", "rsa", {"mode": 0o604}, {}),
        ("passphrase-missing", "rsa", {"passphrase": b"x"}, {}),
        ("passphrase-wrong", "rsa", {"passphrase": b"x"}, {"passphrase": "y"}),
        ("passphrase-wrong", "rsa", {}, {"passphrase": "y"}),
        ("key-unreadable", "rsa", {}, {"key_file": "/nowhere/key"}),
        ("key-unreadable", "rsa", {}, {"pkcs11": "pkcs11:object=x"}),
        ("token-unreachable", "rsa", {}, {"pkcs11": "pkcs11:object=x?module-path=/nowhere/lib.so"}),
    ],
)
def test_keys_that_are_refused(
    code: str, kind: str, options: dict[str, Any], request_: dict[str, str], tmp_path: Path
) -> None:
    file = _write_key(tmp_path / "key", kind, **options)
    (answer,) = _ask({"key_file": str(file), **request_})
    assert answer["error"] == code


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("hello")
    file.chmod(0o600)
    (answer,) = _ask({"key_file": str(file)})
    assert (answer["error"], str(file) in answer["message"]) == ("key-unreadable", True)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("pkcs11:token=a;object=b", "which PKCS#11 library"),
        ("pkcs11:token=a?module-path=/x", "names no key"),
        ("pkcs11:object=a;colour=red?module-path=/x", "'colour' is not one of"),
        ("pkcs11:object=a;type=cert?module-path=/x", "private key"),
        ("pkcs11:object=a?module-path=/x&pin-value=1234", "'pin-value' is not one of"),
    ],
)
def test_wrong_uris(uri: str, words: str) -> None:
    with pytest.raises(SignerError, match=words) as caught:
        parse_pkcs11_uri(uri)
    assert "1234" not in caught.value.message


def test_a_uri() -> None:
    uri = parse_pkcs11_uri(
        "pkcs11:token=My%20Token;id=%01%02;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin"
    )
    assert (uri.token, uri.id, uri.module_path, uri.pin_source, uri.object) == (
        "My Token",
        b"\1\2",
        "/usr/lib/x.so",
        "/run/pin",
        None,
    )


# A program that signs elsewhere.


def test_a_program_signs_digests(fake_tools: FakeTools) -> None:
    digest = hashlib.sha256(b"x").digest()
    signature = MemoryKey("rsa").sign(digest, "sha256")
    fake_tools.add("kms", f'cat >"{fake_tools.folder}/stdin"; echo {base64.b64encode(signature).decode()}')
    key = CommandKey("release", ("kms", "--hash", "{algorithm}"), {})
    assert key.sign(digest, "sha256") == signature
    assert (fake_tools.folder / "stdin").read_bytes() == digest
    assert fake_tools.calls("kms") == [["--hash", "sha256"]]


def test_a_program_that_is_late_is_asked_once_more(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signer_module, "_ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr("builder.host.run._STOP_STEPS", ((signal.SIGKILL, 5.0),))
    fake_tools.add("kms", '[ -f "$0.late" ] || { touch "$0.late"; sleep 5; }; echo AAAA')
    assert CommandKey("release", ("kms",), {}).sign(b"x" * 32, "sha256") == bytes(3)
    fake_tools.add("kms", "sleep 5")
    with pytest.raises(SignerError, match="took longer than") as caught:
        CommandKey("release", ("kms",), {}).sign(b"x" * 32, "sha256")
    assert caught.value.code == "no-answer"


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo no access >&2; exit 4", "exit code 4: no access"), ("echo '***'", "did not print base64")],
)
def test_a_program_that_fails(fake_tools: FakeTools, script: str, words: str) -> None:
    fake_tools.add("kms", script)
    with pytest.raises(SignerError, match=words):
        CommandKey("release", ("kms",), {}).sign(b"x" * 32, "sha256")


# Files, the log, keys for development.


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


def test_a_link_under_a_guessed_name_is_not_written_through(tmp_path: Path) -> None:
    file, victim = tmp_path / "demo.ko", tmp_path / "victim"
    file.write_bytes(b"old")
    file.chmod(0o640)
    victim.write_text("mine")
    (tmp_path / f".demo.ko.{os.getpid()}").symlink_to(victim)
    replace_file(file, b"new", mode=0o640)
    assert (file.read_bytes(), file.stat().st_mode & 0o777, victim.read_text()) == (b"new", 0o640, "mine")


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.ko")
    (tmp_path / "b.ko").symlink_to("/dev/zero")
    for name in ("a.ko", "b.ko", "c.ko"):
        with pytest.raises(FormatError, match=name):
            read_file(tmp_path / name)


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


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_a_development_key_says_what_it_is(kind: str, tmp_path: Path) -> None:
    made = create_development_key(
        "dev", key_folder=tmp_path / "k", certificate_folder=tmp_path / "c", kind=kind, now=NOW
    )
    assert made.key_file.stat().st_mode & 0o777 == 0o600
    identity = SignerIdentity(name="dev", certificate=read_certificate(made.certificate_file), algorithm="sha256")
    assert identity.is_development
    check_certificate(identity, now=NOW)
    assert "certificate: c/dev.pem" in made.versions_yaml(tmp_path)
    text = emit_enrolment(identity)
    assert "mokutil --import dev.der" in text
    assert identity.certificate.fingerprint in text
    assert "DEVELOPMENT key" in text
    with pytest.raises(UsageError, match=r"dev.key exists"):
        create_development_key("dev", key_folder=tmp_path / "k", certificate_folder=tmp_path / "c2", kind=kind, now=NOW)


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file"):
        read_certificate(tmp_path / "none.pem")
    (tmp_path / "x.pem").write_text("hello")
    with pytest.raises(FormatError, match="it is not a certificate"):
        read_certificate(tmp_path / "x.pem")


_SIGSTORE_PASSWORD = b"hunter2"


def _sigstore_key(password: bytes = _SIGSTORE_PASSWORD, **changes: Any) -> bytes:
    """Write a key as cosign does; a real one is in the tests with real tools."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    from nacl.secret import SecretBox

    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    salt, nonce = b"s" * 32, b"n" * 24
    box = SecretBox(Scrypt(salt=salt, length=32, n=1024, r=8, p=1).derive(password))

    def encode(raw: bytes) -> str:
        return base64.b64encode(raw).decode()

    content = {
        "kdf": {"name": "scrypt", "params": {"N": 1024, "r": 8, "p": 1}, "salt": encode(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": encode(nonce)},
        "ciphertext": encode(box.encrypt(der, nonce).ciphertext),
    } | changes
    body = encode(json.dumps(content).encode())
    return f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{body}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n".encode()


def test_a_key_of_cosign_signs(tmp_path: Path) -> None:
    file = tmp_path / "cosign.key"
    file.write_bytes(_sigstore_key())
    file.chmod(0o600)
    assert FileKey(file, "hunter2").sign(b"0" * 32, "sha256")


@pytest.mark.parametrize(
    ("changes", "passphrase", "code"),
    [
        ({}, None, "passphrase-missing"),
        ({}, "wrong", "passphrase-wrong"),
        ({"kdf": {}}, "hunter2", "key-unreadable"),
        ({"kdf": {"name": "scrypt", "params": {"N": 2**40, "r": 8, "p": 1}, "salt": ""}}, "hunter2", "key-unreadable"),
        ({"ciphertext": "!"}, "hunter2", "passphrase-wrong"),
    ],
)
def test_a_key_of_cosign_that_cannot_be_read(
    tmp_path: Path, changes: dict[str, Any], passphrase: str, code: str
) -> None:
    file = tmp_path / "cosign.key"
    file.write_bytes(_sigstore_key(**changes))
    file.chmod(0o600)
    with pytest.raises(SignerError) as caught:
        FileKey(file, passphrase)
    assert caught.value.code == code
    assert "hunter2" not in caught.value.message


def test_a_key_for_images_is_made_once(tmp_path: Path) -> None:
    from builder.signing.public_key import parse_public_key

    made = create_image_key("images", key_folder=tmp_path / "private", public_folder=tmp_path / "keys")
    assert made.key_file.stat().st_mode & 0o777 == 0o600
    assert parse_public_key(made.public_key_file.read_bytes()).pem
    assert "public_key: keys/images.pub" in made.versions_yaml(tmp_path)
    with pytest.raises(UsageError, match="exists"):
        create_image_key("images", key_folder=tmp_path / "private", public_folder=tmp_path / "other")
