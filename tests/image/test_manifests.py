"""Manifests of artefacts and the lists that name them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.hostile import change_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.image.manifests import (
    OCI_INDEX,
    OCI_MANIFEST,
    dump,
    list_objects,
    make_artifact,
    make_descriptor,
    make_index,
    parse_artifact,
    parse_index,
    parse_open_index,
    referrer_of,
    referrers_tag,
)

_SUBJECT = make_descriptor(OCI_MANIFEST, f"sha256:{'1' * 64}", 7)


def test_equal_data_has_one_form() -> None:
    assert dump({"b": 1, "a": "ä"}) == dump({"a": "ä", "b": 1}) == '{"a":"ä","b":1}'.encode()


def test_an_artefact_names_its_subject_and_is_named_by_lists() -> None:
    manifest = make_artifact("application/x", b"blob", subject=_SUBJECT, annotations={"k": "v"})
    parsed = parse_artifact(manifest)
    assert parsed.subject is not None
    assert (parsed.kind, parsed.subject.digest) == ("application/x", _SUBJECT["digest"])
    assert [(layer.digest, layer.size) for layer in parsed.layers] == [(sha256_of(b"blob"), 4)]
    named = referrer_of(manifest)
    assert (named["digest"], named["size"]) == (sha256_of(manifest), len(manifest))
    assert (named["artifactType"], named["annotations"]) == ("application/x", {"k": "v"})
    assert parse_index(make_index([named], {"a": "b"}))[0].artifact_type == "application/x"


def test_without_a_type_of_its_own_an_artefact_is_of_the_type_of_its_configuration() -> None:
    config = make_descriptor("application/of.config", f"sha256:{'2' * 64}", 2)
    assert parse_artifact(dump({"config": config, "layers": []})).kind == "application/of.config"
    assert parse_artifact(dump({"layers": []})).kind == ""
    named = referrer_of(dump({"config": config, "layers": []}))
    assert (named["artifactType"], named["annotations"]) == ("application/of.config", {})


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"layers": 5}', b'{"layers": [], "artifactType": 5}'])
def test_what_is_no_artefact_is_refused(content: bytes) -> None:
    for read in (parse_artifact, referrer_of):
        with pytest.raises(FormatError, match="no manifest of an artefact"):
            read(content)


_GOOD: dict[str, Any] = _SUBJECT


@pytest.mark.parametrize(
    "entry",
    [_GOOD | {"digest": "sha256:12"}, _GOOD | {"size": -1}, _GOOD | {"mediaType": "a b"}, {"digest": _GOOD["digest"]}, 7],
)  # fmt: skip
def test_a_list_with_one_wrong_descriptor_is_refused_and_an_open_one_passes_over_it(entry: Any) -> None:
    content = dump({"mediaType": OCI_INDEX, "manifests": [_GOOD, entry]})
    with pytest.raises(FormatError, match="list of manifests"):
        parse_index(content)
    assert [found.digest for found in parse_open_index(content)] == [_GOOD["digest"]]
    assert list_objects(content) == [item for item in (_GOOD, entry) if isinstance(item, dict)]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"manifests": {}}', json.dumps({"manifests": [1] * 10_001}).encode()]
)
def test_what_is_no_list_is_refused(content: bytes) -> None:
    for parse in (parse_index, parse_open_index, list_objects):
        with pytest.raises(FormatError, match="list of manifests"):
            parse(content)


def test_the_tag_that_stands_for_a_list() -> None:
    assert referrers_tag("sha256:ab") == "sha256-ab"


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_hostile_json_is_refused_and_never_a_defect(data: st.DataObject) -> None:
    content = change_bytes(data, make_index([_SUBJECT]))
    for parse in (parse_index, parse_open_index, list_objects, parse_artifact):
        try:
            parse(content)
        except FormatError as error:
            assert len(error.message) < 500
