from __future__ import annotations

import pytest
from fakes.locks import parsed

from builder.sources.openshift.witnesses import run_by, served_by, state_of
from builder.sources.release import ReleaseState

_A, _B = "5.14.0-427.50.1.el9_4.x86_64", "5.14.0-427.51.1.el9_4.x86_64"
_NODE, _BUILT, _BOTH = ("node:label",), ("toolkit",), ("toolkit", "node:label")


@pytest.mark.parametrize(
    ("kernels", "state", "runs", "served"),
    [
        ({_A: _BOTH}, "complete", [_A], {_A}),
        ({_A: _NODE}, "unconfirmed", [_A], {_A}),
        ({_A: _BUILT}, "unconfirmed", [_A], {_A}),
        ({_A: _NODE, _B: _BUILT}, "toolkit-differs", [_A], {_B}),
        ({_A: _BOTH, f"{_A}+rt": _BUILT}, "complete", [_A, f"{_A}+rt"], {_A, f"{_A}+rt"}),
        ({_A: _BOTH, f"{_A}+rt": _BUILT, f"{_B}+rt": _NODE}, "toolkit-differs", [_A, f"{_B}+rt"], {_A, f"{_A}+rt"}),
        # A toolkit for another standard kernel says nothing of the rt kernel either.
        ({_A: _NODE, _B: _BUILT, f"{_B}+rt": _BUILT}, "toolkit-differs", [_A], {_B, f"{_B}+rt"}),
        ({}, "kernel-unknown", [], set()),
    ],
)
def test_who_says_what(kernels: dict[str, tuple[str, ...]], state: str, runs: list[str], served: set[str]) -> None:
    assert state_of(parsed(kernels), "toolkit") is ReleaseState(state)
    assert [kernel.raw for kernel in run_by(parsed(kernels))] == runs
    assert {kernel.raw for kernel in served_by(parsed(kernels), "toolkit")} == served


def test_without_a_toolkit_nothing_is_built() -> None:
    assert state_of(parsed({_A: _NODE}), "") is ReleaseState.NO_TOOLKIT
    assert served_by(parsed({_A: _NODE}), "") == set()
