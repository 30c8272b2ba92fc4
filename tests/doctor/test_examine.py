from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from programs import BROUGHT, need, refuse_unlisted, started_by

from builder.doctor.condition import State
from builder.doctor.examine import examine
from builder.doctor.install import install_commands, install_missing
from builder.doctor.tools import TOOLS
from builder.errors import HostError
from builder.host import limits
from builder.verbs.root import VERBS

if TYPE_CHECKING:
    from fakes.tools import FakeTools


@pytest.fixture(autouse=True)
def _only_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools outside of PATH are not there, whatever this machine has."""
    import shutil

    monkeypatch.setattr("builder.doctor.examine.find_tool", shutil.which)
    monkeypatch.setattr("builder.store.jail.find_tool", shutil.which)
    monkeypatch.setattr("builder.store.jail.find_grouping", lambda: limits._Systemd(is_root=True))


def _add_all(tools: FakeTools, version: str = "1.33.7", store: str = "overlay /var/x") -> None:
    tools.add("buildah", f'case "$1" in --version) echo "buildah version {version}" ;; info) echo "{store}" ;; esac')
    for name in ("newuidmap", "depmod", "true"):
        tools.add(name)
    for name in ("setpriv", "bwrap"):
        tools.add(name, 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    tools.add("unshare", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')


def _trust(root: Path) -> None:
    (root / "etc/ssl/certs").mkdir(parents=True)
    (root / "etc/ssl/certs/ca-certificates.crt").touch()


def _statuses(folder: Path, user_id: int = 0) -> dict[str, State]:
    return {finding.name: finding.status for finding in examine(folder, user_id=user_id, root=folder)}


def test_a_ready_machine(fake_tools: FakeTools, tmp_path: Path) -> None:
    _add_all(fake_tools)
    _trust(tmp_path)
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
    _add_all(fake_tools, version, store)
    assert _statuses(tmp_path)[name] is status


def test_a_machine_that_cannot_lock_compiles_up(fake_tools: FakeTools, tmp_path: Path) -> None:
    _add_all(fake_tools)
    fake_tools.add("bwrap", "echo 'bwrap: Creating new namespace failed' >&2; exit 1")
    finding = {finding.name: finding for finding in examine(tmp_path, user_id=0, root=tmp_path)}["jail"]
    assert finding.status is State.BROKEN
    assert "Creating new namespace failed" in finding.message
    assert "docs/security.md" in finding.remedy


def test_a_jail_without_control_groups_is_a_warning(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _add_all(fake_tools)
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
    _add_all(fake_tools, store="vfs /x")
    monkeypatch.setattr("os.geteuid", lambda: user_id)
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    found = {finding.name: finding.remedy for finding in examine(tmp_path, root=tmp_path)}
    assert f"into {file};" in found["container store"]


@pytest.mark.parametrize(
    ("os_release", "manager"),
    [
        ("ID=debian\n", "apt-get"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "apt-get"),
        ("ID=fedora\n", "dnf"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf"),
    ],
)
def test_installs_with_the_distributions_own_tool(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, os_release: str, manager: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (tmp_path / "os-release").write_text(os_release)
    fake_tools.add(manager)
    said: list[str] = []
    assert install_missing(
        examine(tmp_path, user_id=0, root=tmp_path), say=said.append, os_release=tmp_path / "os-release"
    )
    assert fake_tools.calls(manager)[-1][-4:] == ["buildah", "ca-certificates", "kmod", "util-linux"]
    assert said[-1].startswith(f"+ {manager} install -y")


def test_nothing_missing_nothing_done(fake_tools: FakeTools, tmp_path: Path) -> None:
    _add_all(fake_tools)
    _trust(tmp_path)
    assert not install_missing(examine(tmp_path, user_id=0, root=tmp_path), say=print)


def test_who_may_not_install_is_told_the_command(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("builder.doctor.examine.find_tool", lambda _name: None)
    (tmp_path / "os-release").write_text("ID=debian\n")
    with pytest.raises(HostError) as caught:
        install_missing(examine(tmp_path, user_id=1000, root=tmp_path), say=print, os_release=tmp_path / "os-release")
    assert (
        caught.value.hint
        == "as root: apt-get update && apt-get install -y --no-install-recommends bubblewrap buildah ca-certificates kmod uidmap util-linux"
    )


def test_an_unknown_distribution_is_told_the_tools(fake_tools: FakeTools, tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("ID=plan9\n")
    with pytest.raises(HostError, match="plan9"):
        install_missing(examine(tmp_path, user_id=0), say=print, os_release=tmp_path / "os-release")


def test_tests_and_benchmarks_start_nothing_that_the_doctor_does_not_bring() -> None:
    started = {
        name: f"{file.name}:{line}"
        for folder in ("integration", "bench")
        for file in (Path(__file__).parents[1] / folder).rglob("*.py")
        for line, name in started_by(file)
    }
    assert started.keys() >= {"buildah", "openssl", "skopeo", "podman", "modinfo"}, "it sees what there is to see"
    assert {name: place for name, place in started.items() if name not in BROUGHT | VERBS.keys()} == {}


@pytest.mark.parametrize(
    ("program", "refused"),
    [("perl", True), ("/usr/bin/perl", True), ("openssl", False), ("no-such-program", False), (sys.executable, False)],
)
def test_a_program_that_nothing_brings_is_not_started(
    monkeypatch: pytest.MonkeyPatch, program: str, *, refused: bool
) -> None:
    monkeypatch.setattr(
        "shutil.which", lambda name: None if name == "no-such-program" else f"/usr/bin/{Path(name).name}"
    )
    with pytest.raises(AssertionError, match="perl") if refused else nullcontext():
        refuse_unlisted("subprocess.Popen", (program, [program], None, None))


@pytest.mark.parametrize(("environment", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_ci_skips_nothing(monkeypatch: pytest.MonkeyPatch, environment: str, outcome: type[BaseException]) -> None:
    monkeypatch.setenv("CI", environment)
    with pytest.raises(outcome, match="--install --tests"):
        need("no-such-program")


def test_commands_are_complete() -> None:
    assert install_commands(TOOLS[:1], "fedora") == [("dnf", "install", "-y", "buildah")]
