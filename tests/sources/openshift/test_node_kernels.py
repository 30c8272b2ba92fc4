"""Which kernels follow from releases, and which toolkit each keeps."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import httpx
import pytest
from fakes.locks import by_text

from builder.kernel import parse_kernel_version
from builder.sources.lock import Lock
from builder.sources.openshift.changes import describe_releases

if TYPE_CHECKING:
    from fakes.openshift_lab import Lab

    from builder.sources.openshift.discover import OpenShiftAnswer

_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"
_K10 = "6.12.0-211.47.1.el10_2.x86_64"


def _states(found: OpenShiftAnswer) -> dict[str, list[str]]:
    return {key: [str(state) for state in release.states] for key, release in found.locked.releases.items()}


def test_an_older_kernel_in_a_newer_release(lab: Lab) -> None:
    """4.17.13 ran 427.51.1, 4.17.14 again 427.50.1."""
    for version, kernel in (("4.17.12", _K1), ("4.17.13", _K2), ("4.17.14", _K1)):
        lab.release(version, kernel)
    kernels = by_text(lab.discover().locked.kernels)
    assert kernels[_K1].releases == ("4.17.12", "4.17.14")
    assert kernels[_K2].releases == ("4.17.13",)


def test_two_operating_systems_one_without_a_toolkit(lab: Lab) -> None:
    """4.21 and 4.22 have rhel-coreos-10, and no toolkit for it; later payloads have driver-toolkit-10."""
    world = lab.world
    tags = {
        "rhel-coreos": world.os_image(_K1), "rhel-coreos-extensions": world.extensions(),
        "rhel-coreos-10": world.os_image(_K10), "rhel-coreos-10-extensions": world.extensions(),
        "driver-toolkit": world.toolkit(_K1), "machine-os-images": world.image([{"x": b""}]),
    }  # fmt: skip
    builds = {"rhel-coreos": "machine-os=9.6.20260504-0", "rhel-coreos-10": "machine-os=10.2.20260521-0"}
    world.promote(world.release("4.21.9", tags, builds=builds), "4.21.9", "fast-4.21")
    tags["driver-toolkit-10"] = world.toolkit(_K10, rhel="10.2")
    world.promote(world.release("4.21.10", tags, builds=builds), "4.21.10", "fast-4.21")
    lab.settings["channels"] = ("fast-4.21",)
    found = lab.discover()
    assert _states(found) == {"4.21.9-x86_64": ["complete", "no-toolkit"], "4.21.10-x86_64": ["complete", "complete"]}
    streams = found.locked.releases["4.21.9-x86_64"].streams
    assert {tag: stream.build for tag, stream in streams.items()} == {
        "rhel-coreos": "9.6.20260504-0", "rhel-coreos-10": "10.2.20260521-0"
    }  # fmt: skip
    assert by_text(streams["rhel-coreos-10"].kernels) == {_K10: ("node:ostree.linux",)}
    assert by_text(found.locked.kernels)[_K10].releases == ("4.21.9", "4.21.10")
    assert by_text(found.locked.kernels)[_K10].toolkit, "another release's toolkit is for this kernel"


def test_a_toolkit_for_another_kernel_than_the_nodes(lab: Lab) -> None:
    """okd-project/okd issue 2061: the node runs 531, the toolkit is for 460."""
    lab.release("4.17.1", kernel=_K1, node=_K2)
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["toolkit-differs"]}
    assert set(by_text(found.locked.kernels)) == {_K2}
    assert by_text(found.locked.kernels)[_K2].toolkit == ""
    lab.release("4.17.2", kernel=_K2)
    kernel = by_text(lab.discover().locked.kernels)[_K2]
    assert kernel.releases == ("4.17.1", "4.17.2")
    assert kernel.toolkit, "keyed on the kernel, the next release's toolkit helps the nodes of the first"


@pytest.mark.parametrize(
    ("version", "node", "toolkit"),
    [
        ("4.16.0-okd-scos.1", "5.14.0-531.el9.x86_64", "5.14.0-460.el9.x86_64"),
        ("4.17.0-okd-scos.ec.3", "5.14.0-522.el9.x86_64", "5.14.0-452.el9.x86_64"),
        ("4.21.0-okd-scos.10", "6.12.0-219.el10.x86_64", "6.12.0-213.el10.x86_64"),
        ("4.22.0-okd-scos.0", "6.12.0-224.el10.x86_64", "6.12.0-212.el10.x86_64"),
    ],
)
def test_releases_of_okd_whose_toolkit_was_for_another_kernel(lab: Lab, version: str, node: str, toolkit: str) -> None:
    """Real ones: okd-project/okd issues 2061 and 2350, okd-payload-pipeline pull request 62."""
    world = lab.world
    tags = {
        "stream-coreos": world.os_image(node), "stream-coreos-extensions": world.extensions(),
        "driver-toolkit": world.toolkit(toolkit, rhel="9"),
    }  # fmt: skip
    world.promote(world.release(version, tags), version, "stable-scos-4")
    lab.settings |= {"provider": "okd", "channels": ("stable-scos-4",)}
    found = lab.discover()
    assert _states(found) == {f"{version}-x86_64": ["toolkit-differs"]}
    assert {raw: kernel.toolkit for raw, kernel in by_text(found.locked.kernels).items()} == {node: ""}


def test_a_toolkit_for_another_kernel_says_nothing_of_the_rt_kernel_either(lab: Lab) -> None:
    lab.release("4.17.1", kernel=_K1, node=_K2, rt=f"{_K1}+rt")
    assert set(by_text(lab.discover().locked.kernels)) == {_K2}


def test_dates_of_channels_are_those_of_the_first_look(lab: Lab) -> None:
    lab.settings["channels"] = ("candidate-4.17", "fast-4.17")
    lab.release("4.17.1", _K1, channels=("candidate-4.17", "fast-4.17"))
    lab.discover()
    lab.later(hours=3)
    payload = lab.release("4.17.2", _K2, channels=("candidate-4.17",))
    lab.discover()
    lab.later(days=5)
    lab.world.promote(payload, "4.17.2", "fast-4.17")
    before = lab.locked
    found = lab.discover()
    assert found.locked.releases["4.17.1-x86_64"].channels == {"candidate-4.17": "", "fast-4.17": ""}
    assert found.locked.releases["4.17.2-x86_64"].channels == {
        "candidate-4.17": "2026-03-01T09:00:00Z", "fast-4.17": "2026-03-06T09:00:00Z"
    }  # fmt: skip
    assert (by_text(found.locked.kernels)[_K1].seen, by_text(found.locked.kernels)[_K2].seen) == (
        "",
        "2026-03-01T09:00:00Z",
    )
    assert lab.kinds(before, found) == [("promoted", "4.17.2-x86_64")]


def _second(lab: Lab, version: str = "4.17.2") -> str:
    """Promote a release that brings another toolkit for the same kernel; return that."""
    tags = {
        "rhel-coreos": lab.world.os_image(_K1), "rhel-coreos-extensions": lab.world.extensions(),
        "driver-toolkit": lab.world.toolkit(_K1, base=version.encode()),
    }  # fmt: skip
    lab.world.promote(lab.world.release(version, tags), version, "fast-4.17")
    return tags["driver-toolkit"]


def _chosen(found: OpenShiftAnswer) -> str:
    return by_text(found.locked.kernels)[_K1].toolkit


def _gone(lab: Lab, toolkit: str, status: int = 404) -> None:
    lab.world.failures[f"/manifests/{toolkit.partition('@')[2]}"] = httpx.Response(status)


def test_a_kernel_keeps_the_toolkit_that_it_is_built_with(lab: Lab) -> None:
    """52 of 127 real kernels come with several toolkits: a new one must not make everything be built again."""
    lab.release("4.17.1", _K1)
    first = _chosen(lab.discover())
    second = _second(lab)
    kernel = by_text(lab.discover().locked.kernels)[_K1]
    assert kernel.toolkits == (second, first)
    assert kernel.toolkit == first
    before = lab.locked
    found = lab.discover(newest_toolkits=True)
    assert _chosen(found) == second
    assert by_text(found.locked.kernels)[_K1].toolkits == (second, first), "all are kept"
    assert lab.kinds(before, found) == [("toolkit chosen", _K1)]


def test_the_toolkit_of_a_withdrawn_release_gives_way_to_that_of_another(lab: Lab) -> None:
    lab.release("4.17.1", _K1)
    lab.release("4.17.9", _K2)
    first = _chosen(lab.discover())
    second = _second(lab)
    lab.discover()
    before = lab.locked
    lab.world.channels["fast-4.17", "amd64"].pop(0)
    found = lab.discover()
    assert _chosen(found) == second
    changes = describe_releases(before, found.locked, found.lost, now=lab.now, unusable=found.unusable)
    assert str(changes[0]) == (
        f"toolkit chosen {_K1}: built with {second}, before with {first}: "
        "4.17.1-x86_64, which brought that one, was withdrawn from fast-4.17"
    )
    _second(lab, "4.17.3")
    assert _chosen(lab.discover()) == second, "it is chosen once"
    lab.release("4.17.1", _K1)
    assert _chosen(lab.discover()) == second, "and not back again"


def test_a_toolkit_that_no_other_release_replaces_stays_until_one_does(lab: Lab) -> None:
    """The kernel is still run by a release that was built without a toolkit of its own."""
    lab.release("4.17.1", _K1)
    lab.release("4.17.4", _K1, toolkit=False)
    first = _chosen(lab.discover())
    lab.world.channels["fast-4.17", "amd64"].pop(0)
    _gone(lab, first)
    assert _chosen(lab.discover()) == first
    assert _chosen(lab.discover(refresh=True)) == first
    second = _second(lab)
    assert _chosen(lab.discover()) == second, "the withdrawal is remembered"


def test_a_toolkit_that_other_releases_bring_too_is_not_withdrawn(lab: Lab) -> None:
    lab.release("4.17.1", _K1)
    lab.release("4.17.3", _K1)
    first = _chosen(lab.discover())
    _second(lab, "4.17.5")
    lab.world.channels["fast-4.17", "amd64"].pop(0)
    assert _chosen(lab.discover()) == first


@pytest.mark.parametrize("status", [200, 401, 403, 429, 500, 404])
def test_the_toolkit_of_a_release_that_left_is_kept_unless_its_registry_says_that_it_is_gone(
    lab: Lab, status: int
) -> None:
    """An end of life says nothing of a toolkit, and no answer is not absent."""
    lab.settings["channels"] = ("fast-4.16", "fast-4.17")
    lab.release("4.16.1", _K1, channels=("fast-4.16",))
    first = _chosen(lab.discover())
    second = _second(lab)
    lab.settings["end_of_life"] = {"4.16": date(2026, 2, 1)}
    if status != 200:
        _gone(lab, first, status)
    before = lab.locked
    found = lab.discover()
    assert _chosen(found) == (second if status == 404 else first)
    if status == 404:
        changes = describe_releases(before, found.locked, found.lost, now=lab.now, unusable=found.unusable)
        assert str(changes[0]).endswith(": its registry says that it does not have that one any more")


def test_the_toolkit_of_a_release_that_is_there_is_asked_for_when_all_is_read_again(lab: Lab) -> None:
    lab.release("4.17.1", _K1)
    first = _chosen(lab.discover())
    second = _second(lab)
    lab.discover()
    lab.world.requests.clear()
    _gone(lab, first)
    assert _chosen(lab.discover()) == first
    assert len(lab.world.requests) == 1, "an hourly run asks the graph and stops"
    assert _chosen(lab.discover(refresh=True)) == second


def test_no_toolkit_is_chosen_that_is_gone_itself(lab: Lab) -> None:
    lab.release("4.17.1", _K1)
    first = _chosen(lab.discover())
    second, third = _second(lab, "4.17.2"), _second(lab, "4.17.3")
    lab.discover()
    lab.world.channels["fast-4.17", "amd64"].pop(0)
    _gone(lab, third)
    assert _chosen(lab.discover()) == second
    _gone(lab, second)
    assert _chosen(lab.discover(refresh=True)) == second, "none is left that another could replace it by"
    assert first in by_text(lab.discover().locked.kernels)[_K1].toolkits


def test_kernel_versions_of_the_lock_sort_naturally(lab: Lab) -> None:
    for number, kernel in enumerate([_K2, "5.14.0-427.9.1.el9_4.x86_64", _K1]):
        lab.release(f"4.17.{number}", kernel)
    lock = Lock(sources={"openshift": lab.discover().locked})
    assert [kernel.raw for kernel in lock.kernel_versions("openshift")] == [
        "5.14.0-427.9.1.el9_4.x86_64", _K1, _K2,
    ]  # fmt: skip
    assert parse_kernel_version(_K1).series == "5.14.0-el9_4"
