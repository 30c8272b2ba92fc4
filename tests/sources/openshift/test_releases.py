"""Which releases the lock holds: from graphs to decisions, each discovery after the one before."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import httpx
import pytest

from builder.errors import SourceError

if TYPE_CHECKING:
    from fakes.openshift_lab import Lab

    from builder.sources.openshift.discover import OpenShiftAnswer

_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"


def _states(found: OpenShiftAnswer) -> dict[str, list[str]]:
    return {key: [str(state) for state in release.states] for key, release in found.locked.releases.items()}


def test_releases_of_other_minors_and_holes_in_their_numbers(lab: Lab) -> None:
    for version in ("4.16.9", "4.17.1", "4.17.4", "4.18.0"):
        lab.release(version, _K1)
    assert list(_states(lab.discover())) == ["4.17.1-x86_64", "4.17.4-x86_64"]


def test_a_channel_that_does_not_exist_is_an_error_not_an_empty_list(lab: Lab) -> None:
    lab.release("4.17.1")
    lab.settings["channels"] = ("fast-4.17", "fsat-4.17")
    found = lab.discover()
    assert found.problems == [
        (
            "fsat-4.17 x86_64: it has no releases: it does not exist, or is misspelt (unknown channels are answered with no "
            "nodes), or all of it was withdrawn: take it out of versions.yaml [no-releases]"
        )
    ]
    lab.settings["channels"] = ("fsat-4.17",)
    lab.locked = None
    with pytest.raises(SourceError, match="misspelt"):
        lab.discover()


def _promote(lab: Lab, kernel: str, *channels: str) -> str:
    """Serve one more payload as 4.17.1."""
    tags = {
        "rhel-coreos": lab.world.os_image(kernel), "rhel-coreos-extensions": lab.world.extensions(),
        "driver-toolkit": lab.world.toolkit(kernel),
    }  # fmt: skip
    payload = lab.world.release("4.17.1", tags)
    lab.world.promote(payload, "4.17.1", *channels)
    return payload


@pytest.mark.parametrize("channels", [("fast-4.17",), ("stable-4.17",)])
def test_two_payloads_for_one_version_mark_the_release_and_cost_no_other(lab: Lab, channels: tuple[str, ...]) -> None:
    lab.settings["channels"] = ("fast-4.17", "stable-4.17")
    lab.release("4.17.2", channels=("fast-4.17", "stable-4.17"))
    known = _promote(lab, _K1, "fast-4.17")
    lab.discover()
    before = lab.locked
    other = _promote(lab, _K2, *channels)
    found = lab.discover()
    release = found.locked.releases["4.17.1-x86_64"]
    assert (release.payload, release.disputed) == (known, (other,)), "what is known stays"
    assert found.problems == [
        (
            "4.17.1-x86_64: 2 payloads are served as this release: quay.test/openshift-release-dev/ocp-release@sha256:... is "
            "read, quay.test/openshift-release-dev/ocp-release@sha256:... not [two-payloads]"
        )
    ]
    assert found.locked.stale == {}, "all else of the channel is believed"
    assert "4.17.2-x86_64" in found.locked.releases
    assert ("payloads in dispute", "4.17.1-x86_64") in lab.kinds(before, found)
    read = next(found.locked.list_releases())
    assert (read.version, read.disputed) == ("4.17.1", (other,))
    lab.world.failures["/graph"] = httpx.Response(500)
    assert lab.discover().locked.releases["4.17.1-x86_64"].disputed == (other,), "no answer settles nothing"
    lab.world.failures.clear()
    for channel in channels:
        lab.world.channels[channel, "amd64"].pop()
    before = lab.locked
    found = lab.discover()
    assert (found.problems, found.locked.releases["4.17.1-x86_64"].disputed) == ([], ())
    assert lab.kinds(before, found)[-1] == ("payloads in dispute", "4.17.1-x86_64")


def test_of_two_new_payloads_the_same_one_is_read_in_whatever_order_they_come(lab: Lab) -> None:
    one, two = _promote(lab, _K1, "fast-4.17"), _promote(lab, _K2, "fast-4.17")
    read = lab.discover().locked.releases["4.17.1-x86_64"].payload
    assert read == min(one, two)
    lab.locked = None
    lab.world.channels["fast-4.17", "amd64"].reverse()
    assert lab.discover().locked.releases["4.17.1-x86_64"].payload == read


def test_a_graph_that_names_payloads_without_end_fills_no_lock(lab: Lab) -> None:
    for number in range(1000):
        payload = f"quay.test/x/y@sha256:{number:064x}"
        lab.world.promote(payload, "4.17.1", "fast-4.17")
    found = lab.discover()
    assert len(found.locked.releases["4.17.1-x86_64"].disputed) == 16
    assert "1000 payloads are served as this release" in found.problems[0]
    assert found.problems[0].endswith("and 996 more not [two-payloads]")


def test_the_payload_that_versions_yaml_names_is_read_and_that_of_a_channel_marked(lab: Lab) -> None:
    lab.release("4.17.2")
    promoted = _promote(lab, _K1, "fast-4.17")
    lab.discover()
    named = _promote(lab, _K2)
    lab.settings["releases"] = (named,)
    release = lab.discover().locked.releases["4.17.1-x86_64"]
    assert (release.payload, release.disputed) == (named, (promoted,))
    third = _promote(lab, "5.14.0-427.52.1.el9_4.x86_64")
    lab.settings["releases"] = (named, third)
    release = lab.discover().locked.releases["4.17.1-x86_64"]
    assert (release.payload, release.disputed) == (named, tuple(sorted((promoted, third))))


@pytest.mark.parametrize("number", [1, 12])
def test_a_channel_that_answers_with_nothing_is_believed_only_if_somebody_accepts_it(lab: Lab, number: int) -> None:
    for z in range(number):
        lab.release(f"4.17.{z}", _K1)
    lab.discover()
    nodes = lab.world.channels["fast-4.17", "amd64"]
    lab.world.channels["fast-4.17", "amd64"] = []
    found = lab.discover()
    assert len(found.locked.releases) == number
    count = f"{number} release{'s' if number > 1 else ''}"
    assert found.problems == [
        (
            f"fast-4.17 x86_64: its answer has none of the {count} that it had, which nobody withdraws at once: what it had "
            "is kept; if it is right, say --accept-loss [many-lost]"
        )
    ]
    lab.later(hours=1)
    found = lab.discover(accept_loss=True)
    assert (found.problems, found.locked.releases, found.locked.kernels) == ([], {}, {})
    assert set(found.lost.values()) == {"withdrawn from fast-4.17"}
    assert len(found.lost) == number
    lab.world.channels["fast-4.17", "amd64"] = nodes
    assert len(lab.discover().locked.releases) == number, "and all of it may come back"


def test_no_answer_is_no_loss_that_anybody_could_accept(lab: Lab) -> None:
    lab.release("4.17.1")
    lab.discover()
    lab.world.failures["/graph"] = httpx.Response(500)
    found = lab.discover(accept_loss=True)
    assert (len(found.locked.releases), len(found.problems)) == (1, 1)
    lab.world.failures.clear()
    lab.settings["channels"] = ("fast-4.17", "fsat-4.17")
    assert "misspelt" in lab.discover(accept_loss=True).problems[0], "nor is a channel that never had anything"


def test_a_withdrawn_release_is_remembered_until_it_is_back_or_nobody_asks(lab: Lab) -> None:
    for number in range(3):
        lab.release(f"4.17.{number}", _K1)
    lab.discover()
    lab.later(days=1)
    node = lab.world.channels["fast-4.17", "amd64"].pop(0)
    locked = lab.discover().locked
    (withdrawal,) = locked.list_withdrawals()
    assert (withdrawal.version, withdrawal.arch, withdrawal.since) == ("4.17.0", "x86_64", "2026-03-02T06:00:00Z")
    assert withdrawal.channels == ("fast-4.17",)
    assert locked.withdrawn["4.17.0-x86_64"].payload == node["payload"]
    lab.later(days=1)
    assert lab.discover().locked == locked, "its date stays"
    lab.world.channels["fast-4.17", "amd64"].append(node)
    assert lab.discover().locked.withdrawn == {}
    lab.world.channels["fast-4.17", "amd64"].pop()
    assert list(lab.discover().locked.withdrawn) == ["4.17.0-x86_64"]
    lab.settings["drop"] = ({"release": "4.17.0", "reason": "bad"},)
    assert lab.discover().locked.withdrawn == {}


def test_a_release_that_nobody_asks_for_any_more_was_not_withdrawn(lab: Lab) -> None:
    lab.settings["channels"] = ("fast-4.17", "fast-4.18")
    lab.release("4.17.1", _K1)
    lab.release("4.18.1", _K1, channels=("fast-4.18",))
    lab.discover()
    lab.settings["channels"] = ("fast-4.17",)
    assert lab.discover().locked.withdrawn == {}


def test_nothing_leaves_without_a_stated_reason(lab: Lab) -> None:
    for number in range(8):
        lab.release(f"4.17.{number}", _K1 if number else _K2)
    lab.discover()
    nodes = lab.world.channels["fast-4.17", "amd64"]
    withdrawn = nodes.pop(0)
    before = lab.locked
    found = lab.discover()
    assert found.lost == {"4.17.0-x86_64": "withdrawn from fast-4.17"}
    assert lab.kinds(before, found) == [("kernel gone", _K2), ("release gone", "4.17.0-x86_64")]
    nodes.insert(0, withdrawn)
    assert len(lab.discover().locked.releases) == 8


def test_many_releases_do_not_vanish_at_once(lab: Lab) -> None:
    for number in range(12):
        lab.release(f"4.17.{number}", _K1)
    lab.discover()
    del lab.world.channels["fast-4.17", "amd64"][2:]
    found = lab.discover()
    assert len(found.locked.releases) == 12
    assert "10 of the 12 releases that it had are not in its answer" in found.problems[0]
    assert len(lab.discover(accept_loss=True).locked.releases) == 2


def test_a_release_stays_while_any_channel_has_it_or_gives_no_answer(lab: Lab) -> None:
    lab.settings["channels"] = ("fast-4.17", "stable-4.17")
    for number in range(3):
        lab.release(f"4.17.{number}", _K1, channels=("fast-4.17", "stable-4.17"))
    lab.discover()
    lab.world.channels["fast-4.17", "amd64"].pop()
    lab.world.failures["channel=stable-4.17&arch=amd64"] = httpx.Response(500)
    found = lab.discover()
    assert len(found.locked.releases) == 3
    assert list(found.locked.releases["4.17.2-x86_64"].channels) == ["stable-4.17"]
    lab.world.failures.clear()
    found = lab.discover()
    assert found.lost == {}
    assert list(found.locked.releases["4.17.2-x86_64"].channels) == ["stable-4.17"]


def test_a_release_of_no_channel_stays_until_every_channel_was_read(lab: Lab) -> None:
    """4.18.0 and 4.16.22 were never in a channel; an offline run must not be what removes them."""
    lab.settings["channels"] = ("fast-4.17", "stable-4.17")
    for number in range(3):
        lab.release(f"4.17.{number}", _K1, channels=("fast-4.17", "stable-4.17"))
    locked = lab.discover().locked
    burned = locked.releases["4.17.1-x86_64"].model_copy(update={"channels": {}})
    lab.locked = locked.model_copy(update={"releases": {**locked.releases, "4.17.9-x86_64": burned}})
    lab.world.failures["channel=stable-4.17&arch=amd64"] = httpx.Response(500)
    found = lab.discover()
    assert (found.lost, "4.17.9-x86_64" in found.locked.releases) == ({}, True)
    lab.world.failures.clear()
    assert lab.discover().lost == {"4.17.9-x86_64": "no channel has it"}


def test_ends_of_life_drops_and_channels_that_are_no_longer_asked_for(lab: Lab) -> None:
    for version in ("4.16.1", "4.17.1", "4.17.2", "4.18.1"):
        minor = version.rpartition(".")[0]
        lab.release(version, _K1, channels=(f"fast-{minor}",))
    lab.settings["channels"] = ("fast-4.16", "fast-4.17", "fast-4.18")
    lab.discover()
    lab.settings |= {
        "channels": ("fast-4.16", "fast-4.17"),
        "end_of_life": {"4.16": date(2026, 3, 31)},
        "drop": ({"release": "4.17.2", "reason": "breaks NFS"},),
    }
    found = lab.discover()
    assert found.lost == {
        "4.17.2-x86_64": "dropped in versions.yaml: breaks NFS",
        "4.18.1-x86_64": "versions.yaml no longer asks for fast-4.18 on x86_64",
    }
    assert found.problems == []
    lab.later(days=40)
    found = lab.discover()
    assert found.lost == {"4.16.1-x86_64": "end of life since 2026-03-31"}
    assert found.problems == []
