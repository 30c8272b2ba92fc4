"""What the lock holds of releases: how it is written, what is told of it, and what somebody may have made of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from fakes.locks import parsed
from pydantic import ValidationError

from builder.kernel import Arch, parse_kernel_version
from builder.sources.lock import LockedNodeKernel
from builder.sources.openshift.lock import (
    LockedOpenShift,
    LockedRelease,
    LockedStream,
    LockedWithdrawal,
    release_key,
    split_key,
)
from builder.sources.release import ReleaseState

_K1, _K2 = "5.14.0-427.50.1.el9_4.x86_64", "5.14.0-427.51.1.el9_4.x86_64"
_TOOLKIT = f"quay.test/a@sha256:{'a' * 64}"
_STREAM = LockedStream(
    state=ReleaseState.TOOLKIT_DIFFERS, kernels=parsed({_K1: ("node:label",), _K2: ("toolkit",)}), toolkit=_TOOLKIT,
    build="417.9", rhel="9.4",
)  # fmt: skip
_RELEASES = {
    "4.17.10-x86_64": LockedRelease(channels={"fast-4.17": "2026-11-01T00:00:00Z"}, streams={"rhel-coreos": _STREAM}),
    "4.17.9-x86_64": LockedRelease(problem="unreachable"),
}
_KERNEL = LockedNodeKernel(releases=("4.17.10",), streams=("rhel-coreos",))


def _lock(**changes: Any) -> LockedOpenShift:
    fields: dict[str, Any] = {"provider": "openshift", "resolved": "2026-11-23T00:00:00Z", "releases": _RELEASES, "kernels": parsed({_K1: _KERNEL})}  # fmt: skip
    return LockedOpenShift(**fields | changes)


def test_its_lines_are_yaml_oldest_first_and_without_what_is_empty() -> None:
    lines = list(_lock(kernels=parsed({_K2: _KERNEL, _K1: _KERNEL}), stale={"b": "2", "a": "1"}).lines())
    data = yaml.safe_load("\n".join(lines))
    assert list(data) == ["stale", "kernels", "releases"]
    assert lines[0] == '    stale: {"a": "1", "b": "2"}'
    assert (list(data["kernels"]), list(data["releases"])) == ([_K1, _K2], ["4.17.9-x86_64", "4.17.10-x86_64"])
    assert data["releases"]["4.17.9-x86_64"] == {"problem": "unreachable"}
    assert data["kernels"][_K1] == {"releases": ["4.17.10"], "streams": ["rhel-coreos"]}
    assert len(lines) == 1 + 3 + 3, "a line for each"


def test_releases_are_told_oldest_first_with_what_nodes_run() -> None:
    older, newer = _lock().list_releases()
    assert (older.version, older.arch, older.state, older.streams) == ("4.17.9", Arch.X86_64, ReleaseState.UNREACHABLE, ())  # fmt: skip
    assert (newer.version, newer.state, newer.channels) == ("4.17.10", ReleaseState.TOOLKIT_DIFFERS, {"fast-4.17": "2026-11-01T00:00:00Z"})  # fmt: skip
    (stream,) = newer.streams
    assert [kernel.raw for kernel in stream.runs] == [_K1], "its own toolkit is for another"
    assert (stream.tag, stream.toolkit, stream.build, stream.rhel) == ("rhel-coreos", _TOOLKIT, "417.9", "9.4")


def test_what_was_withdrawn_is_kept_and_told_oldest_first() -> None:
    since = "2026-11-02T00:00:00Z"
    gone = LockedWithdrawal(since=since, channels=("fast-4.17",))
    lock = _lock(
        withdrawn={"4.17.12-x86_64": gone, "4.17.3-aarch64": gone.model_copy(update={"toolkits": (_TOOLKIT,)})}
    )
    assert [(found.version, found.arch, found.since, found.channels) for found in lock.list_withdrawals()] == [
        ("4.17.3", Arch.AARCH64, since, ("fast-4.17",)), ("4.17.12", Arch.X86_64, since, ("fast-4.17",)),
    ]  # fmt: skip
    assert list(yaml.safe_load("\n".join(lock.lines()))["withdrawn"].items()) == [
        ("4.17.3-aarch64", {"since": since, "channels": ["fast-4.17"], "toolkits": [_TOOLKIT]}),
        ("4.17.12-x86_64", {"since": since, "channels": ["fast-4.17"]}),
    ]
    assert "withdrawn" not in yaml.safe_load("\n".join(_lock().lines()))


@pytest.mark.parametrize(
    ("release", "states"),
    [
        (LockedRelease(), [ReleaseState.KERNEL_UNKNOWN]),
        (LockedRelease(problem="malformed"), [ReleaseState.MALFORMED]),
        (LockedRelease(problem="malformed", streams={"a": _STREAM}), [ReleaseState.TOOLKIT_DIFFERS]),
    ],
)
def test_a_release_without_an_operating_system_says_why(release: LockedRelease, states: list[ReleaseState]) -> None:
    assert release.states == states


def test_a_kernel_that_no_release_runs_is_not_there() -> None:
    assert _lock().node_kernel(parse_kernel_version(_K1)) == _KERNEL
    assert _lock().node_kernel(parse_kernel_version(_K2)) is None


def test_a_key_is_a_version_that_may_have_dashes_and_an_architecture() -> None:
    key = release_key("4.18.0-rc.1", Arch.AARCH64)
    assert (key, split_key(key)) == ("4.18.0-rc.1-aarch64", ("4.18.0-rc.1", Arch.AARCH64))


@pytest.mark.parametrize("key", ["4.18.1", "4.18.1-", "4.18.1-amd64", "", "-"])
def test_a_key_without_an_architecture_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="is no release with an architecture, such as 4.18.12-x86_64"):
        _lock(releases={key: LockedRelease()})
    with pytest.raises(ValidationError, match="is no release with an architecture, such as 4.18.12-x86_64"):
        _lock(withdrawn={key: LockedWithdrawal(since="2026-11-02T00:00:00Z", channels=("fast-4.17",))})


@pytest.mark.parametrize("date", ["2026-11-23T18:39:49Z", "2025-08-15T12:00:00+00:00", "2026-11-23", ""])
def test_a_date_is_a_moment_or_a_day(date: str) -> None:
    assert LockedRelease(channels={"fast-4.17": date}).channels["fast-4.17"] == date
    assert LockedNodeKernel(releases=(), streams=(), seen=date).seen == date


@pytest.mark.parametrize("date", ["yesterday", "2026-13-01", "2026-11-23T99:00:00Z", "9" * 5000, " "])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ValidationError, match="is no date"):
        LockedRelease(channels={"fast-4.17": date})
    with pytest.raises(ValidationError, match="is no date"):
        LockedNodeKernel(releases=(), streams=(), seen=date)


@pytest.mark.parametrize(
    ("kernel", "sentence"),
    [
        ({"releases": ("4.17.10", "4.17.11")}, "no such release 4.17.11-x86_64"),
        ({"toolkit": _TOOLKIT}, f"its toolkit {_TOOLKIT} is not among its toolkits"),
        ({"releases": ()}, "no release is said to run it"),
        ({"releases": (), "toolkit": _TOOLKIT, "toolkits": (_TOOLKIT,)}, "no release is said to run it"),
        ({"releases": ("4.17.10", "4.17.9")}, "it has no toolkit, and its newest release does not say why"),
    ],
)
def test_what_does_not_fit_together_is_found(kernel: dict[str, Any], sentence: str) -> None:
    assert list(_lock().broken_references()) == []
    (broken,) = _lock(kernels=parsed({_K1: _KERNEL.model_copy(update=kernel)})).broken_references()
    assert (broken.place, broken.sentence) == (f"kernels.{_K1}", sentence)


def test_a_kernel_with_a_toolkit_needs_no_reason() -> None:
    """Its releases may never have been read."""
    kernel = _KERNEL.model_copy(update={"releases": ("4.17.9",), "toolkit": _TOOLKIT, "toolkits": (_TOOLKIT,)})
    assert list(_lock(kernels=parsed({_K1: kernel})).broken_references()) == []
