"""Kinds of releases, by names as they are in graphs and payloads."""

from __future__ import annotations

import pytest
from fakes.openshift_rows import read_promotions

from builder.config.release_kinds import ReleaseKind, kind_of


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("4.18.12", "ga"),
        ("4.7.0+amd64", "ga"),
        ("4.18.0-ec.2", "candidate"),
        ("4.10.0-fc.0", "candidate"),
        ("4.18.0-rc.3", "candidate"),
        ("5.0.0-ec.2", "candidate"),
        ("4.19.0-0.nightly-2025-01-01-032525", "candidate"),
        ("4.19.0-0.ci-2025-01-01-032525", "candidate"),
        ("4.19.0-anything", "candidate"),
        ("4.12.15-hotfix.1", "hotfix"),
        ("4.12.15-hotfix-2024", "hotfix"),
        ("4.12.15-assembly.art6883.4", "hotfix"),
        ("4.12.0-rc.1.assembly.art1", "hotfix"),
        ("4.22.0-okd-scos.7", "ga"),
        ("4.22.0-okd-scos.ec.16", "candidate"),
        ("4.22.0-0.okd-scos-konflux-nightly-2026-01-01-032525", "candidate"),
        ("4.14.0-0.okd-scos-2024-01-30-032525", "ga"),
        ("4.14.0-0.okd-2024-01-06-084517", "ga"),
        ("", "ga"),
    ],
)
def test_the_kind_of_a_release_is_in_its_name(version: str, kind: str) -> None:
    assert kind_of(version) is ReleaseKind(kind)


def test_real_releases_are_general_or_candidates() -> None:
    kinds = {version: kind_of(version) for version in read_promotions()}
    assert {version for version, kind in kinds.items() if kind is ReleaseKind.CANDIDATE} == {
        version for version in kinds if "-" in version
    }
    assert ReleaseKind.HOTFIX not in kinds.values()
