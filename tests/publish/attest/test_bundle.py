"""Bundles: what a signature covers, and everything that it must not cover for."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fakes.cell_facts import DIGEST
from fakes.hostile import change_bytes
from fakes.image_keys import make_image_signer
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import FormatError
from builder.publish.attest.bundle import make_statement, open_bundle, sign_statement

_SIGNER, _OTHER = make_image_signer(), make_image_signer()
_KEY = _SIGNER.key


def _sign(statement: bytes) -> bytes:
    return sign_statement(statement, _KEY, _SIGNER.sign)


_STATEMENT = make_statement("name", DIGEST, "https://kind", {"a": 1})
_BUNDLE = _sign(_STATEMENT)


def test_a_bundle_opens_with_its_key_only() -> None:
    opened = open_bundle(_BUNDLE, [_OTHER.key, _KEY])
    assert (opened.predicate_type, opened.predicate, opened.subjects) == ("https://kind", {"a": 1}, {"name": DIGEST})
    for keys in ([_OTHER.key], []):
        with pytest.raises(FormatError, match="not made with the given key"):
            open_bundle(_BUNDLE, keys)


def test_a_bundle_has_what_cosign_looks_for() -> None:
    data = json.loads(_BUNDLE)
    assert data["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert data["verificationMaterial"]["publicKey"] == {"hint": _KEY.hint}
    assert data["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"


def test_one_good_signature_among_others_is_enough() -> None:
    data = json.loads(_BUNDLE)
    data["dsseEnvelope"]["signatures"].insert(0, {"sig": base64.b64encode(b"somebody else's").decode()})
    assert open_bundle(json.dumps(data).encode(), [_KEY]).predicate == {"a": 1}


def test_a_statement_that_was_changed_does_not_open() -> None:
    data = json.loads(_BUNDLE)
    payload = base64.b64decode(data["dsseEnvelope"]["payload"]).replace(b'"a":1', b'"a":2')
    data["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(FormatError, match="changed after it was signed"):
        open_bundle(json.dumps(data).encode(), [_KEY])


def test_a_signature_over_the_statement_alone_is_none() -> None:
    """Without DSSE's encoding it could be taken from where the same bytes mean something else."""
    data = json.loads(_BUNDLE)
    data["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(_SIGNER.sign(_STATEMENT)).decode()}]
    with pytest.raises(FormatError, match="not made with the given key"):
        open_bundle(json.dumps(data).encode(), [_KEY])


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["dsseEnvelope"].pop("signatures"),
        lambda data: data["dsseEnvelope"].update(signatures=[]),
        lambda data: data["dsseEnvelope"].update(signatures=data["dsseEnvelope"]["signatures"] * 11),
        lambda data: data["dsseEnvelope"].update(payload="not base64!"),
        lambda data: data["dsseEnvelope"].update(payloadType="text/plain"),
        lambda data: data.pop("dsseEnvelope"),
    ],
)
def test_what_is_no_bundle_is_told(change: Any) -> None:
    data = json.loads(_BUNDLE)
    change(data)
    with pytest.raises(FormatError, match="it is no sigstore bundle"):
        open_bundle(json.dumps(data).encode(), [_KEY])


@pytest.mark.parametrize("value", [None, 5, [], {}, True, "%", "é"])
@pytest.mark.parametrize("place", ["payload", "sig"])
def test_what_stands_for_base64_may_be_anything(place: str, value: Any) -> None:
    data = json.loads(_BUNDLE)
    envelope = data["dsseEnvelope"]
    (envelope if place == "payload" else envelope["signatures"][0])[place] = value
    with pytest.raises(FormatError, match="it is no sigstore bundle"):
        open_bundle(json.dumps(data).encode(), [])


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "another"},
        {"subject": []},
        {"subject": [{"name": "name", "digest": {"sha512": "1" * 128}}]},
        {"subject": [{"name": "name", "digest": {"sha256": "1" * 63}}]},
        {"predicateType": None},
        {"predicate": [1]},
    ],
)
def test_a_signed_text_that_is_no_statement_is_told(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="it is no in-toto statement"):
        open_bundle(_sign(json.dumps(json.loads(_STATEMENT) | change).encode()), [_KEY])


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_hostile_json_is_refused_and_never_a_defect(data: st.DataObject) -> None:
    try:
        opened = open_bundle(change_bytes(data, _BUNDLE), [_KEY])
    except FormatError as error:
        assert len(error.message) < 500
    else:
        assert opened.predicate == {"a": 1}, "what opens is what was signed"
