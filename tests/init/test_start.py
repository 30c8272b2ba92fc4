"""A project is begun or changed whole, or not at all, and nothing is lost."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml
from fakes.template import VERSIONS, all_files, make_template, write_driver

from builder.errors import BusyError, ConfigError, UsageError
from builder.host import places
from builder.host.locks import hold_project
from builder.init import start as start_module
from builder.init.known import Wish
from builder.init.result import Start, StartKind
from builder.init.start import StartOptions, start_project
from builder.plan.project import open_project

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.git import GitRepository

_WISH = Wish(vendor="My Company", name="card")


@pytest.fixture
def template(tmp_path: Path) -> GitRepository:
    return make_template(tmp_path / "fork")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_driver(tmp_path / "driver")


def _start(root: Path, source: Path, wish: Wish = _WISH, **options: bool) -> Start:
    return start_project(open_project(root), source, wish, StartOptions(**options))


def _drivers(root: Path) -> list[str]:
    return [driver["name"] for driver in yaml.safe_load((root / "versions.yaml").read_text())["drivers"]]


def test_the_samples_place_is_taken(template: GitRepository, source: Path) -> None:
    before = all_files(template.top)
    start = _start(template.top, source)
    assert start.kind is StartKind.SAMPLE_REPLACED
    after = all_files(template.top)
    assert {name for name in after if after[name] != before.get(name)} == {
        "versions.yaml", "docs/operator.md", "card/LICENSE", "card/Kbuild", "card/card.c",
    }  # fmt: skip
    assert before.keys() <= after.keys()
    assert set(start.files) == {"card/", "docs/operator.md", "versions.yaml"}
    assert open_project(template.top).config.drivers[0].name == "card"
    assert not list(template.top.glob(".init-*"))


def test_the_same_again_changes_nothing(template: GitRepository, source: Path) -> None:
    _start(template.top, source)
    before = all_files(template.top)
    again = _start(template.top, source)
    assert again.kind is StartKind.UNCHANGED
    assert not again.files
    assert all_files(template.top) == before


def test_a_first_project_begins_in_an_empty_folder(tmp_path: Path, source: Path) -> None:
    (tmp_path / "new").mkdir()
    start = _start(tmp_path / "new", source)
    assert start.kind is StartKind.NEW
    assert {"versions.yaml", "versions.lock.yaml", "driver-container/Containerfile", "card/"} == set(start.files)
    assert open_project(tmp_path / "new").config.default_group == "laptop"
    assert start.has_lock


def test_another_driver_is_added_and_forced_anew(template: GitRepository, source: Path) -> None:
    _start(template.top, source)
    template.commit()
    assert _start(template.top, source, replace(_WISH, name="other")).kind is StartKind.ADDED
    assert _drivers(template.top) == ["card", "other"]
    template.commit()
    (source / "VERSION").write_text("9.9")
    assert _start(template.top, source, force=True).kind is StartKind.REPLACED
    assert _drivers(template.top) == ["card", "other"]
    assert open_project(template.top).config.drivers[0].version == "9.9"
    assert (template.top / "card" / "VERSION").exists()


@pytest.mark.parametrize("name", ["versions.yaml", "docs/operator.md"])
def test_a_file_that_git_cannot_bring_back_is_not_changed(template: GitRepository, source: Path, name: str) -> None:
    file = template.top / name
    file.write_text(f"{file.read_text()}# mine\n")
    before = all_files(template.top)
    with pytest.raises(UsageError, match=f"git does not have them as they are: {name}"):
        _start(template.top, source)
    assert all_files(template.top) == before
    assert _start(template.top, source, force=True).kind is StartKind.SAMPLE_REPLACED
    assert file.read_text().endswith("# mine\n")


def test_without_git_nothing_can_be_brought_back(template: GitRepository, source: Path) -> None:
    (template.top / ".git" / "HEAD").unlink()
    with pytest.raises(UsageError, match="versions.yaml"):
        _start(template.top, source)


def test_a_dry_run_writes_nothing(template: GitRepository, source: Path) -> None:
    before = all_files(template.top)
    start = _start(template.top, source, dry_run=True)
    assert all_files(template.top) == before
    assert "- name: card" in start.entry
    assert not start.files


def test_a_source_in_the_project_stays_where_it_is(template: GitRepository) -> None:
    write_driver(template.top / "drivers" / "mine")
    start = _start(template.top, template.top / "drivers" / "mine")
    assert start.draft.source == "drivers/mine"
    assert "card/" not in start.files


def test_a_source_outside_may_stay_there(template: GitRepository, source: Path) -> None:
    start = _start(template.top, source, in_place=True)
    assert start.draft.source == "../driver"
    assert start.outside == source
    assert not (template.top / "card").exists()


def test_a_licence_is_written_only_into_the_project(template: GitRepository, tmp_path: Path) -> None:
    bare = write_driver(tmp_path / "bare", {"a.c": 'MODULE_LICENSE("GPL");', "Kbuild": "obj-m := a.o"})
    with pytest.raises(UsageError, match="is not written to"):
        _start(template.top, bare, in_place=True)
    _start(template.top, bare)
    assert (template.top / "card" / "LICENSE").read_text() == "GPL-2.0-only\n"
    assert not (bare / "LICENSE").exists()
    template.commit()
    inside = write_driver(template.top / "in", {"b.c": 'MODULE_LICENSE("GPL");', "Kbuild": "obj-m := b.o"})
    assert "in/LICENSE" in _start(template.top, inside, replace(_WISH, name="second")).files


def test_without_any_licence_nothing_is_begun(template: GitRepository, tmp_path: Path) -> None:
    bare = write_driver(tmp_path / "bare", {"a.c": 'MODULE_LICENSE("Proprietary");', "Kbuild": "obj-m := a.o"})
    before = all_files(template.top)
    with pytest.raises(UsageError, match="nothing in .* tells the driver's licence"):
        _start(template.top, bare)
    assert all_files(template.top) == before


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_what_lies_where_the_source_would_is_not_lost(template: GitRepository, source: Path, what: str) -> None:
    target = template.top / "card"
    if what == "folder":
        write_driver(target, {"other.c": "mine"})
    elif what == "file":
        target.write_text("mine")
    else:
        target.symlink_to(source)
    before = all_files(template.top)
    with pytest.raises(UsageError, match="is there, and is not the source"):
        _start(template.top, source)
    assert all_files(template.top) == before
    if what == "folder":
        _start(template.top, source, force=True)
        assert not (target / "other.c").exists()
    else:
        with pytest.raises(UsageError, match="is there"):
            _start(template.top, source, force=True)


@pytest.mark.parametrize("name", ["versions.yaml", "docs/operator.md"])
def test_what_fails_half_way_is_undone(
    template: GitRepository, source: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_driver(template.top / "card", {"old.c": "mine"})
    before = all_files(template.top)
    real = places.replace_file

    def replace_file(file: Path, content: bytes) -> None:
        if file == template.top / name and b"My Company" in content + b"My Company" * (name != "versions.yaml"):
            monkeypatch.setattr(start_module, "replace_file", real)
            raise OSError(28, "No space left on device", str(file))
        real(file, content)

    monkeypatch.setattr(start_module, "replace_file", replace_file)
    with pytest.raises(OSError, match="No space"):
        _start(template.top, source, force=True)
    assert all_files(template.top) == before


def test_what_was_killed_half_way_is_finished(
    template: GitRepository, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As kill -9 before versions.yaml: nothing is undone, and git does not have the documents as they are now."""
    monkeypatch.setattr(ExitStack, "__exit__", lambda *_: None)
    monkeypatch.setattr(start_module, "_check_result", _fail)
    with pytest.raises(KeyboardInterrupt):
        _start(template.top, source)
    monkeypatch.undo()
    assert _drivers(template.top) == ["ptemplate"]
    assert (template.top / "card").is_dir()
    assert _start(template.top, source).kind is StartKind.SAMPLE_REPLACED
    assert _drivers(template.top) == ["card"]


def _fail(*_arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_result_that_would_not_be_read_is_not_written(template: GitRepository, source: Path) -> None:
    (template.top / "driver-container" / "Containerfile").unlink()
    template.commit()
    before = all_files(template.top)
    with pytest.raises(ConfigError, match=r"versions.yaml:\d+:\d+: at drivers\[0\]") as caught:
        _start(template.top, source)
    assert "nothing was changed" in (caught.value.hint or "")
    assert all_files(template.top) == before


def test_two_runs_at_once(template: GitRepository, source: Path) -> None:
    with hold_project(template.top / ".kmodsmith"), pytest.raises(BusyError):
        _start(template.top, source)
    assert _drivers(template.top) == ["ptemplate"]


def test_links_are_not_written_through(template: GitRepository, source: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(VERSIONS)
    (template.top / "versions.yaml").unlink()
    (template.top / "versions.yaml").symlink_to(outside)
    with pytest.raises(UsageError):
        _start(template.top, source, force=True)
    assert outside.read_text() == VERSIONS
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("ptemplate")
    fork = make_template(tmp_path / "second")
    (fork.top / "docs" / "more").symlink_to(tmp_path / "docs")
    (fork.top / "docs" / "linked.md").symlink_to(tmp_path / "docs" / "a.md")
    _start(fork.top, source)
    assert (tmp_path / "docs" / "a.md").read_text() == "ptemplate"


def test_a_hostile_source_is_not_run_or_followed(template: GitRepository, tmp_path: Path) -> None:
    source = write_driver(tmp_path / "evil")
    (source / "dkms.conf").write_text(
        f'PACKAGE_NAME="$(touch {tmp_path}/run)"\nPACKAGE_VERSION=`touch {tmp_path}/run`\ntouch {tmp_path}/run\n'
        "BUILT_MODULE_NAME=card\nDEST_MODULE_LOCATION=/extra\n"
    )
    (source / "VERSION").write_text("1.0\nx: [}")
    (source / "away.c").symlink_to("/etc/passwd")
    (source / "up").symlink_to(tmp_path)
    start = _start(template.top, source)
    assert not (tmp_path / "run").exists()
    assert (template.top / "card" / "away.c").is_symlink()
    assert any("away.c is a link" in note for note in start.draft.notes)
    assert open_project(template.top).config.drivers[0].dkms == "dkms.conf"


def test_a_dkms_conf_that_cannot_be_used_gives_way(template: GitRepository, source: Path) -> None:
    (source / "dkms.conf").write_text("PACKAGE_NAME=card\nPACKAGE_VERSION=1\nPATCH[0]=a.patch\n")
    draft = _start(template.top, source).draft
    assert not draft.dkms
    assert any(question.key == "dkms" and "patches" in question.text for question in draft.questions)


@pytest.mark.parametrize("place", [".", ".."])
def test_a_source_around_the_project_is_refused(template: GitRepository, place: str) -> None:
    with pytest.raises(UsageError, match="lies in the source"):
        _start(template.top, template.top / place)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("drivers: []\n", "has no list of drivers"),
        ("drivers: [{name: a}]\n", "behind a '-'"),
        ("[]\n", "is no file with a mapping"),
        ("drivers: {\n", "mistake"),
    ],
)
def test_a_versions_yaml_that_is_none(template: GitRepository, source: Path, text: str, sentence: str) -> None:
    template.write("versions.yaml", text.encode())
    template.commit()
    with pytest.raises((UsageError, ConfigError), match=sentence):
        _start(template.top, source)
    assert (template.top / "versions.yaml").read_text() == text
    assert not (template.top / "card").exists()


def test_no_project_folder(tmp_path: Path, source: Path) -> None:
    start = _start(tmp_path / "none", source, dry_run=True)
    assert start.kind is StartKind.NEW
