"""What an index says, and everything that is none."""

from __future__ import annotations

import base64
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from fakes.indexes import IMAGE, KERNEL, STRANGER, VENDOR, VendorSigner, say
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kmod_operator.index import reading
from kmod_operator.index.index import Index, IndexedImage
from kmod_operator.index.reading import IndexProblem, read_index, read_signed_index

_KEYS = [VENDOR.pem]
_RSA = VendorSigner(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def _why(content: bytes, keys: Any = _KEYS) -> str:
    with pytest.raises(IndexProblem) as caught:
        read_index(content, keys)
    return str(caught.value)


def _public(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    text: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return text.decode()


def test_an_index_says_what_is_published() -> None:
    image = IndexedImage(image=IMAGE, arch="amd64", proven="secure", signed_by=("ab" * 32,))
    assert read_index(VENDOR.index(), _KEYS) == Index(
        driver="ptemplate",
        made=datetime(2026, 11, 27, 7, tzinfo=UTC),
        images={"1.0.0": {KERNEL: image}},
        releases={"4.18.25-x86_64": (KERNEL,)},
    )


def test_the_key_that_signed_it_is_told() -> None:
    own = read_signed_index(VENDOR.index(), [STRANGER.pem, VENDOR.pem]).signer
    assert own == read_signed_index(VENDOR.index(), _KEYS).signer
    assert own != read_signed_index(STRANGER.index(), [STRANGER.pem]).signer


def test_rsa_keys_sign_too() -> None:
    assert read_index(_RSA.index(), [_RSA.pem]).driver == "ptemplate"
    assert "none of the vendor's keys" in _why(_RSA.index())


def test_an_index_of_a_stranger_is_none() -> None:
    assert "none of the vendor's keys signed it" in _why(STRANGER.index())


def test_what_was_changed_after_it_was_signed_is_none() -> None:
    envelope = json.loads(VENDOR.index())
    other = base64.b64encode(json.dumps(say(driver="other")).encode()).decode()
    assert "changed after it was signed" in _why(json.dumps(envelope | {"payload": other}).encode())
    assert "has no signature" in _why(json.dumps(envelope | {"signatures": []}).encode())


def test_what_the_vendor_signed_as_something_else_is_no_index() -> None:
    """A signature over a statement about an image must not become one over an index."""
    payload = json.dumps(say()).encode()
    kind = "application/vnd.in-toto+json"
    assert "but as 'application/vnd.in-toto+json'" in _why(VENDOR.envelope(payload, kind))
    other = json.loads(VENDOR.envelope(payload, kind)) | {"payloadType": reading.PAYLOAD_TYPE}
    assert "none of the vendor's keys" in _why(json.dumps(other).encode())


def test_the_signature_is_looked_at_before_what_it_says() -> None:
    assert "none of the vendor's keys" in _why(STRANGER.envelope(b"{"))


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ([], "no public key"),
        (["x"], "public key 1 of the operator's templates is none"),
        ([VENDOR.pem, "\ud800"], "public key 2"),
        (["-----BEGIN PRIVATE KEY-----"], "is a private key"),
        ([_public(ec.generate_private_key(ec.SECP384R1()))], "secp384r1"),
        ([_public(ed25519.Ed25519PrivateKey.generate())], "neither an ECDSA nor an RSA key"),
        ([_public(rsa.generate_private_key(public_exponent=65537, key_size=1024))], "1024 bits"),
        (["A" * 70_000], "no text of a public key"),
    ],
)
def test_keys_that_are_none_are_told(keys: list[str], why: str) -> None:
    assert why in _why(VENDOR.index(), keys)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "its format is 2, and this operator reads 1: update the operator"),
        ({"format": True}, "its format is True"),
        ({"format": 1.0}, "its format is 1.0"),
        ({"format": "1"}, "its format is '1'"),
        ({"driver": 5}, "driver is 5, and no text"),
        ({"driver": "../x"}, "driver is '../x', which is of another form"),
        ({"made": "2026-02-30T00:00:00Z"}, "made is '2026-02-30T00:00:00Z', which is no time"),
        ({"made": "2026-11-27T07:00:00+01:00"}, "made is"),
        ({"made": "٢٠٢٦-11-27T07:00:00Z"}, "made is"),
        ({"images": []}, "images is a list, and no object"),
        ({"images": {"1.0.0": 3}}, "images.1.0.0 is 3, and no object"),
        ({"images": {"a b": {}}}, "images has an entry of the name 'a b'"),
        ({"images": {"1.0.0": {"k\n": {}}}}, "images.1.0.0 has an entry of the name 'k\\n'"),
        ({"images": {"1.0.0": {"k": {"arch": "amd64"}}}}, "images.1.0.0.k.image is absent"),
        ({"images": {"1.0.0": {"k": {"image": "quay.test/x:latest", "arch": "amd64"}}}}, "images.1.0.0.k.image is"),
        ({"images": {"1.0.0": {"k": {"image": "x" * 600, "arch": "amd64"}}}}, "images.1.0.0.k.image is"),
        ({"images": {"1.0.0": {"k": {"image": IMAGE, "arch": None}}}}, "images.1.0.0.k.arch is None"),
        (
            {"images": {"1.0.0": {"k": {"image": IMAGE, "arch": "amd64", "signedBy": "x"}}}},
            "signedBy is 'x', and no list",
        ),
        ({"images": {"1.0.0": {"k": {"image": IMAGE, "arch": "amd64", "proven": 1}}}}, "proven is 1, and no text"),
        ({"releases": {"4.18": "k"}}, "releases.4.18 is 'k', and no list"),
        ({"releases": {"4.18": [["k"]]}}, "releases.4.18[0] is a list, and no text"),
        ({"releases": {"4.18": ["k"] * 65}}, "releases.4.18 has 65 entries, more than 64"),
    ],
)
def test_a_value_of_another_kind_is_told_with_its_place(change: dict[str, Any], why: str) -> None:
    assert why in _why(VENDOR.index(**change))


@pytest.mark.parametrize("name", ["format", "driver", "made", "images", "releases"])
def test_what_must_be_there_and_is_not(name: str) -> None:
    data = say()
    del data[name]
    assert f"{name} is absent" in _why(VENDOR.envelope(json.dumps(data).encode()))


def test_further_fields_are_passed_over() -> None:
    image = {"image": IMAGE, "arch": "amd64", "later": {"x": [1, None]}}
    found = read_index(VENDOR.index(more=[1, {"y": 2.5}], images={"1": {"k": image}}), _KEYS)
    assert found.images["1"]["k"] == IndexedImage(image=IMAGE, arch="amd64")


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b'{"format":1,"format":1}', "the name 'format' stands twice"),
        (b'{"format":NaN}', "NaN is no number"),
        (b'{"format":Infinity}', "Infinity is no number"),
        (b'{"format":' + b"1" * 5000 + b"}", "is not JSON"),
        (b"[" * 100_000, "nested deeper"),
        (b"[" * 20 + b"]" * 20, "nested deeper"),
        (b"5", "what it says is 5, and no object"),
        (b"", "is not JSON"),
        ("{}".encode("utf-16"), "is not JSON"),
        (b"\xff", "is not JSON"),
    ],
)
def test_json_that_programs_read_in_different_ways_is_refused(payload: bytes, why: str) -> None:
    assert why in _why(VENDOR.envelope(payload))
    assert _why(payload), "as an envelope neither"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"payload": 1}, "payload is 1"),
        ({"payload": "a b"}, "payload is not base64"),
        ({"payload": "é"}, "payload is not base64"),
        ({"payloadType": []}, "payloadType is a list"),
        ({"signatures": {}}, "signatures is an object, and no list"),
        ({"signatures": [1]}, "signatures[0] is 1"),
        ({"signatures": [{}] * 11}, "signatures has 11 entries"),
        ({"signatures": []}, "it has no signature"),
        ({"signatures": [{"sig": "%%"}]}, "signatures[0].sig is not base64"),
    ],
)
def test_an_envelope_that_is_none(change: dict[str, Any], why: str) -> None:
    assert why in _why(VENDOR.envelope(b"{}", **change))


def test_it_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has 8388609 bytes" in _why(b" " * (8 * 1024**2 + 1))
    image = {"image": IMAGE, "arch": "amd64"}
    monkeypatch.setattr(reading, "_MOST_IMAGES", 3)
    assert "more than 3" in _why(VENDOR.index(images={"1": dict.fromkeys("abcd", image)}))
    two = dict.fromkeys("ab", image)
    assert "it has more than 3 images" in _why(VENDOR.index(images={"1": two, "2": two}))
    monkeypatch.setattr(reading, "_MOST_VERSIONS", 1)
    assert "images has 2 entries" in _why(VENDOR.index(images={"1": {}, "2": {}}))
    monkeypatch.setattr(reading, "_MOST_RELEASES", 0)
    assert "releases has 1 entries" in _why(VENDOR.index())


def test_what_nobody_signed_takes_no_memory_to_speak_of() -> None:
    """The operator has 96 MiB: eight of nested lists would become more than that."""
    hostile = b"[" + b"[]," * 2_700_000 + b"0]"
    tracemalloc.start()
    try:
        assert "it has more than 1000 parts" in _why(hostile)
        assert "what it says has more than 600000 parts" in _why(VENDOR.envelope(hostile[: 5 * 1024**2]))
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024**2
    finally:
        tracemalloc.stop()


def test_the_largest_index_that_is_published_is_read() -> None:
    image = {"image": IMAGE, "arch": "amd64", "proven": "signed", "signedBy": ["ab" * 32]}
    kernels = {f"5.14.0-{number}.1.el9_4.x86_64": image for number in range(12_000)}
    releases = {f"4.{number}.0-x86_64": list(kernels)[:4] for number in range(5_000)}
    found = read_index(VENDOR.index(images={"1.0.0": kernels}, releases=releases), _KEYS)
    assert (len(found.images["1.0.0"]), len(found.releases)) == (12_000, 5_000)


def test_no_sentence_has_what_a_terminal_would_obey() -> None:
    why = _why(VENDOR.index(driver="\x1b[31m\ud800" + "x" * 1000))
    assert why.isprintable()
    assert len(why) < 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_QUICK
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_sentence(content: bytes) -> None:
    assert _why(content)


@_QUICK
@given(st.sampled_from(["format", "driver", "made", "images", "releases"]), _JSON)
def test_any_signed_value_is_an_index_or_a_sentence(name: str, value: Any) -> None:
    try:
        found = read_index(VENDOR.index(**{name: value}), _KEYS)
    except IndexProblem as problem:
        assert str(problem)
    else:
        assert isinstance(found, Index)


@_QUICK
@given(st.integers(min_value=0), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(where: int, byte: int) -> None:
    content = bytearray(_SIGNED)
    content[where % len(content)] = byte
    try:
        found = read_index(bytes(content), _KEYS)
    except IndexProblem:
        return
    assert found == read_index(_SIGNED, _KEYS)


_SIGNED = VENDOR.index()
