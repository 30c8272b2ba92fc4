"""What is said of images: formats, determinism, and everything that a signature must not cover for."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import FormatError
from builder.evidence.records import BootEvidence, CellEvidence, CellOutcome, FileRecord, ModuleRecord
from builder.foreign import read_json
from builder.image.manifests import make_index, parse_artifact, parse_index, referrer_of
from builder.publish.attest.bundle import make_statement, open_bundle, sign_statement
from builder.publish.attest.facts import CellFacts
from builder.publish.attest.sbom import make_sbom
from builder.publish.attest.simple_signing import (
    ImageSignature,
    is_signed_as,
    make_payload,
    make_signature_image,
    parse_payload,
    parse_signature_image,
    signature_tag,
)
from builder.publish.attest.statements import CELL_PREDICATES, make_provenance, make_statements, make_test_result
from builder.signing.public_key import PublicKey, parse_public_key
from builder.sources.provider import BuildInput

_DIGEST = f"sha256:{'1' * 64}"
_KEY = ec.generate_private_key(ec.SECP256R1())


def _public(key: Any) -> PublicKey:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return parse_public_key(key.public_key().public_bytes(serialization.Encoding.PEM, form))


def _sign(content: bytes) -> bytes:
    return _KEY.sign(content, ec.ECDSA(hashes.SHA256()))


_PUBLIC = _public(_KEY)
_OTHER = _public(ec.generate_private_key(ec.SECP256R1()))
_FACTS = CellFacts(
    evidence=CellEvidence(
        cell="drv-1.0.0/6.1.0-9-amd64",
        driver="drv",
        kernel="6.1.0-9-amd64",
        key="k" * 64,
        outcome=CellOutcome.BUILT,
        inputs={"source": "s" * 64, "toolkit": "t" * 64, "containerfile": "c" * 64, "compress": "none"},
        run="20261123T000000Z-1",
        finished="2026-11-23T00:00:00Z",
        digest=_DIGEST,
        modules=(
            ModuleRecord(name="a.ko", sha256="a" * 64, size=10, vermagic="6.1.0-9-amd64 SMP", imports=3, license="GPL"),
            ModuleRecord(name="b-c.ko", sha256="b" * 64, size=10, depends=("a",), firmware=("drv/fw.bin",)),
        ),
        firmware=(FileRecord(path="firmware/drv/fw.bin", sha256="f" * 64, size=4),),
        signers=("5" * 64,),
    ),
    boot=BootEvidence(
        cell="drv-1.0.0/6.1.0-9-amd64", key="b" * 64, digest=_DIGEST, passed=True, run="r", finished="2026-11-23T00:01:00Z",
        mode="secure", acceleration="tcg", enrolled="x", signed_by="signers", seconds=7.5, refusals=("Key was rejected by service",),
    ),
    repository="quay.test/org/drv",
    digest=_DIGEST,
    driver_version="1.0.0",
    arch="amd64",
    vendor="Example",
    description="A driver",
    toolkit=(
        BuildInput(name="gcc", version="12", uri="http://deb/gcc.deb", sha256="9" * 64, purl="pkg:deb/debian/gcc@12?arch=amd64"),
        BuildInput(name="libc", version="2", uri="http://deb/libc.deb", sha256="8" * 64, purl="pkg:deb/debian/libc@2?arch=amd64"),
    ),
    base=(BuildInput(name="libc", version="2", uri="http://deb/libc.deb", sha256="8" * 64, purl="pkg:deb/debian/libc@2?arch=amd64"),),
    builder="urn:kmodsmith:builder:local",
    builder_version="0",
    recipe={"command": "make"},
)  # fmt: skip


def test_the_same_evidence_gives_the_same_statements() -> None:
    assert make_statements(_FACTS) == make_statements(replace(_FACTS))
    assert tuple(make_statements(_FACTS)) == CELL_PREDICATES


def test_provenance_names_everything_that_went_in() -> None:
    provenance = make_provenance(_FACTS)
    definition = provenance["buildDefinition"]
    assert definition["externalParameters"]["kernel"] == "6.1.0-9-amd64"
    assert definition["internalParameters"]["cellKey"] == "k" * 64
    names = [(item["name"], *item["digest"].values()) for item in definition["resolvedDependencies"]]
    assert names[:2] == [("source", "s" * 64), ("containerfile", "c" * 64)]
    assert ("gcc", "9" * 64) in names
    assert provenance["runDetails"]["builder"]["id"] == "urn:kmodsmith:builder:local"


def test_the_bill_of_materials_is_one_by_its_own_schema() -> None:
    bom = make_sbom(_FACTS)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    parts = {part["name"]: part for part in bom["components"]}
    assert parts["a.ko"]["type"] == "device-driver"
    assert parts["a.ko"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert parts["a.ko"]["licenses"] == [{"license": {"name": "GPL"}}]
    assert parts["firmware/drv/fw.bin"]["type"] == "firmware"
    assert (parts["gcc"]["scope"], parts["libc"]["scope"]) == ("excluded", "required"), "what is in the image counts"
    needed = {item["ref"]: item.get("dependsOn", []) for item in bom["dependencies"]}
    assert needed["module:b-c.ko"] == ["module:a.ko"]


def test_only_tests_that_were_passed_are_named() -> None:
    assert make_test_result(_FACTS)["passedTests"] == ["fit", "module-signature", "boot"]
    bare = replace(_FACTS, boot=None, evidence=replace(_FACTS.evidence, signers=()))
    assert make_test_result(bare)["passedTests"] == ["fit"]


def test_a_bundle_opens_with_its_key_only() -> None:
    statement = make_statement("name", _DIGEST, "https://kind", {"a": 1})
    bundle = sign_statement(statement, _PUBLIC, _sign)
    opened = open_bundle(bundle, [_OTHER, _PUBLIC])
    assert (opened.predicate_type, opened.predicate, opened.subjects) == ("https://kind", {"a": 1}, {"name": _DIGEST})
    with pytest.raises(FormatError, match="not made with the given key"):
        open_bundle(bundle, [_OTHER])
    with pytest.raises(FormatError, match="not made with the given key"):
        open_bundle(bundle, [])


def test_a_statement_that_was_changed_does_not_open() -> None:
    data = json.loads(sign_statement(make_statement("name", _DIGEST, "https://kind", {"a": 1}), _PUBLIC, _sign))
    payload = base64.b64decode(data["dsseEnvelope"]["payload"]).replace(b'"a":1', b'"a":2')
    data["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(FormatError, match="changed after it was signed"):
        open_bundle(json.dumps(data).encode(), [_PUBLIC])


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["dsseEnvelope"].pop("signatures"),
        lambda data: data["dsseEnvelope"].update(signatures=[]),
        lambda data: data["dsseEnvelope"].update(payload="not base64!"),
        lambda data: data["dsseEnvelope"].update(payloadType="text/plain"),
        lambda data: data.pop("dsseEnvelope"),
    ],
)
def test_what_is_no_bundle_is_told(change: Any) -> None:
    data = json.loads(sign_statement(make_statement("name", _DIGEST, "https://kind", {}), _PUBLIC, _sign))
    change(data)
    with pytest.raises(FormatError, match="it is no sigstore bundle"):
        open_bundle(json.dumps(data).encode(), [_PUBLIC])


def test_a_signed_text_that_is_no_statement_is_told() -> None:
    with pytest.raises(FormatError, match="it is no in-toto statement"):
        open_bundle(sign_statement(b'{"_type": "another"}', _PUBLIC, _sign), [_PUBLIC])


_GOOD = (
    sign_statement(make_statement("name", _DIGEST, "https://kind", {}), _PUBLIC, lambda _: b"s" * 70),
    make_payload("quay.test/a:b", _DIGEST),
    make_signature_image([ImageSignature(_DIGEST, 3, b"x")])[0],
    make_index([{"mediaType": "m", "digest": _DIGEST, "size": 1}]),
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_hostile_json_is_refused_and_never_a_defect(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(_GOOD)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for read in (
        lambda raw: open_bundle(raw, [_PUBLIC]),
        parse_payload,
        parse_signature_image,
        parse_index,
        parse_artifact,
    ):
        try:
            read(bytes(content))
        except FormatError as error:
            assert len(error.message) < 500


def test_signatures_keep_what_others_wrote() -> None:
    theirs = ImageSignature(_DIGEST, 3, b"theirs", (("dev.sigstore.cosign/certificate", "PEM"),))
    payload = make_payload("quay.test/a:b", _DIGEST)
    ours = ImageSignature(f"sha256:{'2' * 64}", len(payload), _sign(payload))
    manifest, config = make_signature_image([theirs, ours])
    assert parse_signature_image(manifest) == [theirs, ours]
    assert json.loads(config)["rootfs"]["diff_ids"] == [theirs.payload_digest, ours.payload_digest]
    assert signature_tag(_DIGEST) == f"sha256-{'1' * 64}.sig"


def test_an_image_is_signed_for_one_name_by_one_key() -> None:
    payload = make_payload("quay.test/a:b", _DIGEST)
    digest = parse_signature_image(make_signature_image([_signature(payload)])[0])
    assert is_signed_as(digest, "quay.test/a:b", _DIGEST, [_PUBLIC])
    assert not is_signed_as(digest, "quay.test/a:c", _DIGEST, [_PUBLIC])
    assert not is_signed_as(digest, "quay.test/a:b", f"sha256:{'2' * 64}", [_PUBLIC])
    assert not is_signed_as(digest, "quay.test/a:b", _DIGEST, [_OTHER])
    assert parse_payload(payload) == ("quay.test/a:b", _DIGEST)


def _signature(payload: bytes) -> ImageSignature:
    from builder.digest import sha256_of

    return ImageSignature(sha256_of(payload), len(payload), _sign(payload))


def test_a_payload_with_more_than_it_may_have_is_refused() -> None:
    data = json.loads(make_payload("quay.test/a:b", _DIGEST))
    data["critical"]["more"] = 1
    with pytest.raises(FormatError, match="no payload"):
        parse_payload(json.dumps(data).encode())


def test_rsa_keys_verify_too() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert _public(key).accepts(key.sign(b"x", padding.PKCS1v15(), hashes.SHA256()), b"x")
    assert not _public(key).accepts(b"0" * 256, b"x")


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "its curve is secp384r1"),
        (ed25519.Ed25519PrivateKey.generate(), "neither an ECDSA nor an RSA key"),
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "RSA key of 1024 bits"),
    ],
)
def test_keys_that_not_everybody_takes_are_refused(key: Any, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        _public(key)


def test_a_private_key_in_place_of_a_public_one_is_told() -> None:
    pem = _KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(FormatError, match="it holds a private key"):
        parse_public_key(pem)
    with pytest.raises(FormatError, match="it is no public key"):
        parse_public_key(b"rubbish")


@pytest.mark.parametrize("value", [None, 5, [], {}, True, "%", "é"])
@pytest.mark.parametrize("place", ["payload", "sig"])
def test_what_stands_for_base64_may_be_anything(place: str, value: Any) -> None:
    bundle = json.loads(sign_statement(b"{}", _PUBLIC, lambda _: b"s"))
    envelope = bundle["dsseEnvelope"]
    (envelope if place == "payload" else envelope["signatures"][0])[place] = value
    with pytest.raises(FormatError, match="it is no sigstore bundle"):
        open_bundle(json.dumps(bundle).encode(), [])


def test_an_artefact_without_a_type_is_listed_by_its_configuration() -> None:
    config = {"mediaType": "application/x-config", "digest": "sha256:" + "0" * 64, "size": 2}
    manifest = json.dumps({"layers": [], "config": config}).encode()
    assert (referrer_of(manifest)["artifactType"], referrer_of(manifest)["annotations"]) == ("application/x-config", {})
    for content in (b"{}", b"[]", b'{"layers": 5}', b'{"layers": [], "artifactType": 5}'):
        with pytest.raises(FormatError, match="no manifest of an artefact"):
            referrer_of(content)


@pytest.mark.parametrize(
    "text", ["NaN", "-Infinity", '"\\ud800"', "9" * 5000, "[" * 100_000, '{"a": "\\udc00"}', "", "\xff"]
)
def test_json_that_nobody_should_have_written(text: str) -> None:
    with pytest.raises(FormatError, match="is not JSON"):
        read_json(f'{{"a": {text}}}'.encode("latin-1"), "the answer")
    with pytest.raises(FormatError, match="the answer has 9 bytes"):
        read_json(b'{"a": 12}', "the answer", largest=8)
