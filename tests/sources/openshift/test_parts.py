"""Which toolkit and which boot image a kernel of a release has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.locks import by_text, openshift_of, parsed

from builder.errors import (
    FailureClass,
    LockFileError,
)
from builder.kernel import Arch, parse_kernel_version
from builder.plan.project import open_project
from builder.sources.lock_file import read_lock, write_lock
from builder.sources.openshift.lock import LockedStream
from builder.sources.openshift.source import OpenShiftSource
from builder.sources.release import ReleaseState
from builder.sources.table import open_source

if TYPE_CHECKING:
    from fakes.site import Site


_K1 = "5.14.0-427.50.1.el9_4.x86_64"


_ARM = "5.14.0-427.50.1.el9_4.aarch64"


def test_toolkits_of_another_architecture_are_refused_with_the_way_out(site: Site) -> None:
    tags = {"rhel-coreos": site.world.os_image(_ARM, arch="arm64"), "rhel-coreos-extensions": site.world.extensions("arm64"), "driver-toolkit": site.world.toolkit(_ARM, arch="arm64")}  # fmt: skip
    site.world.promote(site.world.release("4.17.1", tags, arch="arm64"), "4.17.1", "fast-4.17", arch="arm64")
    (site.folder / "fast-4.17_arm64.json").write_bytes(site.world.graph("fast-4.17", "arm64"))
    site.edit(sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17"], "arches": ["aarch64"], "graph": "{channel}_{arch}.json"}}, groups={"few": {"source": "ocp"}})  # fmt: skip
    site.run("discover")
    project = open_project(site.folder)
    source = open_source(project.config, project.lock, "ocp", Arch.X86_64)
    with pytest.raises(LockFileError, match="runs on aarch64 only, and this machine is x86_64"):
        source.toolkit_id(parse_kernel_version(_ARM))
    native = open_source(project.config, project.lock, "ocp", Arch.AARCH64)
    assert native.toolkit_image(parse_kernel_version(_ARM)) == native.toolkit_image(parse_kernel_version(f"{_ARM}+64k"))
    assert native.toolkit_id(parse_kernel_version(_ARM)) != native.toolkit_id(parse_kernel_version(f"{_ARM}+64k"))
    with pytest.raises(LockFileError, match="name a source of provider debian as its 'runtime'"):
        native.base_id(Arch.AARCH64)


def test_what_guests_boot(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    project = open_project(site.folder)
    source = project.kernel_source("ocp")
    assert isinstance(source, OpenShiftSource)
    assert source.runtime is not None, "the first source of provider debian helps out"
    stream = site.locked.releases["4.17.1-x86_64"].streams["rhel-coreos"]
    assert source.boot_pullspec(parse_kernel_version(_K1)) == stream.image
    assert source.boot_pullspec(parse_kernel_version(f"{_K1}+rt")) == stream.toolkit, "no OS image has it"


def test_a_toolkit_that_nobody_read_is_unknown_and_not_absent(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    lock = read_lock(site.folder / "versions.lock.yaml")
    ocp = openshift_of(lock, "ocp")
    release = ocp.releases["4.17.1-x86_64"]
    unread = LockedStream(state=ReleaseState.UNCONFIRMED, kernels=parsed({_K1: ("node:data set",)}))
    kernel = by_text(ocp.kernels)[_K1].model_copy(update={"toolkit": "", "toolkits": ()})
    ocp = ocp.model_copy(
        update={
            "releases": {"4.17.1-x86_64": release.model_copy(update={"streams": {"rhel-coreos": unread}})},
            "kernels": parsed({_K1: kernel}),
        }
    )
    write_lock(lock.model_copy(update={"sources": {**lock.sources, "ocp": ocp}}), site.folder / "versions.lock.yaml")
    code, report = site.json("build", "--group", "ocp")
    assert [(cell["status"], cell["reason"]) for cell in report["cells"]] == [("refused", "toolkit-unknown")]
    assert code == FailureClass.INFRASTRUCTURE.exit_code


def test_toolkits_of_one_minor_version_share_an_identity_and_ccache_comes_from_the_source_that_helps_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    project = open_project(site.folder)
    source = project.kernel_source("ocp")
    kernels = [parse_kernel_version(raw) for raw in (_K1, f"{_K1}+rt")]
    assert len({source.toolchain_id(kernel) for kernel in kernels}) == 1
    with pytest.raises(LockFileError):
        source.toolchain_id(parse_kernel_version("5.14.0-570.1.1.el9_6.x86_64"))
    monkeypatch.setattr("builder.sources.debian.source.DebianSource.ensure_ccache", lambda *_: site.folder)
    assert source.ensure_ccache(project.workplace) == site.folder
    assert isinstance(source, OpenShiftSource)
    assert replace(source, runtime=None).ensure_ccache(project.workplace) is None
