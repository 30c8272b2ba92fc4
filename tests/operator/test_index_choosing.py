"""Which index is believed: the newest that the vendor signed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.indexes import STRANGER, VENDOR, say
from kmod_operator.index.choosing import choose, digest_of, restore
from kmod_operator.rollout.reasons import REASONS
from kmod_operator.rollout.world import IndexState

_NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
_FIRST, _LATER = VENDOR.index(made="2026-11-27T07:00:00Z"), VENDOR.index(made="2026-11-27T08:00:00Z")


def _choose(before: IndexState, offered: bytes | None, why_not: str = "", **changes: Any) -> IndexState:
    arguments: dict[str, Any] = {"keys": [VENDOR.pem], "driver": "ptemplate", "now": _NOW} | changes
    return choose(before, offered, why_not, arguments.pop("keys"), arguments.pop("driver"), **arguments)


_BELIEVED = _choose(IndexState(), _FIRST)


def test_the_first_index_is_believed() -> None:
    assert _BELIEVED.index is not None
    assert (_BELIEVED.digest, _BELIEVED.trouble, _BELIEVED.trouble_reason) == (digest_of(_FIRST), "", "")
    assert len(_BELIEVED.signer) == 64


def test_a_newer_one_replaces_it_and_an_older_one_never_does() -> None:
    newer = _choose(_BELIEVED, _LATER)
    assert newer.digest == digest_of(_LATER)
    back = _choose(newer, _FIRST)
    assert (back.index, back.digest, back.signer) == (newer.index, newer.digest, newer.signer)
    assert back.trouble_reason == "OlderIndex"
    assert "an older index never replaces a newer one" in back.trouble
    assert _choose(back, _LATER) == newer, "the trouble ends when the newer one lies there again"


def test_the_same_bytes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmod_operator.index.choosing.read_signed_index", None)
    assert _choose(_BELIEVED, _FIRST) == _BELIEVED


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (b"", "it is not JSON"),
        (STRANGER.index(made="2026-11-27T09:00:00Z"), "none of the vendor's keys"),
        (
            VENDOR.index(driver="other", made="2026-11-27T09:00:00Z"),
            "it is the index of driver other, and not of ptemplate",
        ),
        (VENDOR.index(made="2026-11-28T12:00:01Z"), "more than a day from now"),
        (VENDOR.index(format=2), "update the operator"),
    ],
)
def test_what_cannot_be_believed_keeps_the_last_good_one_and_says_so(offered: bytes, why: str) -> None:
    for before in (_BELIEVED, IndexState()):
        found = _choose(before, offered)
        assert (found.index, found.digest, found.signer) == (before.index, before.digest, before.signer)
        assert found.trouble_reason == "NotTrusted"
        assert why in found.trouble


def test_a_clock_that_is_a_little_fast_is_believed() -> None:
    assert _choose(_BELIEVED, VENDOR.index(made="2026-11-28T11:59:59Z")).trouble == ""


def test_what_cannot_be_had_keeps_the_last_good_one_and_says_why() -> None:
    found = _choose(_BELIEVED, None, "the registry does not answer")
    assert found.index == _BELIEVED.index
    assert (found.trouble, found.trouble_reason) == ("the registry does not answer", "Unreadable")
    assert _choose(found, _FIRST) == _BELIEVED
    assert _choose(IndexState(), None).trouble


def test_two_that_are_as_old_as_each_other_are_told_unless_they_say_the_same() -> None:
    signed_again = VENDOR.index()
    assert signed_again != _FIRST
    assert _choose(_BELIEVED, signed_again).digest == digest_of(signed_again)
    other = _choose(_BELIEVED, VENDOR.index(images={}))
    assert (other.digest, other.trouble_reason) == (_BELIEVED.digest, "OlderIndex")


def test_a_key_that_is_not_believed_any_more_ends_what_it_signed() -> None:
    found = _choose(_BELIEVED, _FIRST, keys=[STRANGER.pem])
    assert found.trouble_reason == "NotTrusted"
    assert restore(_FIRST, [STRANGER.pem], "ptemplate").index is None
    assert _choose(_BELIEVED, _FIRST, keys=[]).trouble_reason == "NotTrusted"


def test_an_index_of_another_driver_is_not_kept() -> None:
    assert _choose(_BELIEVED, None, "gone", driver="other").index is None
    own = VENDOR.index(driver="other", made="2026-01-01T00:00:00Z")
    found = _choose(_BELIEVED, own, driver="other")
    assert found.digest == digest_of(own)


def test_a_restart_does_not_forget_which_one_is_the_newest() -> None:
    restored = restore(_LATER, [VENDOR.pem], "ptemplate")
    assert restored == _choose(IndexState(), _LATER)
    assert _choose(restored, _FIRST).trouble_reason == "OlderIndex"


def test_a_slow_clock_after_a_restart_makes_nobody_forget() -> None:
    long_ago = datetime(1970, 1, 1, tzinfo=UTC)
    restored = restore(_LATER, [VENDOR.pem], "ptemplate")
    found = _choose(restored, _FIRST, now=long_ago)
    assert found.digest == digest_of(_LATER)


def test_what_was_kept_and_is_broken_is_told() -> None:
    found = restore(b"{", [VENDOR.pem], "ptemplate")
    assert (found.index, found.trouble_reason) == (None, "NotTrusted")
    assert "what was kept of the last index" in found.trouble


def test_the_words_are_those_of_the_table() -> None:
    assert {"Unreadable", "NotTrusted", "OlderIndex"} <= set(REASONS)


def test_without_a_time_the_clock_of_this_machine_counts() -> None:
    assert choose(IndexState(), VENDOR.index(made="2999-01-01T00:00:00Z"), "", [VENDOR.pem], "ptemplate").index is None
    assert choose(IndexState(), VENDOR.index(made="2020-01-01T00:00:00Z"), "", [VENDOR.pem], "ptemplate").index
    assert say()["format"] == 1
