"""A Debian source, with packages that are in the cache already: nothing is fetched."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from fakes.debs import make_deb, make_member
from fakes.project import make_source

from builder.errors import SourceError
from builder.kernel import Arch, parse_kernel_version
from builder.plan.project import open_project
from builder.sources.debian.lock import LockedPackage
from builder.sources.debian.source import DebianSource

if TYPE_CHECKING:
    import tarfile
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.sources.provider import Workplace

_RAW = "6.1.0-9-amd64"
_KERNEL = parse_kernel_version(_RAW)


@pytest.fixture
def workplace(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir / "cache"))
    found = open_project(project_dir).workplace
    found.packages_dir.mkdir(parents=True)
    found.work_dir.mkdir()
    return found


def _source(workplace: Workplace, *members: tuple[tarfile.TarInfo, bytes]) -> DebianSource:
    """Return a source whose one kernel boots, and whose busybox comes, out of a package of these members."""
    deb = make_deb(workplace.packages_dir / "x.deb", *members)
    content = deb.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    deb.rename(workplace.packages_dir / sha256)
    package = LockedPackage(url="http://deb.test/x.deb", size=len(content), installed=1, sha256=sha256)
    locked = make_source(_RAW)
    kernels = {_KERNEL: locked.kernels[_KERNEL].model_copy(update={"image": "busybox-static_1_amd64"})}
    packages = {**locked.packages, "busybox-static_1_amd64": package}
    sets = locked.package_sets | {"runtime-x86_64": ("gcc", "busybox-static_1_amd64")}
    update = {"kernels": kernels, "packages": packages, "package_sets": sets}
    return DebianSource(locked=locked.model_copy(update=update), build_arch=Arch.X86_64)


@pytest.mark.parametrize("path", ["./bin/busybox", "./usr/bin/busybox"])
def test_busybox_comes_out_of_its_package_wherever_that_has_it(workplace: Workplace, path: str) -> None:
    source = _source(workplace, (make_member(path), b"\x7fELF"))
    assert source.read_busybox(Arch.X86_64, workplace) == b"\x7fELF"


def test_a_package_without_busybox_is_told(workplace: Workplace) -> None:
    source = _source(workplace, (make_member("./usr/bin/other"), b"x"))
    with pytest.raises(SourceError, match="no package with busybox for x86_64"):
        source.read_busybox(Arch.X86_64, workplace)


def test_a_bootable_kernel_comes_into_the_cache_that_projects_share(workplace: Workplace) -> None:
    boot = [(make_member(f"./boot/{name}-{_RAW}"), name.encode()) for name in ("vmlinuz", "config")]
    source = _source(workplace, *boot)
    with closing(source.open_kernels(workplace)) as kernels:
        folder = kernels.ensure(_KERNEL)
        assert kernels.identity_of(_KERNEL) == source.boot_id(_KERNEL) == folder.name
    assert folder.parent == workplace.kernels_dir
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"vmlinuz": b"vmlinuz", "config": b"config"}


def test_toolkits_that_the_store_has_are_not_made_again(workplace: Workplace, fake_tools: FakeTools) -> None:
    source = _source(workplace)
    name, base = source.toolkit_image(_KERNEL), source.base_image(Arch.X86_64)
    fake_tools.add(
        "buildah", f'[ "$1" = images ] || exit 9; echo \'[{{"id":"1","names":["{name}","{base}"],"digest":"d"}}]\''
    )
    with closing(source.open_toolkits(workplace)) as toolkits:
        assert (toolkits.ensure(_KERNEL), toolkits.ensure_runtime(Arch.X86_64)) == (name, base)
        assert toolkits.estimate_bytes([_KERNEL]) == (0, 0)
