"""Component images in registries: each architecture's, and the list of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import parts  # noqa: F401 - fixture

from builder.components.decide import ComponentSelector
from builder.errors import UsageError
from builder.publish.cells import Force
from builder.publish.components import find_lists, make_publishable, publish_components

if TYPE_CHECKING:
    from fakes.components import Parts
    from fakes.registry import FakeRegistry

_ARCHES = ["x86_64", "aarch64"]


@pytest.fixture
def site(registry: FakeRegistry, parts: Parts) -> Parts:  # noqa: F811 - the fixture
    """Two architectures that are built, for a registry."""
    assert registry is not None
    parts.declare(image="quay.test/plugin", arches=_ARCHES, self_test=[])
    parts.offer()
    assert parts.build()[0] == 0
    return parts


def _publish(site: Parts, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code, out, err = site.bench.run("publish", "--json", "--component", "*", *arguments)
    assert out, err
    data = json.loads(out)
    assert not data["cells"]
    return code, data["components"]


def test_images_and_their_list_are_published_once(site: Parts, registry: FakeRegistry) -> None:
    code, results = _publish(site)
    assert code == 0
    assert registry.final_tags == {"0.1.0-amd64", "0.1.0-arm64", "0.1.0"}
    assert {row["status"] for row in results} == {"published"}
    code, results = _publish(site)
    assert (code, {row["status"] for row in results}) == (0, {"there"})


def test_what_is_published_is_verified(site: Parts, registry: FakeRegistry) -> None:
    _publish(site)
    assert len(registry.final_tags) == 3
    results = publish_components(site.project(), ComponentSelector())
    assert {result.status for result in results} == {"there"}


def test_an_image_without_a_registry_stays_here(registry: FakeRegistry, parts: Parts) -> None:  # noqa: F811
    parts.offer()
    parts.build()
    (result,) = publish_components(parts.project(), ComponentSelector())
    assert (result.status, result.title, result.names) == (
        "local", "plugin-0.1.0/x86_64", ("localhost/plugin:0.1.0-amd64",),
    )  # fmt: skip
    assert "give the component an 'image'" in result.why
    assert not registry.final_tags


def test_strangers_images_stay_here(site: Parts, registry: FakeRegistry) -> None:
    results = publish_components(site.project(untrusted=True), ComponentSelector())
    assert {result.status for result in results} == {"local"}
    assert not registry.final_tags


def test_what_is_not_built_is_not_published_and_says_what_to_do(site: Parts, registry: FakeRegistry) -> None:
    site.edit("plugin.py", "changed")
    code, results = _publish(site)
    assert code != 0
    assert "its source changed: run 'nox -s build' first" in json.dumps(results)
    assert not registry.final_tags


def test_what_is_refused_says_why(site: Parts, registry: FakeRegistry) -> None:
    site.declare(image="quay.test/plugin", arches=_ARCHES, self_test=[], packages=["python3.11"])
    code, results = _publish(site)
    assert code != 0
    text = json.dumps(results)
    assert "run 'nox -s discover'" in text
    assert "nox -s build" not in text
    assert not registry.final_tags


def test_a_list_has_all_architectures_whatever_was_selected(site: Parts) -> None:
    (x86, _) = site.plan().plan.decisions
    (listed,) = find_lists(site.project(), [x86])
    assert (listed.name, listed.title) == ("quay.test/plugin:0.1.0", "plugin-0.1.0")
    assert [member.arch for member in listed.members] == ["amd64", "arm64"]


def test_a_publishable_image_is_what_was_proven(site: Parts) -> None:
    decision = site.plan().plan.decisions[0]
    item = make_publishable(site.project(), decision)
    assert decision.inputs is not None
    assert (item.title, item.key, item.why) == ("plugin-0.1.0/x86_64", decision.key, "")
    assert (item.stored_as, item.digest) == (decision.inputs.key_image, site.digest())
    statements = item.state(item.digest)
    assert all(site.digest().partition(":")[2].encode() in text for text in statements.by_kind.values())


def test_moving_a_tag_needs_a_reason(site: Parts) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        publish_components(site.project(), ComponentSelector(), force=Force(cells=("*",), reason=" "))


def test_a_tag_that_stands_for_another_image_is_not_moved(site: Parts, registry: FakeRegistry) -> None:
    _publish(site)
    before = dict(registry.tags) if hasattr(registry, "tags") else {}
    site.edit("plugin.py", "changed")
    site.offer()
    assert site.build()[0] == 0
    code, results = _publish(site)
    assert code == 16
    assert "published" not in {row["status"] for row in results}
    assert before == (dict(registry.tags) if hasattr(registry, "tags") else {})
    code, results = _publish(site, "--force", "plugin-0.1.0*", "--reason", "it was wrong")
    assert code == 0, results
