"""Locks between runs, free disk, and the container store's listing."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from builder.errors import BusyError, CommandError, HostError
from builder.host.disk import Demand, check_disk
from builder.host.locks import hold_project, own_store, share_store
from builder.store.images import list_images, remove_leftovers

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


def test_a_project_is_held_by_one(tmp_path: Path) -> None:
    with (
        hold_project(tmp_path / "work"),
        pytest.raises(BusyError, match="another run is at work"),
        hold_project(tmp_path / "work"),
    ):
        pass
    with hold_project(tmp_path / "work"):
        pass


def test_only_who_finds_the_store_unused_cleans_up(tmp_path: Path) -> None:
    cleaned: list[str] = []
    with (
        share_store(tmp_path, lambda: cleaned.append("first")),
        share_store(tmp_path, lambda: cleaned.append("second")),
    ):
        assert cleaned == ["first"]
    with share_store(tmp_path, lambda: cleaned.append("third")):
        assert cleaned == ["first", "third"]


def test_a_store_is_had_alone_only_while_nobody_uses_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)  # nothing has to be written into it
    with (
        share_store(tmp_path),
        pytest.raises(BusyError, match="another run uses the container store"),
        own_store(tmp_path),
    ):
        pass
    with own_store(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="nowhere cannot be locked: No such file"), share_store(tmp_path / "nowhere"):
        pass

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(HostError, match="cannot be locked: No locks available"), share_store(tmp_path):
        pass


def test_demands_on_one_disk_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    check_disk(
        [Demand(purpose="a", folder=tmp_path / "not" / "there", size=60), Demand(purpose="b", folder=tmp_path, size=40)]
    )
    with pytest.raises(HostError, match="a and b need about"):
        check_disk([Demand(purpose="a", folder=tmp_path, size=60), Demand(purpose="b", folder=tmp_path, size=41)])


def test_images_by_name(fake_tools: FakeTools) -> None:
    fake_tools.add(
        "buildah",
        """echo '[{"id":"sha256:1","digest":"sha256:2","names":["a:1","b:2"]},{"id":"3","digest":"sha256:4","names":null}]'""",
    )
    images = list_images()
    assert {name: (image.id, image.digest) for name, image in images.items()} == {
        "a:1": ("1", "sha256:2"),
        "b:2": ("1", "sha256:2"),
    }


def test_without_buildah_there_are_no_images(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.store.images.find_tool", lambda _name: None)
    assert list_images() == {}


@pytest.mark.parametrize("script", ["echo nonsense", 'echo \'[{"names":["a"]}]\'', "exit 1"])
def test_a_store_that_answers_wrongly_is_not_an_empty_store(fake_tools: FakeTools, script: str) -> None:
    fake_tools.add("buildah", script)
    with pytest.raises(CommandError):
        list_images()


def test_only_our_own_leftovers_are_removed(fake_tools: FakeTools) -> None:
    fake_tools.add(
        "buildah",
        """case "$1" in
containers) echo '[{"builder":true,"imagename":"localhost/kmodsmith/toolkit:x","containername":"ours"},{"builder":true,"imagename":"localhost/other:x","containername":"theirs"}]' ;;
images) echo '[{"id":"1","digest":"sha256:1","names":["localhost/kmodsmith/stage:k","localhost/kmodsmith/cell:k","localhost/theirs:1"]}]' ;;
esac""",
    )
    assert remove_leftovers() == ["ours", "localhost/kmodsmith/stage:k"]
    calls = fake_tools.calls("buildah")
    assert ["rm", "ours"] in calls
    assert ["rmi", "localhost/kmodsmith/stage:k"] in calls
