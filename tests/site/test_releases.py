"""What a release changes, and whether there are images for what it brings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fakes.site_facts import facts_of, make_cell, make_kernel, make_release

from builder.site.facts import CellState, SiteCell
from builder.site.releases import Outlook, ReleaseNews, tell_releases

if TYPE_CHECKING:
    from builder.sources.listing import ReleaseRow

_K1, _K2 = "5.14.0-427.50.1.el9_4.x86_64", "5.14.0-427.51.1.el9_4.x86_64"


def _tell(releases: list[ReleaseRow], cells: list[SiteCell]) -> list[ReleaseNews]:
    return tell_releases(facts_of(cells, kernels=[make_kernel(_K1), make_kernel(_K2)], releases=releases))


def test_new_kernels_are_those_that_the_release_before_does_not_run() -> None:
    first, second, third = _tell(
        [make_release("4.16.1", [_K1]), make_release("4.16.2", [_K1, _K2]), make_release("4.16.3", [_K1, _K2])],
        [make_cell(_K1), make_cell(_K2)],
    )
    assert (first.new, first.previous) == ((), ""), "with nothing before it nothing can be new"
    assert (second.new, second.previous) == ((_K2,), "4.16.1")
    assert third.new == ()


def test_a_release_of_unknown_kernels_is_nothing_to_compare_with() -> None:
    _, unknown, third = _tell(
        [make_release("4.16.1", [_K1]), make_release("4.16.2", []), make_release("4.16.3", [_K2])], [make_cell(_K1)]
    )
    assert unknown.verdict is Outlook.UNKNOWN
    assert (third.new, third.previous) == ((_K2,), "4.16.1")


def test_each_architecture_has_its_own_line() -> None:
    arm = _K1.replace("x86_64", "aarch64")
    _, other = _tell([make_release("4.16.1", [_K1]), make_release("4.16.2", [arm], arch="aarch64")], [])
    assert other.previous == ""


def test_verdicts() -> None:
    def verdict(*cells: SiteCell, **more: object) -> tuple[Outlook, int, int]:
        (news,) = _tell([replace(make_release("4.16.1", [_K1, _K2]), **more)], list(cells))  # type: ignore[arg-type]
        return news.verdict, news.ready, news.wanted

    good = (make_cell(_K1), make_cell(_K2))
    assert verdict(*good) == (Outlook.READY, 2, 2)
    assert verdict(good[0], make_cell(_K2, CellState.FAILED)) == (Outlook.MISSING, 1, 2)
    assert verdict(good[0], make_cell(_K2, CellState.KNOWN_BAD)) == (Outlook.MISSING, 1, 2), "nodes would be without it"
    assert verdict(good[0], make_cell(_K2, CellState.NOT_WANTED)) == (Outlook.READY, 1, 1)
    assert verdict(good[0]) == (Outlook.NOT_PLANNED, 1, 1)
    assert verdict(good[0], make_cell(_K2, source="okd")) == (Outlook.NOT_PLANNED, 1, 1)
    assert verdict(*good, runs=()) == (Outlook.UNKNOWN, 0, 0)
    assert verdict(*good, disputed=("quay.io/x@sha256:1",))[0] is Outlook.UNKNOWN


def test_a_release_with_one_unread_operating_system_is_unknown() -> None:
    whole = make_release("4.16.1", [_K1])
    (news,) = _tell([whole, replace(whole, stream="rhel-coreos-10", runs=())], [make_cell(_K1)])
    assert (news.verdict, len(news.rows), news.id, news.minor) == (Outlook.UNKNOWN, 2, "4.16.1-x86_64", "4.16")
