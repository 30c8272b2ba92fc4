from __future__ import annotations

from typing import Any

import pytest
from fakes.locks import parsed
from fakes.project import KERNELS, make_source

from builder.kernel import Arch, Variant
from builder.sources.listing import View, list_kernels, list_notes, list_releases
from builder.sources.lock import Lock, LockedNodeKernel
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease, LockedStream
from builder.sources.release import ReleaseState

_K1, _K2 = "5.14.0-427.50.1.el9_4.x86_64", "5.14.0-427.51.1.el9_4.aarch64"
_OCP = LockedOpenShift(
    provider="openshift",
    resolved="2026-11-23T00:00:00Z",
    stale={"fast-4.18 x86_64": "2026-11-01T00:00:00Z"},
    releases={
        "4.18.10-x86_64": LockedRelease(
            streams={
                "b": LockedStream(state=ReleaseState.COMPLETE, kernels=parsed({_K1: ("toolkit", "node:label")})),
                "a": LockedStream(state=ReleaseState.NO_TOOLKIT),
            }
        ),
        "4.18.9-aarch64": LockedRelease(
            streams={"b": LockedStream(state=ReleaseState.UNCONFIRMED, kernels=parsed({_K2: ("node:label",)}))}
        ),
        "4.17.1-x86_64": LockedRelease(problem="unreachable"),
    },
    kernels=parsed(
        {
            _K1: LockedNodeKernel(releases=("4.18.10",), streams=("b",), rhel="9.4"),
            _K2: LockedNodeKernel(releases=("4.18.9",), streams=("b",)),
        }
    ),
)
_LOCK = Lock(sources={"debian": make_source(*KERNELS), "ocp": _OCP})


@pytest.mark.parametrize(
    ("view", "kernels"),
    [
        ({"sources": ("ocp",)}, [_K1, _K2]),
        ({"releases": ("4.18.9",)}, [_K2]),
        ({"releases": ("4.19.*",)}, []),
        ({"states": (ReleaseState.COMPLETE,)}, [_K1]),
        ({"states": (ReleaseState.NO_TOOLKIT,)}, []),
        ({"arches": (Arch.AARCH64,)}, ["6.12.5+deb12-arm64", _K2]),
        ({"variants": (Variant.RT,)}, ["6.1.0-10-rt-amd64"]),
        ({"kernels": ("6.12*",), "arches": (Arch.X86_64,)}, ["6.12.5+deb12-amd64"]),
    ],
)
def test_kernels_of_a_view(view: dict[str, Any], kernels: list[str]) -> None:
    assert [row.kernel for row in list_kernels(_LOCK, View(**view))] == kernels


def test_a_kernel_says_which_releases_run_it() -> None:
    (row,) = list_kernels(_LOCK, View(kernels=(_K1,)))
    assert (row.releases, row.states, row.rhel) == (("4.18.10",), (ReleaseState.COMPLETE,), "9.4")
    (row,) = list_kernels(_LOCK, View(kernels=(KERNELS[0],)))
    assert (row.releases, row.states, row.toolkit) == ((), (), "")


@pytest.mark.parametrize(
    ("view", "rows"),
    [
        ({}, [("4.17.1", ""), ("4.18.9", "b"), ("4.18.10", "a"), ("4.18.10", "b")]),
        ({"states": (ReleaseState.UNREACHABLE,)}, [("4.17.1", "")]),
        ({"releases": ("4.18.10",)}, [("4.18.10", "a"), ("4.18.10", "b")]),
        ({"kernels": (_K1,)}, [("4.18.10", "b")]),
        ({"sources": ("debian",)}, []),
    ],
)
def test_releases_of_a_view(view: dict[str, Any], rows: list[tuple[str, str]]) -> None:
    assert [(row.release, row.stream) for row in list_releases(_LOCK, View(**view))] == rows


def test_notes_say_what_is_old_and_what_is_left_out() -> None:
    debian = make_source(KERNELS[0]).model_copy(update={"problem": "unreachable", "left_out": {"6.1.0-1-amd64": "why"}})
    assert list_notes(Lock(sources={"debian": debian, "ocp": _OCP}), View()) == [
        "source debian: all of it is the answer of 2026-11-23T00:00:00Z: the last reading failed (unreachable)",
        "source debian: 6.1.0-1-amd64 is left out: why",
        "source ocp: the answer of 2026-11-01T00:00:00Z is kept for fast-4.18 x86_64",
    ]
    assert list_notes(Lock(sources={"debian": debian, "ocp": _OCP}), View(sources=("other",))) == []
