"""Signatures as podman and CRI-O read them, and images of signatures to which anybody may add."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.cell_facts import DIGEST
from fakes.hostile import change_bytes
from fakes.image_keys import make_image_signer
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.image.manifests import dump
from builder.publish.attest.simple_signing import (
    ImageSignature,
    is_signed_as,
    make_payload,
    make_signature_image,
    parse_payload,
    parse_signature_image,
    signature_tag,
)

_SIGNER, _OTHER = make_image_signer(), make_image_signer()
_NAME = "quay.test/a:b"
_PAYLOAD = make_payload(_NAME, DIGEST)
_OURS = ImageSignature(sha256_of(_PAYLOAD), len(_PAYLOAD), _SIGNER.sign(_PAYLOAD))
_MANIFEST = make_signature_image([_OURS])[0]


def test_the_tag_says_of_which_image_the_signatures_are() -> None:
    assert signature_tag(DIGEST) == f"sha256-{'1' * 64}.sig"


def test_a_payload_says_what_it_was_made_for() -> None:
    assert parse_payload(_PAYLOAD) == (_NAME, DIGEST)


def test_an_image_is_signed_for_one_name_by_one_key() -> None:
    assert is_signed_as([_OURS], _NAME, DIGEST, [_OTHER.key, _SIGNER.key])
    assert not is_signed_as([_OURS], "quay.test/a:c", DIGEST, [_SIGNER.key])
    assert not is_signed_as([_OURS], _NAME, f"sha256:{'2' * 64}", [_SIGNER.key])
    assert not is_signed_as([_OURS], _NAME, DIGEST, [_OTHER.key])
    assert not is_signed_as([], _NAME, DIGEST, [_SIGNER.key])


def test_a_signature_is_of_the_payload_that_it_is_listed_with() -> None:
    """What is fetched by that digest is what others verify."""
    elsewhere = ImageSignature(DIGEST, _OURS.payload_size, _OURS.signature)
    assert not is_signed_as([elsewhere], _NAME, DIGEST, [_SIGNER.key])


def test_signatures_keep_what_others_wrote() -> None:
    theirs = ImageSignature(DIGEST, 3, b"theirs", (("dev.sigstore.cosign/certificate", "PEM"),))
    manifest, config = make_signature_image([theirs, _OURS])
    assert parse_signature_image(manifest) == [theirs, _OURS]
    assert json.loads(config)["rootfs"]["diff_ids"] == [theirs.payload_digest, _OURS.payload_digest]
    assert json.loads(manifest)["config"]["digest"] == sha256_of(config)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["critical"].update(more=1),
        lambda data: data["critical"].update(type="another"),
        lambda data: data["critical"].pop("image"),
        lambda data: data["critical"].update(image={"docker-manifest-digest": 5}),
        lambda data: data["critical"].update(identity=_NAME),
    ],
)
def test_a_payload_of_another_form_is_refused(change: Any) -> None:
    data = json.loads(_PAYLOAD)
    change(data)
    with pytest.raises(FormatError, match="it is no payload of an image signature"):
        parse_payload(dump(data))


_LAYER = json.loads(_MANIFEST)["layers"][0]
_SIGNATURE = "dev.cosignproject.cosign/signature"


@pytest.mark.parametrize(
    "layer",
    [
        5, None, [], {}, _LAYER | {"mediaType": "application/x"}, _LAYER | {"digest": "sha256:12"},
        _LAYER | {"size": -1}, _LAYER | {"annotations": 5}, _LAYER | {"annotations": {}},
        _LAYER | {"annotations": {_SIGNATURE: "%"}}, _LAYER | {"annotations": {_SIGNATURE: "é"}},
    ],
)  # fmt: skip
def test_what_is_no_signature_hides_none(layer: Any) -> None:
    assert parse_signature_image(dump({"layers": [layer, _LAYER]})) == [_OURS]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"layers": {}}', dump({"layers": [5] * 1001})])
def test_what_is_no_image_of_signatures_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError, match="it is no list of signatures"):
        parse_signature_image(content)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_hostile_json_is_refused_and_never_a_defect(data: st.DataObject) -> None:
    for parse, content in ((parse_payload, _PAYLOAD), (parse_signature_image, _MANIFEST)):
        try:
            parse(change_bytes(data, content))
        except FormatError as error:
            assert len(error.message) < 500
