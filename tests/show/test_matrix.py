"""Kernels, releases, discoveries and readiness, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from fakes.outcomes import RESULTS, shown

from builder.build.runs import BuildReport
from builder.kernel import Arch, Variant
from builder.plan.discovery import Discovery
from builder.publish.nightly import Freshness, NightlyReport
from builder.publish.upgrade import Presence, Readiness
from builder.show.matrix import (
    emit_discovery,
    emit_discovery_json,
    emit_freshness,
    emit_kernel_table,
    emit_matrix_summary,
    emit_nightly_json,
    emit_readiness_json,
    emit_readiness_summary,
    emit_readiness_table,
    emit_release_table,
)
from builder.sources.change import Change
from builder.sources.listing import KernelRow, ReleaseRow
from builder.sources.release import ReleaseState

_NOW = datetime(2026, 11, 23, tzinfo=UTC)
_TOOLKIT = f"quay.test/dtk@sha256:{'d' * 64}"


def _kernel(*releases: str) -> KernelRow:
    return KernelRow(
        source="ocp", kernel="5.14", arch=Arch.X86_64, variant=Variant.RT, rhel="9.4", releases=releases, streams=(),
        states=(ReleaseState.COMPLETE, ReleaseState.NO_TOOLKIT), toolkit=_TOOLKIT, toolkits=(_TOOLKIT, "b", "c"),
        seen="2026-11-20T00:00:00Z",
    )  # fmt: skip


def _release(state: ReleaseState = ReleaseState.COMPLETE, stale: str = "") -> ReleaseRow:
    return ReleaseRow(
        source="ocp", release="4.17.1", arch=Arch.X86_64, stream="rhel-coreos", state=state, build="b", rhel="9.4",
        runs=("5.14",), kernels={}, toolkit=_TOOLKIT, channels={"fast-4.17": "2026-11-22T00:00:00Z"}, origin=(),
        stale=stale,
    )  # fmt: skip


def test_many_releases_and_toolkits_of_a_kernel_are_counted() -> None:
    text = shown(emit_kernel_table([_kernel("4.17.1", "4.17.2", "4.17.3", "4.17.4", "4.17.5")], now=_NOW))
    assert "4.17.1 ... 4.17.5 (5)" in text
    assert f"{'d' * 12} +2" in text
    assert "4.17.1, 4.17.2" in shown(emit_kernel_table([_kernel("4.17.1", "4.17.2")], now=_NOW))


def test_an_answer_that_is_old_says_so() -> None:
    assert "stale since 2026-01-02" in shown(emit_release_table([_release(stale="2026-01-02T03:04:05Z")], now=_NOW))
    assert "stale" not in shown(emit_release_table([_release()], now=_NOW))


def test_the_matrix_in_one_sentence() -> None:
    releases = [_release(), _release(ReleaseState.NO_TOOLKIT)]
    assert emit_matrix_summary([_kernel()], releases) == "1 kernel of 1 release (1 complete, 1 no-toolkit)"
    assert emit_matrix_summary([_kernel()], []) == "1 kernel"


def test_of_many_changes_the_first_are_told_and_the_others_counted() -> None:
    changes = [Change(kind="new kernel", subject=str(number)) for number in range(22)]
    found = Discovery(
        changes=[*changes, Change(kind="gone", subject="x")], cells=list("abcdef"), releases_read=2, bytes_read=9
    )
    lines = emit_discovery(found)
    assert lines[19:22] == ["new kernel 19", "... and 2 more of: new kernel (--json lists all)", "gone x"]
    assert lines[22:] == ["6 new cells to build: a, b, c, d and 2 more", "2 releases read with 9 bytes, 4 for each"]
    assert emit_discovery(Discovery()) == []
    assert emit_discovery(Discovery(cells=["a"])) == ["1 new cell to build: a"]
    refused = emit_discovery(Discovery(refused=dict.fromkeys("abcdef", "no toolkit")))
    assert refused[0] == "cannot be built: a: no toolkit"
    assert refused[4:] == ["... and 2 more new cells that cannot be built (--json lists all)"]
    assert len(json.loads(emit_discovery_json(found))["changes"]) == 23


def _readiness(presence: Presence, **more: Any) -> Readiness:
    return Readiness(
        release="4.17.1", arch=Arch.X86_64, stream="rhel-coreos", state=ReleaseState.COMPLETE, kernel="5.14",
        variant="rt", driver="demo", image="quay.test/a:1", presence=presence, **more,
    )  # fmt: skip


def test_a_release_is_ready_when_nothing_is_missing() -> None:
    ready = [_readiness(Presence.READY), _readiness(Presence.NOT_WANTED)]
    missing = [*ready, _readiness(Presence.UNKNOWN, why="no answer")]
    assert emit_readiness_summary("4.17.1", ready) == "4.17.1: ready; images of 2 cells: 1 not-wanted, 1 ready"
    assert emit_readiness_summary("4.17.1", missing).startswith("4.17.1: not ready; images of 3 cells")
    assert [json.loads(emit_readiness_json("v", rows))["ready"] for rows in (ready, missing)] == [True, False]
    assert "quay.test/a:1: no answer" in shown(emit_readiness_table(missing, wide=True))


def test_every_presence_can_be_shown() -> None:
    text = shown(emit_readiness_table([_readiness(presence) for presence in Presence], wide=False))
    assert [presence for presence in Presence if presence not in text] == []


def test_only_what_this_run_made_says_how_long_it_took() -> None:
    made, other = RESULTS[0], RESULTS[1]
    freshness = (
        Freshness(cell=made.decision.cell.id, kernel="k", seen="s", ready="r", hours=1.5),
        Freshness(cell="another", kernel="k", seen="s", ready="r", hours=1.0),
        Freshness(cell=other.decision.cell.id, kernel="k", seen="", ready="", hours=None),
    )
    build = BuildReport(results=[made, other], wall_s=2.0, run_id="run")
    report = NightlyReport(discovery=Discovery(), build=build, published=(), freshness=freshness)
    assert emit_freshness(report) == [f"{made.decision.cell.id}: 90 min 00 s from its channel to its image"]
    data = json.loads(emit_nightly_json(report))
    assert (data["run"], data["cells"]) == ("run", {"built": 1, "failed": 1})
