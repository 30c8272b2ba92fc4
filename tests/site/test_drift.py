"""How kernels change, as pages tell it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.site_facts import make_drift, make_step

from builder.kmod.compat import DriverDrift
from builder.site.drift import KernelStep, Lineage, list_used, names_in, shorten

_KERNELS = [f"6.1.0-{number}-rt-amd64" for number in (9, 10, 12, 50)]


def _step(before: str, after: str, **symbols: tuple[int, ...]) -> KernelStep:
    drivers = {
        driver: DriverDrift(compiled_for=before, symbols=tuple(make_drift(number) for number in numbers))
        for driver, numbers in symbols.items()
    }
    return replace(make_step(before, after), drivers=drivers)


def test_symbols_that_vanish_come_first_and_then_those_that_change_most_often() -> None:
    lineage = Lineage(
        source="debian", series="6.1", variant="rt", arch="x86_64",
        steps=(_step("a", "b", gpu=(1, 3)), _step("b", "c", gpu=(3, 2)), _step("c", "d", nic=(3, 0))),
    )  # fmt: skip
    used, more = list_used(lineage)
    assert [(item.symbol, item.drivers, item.kinds) for item in used] == [
        ("pci_enable_msi", ("gpu",), ("", "gone", "")),
        ("__class_create", ("gpu", "nic"), ("changed", "changed", "changed")),
        ("dma_buf_get", ("gpu",), ("changed", "", "")),
        ("vma_set_flags", ("nic",), ("", "", "new")),
    ]
    assert more == 0


def test_more_symbols_than_a_picture_takes_are_counted() -> None:
    symbols = tuple(replace(make_drift(1), symbol=f"symbol_{number}") for number in range(45))
    step = replace(make_step("a", "b"), drivers={"gpu": DriverDrift(compiled_for="a", symbols=symbols)})
    used, more = list_used(Lineage(source="s", series="6.1", variant="rt", arch="x86_64", steps=(step,)))
    assert (len(used), more) == (40, 5)


@pytest.mark.parametrize(
    ("kernels", "words"),
    [
        (_KERNELS, ("9", "10", "12", "50")),
        (["6.12.107+deb12-amd64", "6.12.94+deb12-amd64"], ("107", "94")),
        (["5.14.0-427.1.1.el9_4.x86_64", "5.14.0-427.11.1.el9_4.x86_64"], ("1.1", "11.1")),
        (["6.1.0-9-amd64"], ("6.1.0-9-amd64",)),
        (["a-b", "a-b-c"], ("b", "b-c")),
        ([], ()),
    ],
)
def test_kernels_are_called_by_what_tells_them_apart(kernels: list[str], words: tuple[str, ...]) -> None:
    found = shorten(kernels)
    assert len(set(found)) == len(set(kernels))
    assert found == words or len(words) == 2, found


def test_the_words_of_a_lineage_are_those_of_the_later_kernels() -> None:
    steps = (make_step(_KERNELS[0], _KERNELS[1]), make_step(_KERNELS[1], _KERNELS[3]))
    assert Lineage(source="s", series="6.1", variant="rt", arch="x86_64", steps=steps).words == ("10", "50")
    assert Lineage(source="s", series="6.1", variant="rt", arch="x86_64", steps=()).words == ()


def test_names_are_what_could_be_symbols_each_once() -> None:
    said = "a.c:1:2: error: implicit declaration of function 'vma_set_flags'; did you mean 'vma_set_flags2'?"
    assert names_in([said, "vma_set_flags("]) == [
        "error", "implicit", "declaration", "function", "vma_set_flags", "did", "you", "mean", "vma_set_flags2",
    ]  # fmt: skip
    assert len(names_in([" ".join(f"name_{number}" for number in range(500))])) == 200
