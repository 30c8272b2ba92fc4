"""The verb: indexes out of a registry, verified, into files."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from fakes.published_image import OTHER, SIGNER
from fakes.publishing import use_image_signer
from kmod_operator.index.reading import read_index

if TYPE_CHECKING:
    from fakes.bench import Bench
    from fakes.registry import FakeRegistry

_KERNEL = "6.1.0-10-amd64"


@pytest.fixture
def site(bench: Bench, registry: FakeRegistry) -> Bench:
    use_image_signer(bench)
    bench.build("--kernel", _KERNEL)
    assert bench.run("publish", "--kernel", _KERNEL)[0] == 0
    return bench


def _emit(bench: Bench, *options: str) -> tuple[int, Any, str]:
    code, out, err = bench.run("emit", "index", "--json", *options)
    return code, json.loads(out)["files"] if out else {}, err


def test_what_is_in_the_registry_becomes_a_file_that_the_operator_reads(site: Bench) -> None:
    code, files, _ = _emit(site)
    assert (code, list(files)) == (0, ["demo-index.yaml"])
    found = yaml.safe_load(files["demo-index.yaml"])
    assert found["metadata"] == {"name": "demo-index", "namespace": "kmod-operator"}
    content = gzip.decompress(base64.b64decode(found["binaryData"]["index.json.gz"]))
    assert list(read_index(content, [SIGNER.key.pem]).images["1.2.0"]) == [_KERNEL]


def test_an_index_of_another_key_becomes_none(site: Bench) -> None:
    (site.folder / "images.pub").write_text(OTHER.key.pem)
    code, files, err = _emit(site)
    assert (code, files) == (2, {})
    assert "there is no index to write: demo: quay.test/demo:index stands for sha256:" in err.replace("\n", " ")


def test_where_there_is_none_it_says_what_to_do(site: Bench, registry: FakeRegistry) -> None:
    del registry.manifests["demo", "index"]
    assert "run 'nox -s publish' first" in _emit(site)[2].replace("\n", " ")
    assert "no driver matches x" in _emit(site, "--driver", "x")[2]
    file = site.folder / "versions.yaml"
    file.write_text(file.read_text().partition("publish:")[0])
    assert "images are not signed, so there is no index" in _emit(site)[2]


def test_no_answer_writes_nothing(site: Bench, registry: FakeRegistry) -> None:
    registry.faults.append(lambda _: httpx.Response(403))
    assert _emit(site)[0] == 7
