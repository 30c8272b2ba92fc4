"""The files of a project, what is believed of one that is not trusted, and what a plan makes of its sources."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest
from fakes.hostile import adding, make_hostile, replacing

from builder.errors import ConfigError, FormatError, LockFileError, SignerError, UsageError
from builder.image.contents import LayerCache, read_oci_layout
from builder.kernel import Arch
from builder.plan.project import open_project
from builder.registry.access import open_registries
from builder.signing.access import open_key
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock, write_lock

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.site import Site


_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"


def test_groups_of_releases(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.release("4.17.2", _K2)
    site.run("discover", "--source", "ocp")
    _, plan = site.json("plan", "--group", "ocp-1")
    assert [(cell["kernel"], cell["action"]) for cell in plan["cells"]] == [(_K1, "build")]
    _, plan = site.json("plan", "--group", "ocp")
    assert len(plan["cells"]) == 4
    site.edit(groups={"few": {"source": "debian", "releases": ["4.17.*"]}}, default_group="few")
    code, _, err = site.run("plan")
    assert (code, "source 'debian' has no releases" in err) == (3, True)


def test_a_plan_says_why_a_kernel_has_no_toolkit(site: Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    site.release("4.17.2", "5.14.0-427.52.1.el9_4.x86_64", toolkit=False)
    site.run("discover", "--source", "ocp")
    code, plan = site.json("plan", "--group", "ocp", "--variant", "standard")
    cells = {cell["kernel"]: (cell["action"], cell["reason"], cell["explanation"]) for cell in plan["cells"]}
    assert code == 0
    assert cells[_K2][:2] == ("refuse", "no-toolkit")
    assert f"release 4.17.1 runs it, but brings a toolkit for {_K1}" in cells[_K2][2]
    assert "release 4.17.2 brings none for rhel-coreos" in cells["5.14.0-427.52.1.el9_4.x86_64"][2]


def test_a_refusal_for_the_machine_or_the_base_image_is_no_missing_toolkit(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who knows that a kernel has no toolkit (known_problems) has not looked at these."""
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(
        known_problems=[
            {"code": "no-toolkit", "about": kernel, "reason": "r", "owner": "o", "expires": date(2099, 1, 31)}
            for kernel in ("5.14*", "6.1*")
        ]
    )

    def refused(group: str) -> set[tuple[str, str]]:
        return {(cell["action"], cell["reason"]) for cell in site.json("plan", "--group", group)[1]["cells"]}

    assert refused("ocp") == {("build", "never-built")}
    project = open_project(site.folder)
    with monkeypatch.context() as patch:
        arm = replace(project, build_arch=Arch.AARCH64)
        patch.setattr("builder.plan.project.open_project", lambda *_: arm)
        assert refused("ocp") == refused("few") == {("refuse", "other-machine")}
    lock = read_lock(project.lock_file)
    write_lock(Lock(sources={"ocp": lock.sources["ocp"]}), project.lock_file)
    assert refused("ocp") == {("refuse", "no-base-image")}


def test_a_file_that_is_not_trusted_raises_no_limit(project_dir: Path) -> None:
    file = project_dir / "versions.yaml"
    file.write_text(f"{file.read_text()}build: {{compile_memory: 999999, compile_processes: 100}}\n")
    project = open_project(project_dir)
    wished = project.config.build.limits()
    assert (wished.memory_bytes, wished.processes) == (999999 * 2**20, 100)
    assert replace(project, untrusted=True).jail._limits.memory_bytes == 4096 * 2**20
    assert replace(project, untrusted=True).jail._limits.processes == 100


_PUBLISH = "publish: {signer: {public_key: %s, key_file: /keys/image.key}}\n"


def test_an_untrusted_file_opens_no_key_and_uses_no_secret(project_dir: Path, outside: Path) -> None:
    make_hostile(project_dir, outside)
    adding(_PUBLISH % "vendor.pem")(project_dir)
    auth = outside / "auth.json"
    auth.write_text('{"auths": {"registry.example": {"username": "u", "password": "p"}}}')
    replacing("absent.json", "auth.json")(project_dir)
    project = open_project(project_dir).distrust()
    signer = project.config.publish.signer
    assert signer is not None
    for entry in (project.config.signers["vendor"], signer):
        with pytest.raises(SignerError, match="no key is opened"), open_key("vendor", entry):
            pass
    access = open_registries(project.config.registry, project_dir, outside)
    assert access.credentials.sources == "none"
    access.registry.close()


def test_an_untrusted_project_does_not_hold_its_own_work_folder(project_dir: Path, outside: Path) -> None:
    """A pull request can bring a .kmodsmith with links and with results that nobody compiled."""
    project = open_project(project_dir)
    assert not project.distrust().work_dir.is_relative_to(project_dir)
    assert open_project(project_dir, outside).distrust().work_dir == outside
    (project_dir / "link").symlink_to(".")
    for folder in ("out", "link/out"):
        with pytest.raises(UsageError, match="may hold anything"):
            open_project(project_dir, project_dir / folder).distrust()


@pytest.mark.parametrize("name", ["versions.yaml", "versions.lock.yaml"])
def test_untrusted_files_are_no_links_to_others(name: str, project_dir: Path, outside: Path) -> None:
    (project_dir / name).rename(outside / name)
    (project_dir / name).symlink_to(outside / name)
    assert open_project(project_dir).config.default_group == "few"
    with pytest.raises(UsageError, match="is a link out of the project"):
        open_project(project_dir).distrust()


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_files_that_never_end_are_not_read(target: str, project_dir: Path) -> None:
    os.mkfifo(project_dir / "pipe")
    for name in ("versions.lock.yaml", "versions.yaml"):
        (project_dir / name).unlink()
        (project_dir / name).symlink_to(target)
    project = open_project(project_dir)
    with pytest.raises(ConfigError, match="is no regular file"):
        _ = project.config
    with pytest.raises(LockFileError, match="is no regular file"):
        _ = project.lock
    (project_dir / "index.json").symlink_to(target)
    with pytest.raises(FormatError, match="is no regular file"):
        read_oci_layout(project_dir, "oci", LayerCache())


def test_the_work_folder_of_a_project_is_no_link(project_dir: Path, outside: Path) -> None:
    (project_dir / ".kmodsmith").symlink_to(outside)
    with pytest.raises(UsageError, match="is a link"):
        open_project(project_dir)
