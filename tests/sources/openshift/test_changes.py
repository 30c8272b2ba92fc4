"""What people read of two answers of OpenShift."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.locks import parsed

from builder.sources.lock import LockedNodeKernel
from builder.sources.openshift.changes import describe_releases, format_age, parse_date
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease, LockedStream
from builder.sources.release import ReleaseState

_NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
_K1, _K2 = "5.14.0-427.9.1.el9_4.x86_64", "5.14.0-427.10.1.el9_4.x86_64"
_RELEASE = LockedRelease(
    payload="p@1", channels={"fast-4.17": ""}, streams={"rhel-coreos": LockedStream(state=ReleaseState.COMPLETE)}
)
_KERNEL = LockedNodeKernel(releases=("4.17.9",), streams=("rhel-coreos",), toolkit="t1")


def _lock(releases: dict[str, Any] | None = None, **kernels: Any) -> LockedOpenShift:
    return LockedOpenShift(
        provider="openshift", resolved="2026-03-01T00:00:00Z", kernels=parsed(kernels),
        releases={f"{version}-x86_64": release for version, release in (releases or {}).items()},
    )  # fmt: skip


def _said(before: LockedOpenShift | None, after: LockedOpenShift, **lost: str) -> list[str]:
    reasons = {f"{version.replace('_', '.')}-x86_64": why for version, why in lost.items()}
    return [str(change) for change in describe_releases(before, after, reasons, now=_NOW)]


def _but(**changes: Any) -> LockedOpenShift:
    return _lock({"4.17.9": _RELEASE.model_copy(update=changes)})


def test_kernels_come_first_and_all_in_natural_order() -> None:
    releases = {"4.17.10": _RELEASE, "4.17.9": _RELEASE}
    assert _said(None, _lock(releases, **{_K2: _KERNEL, _K1: _KERNEL.model_copy(update={"toolkit": ""})})) == [
        f"new kernel {_K1}: of 4.17.9; no toolkit for it is known",
        f"new kernel {_K2}: of 4.17.9",
        "new release 4.17.9-x86_64: in fast-4.17 since before the first look; rhel-coreos complete",
        "new release 4.17.10-x86_64: in fast-4.17 since before the first look; rhel-coreos complete",
    ]


def test_nothing_is_said_of_an_answer_that_is_the_same() -> None:
    lock = _lock({"4.17.9": _RELEASE}, **{_K1: _KERNEL})
    assert _said(lock, lock) == []


def test_what_left_says_why() -> None:
    lock = _lock({"4.17.9": _RELEASE}, **{_K1: _KERNEL})
    assert _said(lock, _lock(), **{"4_17_9": "withdrawn"}) == [
        f"kernel gone {_K1}: withdrawn",
        "release gone 4.17.9-x86_64: withdrawn",
    ]
    assert _said(lock, _lock({"4.17.9": _RELEASE})) == [f"kernel gone {_K1}: a new reading names another"]


def test_another_toolkit_is_told_with_the_one_before() -> None:
    one, other, none = (_lock(None, **{_K1: _KERNEL.model_copy(update={"toolkit": name})}) for name in ("t1", "t2", ""))
    assert _said(one, other) == [f"toolkit chosen {_K1}: built with t2, before with t1"]
    assert _said(one, none) == [f"toolkit chosen {_K1}: built with no toolkit any more, before with t1"]
    assert _said(none, one) == [f"toolkit chosen {_K1}: built with t1, before with none"]
    (change,) = describe_releases(one, other, {}, now=_NOW, unusable={"t1": "it is gone", "t2": "another"})
    assert change.detail == "built with t2, before with t1: it is gone"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"channels": {"fast-4.17": "", "b": "", "a": ""}}, ["promoted 4.17.9-x86_64: now in a, b"]),
        ({"channels": {}}, ["withdrawn 4.17.9-x86_64: no longer in fast-4.17"]),
        (
            {"streams": {"rhel-coreos": LockedStream(state=ReleaseState.NO_TOOLKIT)}},
            ["state changed 4.17.9-x86_64: rhel-coreos complete -> rhel-coreos no-toolkit"],
        ),
        (
            {"problem": "unreachable", "payload": "p@2"},
            ["state changed 4.17.9-x86_64: rhel-coreos complete -> rhel-coreos complete, last reading: unreachable"],
        ),
        ({"streams": {}}, ["state changed 4.17.9-x86_64: rhel-coreos complete -> not read"]),
        ({"disputed": ("p@2", "p@3")}, ["payloads in dispute 4.17.9-x86_64: p@1 is read, p@2, p@3 not"]),
        ({"payload": "p@2"}, ["payload changed 4.17.9-x86_64: p@1 -> p@2"]),
    ],
)
def test_each_difference_of_a_release_is_told(after: dict[str, Any], said: list[str]) -> None:
    assert _said(_but(), _but(**after)) == said


def test_a_payload_that_was_not_known_before_is_no_change() -> None:
    assert _said(_but(payload=""), _but()) == []


def test_a_dispute_ends_with_only_one_payload() -> None:
    assert _said(_but(disputed=("p@2",)), _but()) == ["payloads in dispute 4.17.9-x86_64: only one any more"]


@pytest.mark.parametrize(
    ("since", "age"),
    [
        ("", ""),
        ("2026-03-01T06:00:00Z", "a minute"),
        ("2026-03-01T05:58:01Z", "a minute"),
        ("2026-03-01T05:58:00Z", "2 minutes"),
        ("2026-03-01T04:00:01Z", "119 minutes"),
        ("2026-03-01T04:00:00Z", "2 hours"),
        ("2026-02-27T06:00:01Z", "47 hours"),
        ("2026-02-27", "2 days"),
        ("2026-02-27T08:00:00+02:00", "2 days"),
        ("2027-01-01", "a minute"),
    ],
)
def test_an_age_has_one_unit(since: str, age: str) -> None:
    assert format_age(since, _NOW) == age


def test_a_date_without_a_zone_is_one_of_utc() -> None:
    assert parse_date("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert parse_date("2026-03-01T08:00:00+02:00") == _NOW
