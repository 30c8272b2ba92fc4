from __future__ import annotations

from pathlib import Path

import pytest
from fakes.locks import openshift_of

from builder.config.model.registry import RegistrySettings
from builder.emit.kmm.facts import find_releases, registry_tls
from builder.kernel import parse_kernel_version
from builder.plan.matrix import Selector, make_matrix
from builder.plan.project import open_project
from builder.publish.result import PublishedCell

_CELLS = [
    PublishedCell(
        kernel=parse_kernel_version("6.1.0-9-amd64"),
        repository="quay.test:5000/org/drv",
        digest="sha256:1",
        tags=("x",),
    )
]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {}),
        ({"plain_http": ("quay.test:5000",)}, {"insecure": True}),
        ({"unverified_tls": ("quay.test:5000",)}, {"insecureSkipTLSVerify": True}),
        ({"plain_http": ("quay.test",), "unverified_tls": ("other.test:5000",)}, {}),
    ],
)
def test_kmm_asks_a_registry_as_we_do(settings: dict[str, tuple[str, ...]], wanted: dict[str, bool]) -> None:
    assert registry_tls(RegistrySettings.model_validate(settings), [cell.repository for cell in _CELLS]) == wanted


def test_preflights_are_for_the_releases_that_run_a_kernel() -> None:
    """With the committed lock: real releases, and the toolkits that each of them brings."""
    project = open_project(Path(__file__).parents[3])
    matrix = make_matrix(project.config, project.lock, Selector(group="openshift-418"))
    newest = find_releases(project, matrix.cells, ())
    assert len({item.release for item in newest}) == len({item.release.rpartition("-")[0] for item in newest})
    every = find_releases(project, matrix.cells, ["4.18.*"])
    assert len(every) > len(newest)
    assert all(item.release.startswith("4.18.") for item in every)
    locked = openshift_of(project.lock)
    for item in every:
        version, _, arch = item.release.rpartition("-")
        assert version in locked.kernels[item.kernel].releases
        assert arch == item.kernel.arch
        assert not item.toolkit or "@sha256:" in item.toolkit
    assert any(item.toolkit for item in every)
