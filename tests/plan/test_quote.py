"""Quotes: sums of what is on record, and a reason for each that cannot be known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.site_facts import MADE, make_boot, make_build, make_publish

from builder.evidence.records import CellEvidence, FileRecord
from builder.plan.quote import Addition, Amount, GroupNow, KernelNeeds, Quote, Record, quote_group

_CPU = {"toolkit": 0.0, "compile": 5.0, "fit": 0.1, "boot": 20.0}
_TIMES = {"toolkit": 0.0, "compile": 6.0, "fit": 1.0, "boot": 30.0}


def _build(number: int, *, driver: str = "gpu", **changes: object) -> CellEvidence:
    kernel = f"6.1.0-{number}-amd64"
    item = make_build(f"{driver}-1.4.0/{kernel}", kernel, driver=driver, timings=dict(_TIMES))
    return replace(item, cpu=dict(_CPU), firmware=(FileRecord(path="f", sha256="s", size=1000),), **changes)  # type: ignore[arg-type]


def _group(**changes: object) -> GroupNow:
    kernels = tuple(
        KernelNeeds(kernel=f"6.1.0-{number}-amd64", arch="x86_64", downloads={"gcc": 100, f"headers-{number}": 10})
        for number in (1, 2, 3)
    )
    now = GroupNow(
        name="laptop", source="debian", drivers=2, taken=kernels, boots=False, workers=2,
        recorded={f"gpu-1.4.0/{kernel.kernel}": ("debian", "x86_64") for kernel in kernels},
    )  # fmt: skip
    return replace(now, **changes)  # type: ignore[arg-type]


def _quote(addition: Addition, now: GroupNow, record: Record) -> Quote:
    (found,) = [item for item in quote_group(now, record) if item.addition is addition]
    return found


_RECORD = Record([_build(1), _build(2)], [], [make_publish("gpu-1.4.0/6.1.0-1-amd64", "6.1.0-1-amd64", finished=MADE)])


def test_a_driver_takes_for_each_kernel_what_cells_took() -> None:
    found = _quote(Addition.DRIVER, _group(), _RECORD)
    assert (found.kernels, found.cells, found.workers) == (3, 3, 2)
    assert found.wall == Amount(usual=14.0, most=14.0), "two at once: one of them makes a second cell of 7 s"
    assert found.cpu is not None
    assert (found.cpu.usual, found.cpu.most) == pytest.approx((15.3, 15.3))
    assert found.fetched == Amount(usual=0.0, most=0.0)
    assert found.stored == Amount(usual=3 * 11_248, most=3 * 11_248)
    assert found.sent == Amount(usual=3 * 1_204_224, most=3 * 1_204_224)
    assert found.unknown == ()
    assert "gpu (2 cells)" in found.basis[-1]


def test_where_a_group_boots_its_cells_only_booted_ones_tell() -> None:
    now = _group(boots=True)
    assert _quote(Addition.DRIVER, now, _RECORD).wall is None
    assert "built and booted" in _quote(Addition.DRIVER, now, _RECORD).unknown[0]
    record = Record([_build(1), _build(2)], [make_boot("gpu-1.4.0/6.1.0-1-amd64")], [])
    found = _quote(Addition.DRIVER, now, record)
    assert found.wall == Amount(usual=2 * 16.4, most=2 * 16.4)
    assert found.cpu is not None
    assert found.cpu.usual == pytest.approx(3 * 25.1)
    failed = Record([_build(1)], [make_boot("gpu-1.4.0/6.1.0-1-amd64", passed=False)], [])
    assert _quote(Addition.DRIVER, now, failed).wall is None, "one that failed took no time worth multiplying"


def test_the_range_is_from_the_average_to_what_95_of_100_were_within() -> None:
    slow = replace(_build(3), timings={**_TIMES, "compile": 60.0})
    found = _quote(Addition.DRIVER, _group(workers=1), Record([_build(1), _build(2), slow], [], []))
    assert found.wall == Amount(usual=75.0, most=183.0)


def test_an_architecture_is_counted_by_the_lock_and_timed_by_cells_of_its_own() -> None:
    others = tuple(
        KernelNeeds(kernel=f"6.1.0-{number}-arm64", arch="aarch64", downloads={"gcc": 100, f"arm-{number}": 50})
        for number in (1, 2)
    )
    now = _group(others=others)
    found = _quote(Addition.ARCHITECTURE, now, _RECORD)
    assert (found.about, found.kernels, found.cells) == ("aarch64", 2, 4)
    assert found.fetched == Amount(usual=100.0, most=100.0), "the compiler is there already"
    assert (found.wall, found.cpu, found.stored, found.sent) == (None, None, None, None)
    assert found.unknown == ("no cell for aarch64 was built here",)
    arm = _build(9)
    recorded = {**now.recorded, arm.cell: ("debian", "aarch64")}
    found = _quote(Addition.ARCHITECTURE, replace(now, recorded=recorded), Record([_build(1), arm], [], []))
    assert found.wall == Amount(usual=14.0, most=14.0)
    assert "no toolkit was made here: the time has none in it" in found.unknown


def test_toolkits_that_have_to_be_made_take_their_time() -> None:
    made = replace(_build(1), timings={**_TIMES, "toolkit": 9.0}, cpu={**_CPU, "toolkit": 4.0})
    now = _group(minors={"4.16": 2, "4.18": 4, "4.20": 3}, workers=1, drivers=1)
    found = _quote(Addition.CHANNEL, now, Record([made], [], []))
    assert (found.kernels, found.cells) == (3, 3), "the middle one of three minor versions"
    assert found.wall == Amount(usual=48.0, most=48.0)
    assert found.cpu is not None
    assert found.cpu.usual == pytest.approx(3 * 9.1)
    assert found.fetched == Amount(usual=130.0, most=330.0)
    assert "the most are 4, of 4.18" in found.basis[0]


def test_what_cannot_be_known_is_said() -> None:
    nothing = Record([], [], [])
    driver, channel, arch = quote_group(_group(), nothing)
    assert driver.unknown[0] == "no build is on record: nox -s build"
    assert (driver.wall, driver.cells) == (None, 3)
    assert "has no channels" in channel.unknown[0]
    assert "for another than x86_64" in arch.unknown[0]
    assert (channel.cells, arch.cells) == (None, None)
    other = _group(source="openshift", minors={"4.16": 2}, taken=(KernelNeeds(kernel="k", arch="x86_64"),))
    found = _quote(Addition.CHANNEL, other, _RECORD)
    assert found.wall is not None
    assert "no cell of openshift was built here: times are those of debian" in found.unknown
    assert "the lock does not say how large toolkits of openshift are" in found.unknown
    old = Record([replace(_build(1), cpu={})], [], [])
    found = _quote(Addition.DRIVER, _group(), old)
    assert found.cpu is None
    assert "before processor time was recorded" in found.unknown[0]
    assert found.unknown[-1] == "nothing was published from here: bytes to registries are not known"


def test_what_was_found_again_or_assembled_of_an_earlier_compile_tells_no_time() -> None:
    assembled = replace(_build(1), timings={"assemble": 0.5})
    assert Record([assembled, replace(_build(2), derived=True)], [], []).builds == []
