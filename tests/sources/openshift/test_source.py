"""A source of releases, and the one that helps it with what releases do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.project import make_source

from builder.errors import LockFileError
from builder.kernel import Arch
from builder.plan.project import open_project
from builder.sources.debian.source import DebianSource
from builder.sources.openshift.lock import LockedOpenShift
from builder.sources.openshift.source import OpenShiftSource

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.sources.provider import Workplace

_LOCKED = LockedOpenShift(provider="openshift", resolved="2026-11-23T00:00:00Z", releases={}, kernels={})
_ALONE = OpenShiftSource(name="ocp", locked=_LOCKED, build_arch=Arch.X86_64, runtime=None)


class _Helper(DebianSource):
    def read_busybox(self, arch: Arch, workplace: Workplace) -> bytes:
        return f"{arch} {workplace.root.name}".encode()


def _helper() -> DebianSource:
    """Return a source whose base image is made of one package."""
    locked = make_source("6.1.0-9-amd64")
    packages = {**locked.packages, "busybox_1_amd64": locked.packages["busybox"]}
    sets = {**locked.package_sets, "runtime-x86_64": ("busybox_1_amd64",)}
    update = {"packages": packages, "package_sets": sets}
    return _Helper(locked=locked.model_copy(update=update), build_arch=Arch.X86_64)


_HELPER = _helper()
_HELPED = OpenShiftSource(name="ocp", locked=_LOCKED, build_arch=Arch.X86_64, runtime=_HELPER)


@pytest.fixture
def workplace(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir / "cache"))
    found = open_project(project_dir).workplace
    found.work_dir.mkdir()
    return found


def test_base_images_and_busybox_are_those_of_its_helper(workplace: Workplace) -> None:
    assert _HELPED.base_id(Arch.X86_64) == _HELPER.base_id(Arch.X86_64)
    assert _HELPED.base_image(Arch.X86_64) == _HELPER.base_image(Arch.X86_64)
    assert [item.name for item in _HELPED.base_inputs(Arch.X86_64)] == ["busybox"]
    assert _HELPED.read_busybox(Arch.X86_64, workplace) == b"x86_64 project"


def test_without_a_helper_what_is_missing_is_told_with_the_way_out(workplace: Workplace) -> None:
    for ask in (_ALONE.base_id, _ALONE.base_image, _ALONE.base_inputs):
        with pytest.raises(LockFileError, match="source 'ocp' has no small base image: give the driver a 'base_image'"):
            ask(Arch.X86_64)
    with pytest.raises(LockFileError, match="source 'ocp' has no busybox for the guests of boot tests: name a source"):
        _ALONE.read_busybox(Arch.X86_64, workplace)


def test_its_toolkits_bring_those_of_its_helper_and_are_closed_with_them(
    workplace: Workplace, fake_tools: FakeTools
) -> None:
    base = _HELPER.base_image(Arch.X86_64)
    fake_tools.add("buildah", f'[ "$1" = images ] || exit 9; echo \'[{{"id":"1","names":["{base}"],"digest":"d"}}]\'')
    toolkits = _HELPED.open_toolkits(workplace)
    assert toolkits.ensure_runtime(Arch.X86_64) == base
    assert len(list(workplace.work_dir.glob("toolkits-*"))) == 2
    toolkits.close()
    assert not list(workplace.work_dir.iterdir())
    alone = _ALONE.open_toolkits(workplace)
    with pytest.raises(LockFileError, match="no small base image for x86_64"):
        alone.ensure_runtime(Arch.X86_64)
    alone.close()


def test_its_kernels_come_into_the_cache_that_projects_share(workplace: Workplace, fake_tools: FakeTools) -> None:
    fake_tools.add("buildah", 'echo "[]"')
    kernels = _HELPED.open_kernels(workplace)
    assert list(workplace.work_dir.glob("toolkits-*"))
    kernels.close()
    assert not list(workplace.work_dir.iterdir())
