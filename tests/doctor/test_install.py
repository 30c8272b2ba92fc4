"""What is missing is installed, where this user may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.ready import add_all_tools, trust_everybody

from builder.doctor.examine import examine
from builder.doctor.install import install_commands, install_missing
from builder.doctor.tools import TOOLS
from builder.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


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
    add_all_tools(fake_tools)
    trust_everybody(tmp_path)
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


def test_commands_are_complete() -> None:
    assert install_commands(TOOLS[:1], "fedora") == [("dnf", "install", "-y", "buildah")]
