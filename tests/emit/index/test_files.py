"""An index as a ConfigMap."""

from __future__ import annotations

import base64
import gzip
import os

import pytest
import yaml
from fakes.indexes import VENDOR
from kmod_operator.index.reading import read_index

from builder.emit.index.files import IndexMap, emit_index_map
from builder.errors import UsageError


def test_the_operator_finds_the_very_bytes() -> None:
    envelope = VENDOR.index()
    text = emit_index_map(IndexMap(driver="ptemplate", namespace="drivers", envelope=envelope))
    found = yaml.safe_load(text)
    assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")
    assert found["metadata"] == {"name": "ptemplate-index", "namespace": "drivers"}
    content = gzip.decompress(base64.b64decode(found["binaryData"]["index.json.gz"]))
    assert content == envelope
    assert read_index(content, [VENDOR.pem]).driver == "ptemplate"
    assert emit_index_map(IndexMap(driver="ptemplate", namespace="drivers", envelope=envelope)) == text


def test_what_no_cluster_takes_is_refused_with_a_way_out() -> None:
    item = IndexMap(driver="demo", namespace="x", envelope=os.urandom(1024**2 + 10))
    with pytest.raises(UsageError, match="and a ConfigMap takes 1048576") as caught:
        emit_index_map(item)
    assert "spec.index.image" in (caught.value.hint or "")
