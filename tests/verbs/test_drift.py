"""The verb drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fakes.bench import Bench

_KERNEL, _OTHER = "6.1.0-10-amd64", "6.12.5+deb12-amd64"


def test_kernels_that_do_not_differ_say_so(bench: Bench) -> None:
    bench.build("--kernel", _KERNEL)
    code, out, _ = bench.run("drift", _KERNEL, _OTHER)
    assert (code, f"differs between {_KERNEL} and {_OTHER}" in " ".join(out.split())) == (0, True)


@pytest.mark.parametrize(
    ("other", "code", "words"), [("nonsense", 2, "nonsense"), ("6.1.0-77-amd64", 4, "no kernel source")]
)
def test_kernels_that_are_not_there(bench: Bench, other: str, code: int, words: str) -> None:
    found, _, err = bench.run("drift", _KERNEL, other)
    assert (found, words in err) == (code, True), err
