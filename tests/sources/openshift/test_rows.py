"""Real releases and real promotion dates: the committed lock, and a year of discoveries day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from fakes.locks import by_text
from fakes.openshift_rows import make_lock, read_promotions, read_rows
from fakes.openshift_world import World
from fakes.registry import pretend_registry

from builder.config.load import load_config
from builder.config.model.openshift import OpenShiftKernels
from builder.kernel import parse_kernel_version
from builder.plan.matrix import Selector, make_matrix
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock
from builder.sources.openshift.changes import describe_releases
from builder.sources.openshift.discover import discover
from builder.sources.provider import DiscoverOptions
from builder.sources.release import ReleaseState

if TYPE_CHECKING:
    from builder.sources.openshift.lock import LockedOpenShift

_ROOT = Path(__file__).parents[3]
_MINORS = ("4.18", "4.19", "4.20", "4.21", "4.22")
_KINDS = ("candidate", "fast", "stable")
_FIRST, _LAST = date(2025, 8, 15), date(2026, 8, 14)


def test_every_row_is_in_the_lock_as_it_stands() -> None:
    lock = make_lock()
    rows = read_rows("releases.tsv")
    assert len(rows) == 573
    for row in rows:
        stream = lock.releases[f"{row['version']}-{row['arch']}"].streams[row["stream"]]
        assert (stream.build, stream.rhel) == (row["build"], row["rhel"])
        assert stream.toolkit.rpartition(":")[2] == row["toolkit"]
        assert set(by_text(stream.kernels)) == {row["kernel"], row["rt_kernel"]} - {""}
        assert all(words and all(word.startswith("node:") for word in words) for words in stream.kernels.values())
    assert {state for release in lock.releases.values() for state in release.states} == {
        ReleaseState.UNCONFIRMED, ReleaseState.KERNEL_UNKNOWN
    }, "nobody compared a toolkit with a node: no row may say that it is complete"  # fmt: skip


def test_the_committed_lock_plans_the_real_matrix_offline() -> None:
    lock = read_lock(_ROOT / "versions.lock.yaml")
    config = load_config(_ROOT / "versions.yaml", today=date(2026, 11, 23))
    matrix = make_matrix(config, lock, Selector(group="openshift"))
    kernels = {row["kernel"] for row in read_rows("releases.tsv") if row["kernel"] and row["arch"] == "x86_64"}
    assert len(kernels) > 150
    assert {cell.kernel.raw for cell in matrix.cells} >= kernels
    narrow = make_matrix(config, lock, Selector(group="openshift-418"))
    wanted = {
        row["kernel"] for row in read_rows("releases.tsv") if row["version"].startswith("4.18.") and row["kernel"]
    }
    assert {cell.kernel.raw for cell in narrow.cells if cell.kernel.variant == "standard"} == wanted


def _make_world() -> tuple[World, dict[str, str], dict[str, set[str]]]:
    """Return releases with what is known of them, their payloads, and the kernels that each runs."""
    world = World()
    payloads: dict[str, str] = {}
    kernels: dict[str, set[str]] = {}
    rows = [row for row in read_rows("releases.tsv") if row["arch"] == "x86_64"]
    for version in read_promotions():
        tags: dict[str, str] = {}
        kernels[version] = set()
        for row in (row for row in rows if row["version"] == version):
            kernel = row["kernel"]
            tags[row["stream"]] = world.os_image(kernel or "unknown", build=row["build"] or version)
            tags[f"{row['stream']}-extensions"] = world.extensions()
            if kernel and row["toolkit"]:
                tags["driver-toolkit"] = world.toolkit(kernel, rhel=row["rhel"], base=row["toolkit"].encode())
            kernels[version] |= {kernel} - {""}
        tags = tags or {"rhel-coreos": world.os_image("unknown"), "rhel-coreos-extensions": world.extensions()}
        payloads[version] = world.release(version, tags)
    return world, payloads, kernels


@pytest.mark.replay
def test_a_year_of_promotions_day_by_day(tmp_path: Path) -> None:
    """Each day gives exactly the kernels that came into a channel on that day for the first time, and nothing else."""
    world, payloads, kernels_of = _make_world()
    events = [
        (datetime.fromisoformat(since), channel, version)
        for version, channels in read_promotions().items()
        for channel, since in channels.items()
        if channel.endswith(_MINORS)
    ]
    settings = OpenShiftKernels.model_validate(
        {"provider": "openshift", "channels": tuple(f"{kind}-{minor}" for kind in _KINDS for minor in _MINORS)}
    )
    config = load_config(_ROOT / "versions.yaml", today=_FIRST)
    transport = httpx.MockTransport(world)
    registry = pretend_registry(world, tmp_path)
    client = httpx.Client(transport=transport)
    lock: LockedOpenShift | None = None
    cells: set[str] = set()
    seen: set[str] = set()
    days_with_cells = new_cells = 0
    day = _FIRST
    done = 0
    events.sort()
    while day <= _LAST:
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        today = [event for event in events[done:] if event[0] < midnight]
        done += len(today)
        for _, channel, version in today:
            world.promote(payloads[version], version, channel)
        before = lock
        found = discover(
            settings, lock, registry, root=tmp_path, now=midnight, options=DiscoverOptions(), client=client
        )
        lock = found.locked
        after = {
            cell.id
            for cell in make_matrix(config, Lock(sources={"openshift": lock}), Selector(group="openshift")).cells
        }
        expected = {kernel for _, _, version in today for kernel in kernels_of[version]} - seen
        seen |= expected
        added = {cell.partition("/")[2] for cell in after - cells}
        assert {kernel for kernel in added if parse_kernel_version(kernel).variant == "standard"} == expected, day
        assert cells <= after, f"{day}: nothing leaves"
        assert found.lost == {}
        if before is not None and not today:
            assert lock is before, f"{day}: nothing was promoted, nothing changes"
        if before is not None:
            changes = describe_releases(before, lock, found.lost, now=midnight)
            first = {version for _, _, version in today if f"{version}-x86_64" not in before.releases}
            assert {change.subject for change in changes if change.kind == "new release"} == {
                f"{version}-x86_64" for version in first
            }
            assert {change.subject for change in changes if change.kind == "new kernel"} == expected
            days_with_cells += bool(expected)
            new_cells += len(expected)
        cells = after
        day += timedelta(days=1)
    assert days_with_cells > 50
    assert new_cells > 60
    assert lock is not None


@pytest.mark.parametrize("name", ["releases.tsv", "promotions.tsv"])
def test_tables_are_sorted_and_hold_each_key_once(name: str) -> None:
    rows = [(row["version"], row.get("arch", ""), row.get("stream", "")) for row in read_rows(name)]
    assert len(set(rows)) == len(rows)
