"""Whether a machine can build."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from fakes.ready import add_all_tools, trust_everybody

from builder.doctor.condition import State
from builder.doctor.examine import examine, examine_tools
from builder.doctor.tools import E2E_TOOLS, TOOLS
from builder.host.disk import GIB
from builder.kernel import Arch

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


def _statuses(folder: Path, user_id: int = 0) -> dict[str, State]:
    return {finding.name: finding.status for finding in examine(folder, user_id=user_id, root=folder)}


def test_a_ready_machine(fake_tools: FakeTools, tmp_path: Path) -> None:
    add_all_tools(fake_tools)
    trust_everybody(tmp_path)
    assert set(_statuses(tmp_path, user_id=1000).values()) == {State.OK}
    assert "newuidmap" not in _statuses(tmp_path, user_id=0)


@pytest.mark.parametrize(
    ("version", "store", "name", "status"),
    [
        ("1.27.9", "overlay /x", "buildah", State.BROKEN),
        ("", "overlay /x", "buildah", State.BROKEN),
        ("1.28.0", "vfs /x", "container store", State.WARN),
    ],
)
def test_what_is_not_in_order(
    fake_tools: FakeTools, tmp_path: Path, version: str, store: str, name: str, status: State
) -> None:
    add_all_tools(fake_tools, version, store)
    assert _statuses(tmp_path)[name] is status


def test_a_machine_that_cannot_lock_compiles_up(fake_tools: FakeTools, tmp_path: Path) -> None:
    add_all_tools(fake_tools)
    fake_tools.add("bwrap", "echo 'bwrap: Creating new namespace failed' >&2; exit 1")
    finding = {finding.name: finding for finding in examine(tmp_path, user_id=0, root=tmp_path)}["jail"]
    assert finding.status is State.BROKEN
    assert "Creating new namespace failed" in finding.message
    assert "docs/security.md" in finding.remedy


def test_a_jail_without_control_groups_is_a_warning(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_all_tools(fake_tools)
    monkeypatch.setattr("builder.store.jail.find_grouping", lambda: None)
    assert _statuses(tmp_path)["jail"] is State.WARN


def test_a_bare_machine(fake_tools: FakeTools, tmp_path: Path) -> None:
    statuses = _statuses(tmp_path, user_id=1000)
    assert [name for name, status in statuses.items() if status is State.MISSING] == [
        *(tool.name for tool in TOOLS),
        "certificates",
    ]


@pytest.mark.parametrize(
    ("user_id", "file"), [(0, "/etc/containers/storage.conf"), (7, "/home/u/.config/containers/storage.conf")]
)
def test_a_store_that_copies_is_told_the_file_to_change(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_id: int, file: str
) -> None:
    add_all_tools(fake_tools, store="vfs /x")
    monkeypatch.setattr("os.geteuid", lambda: user_id)
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    found = {finding.name: finding.remedy for finding in examine(tmp_path, root=tmp_path)}
    assert f"into {file};" in found["container store"]


def test_a_cluster_for_tests_needs_more_programs_and_more_room(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_all_tools(fake_tools)
    monkeypatch.setattr("shutil.disk_usage", lambda _place: SimpleNamespace(free=8 * GIB))
    found = {condition.name: condition for condition in examine(tmp_path, user_id=0, e2e=True, root=tmp_path)}
    names = {tool.name for tool in E2E_TOOLS}
    assert {found[name].status for name in names} == {State.MISSING}
    room = found["disk of the cache"]
    assert (room.status, room.remedy) == (State.WARN, "a first build of everything needs up to 15 GiB")
    assert not names & _statuses(tmp_path).keys()
    assert _statuses(tmp_path)["disk of the cache"] is State.OK


def test_the_doctor_looks_at_what_boot_tests_need(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.doctor.examine.find_tool", lambda name: None if name.startswith("qemu") else name)
    monkeypatch.setattr("builder.boot.machine.find_firmware.__defaults__", ((tmp_path,),))
    fake_tools.add("buildah", 'case "$*" in --version) echo buildah version 1.30.0 ;; *) echo overlay / ;; esac')
    found = {item.name: item for item in examine(tmp_path, user_id=0, boot=[Arch.AARCH64])}
    assert found["qemu-system-aarch64"].status is found["firmware for aarch64"].status is State.MISSING
    assert "qemu-efi-aarch64" in found["firmware for aarch64"].remedy
    assert "qemu-system-x86_64" not in found
    assert "software emulation" in found["acceleration"].message
    assert not any("qemu" in item.name for item in examine(tmp_path, user_id=0))


def test_what_is_installed_is_told_without_asking_what_the_machine_allows(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    """An image is asked this where it is made: neither its store nor its jail is there yet."""
    add_all_tools(fake_tools)
    fake_tools.add("bwrap", "exit 1")
    found = examine_tools(user_id=0, root=tmp_path)
    assert {item.name: item.status for item in found}["certificates"] is State.MISSING
    assert not {"jail", "container store", "memory"} & {item.name for item in found}
    assert not fake_tools.calls("buildah"), "no program of an image for another machine can be started"
    trust_everybody(tmp_path)
    assert {item.status for item in examine_tools(user_id=1000, root=tmp_path)} == {State.OK}
    with_guests = {item.name for item in examine_tools(user_id=0, boot=(Arch.X86_64,), root=tmp_path)}
    assert {"qemu-system-x86_64", "firmware for x86_64"} <= with_guests
