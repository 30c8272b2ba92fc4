from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, get_args

import pytest
from fakes.project import KERNELS, make_source

from builder.config.load import load_config
from builder.config.model.config import AnySource
from builder.errors import LockFileError
from builder.kernel import Arch, parse_kernel_version
from builder.plan.project import open_project
from builder.sources.debian.source import DebianSource
from builder.sources.lock import Lock
from builder.sources.openshift.lock import LockedOpenShift
from builder.sources.openshift.source import OpenShiftSource
from builder.sources.table import LOCKED, PROVIDERS, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

_DEBIAN = make_source(*KERNELS)
_OCP = LockedOpenShift(provider="openshift", resolved="2026-11-23T00:00:00Z", releases={}, kernels={})
_LOCK = Lock(sources={"debian": _DEBIAN, "ocp": _OCP, "gone": _DEBIAN})


def _words(models: tuple[type[BaseModel], ...]) -> list[str]:
    return sorted(word for model in models for word in get_args(model.model_fields["provider"].annotation))


def test_what_versions_yaml_may_name_is_what_the_table_has() -> None:
    assert _words(get_args(AnySource)) == sorted(PROVIDERS)


def test_every_provider_has_a_part_of_the_lock_of_its_own() -> None:
    assert _words(LOCKED) == sorted(PROVIDERS)
    assert all(word in _words((provider.locked,)) for word, provider in PROVIDERS.items())


def _open(project_dir: Path, name: str, lock: Lock = _LOCK) -> object:
    (project_dir / "versions.yaml").write_text(
        (project_dir / "versions.yaml")
        .read_text()
        .replace("groups:", "  ocp: {provider: openshift, channels: [fast-4.18]}\ngroups:")
    )
    config = load_config(project_dir / "versions.yaml", today=date(2026, 11, 23))
    return open_source(config, lock, name, Arch.X86_64)


def test_a_source_without_base_images_is_helped_by_one_that_has_them(project_dir: Path) -> None:
    found = _open(project_dir, "ocp")
    assert isinstance(found, OpenShiftSource)
    assert found.runtime == DebianSource(locked=_DEBIAN, build_arch=Arch.X86_64)
    assert found.base_id(Arch.X86_64) == found.runtime.base_id(Arch.X86_64)


def test_a_helper_that_the_lock_does_not_have(project_dir: Path) -> None:
    found = _open(project_dir, "ocp", Lock(sources={"ocp": _OCP}))
    assert isinstance(found, OpenShiftSource)
    with pytest.raises(LockFileError, match="has no small base image"):
        found.base_id(Arch.X86_64)
    with pytest.raises(LockFileError, match="has no busybox for the guests"):
        found.read_busybox(Arch.X86_64, open_project(project_dir).workplace)


def test_a_source_that_versions_yaml_no_longer_names(project_dir: Path) -> None:
    found = _open(project_dir, "gone")
    assert isinstance(found, DebianSource)
    assert found.toolkit_id(parse_kernel_version(KERNELS[0]))


def test_a_source_that_the_lock_does_not_have(project_dir: Path) -> None:
    with pytest.raises(LockFileError, match="no source 'other'"):
        _open(project_dir, "other")
