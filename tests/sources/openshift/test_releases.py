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
        "fsat-4.17 x86_64: it has no releases: it does not exist, or is misspelt (unknown channels are answered with no nodes)"
    ]
    lab.settings["channels"] = ("fsat-4.17",)
    lab.locked = None
    with pytest.raises(SourceError, match="misspelt"):
        lab.discover()


def test_two_payloads_for_one_version(lab: Lab) -> None:
    lab.release("4.17.1", _K1)
    lab.release("4.17.1", _K2)
    with pytest.raises(SourceError, match=r"two payloads for 4\.17\.1"):
        lab.discover()


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
