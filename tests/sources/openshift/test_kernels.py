"""Bootable kernels of releases, with a buildah that has in every image what a test puts into ``made``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.locks import parsed
from fakes.openshift_world import World
from fakes.registry import pretend_registry
from fakes.samples import Sample

from builder.errors import CommandError, LockFileError, SourceUnreachableError
from builder.host.bounds import Limits
from builder.kernel import Arch, parse_kernel_version
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials
from builder.registry.pull import Puller
from builder.sources.lock import LockedNodeKernel
from builder.sources.openshift.kernels import ReleaseKernels
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease, LockedStream
from builder.sources.openshift.parts import OpenShiftParts
from builder.sources.release import ReleaseState
from builder.store import jail as jail_module
from builder.store.jail import Jail, Walls

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

_RAW = "5.14.0-427.50.1.el9_4.x86_64"
_KERNEL, _RT, _NEITHER = (parse_kernel_version(raw) for raw in (_RAW, f"{_RAW}+rt", f"{_RAW}+64k".replace("x86_64", "aarch64")))  # fmt: skip
_BUILDAH = """
case "$1" in
images) echo "[]" ;;
info) echo '{{"store":{{"GraphDriverName":"overlay","GraphRoot":"{folder}/graph","RunRoot":"{folder}/run"}}}}' ;;
pull) echo 0123abcd ;;
build) while [ "$1" != --volume ]; do shift; done; [ ! -f "{folder}/fails" ] || exit 1; cp -r "{folder}/made/." "${{2%%:*}}/" ;;
esac
"""


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kernels(tmp_path: Path, world: World, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> ReleaseKernels:
    monkeypatch.setattr(jail_module, "find_walls", lambda: Walls(has_room=False, users=(), groups=(), grouping=None))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    fake_tools.add("env", 'shift; while [ "${1#*=}" != "$1" ]; do shift; done; exec "$@"')
    fake_tools.add("buildah", _BUILDAH.format(folder=tmp_path))
    (tmp_path / "graph").mkdir()
    (tmp_path / "made").mkdir()
    for name in ("vmlinuz", "config"):
        (tmp_path / "made" / name).write_text(name)
    return _kernels(tmp_path, world)


def _kernels(folder: Path, world: World) -> ReleaseKernels:
    image, toolkit = world.os_image(_RAW), world.toolkit(_RAW, rt=_RT.raw)
    row: dict[str, Any] = {"releases": ("4.17.1",), "streams": ("rhel-coreos",)}
    stream = LockedStream(state=ReleaseState.NO_TOOLKIT, kernels=parsed({_NEITHER.raw: ("node:label",)}))
    locked = LockedOpenShift(
        provider="openshift", resolved="2026-11-23T00:00:00Z",
        releases={"4.17.1-aarch64": LockedRelease(streams={"rhel-coreos": stream})},
        kernels={
            _KERNEL: LockedNodeKernel(**row, toolkit=toolkit, toolkits=(toolkit,), image=image),
            _RT: LockedNodeKernel(**row, toolkit=toolkit, toolkits=(toolkit,)),
            _NEITHER: LockedNodeKernel(**row),
        },
    )  # fmt: skip
    parts = OpenShiftParts(name="ocp", locked=locked, build_arch=Arch.X86_64)
    access = RegistryAccess(pretend_registry(world, folder / "cache"), Credentials(), frozenset())
    jail = Jail(Limits(memory_bytes=2**30, processes=100, disk_bytes=2**31))
    return ReleaseKernels(parts, Puller(access, work_dir=folder), folder=folder / "boot", jail=jail)


def _calls(tools: FakeTools, verb: str) -> list[list[str]]:
    return [call for call in tools.calls("buildah") if call[0] == verb]


def test_a_kernel_comes_out_of_its_operating_system_once_and_that_does_not_stay(
    kernels: ReleaseKernels, fake_tools: FakeTools, tmp_path: Path, world: World
) -> None:
    assert kernels.missing_bytes(_KERNEL) > 0
    with ThreadPoolExecutor(4) as pool:
        (folder,) = set(pool.map(kernels.ensure, [_KERNEL] * 8))
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"vmlinuz": "vmlinuz", "config": "config"}
    assert folder == tmp_path / "boot" / kernels.identity_of(_KERNEL) / _RAW
    assert (len(_calls(fake_tools, "pull")), kernels.missing_bytes(_KERNEL)) == (1, 0)
    stage = f"localhost/kmodsmith/stage:os-{kernels.identity_of(_KERNEL)[:16]}"
    assert [call[-1] for call in _calls(fake_tools, "tag")] == [stage]
    assert [call[-1] for call in _calls(fake_tools, "rmi")].count(stage) == 1, "nobody drops what another reads"
    assert _kernels(tmp_path, world).ensure(_KERNEL) == folder, "the next run has it"
    assert len(_calls(fake_tools, "pull")) == 1


def test_a_kernel_that_no_operating_system_has_comes_out_of_its_toolkit_which_stays(
    kernels: ReleaseKernels, fake_tools: FakeTools
) -> None:
    assert kernels.ensure(_RT).name == _RT.raw
    (tagged,) = (call[-1] for call in _calls(fake_tools, "tag"))
    assert tagged.startswith("localhost/kmodsmith/toolkit:")
    assert tagged not in [call[-1] for call in _calls(fake_tools, "rmi")]


def test_a_kernel_with_neither_says_why(kernels: ReleaseKernels) -> None:
    assert (kernels.identity_of(_NEITHER), kernels.missing_bytes(_NEITHER)) == ("", 0)
    with pytest.raises(LockFileError, match="has no toolkit: release 4.17.1 brings none"):
        kernels.ensure(_NEITHER)


def test_its_own_modules_come_with_it(kernels: ReleaseKernels, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "crc7.ko").write_bytes(Sample(name="crc7", depends="crc-itu-t,built_in").write())
    (made / "crc-itu-t.ko").write_bytes(Sample(name="crc_itu_t").write())
    (made / "modules.order").write_text("kernel/lib/crc7.ko\n")
    assert [name for name, _ in kernels.in_tree(_KERNEL, ["crc7"])] == ["crc_itu_t", "crc7"]
    assert [name for name, _ in kernels.module_files(_KERNEL)] == ["crc-itu-t.ko", "crc7.ko", "modules.order"]


def test_an_image_without_the_kernel_leaves_nothing_and_is_asked_again(kernels: ReleaseKernels, tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    with pytest.raises(CommandError):
        kernels.ensure(_KERNEL)
    assert not [path for path in (tmp_path / "boot").rglob("*") if path.is_dir() and path.name == _RAW]
    (tmp_path / "fails").unlink()
    assert (kernels.ensure(_KERNEL) / "vmlinuz").is_file()


def test_a_registry_that_does_not_answer_is_told_and_its_image_may_be_large(
    kernels: ReleaseKernels, world: World
) -> None:
    world.failures[""] = httpx.Response(503, headers={"Retry-After": "0"})
    assert kernels.missing_bytes(_KERNEL) > 2**32
    with pytest.raises(SourceUnreachableError, match="HTTP 503"):
        kernels.ensure(_KERNEL)


def test_nothing_stays_of_secrets_when_it_is_closed(kernels: ReleaseKernels, tmp_path: Path) -> None:
    kernels.ensure(_KERNEL)
    assert list(tmp_path.glob("toolkits-*"))
    kernels.close()
    assert not list(tmp_path.glob("toolkits-*"))
