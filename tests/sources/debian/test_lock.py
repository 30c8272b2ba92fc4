"""What the lock holds of a Debian archive: how it is written, and what somebody may have made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.locks import by_text, parsed
from fakes.project import make_source

from builder.kernel import Arch

if TYPE_CHECKING:
    from builder.sources.debian.lock import LockedDebian

_OLD, _NEW = "6.1.0-9-amd64", "6.1.0-10-amd64"
_SOURCE = make_source(_NEW, _OLD)


def _with(**changes: Any) -> LockedDebian:
    return _SOURCE.model_copy(update=changes)


def _changed(**changes: Any) -> LockedDebian:
    """Return the source with another older kernel."""
    kernels = by_text(_SOURCE.kernels)
    return _with(kernels=parsed(kernels | {_OLD: kernels[_OLD].model_copy(update=changes)}))


def test_its_lines_are_yaml_in_natural_order() -> None:
    data = yaml.safe_load("\n".join(_SOURCE.lines()))
    assert list(data) == ["kernels", "package_sets", "packages"], "what is empty is not written"
    assert list(data["kernels"]) == [_OLD, _NEW]
    assert [key for key in data["packages"] if "headers" in key] == [f"headers-{_OLD}", f"headers-{_NEW}"]
    assert data["package_sets"] == {"runtime-x86_64": ["busybox"], "tools": ["gcc"]}


def test_what_is_left_out_or_stale_is_written_with_its_reason() -> None:
    source = _with(left_out={"6.1.0-8-amd64": 'a "reason": x'}, stale={_NEW: "2026", _OLD: "2025"})
    data = yaml.safe_load("\n".join(source.lines()))
    assert data["left_out"] == source.incomplete() == {"6.1.0-8-amd64": 'a "reason": x'}
    assert list(data["stale"].items()) == [(_OLD, "2025"), (_NEW, "2026")]


def test_a_kernel_needs_its_headers_and_what_boots() -> None:
    kernel = by_text(_SOURCE.kernels)[_OLD]
    assert kernel.packages == {f"headers-{_OLD}"}
    assert kernel.model_copy(update={"image": "image"}).packages == {f"headers-{_OLD}", "image"}


def test_digests_are_those_of_the_packages_in_their_order() -> None:
    gcc, busybox = _SOURCE.packages["gcc"].sha256, _SOURCE.packages["busybox"].sha256
    assert _SOURCE.digests(["gcc", "busybox"]) == (gcc, busybox)
    assert _SOURCE.digests(["busybox", "gcc"]) == (busybox, gcc)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image": "linux-image"}, "no such package linux-image"),
        ({"toolchains": {Arch.X86_64: "tool"}}, "no such package tool"),
        ({"headers": {Arch.X86_64: ("absent",)}}, "no such package absent"),
        ({"headers": {Arch.AARCH64: ("gcc",)}}, "no headers for x86_64"),
    ],
)
def test_a_kernel_that_does_not_fit_is_found(changes: dict[str, Any], sentence: str) -> None:
    assert list(_SOURCE.broken_references()) == []
    (broken,) = _changed(**changes).broken_references()
    assert (broken.place, broken.sentence) == (f"kernels.{_OLD}", sentence)


def test_a_set_that_does_not_fit_is_found() -> None:
    (broken,) = _with(package_sets=_SOURCE.package_sets | {"more": ("gxx",)}).broken_references()
    assert (broken.place, broken.sentence) == ("package_sets.more", "no such package gxx")
