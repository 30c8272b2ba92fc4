from __future__ import annotations

from fakes.locks import by_text, parsed

from builder.kernel import Arch
from builder.sources.release import ReleaseState, ReleaseStream, Withdrawal

_A, _B = "5.14.0-427.50.1.el9_4.x86_64", "5.14.0-427.51.1.el9_4.x86_64"


def test_the_kernels_of_a_toolkit_are_those_that_it_says_itself() -> None:
    """Not what a node runs, nor what is derived from another kernel."""
    witnesses = {
        _A: ("toolkit", "node:label"),
        _B: ("node:label",),
        f"{_A}+rt": ("toolkit",),
        f"{_A}+64k": ("derived",),
    }
    stream = ReleaseStream(
        tag="rhel-coreos", state=ReleaseState.COMPLETE, runs=(), kernels=parsed(witnesses), toolkit="", build="",
        rhel="", origin=(),
    )  # fmt: skip
    assert by_text(dict.fromkeys(stream.own_kernels)).keys() == {_A, f"{_A}+rt"}


def test_a_release_that_was_withdrawn_says_from_where_and_since_when() -> None:
    gone = Withdrawal(version="4.17.3", arch=Arch.X86_64, since="2026-11-02", channels=("fast-4.17", "stable-4.17"))
    assert f"4.17.3 {gone}" == "4.17.3 was withdrawn from fast-4.17 and stable-4.17, which was found out on 2026-11-02"
