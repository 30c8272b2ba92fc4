"""Discovery of OpenShift's kernels against a pretended graph and registry: the chain, the lock, what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from fakes.locks import by_text
from fakes.openshift_world import CONTENT, RELEASES

from builder.sources.lock import Lock
from builder.sources.lock_file import format_lock, read_lock
from builder.sources.release import ReleaseState

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.openshift_lab import Lab

    from builder.sources.openshift.discover import OpenShiftAnswer


_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"
_K10 = "6.12.0-211.47.1.el10_2.x86_64"


def _states(found: OpenShiftAnswer) -> dict[str, list[str]]:
    return {key: [str(state) for state in release.states] for key, release in found.locked.releases.items()}


def test_from_the_graph_to_kernels_and_toolkits(lab: Lab, tmp_path: Path) -> None:
    lab.release("4.17.11", _K1, rt=f"{_K1}+rt")
    lab.release("4.17.12", _K2)
    found = lab.discover()
    assert found.problems == []
    assert _states(found) == {"4.17.11-x86_64": ["complete"], "4.17.12-x86_64": ["complete"]}
    assert set(by_text(found.locked.kernels)) == {_K1, _K2, f"{_K1}+rt"}
    kernel = by_text(found.locked.kernels)[f"{_K1}+rt"]
    assert (kernel.releases, kernel.rhel, kernel.streams, kernel.image) == (("4.17.11",), "9.4", ("rhel-coreos",), "")
    assert kernel.toolkit == by_text(found.locked.kernels)[_K1].toolkit
    assert kernel.toolkit.startswith(f"quay.test/{CONTENT}@sha256:")
    stream = found.locked.releases["4.17.11-x86_64"].streams["rhel-coreos"]
    assert by_text(stream.kernels) == {_K1: ("toolkit", "node:ostree.linux"), f"{_K1}+rt": ("toolkit",)}
    assert stream.image.startswith(f"quay.test/{CONTENT}@sha256:")
    text = format_lock(Lock(sources={"openshift": found.locked}))
    (tmp_path / "lock").write_text(text)
    assert read_lock(tmp_path / "lock").sources["openshift"] == found.locked
    assert format_lock(read_lock(tmp_path / "lock")) == text


def test_what_the_lock_knows_is_not_read_again_even_on_a_machine_without_a_cache(lab: Lab) -> None:
    for number in range(5):
        lab.release(f"4.17.{number}", _K1)
    assert lab.discover().read == 5
    first = lab.locked
    lab.world.requests.clear()
    again = lab.discover(cache="another")
    assert [request.url.path.rpartition("/")[2] for request in lab.world.requests] == ["graph"]
    assert (again.read, again.bytes_read, again.locked) == (0, 0, first)
    lab.release("4.17.9", _K2)
    third = lab.discover(cache="third")
    assert third.read == 1
    assert lab.kinds(first, third) == [("new kernel", _K2), ("new release", "4.17.9-x86_64")]
    lab.world.requests.clear()
    assert lab.discover(refresh=True, cache="third").read == 6


def test_the_same_answer_is_the_same_lock_in_any_order(lab: Lab, tmp_path: Path) -> None:
    for version, kernel in (("4.17.2", _K1), ("4.17.10", _K2), ("4.17.9", _K1)):
        lab.release(version, kernel)
    one = format_lock(Lock(sources={"openshift": lab.discover().locked}))
    lab.world.channels["fast-4.17", "amd64"].reverse()
    lab.locked = None
    two = format_lock(Lock(sources={"openshift": lab.discover(cache="other").locked}))
    assert one == two
    rows = [line.split(":")[0].strip() for line in one.splitlines() if line.strip().startswith("4.17")]
    assert rows == ["4.17.2-x86_64", "4.17.9-x86_64", "4.17.10-x86_64"]


def test_a_new_release_changes_few_lines_of_the_lock(lab: Lab) -> None:
    for number in range(20):
        lab.release(f"4.17.{number}", _K1 if number < 10 else _K2)
    before = format_lock(Lock(sources={"openshift": lab.discover().locked})).splitlines()
    lab.release("4.17.20", _K2)
    lab.later(days=1)
    after = format_lock(Lock(sources={"openshift": lab.discover().locked})).splitlines()
    assert len(set(after) - set(before)) == 3, "resolved, the kernel and the release"


def test_releases_given_by_name_and_in_a_graph_file(lab: Lab, tmp_path: Path) -> None:
    lab.world.channels.clear()
    lab.release("4.17.1", channels=())
    tagged = lab.world.release("4.18.0-rc.1", {"rhel-coreos": lab.world.os_image(_K2), "rhel-coreos-extensions": lab.world.extensions(), "driver-toolkit": lab.world.toolkit(_K2)}, tag="4.18.0-rc.1-x86_64")  # fmt: skip
    lab.release("4.17.5", channels=("stable-4.17",))
    (tmp_path / "stable-4.17_amd64.json").write_bytes(lab.world.graph("stable-4.17", "amd64"))
    lab.settings |= {
        "channels": ("stable-4.17",), "graph": "{channel}_{arch}.json",
        "releases": (f"quay.test/{RELEASES}:4.18.0-rc.1-x86_64",),
    }  # fmt: skip
    found = lab.discover()
    assert found.problems == []
    assert set(found.locked.releases) == {"4.17.5-x86_64", "4.18.0-rc.1-x86_64"}
    assert found.locked.releases["4.18.0-rc.1-x86_64"].payload == tagged
    assert not any(request.url.path.endswith("graph") for request in lab.world.requests)
    lab.world.failures["manifests/4.18.0-rc.1-x86_64"] = httpx.Response(503)
    kept = lab.discover()
    assert set(kept.locked.releases) == {"4.17.5-x86_64", "4.18.0-rc.1-x86_64"}
    assert "HTTP 503" in kept.problems[0]
    lab.settings["releases"] = ()
    assert lab.discover().lost == {"4.18.0-rc.1-x86_64": "versions.yaml no longer names it, and no channel has it"}


def test_a_major_beyond_four(lab: Lab) -> None:
    lab.release("5.0.0-ec.2", _K10, channels=("candidate-5.0",))
    lab.settings["channels"] = ("candidate-5.0",)
    assert _states(lab.discover()) == {"5.0.0-ec.2-x86_64": ["complete"]}


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("place", ["graph", "payload", "toolkit", "os"])
def test_a_server_that_does_not_answer_costs_nothing_that_was_known(lab: Lab, status: int, place: str) -> None:
    payload = lab.release("4.17.1", _K1)
    before = lab.discover().locked
    assert before is not None
    stream = before.releases["4.17.1-x86_64"].streams["rhel-coreos"]
    ends = {"graph": "/graph", "payload": payload, "toolkit": stream.toolkit, "os": stream.image}
    lab.world.failures[ends[place].rpartition("@")[2]] = httpx.Response(status, headers={"Retry-After": "0"})
    found = lab.discover(refresh=True, cache="cold")
    assert found.problems, "it is said"
    assert f"HTTP {status}" in found.problems[0]
    assert found.locked.kernels == before.kernels
    assert found.lost == {}
    after = found.locked.releases["4.17.1-x86_64"]
    assert after.streams["rhel-coreos"].kernels == stream.kernels
    if place == "graph":
        assert found.locked.stale == {"fast-4.17 x86_64": "2026-03-01T06:00:00Z"}
    else:
        assert (after.problem, after.stale) == ("unreachable", "2026-03-01T06:00:00Z")
    lab.world.failures.clear()
    lab.later(days=2)
    healed = lab.discover(cache="cold")
    assert healed.problems == []
    assert healed.locked.releases == before.releases
    assert healed.locked.stale == {}


def test_a_registry_without_a_pull_secret_still_tells_digests(lab: Lab) -> None:
    """Payloads are public, what they name is not: version, build and digests come without an account."""
    payload = lab.release("4.17.1")
    for repository, reference in list(lab.world.manifests):
        if repository == CONTENT:
            lab.world.failures[f"{CONTENT}/manifests/{reference}"] = httpx.Response(401)
    found = lab.discover()
    release = found.locked.releases["4.17.1-x86_64"]
    assert (release.payload, release.problem) == (payload, "unreachable")
    assert release.streams["rhel-coreos"].state is ReleaseState.KERNEL_UNKNOWN
    assert release.streams["rhel-coreos"].toolkit.startswith("quay.test/")
    assert "there is no pull secret for it" in found.problems[0]
    assert "sha256:..." in found.problems[0] or "4.17.1" in found.problems[0]


def test_many_releases_with_one_problem_are_one_line(lab: Lab) -> None:
    for number in range(30):
        lab.release(f"4.17.{number}", _K1)
    for repository, reference in list(lab.world.manifests):
        if repository == RELEASES and reference:
            lab.world.failures[reference] = httpx.Response(403)
    lab.locked = None
    found = lab.discover()
    assert len(found.problems) == 1
    assert found.problems[0].startswith("4.17.0-x86_64 and 29 more: ")
    assert set(_states(found)["4.17.3-x86_64"]) == {"unreachable"}


def test_a_second_source_of_truth_is_replaced_when_the_payload_is_read(lab: Lab) -> None:
    """The committed lock names kernels from public data sets; the first reading of a release takes their place."""
    lab.release("4.17.1", _K1)
    locked = lab.discover().locked
    release = locked.releases["4.17.1-x86_64"]
    stream = release.streams["rhel-coreos"]
    seeded = stream.model_copy(
        update={
            "kernels": {_K2: ("node:data/set@1234",)},
            "origin": ("data/set@1234",),
            "state": ReleaseState.UNCONFIRMED,
        }
    )
    row = release.model_copy(update={"payload": "", "streams": {"rhel-coreos": seeded}})
    lab.locked = locked.model_copy(update={"releases": {"4.17.1-x86_64": row}})
    found = lab.discover()
    assert found.locked.releases["4.17.1-x86_64"].streams["rhel-coreos"] == stream
