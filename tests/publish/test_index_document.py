"""The index as a document: what we write, we read, and so does the operator."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from fakes.driver_indexes import INDEX_SIGNER, INDEX_STRANGER, NOON, cell_of, index_of
from kmod_operator.index import reading

from builder.errors import FormatError
from builder.publish import index_document
from builder.publish.attest.bundle import sign_envelope
from builder.publish.index_document import (
    INDEX_TYPE,
    DriverIndex,
    find_envelope,
    is_index_tag,
    make_manifest,
    open_index,
    read_payload,
    sign_index,
    time_of_tag,
    unite,
)

_KEYS = [INDEX_SIGNER.key]


def _sign(index: DriverIndex) -> bytes:
    return sign_index(index, INDEX_SIGNER.sign)


def _payload(**changes: Any) -> bytes:
    said = json.loads(base64.b64decode(json.loads(_sign(index_of("k1")))["payload"]))
    return json.dumps(said | changes).encode()


def test_what_is_written_is_read_again() -> None:
    index = index_of(
        "k1", "k2", images={("1.0.0", "k1"): cell_of(signed_by=("5" * 64,)), ("2.0.0", "k1"): cell_of("b")}
    )
    assert open_index(_sign(index), _KEYS) == index


def test_the_operator_reads_what_is_written_here() -> None:
    kernel = "5.14.0-427.13.1.el9_4.x86_64+rt"
    index = index_of(
        images={("1.4.0~rc1", kernel): cell_of(signed_by=("5" * 64,))}, releases={"4.18.1-x86_64": (kernel,)}
    )
    found = reading.read_signed_index(_sign(index), [INDEX_SIGNER.key.pem])
    assert found.signer == INDEX_SIGNER.key.fingerprint
    assert (found.index.driver, found.index.made, found.index.releases) == (index.driver, index.made, index.releases)
    image = found.index.images["1.4.0~rc1"][kernel]
    assert (image.image, image.arch, image.proven, image.signed_by) == (cell_of().image, "amd64", "secure", ("5" * 64,))
    assert reading.PAYLOAD_TYPE == INDEX_TYPE


def test_equal_indexes_have_equal_payloads() -> None:
    first = index_of(images={("1", "b"): cell_of(), ("1", "a"): cell_of("c")})
    second = index_of(images={("1", "a"): cell_of("c"), ("1", "b"): cell_of()})
    assert json.loads(_sign(first))["payload"] == json.loads(_sign(second))["payload"]


def test_who_did_not_sign_it_is_not_believed() -> None:
    with pytest.raises(FormatError, match="was not made with the given key"):
        open_index(_sign(index_of("k1")), [INDEX_STRANGER.key])


def test_a_statement_is_no_index_even_where_the_key_signed_it() -> None:
    with pytest.raises(FormatError, match="it is signed as 'application/vnd.in-toto"):
        open_index(sign_envelope(_payload(), INDEX_SIGNER.sign), _KEYS)
    swapped = json.loads(sign_envelope(_payload(), INDEX_SIGNER.sign)) | {"payloadType": INDEX_TYPE}
    with pytest.raises(FormatError, match="was not made with the given key"):
        open_index(json.dumps(swapped).encode(), _KEYS)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"driver": ""}, {"made": "today"}, {"made": "2026-13-01T00:00:00Z"}, {"images": []},
        {"images": {"1": {"k": {"image": "x:latest", "arch": "amd64"}}}}, {"images": {"a b": {}}}, {"releases": {"r": "k"}},
    ],
)  # fmt: skip
def test_what_is_of_another_form_is_no_index(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="it is no index of a driver"):
        read_payload(_payload(**change))
    assert read_payload(_payload(later=[1])) == index_of("k1")


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(FormatError, match="stands twice"):
        read_payload(b'{"format":1,"format":1}')


def test_what_no_operator_would_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="65 kernels of one release"):
        _sign(index_of(releases={"r": tuple(map(str, range(65)))}))
    monkeypatch.setattr(index_document, "_MOST_IMAGES", 1)
    with pytest.raises(FormatError, match="2 images, and no operator reads more than 1"):
        _sign(index_of("k1", "k2"))
    monkeypatch.setattr(index_document, "LARGEST_INDEX", 100)
    with pytest.raises(FormatError, match="more than 100"):
        _sign(index_of("k1"))


@pytest.mark.parametrize(
    "index",
    [
        index_of(images={("1.0.0", "k1"): cell_of(signed_by=("5" * 64,) * 17)}),
        index_of(images={("1.0.0", "k1"): cell_of(image="quay.test/org/drv:tag")}),
        index_of(images={(f"1.0.{number}", "k1"): cell_of() for number in range(1001)}),
        index_of(releases={"a release": ("k1",)}),
    ],
    ids=["signers", "tag", "versions", "release"],
)
def test_what_the_next_run_would_not_read_is_not_written(index: DriverIndex) -> None:
    """It would stand in the way of every index after it."""
    with pytest.raises(FormatError, match="the index of drv would be one that nobody reads: "):
        _sign(index)


def test_our_bounds_are_not_wider_than_the_operators() -> None:
    assert index_document.LARGEST_INDEX <= reading.LARGEST_INDEX
    assert index_document._MOST_IMAGES <= reading._MOST_IMAGES
    assert index_document._MOST_RELEASES <= reading._MOST_RELEASES
    assert index_document._MOST_KERNELS <= reading._MOST_KERNELS_OF_RELEASE


def test_its_tag_says_when_it_was_made() -> None:
    assert index_of().tag == "index-20261127T120000Z"
    assert time_of_tag("index-20261127T120000Z") == NOON
    for other in (
        "index",
        "index-20261327T120000Z",
        "index-1",
        "1.0.0-index-20261127T120000Z",
        "index-20261127T120000Z-x",
    ):
        assert time_of_tag(other) is None
    assert [tag for tag in ("index", "index-20261127T120000Z", "indexes", "index-") if is_index_tag(tag)] == [
        "index",
        "index-20261127T120000Z",
    ]


def test_the_newer_one_has_the_word_where_two_are_united() -> None:
    old = index_of(images={("1", "a"): cell_of("0"), ("1", "b"): cell_of("1")}, releases={"r": ("x",)})
    new = index_of(images={("1", "a"): cell_of("2")}, releases={"r": ("y",), "s": ()}, made=NOON + timedelta(1))
    both = unite([new, old])
    assert both == index_of(
        images={("1", "a"): cell_of("2"), ("1", "b"): cell_of("1")}, releases={"r": ("y",), "s": ()}, made=new.made
    )
    assert unite([]) is None


def test_a_manifest_says_where_its_bytes_are() -> None:
    envelope = _sign(index_of("k1"))
    manifest = make_manifest(index_of("k1"), envelope)
    assert find_envelope(manifest).size == len(envelope)
    assert "subject" not in json.loads(manifest)
    with pytest.raises(FormatError, match="it is no index"):
        find_envelope(json.dumps(json.loads(manifest) | {"artifactType": "x"}).encode())
    layers = json.loads(manifest)["layers"]
    with pytest.raises(FormatError, match="claims 9999999999 bytes"):
        find_envelope(json.dumps(json.loads(manifest) | {"layers": [layers[0] | {"size": 9999999999}]}).encode())
