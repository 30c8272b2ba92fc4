"""Images that are lists, whatever they are lists of: what stays of others, and how long they get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.image.manifests import dump
from builder.publish.attest.listed import extend_list, read_layers

_NEW = {"mediaType": "application/new", "digest": f"sha256:{'1' * 64}", "size": 3}
_THEIRS = {"mediaType": "application/x", "digest": f"sha256:{'2' * 64}", "size": 7, "more": ["kept"]}


def test_what_others_listed_stays_as_it_is_before_what_is_new() -> None:
    manifest, config = extend_list(dump({"layers": [_THEIRS]}), [_NEW], "things")
    assert json.loads(manifest)["layers"] == [_THEIRS, _NEW]
    assert json.loads(manifest)["config"]["digest"] == sha256_of(config)
    assert [layer.digest for layer in read_layers(manifest, "things")] == [_THEIRS["digest"], _NEW["digest"]]
    assert json.loads(extend_list(None, [_NEW], "things")[0])["layers"] == [_NEW]


@pytest.mark.parametrize(
    "item",
    [
        5, None, [], {}, _THEIRS | {"digest": "sha256:12"}, _THEIRS | {"size": -1}, _THEIRS | {"size": True},
        _THEIRS | {"size": "7"}, _THEIRS | {"mediaType": ""}, _THEIRS | {"annotations": {"a": 5}},
    ],
)  # fmt: skip
def test_what_is_no_layer_is_passed_over_and_not_written_again(item: Any) -> None:
    there = dump({"layers": [item, _THEIRS]})
    assert len(read_layers(there, "things")) == 1
    assert json.loads(extend_list(there, [_NEW], "things")[0])["layers"] == [_THEIRS, _NEW]


def test_a_list_has_bounds() -> None:
    extend_list(dump({"layers": [_THEIRS] * 999}), [_NEW], "things")
    with pytest.raises(FormatError, match="its list of things would have 1001 entries"):
        extend_list(dump({"layers": [_THEIRS] * 1000}), [_NEW], "things")
    with pytest.raises(FormatError, match="it is no list of things"):
        extend_list(dump({"layers": [_THEIRS] * 1001}), [], "things")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"layers": {}}', b"[" * 100_000])
def test_what_is_no_list_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError, match="it is no list of things"):
        read_layers(content, "things")
