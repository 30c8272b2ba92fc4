"""The verb sign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fakes.bench import Bench


def test_the_names_of_cells_are_given_by_builds_only(bench: Bench) -> None:
    code, _, err = bench.run(
        "sign", "--signer", "vendor", "localhost/demo:1.2.0-6.1.0-10-amd64", "--tag", "localhost/kmodsmith/cell:x"
    )
    assert (code, "are given by builds only" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("a.ko", "--signer", "vendor"), 9, "vendor"),
        (("a", "b", "--signer", "vendor", "--tag", "localhost/x:1"), 2, "--tag needs exactly one image"),
        (("a.ko",), 2, "--signer"),
    ],
)
def test_what_cannot_be_signed(bench: Bench, words: tuple[str, ...], code: int, sentence: str) -> None:
    found, _, err = bench.run("sign", *words)
    assert (found, sentence in err) == (code, True), err
