"""Bundles go into a repository by digest, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fakes.bench import Bench
    from fakes.registry import FakeRegistry

_BUILDER = f"quay.test/org/builder@sha256:{'b' * 64}"


@pytest.fixture
def site(bench: Bench, registry: FakeRegistry) -> Bench:
    del registry
    file = bench.folder / "versions.yaml"
    settings = {"builder": _BUILDER, "repository": "quay.test/plans", "source": "https://git.test/org/drivers.git"}
    file.write_text(f"{file.read_text()}\ntekton: {json.dumps(settings)}\n")
    return bench


def test_both_are_there_by_digest_and_the_second_time_nothing_is_sent(site: Bench, registry: FakeRegistry) -> None:
    code, out, err = site.run("bundle", "tekton", "--to", "quay.test/pipelines", "--json")
    assert code == 0, err
    told = json.loads(out)
    places = {reference for repository, reference in registry.manifests if repository == "pipelines"}
    assert {told[word].partition("@")[2] for word in ("tasks", "pipelines")} <= places
    assert not [reference for reference in places if not reference.startswith("sha256:")]
    assert any(told["tasks"].encode() in content for content in registry.blobs.values())
    before = len(registry.log)
    assert site.run("bundle", "tekton", "--to", "quay.test/pipelines")[0] == 0
    assert not [line for line in registry.log[before:] if line.startswith(("POST", "PUT", "PATCH"))]


def test_without_settings_it_is_said(bench: Bench, registry: FakeRegistry) -> None:
    del registry
    code, _, err = bench.run("bundle", "tekton", "--to", "quay.test/pipelines")
    assert code == 2
    assert "no 'tekton'" in err


def test_a_place_with_a_tag_is_none(site: Bench) -> None:
    code, _, err = site.run("bundle", "tekton", "--to", "quay.test/pipelines:1")
    assert code == 2
    assert "without tag" in err
