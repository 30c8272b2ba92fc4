"""The update graph: how it is asked, and what it may answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from fakes.locks import by_text

from builder.errors import SourceError
from builder.host.http import with_retries

if TYPE_CHECKING:
    from fakes.openshift_lab import Lab

    from builder.sources.openshift.discover import OpenShiftAnswer

_ARM = "5.14.0-427.50.1.el9_4.aarch64"


def _states(found: OpenShiftAnswer) -> dict[str, list[str]]:
    return {key: [str(state) for state in release.states] for key, release in found.locked.releases.items()}


def test_the_graph_is_asked_with_its_own_names_of_architectures(lab: Lab) -> None:
    lab.release("4.17.1")
    lab.settings["arches"] = ("x86_64", "aarch64")
    arm = lab.world.release(
        "4.17.1",
        {"rhel-coreos": lab.world.os_image(_ARM, arch="arm64"), "rhel-coreos-extensions": lab.world.extensions("arm64"),
         "driver-toolkit": lab.world.toolkit(_ARM, arch="arm64", rt="package kernel-rt-core is not installed")},
        arch="arm64",
    )  # fmt: skip
    lab.world.promote(arm, "4.17.1", "fast-4.17", arch="arm64")
    found = lab.discover()
    asked = [request.url.params["arch"] for request in lab.world.requests if request.url.path.endswith("graph")]
    assert asked == ["amd64", "arm64"]
    assert _states(found) == {"4.17.1-x86_64": ["complete"], "4.17.1-aarch64": ["complete"]}
    stream = found.locked.releases["4.17.1-aarch64"].streams["rhel-coreos"]
    assert by_text(stream.kernels) == {_ARM: ("toolkit", "node:ostree.linux"), f"{_ARM}+64k": ("derived",)}
    assert by_text(found.locked.kernels)[f"{_ARM}+64k"].toolkit == stream.toolkit


@pytest.mark.parametrize(
    ("graph", "words"),
    [(b"<html>", "not JSON"), (b'{"version":1}', "no nodes"), (b'{"version":1,"nodes":[{}]}', "node 0"), (b"\xff\xfe", "not JSON")],
)  # fmt: skip
def test_a_graph_that_is_none(lab: Lab, graph: bytes, words: str) -> None:
    lab.release("4.17.1")
    before = lab.discover().locked
    lab.world.failures["/graph"] = httpx.Response(200, content=graph)
    found = lab.discover()
    assert words in found.problems[0]
    assert found.locked.releases == before.releases


@pytest.mark.parametrize("name", ["gone.json", "{", "}{", "no\0file"])
def test_a_name_of_a_graph_file_that_is_none(lab: Lab, name: str) -> None:
    lab.settings["graph"] = name
    with pytest.raises(SourceError, match="cannot be read"):
        lab.discover()


@pytest.mark.parametrize("location", ["https://[", "http://:99999999/", "https://quay.test:x/"])
def test_redirects_to_nowhere(lab: Lab, location: str) -> None:
    payload = lab.release("4.17.1")
    lab.world.failures[payload.rpartition("@")[2]] = httpx.Response(302, headers={"Location": location})
    found = lab.discover()
    assert _states(found)["4.17.1-x86_64"][0] in {"unreachable", "malformed"}


def test_a_graph_that_is_down_is_one_problem_and_is_not_asked_for_hours(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.settings["channels"] = tuple(f"fast-4.{minor}" for minor in range(10, 60))
    lab.release("4.17.1")
    lab.discover()
    slept: list[float] = []
    monkeypatch.setattr(
        "builder.sources.openshift.graph.with_retries", lambda read: with_retries(read, sleep=slept.append)
    )
    lab.world.failures["/graph"] = httpx.ConnectError("no route to host")
    found = lab.discover()
    assert found.problems == [
        "fast-4.10 x86_64 and 49 more: https://api.openshift.com/api/upgrades_info/v1/graph: no route to host [unreachable]"
    ]
    assert len(slept) <= 4 * 8, "only those that were asked at the same time find out for themselves"
    assert found.locked.stale == {"fast-4.17 x86_64": "2026-03-01T06:00:00Z"}
