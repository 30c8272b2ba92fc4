"""Which commit files came from: checkouts of every kind, and repositories of somebody hostile."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.git import GitRepository

from builder.drivers import git
from builder.drivers.commit import Dirty, SourceCommit
from builder.drivers.git import read_commit
from builder.drivers.tree import read_files, read_tree
from builder.host.places import open_inside

if TYPE_CHECKING:
    from io import BufferedReader

    from fakes.tools import FakeTools

_DATA = Path(__file__).parent.parent / "data" / "git"


@pytest.fixture
def repository(tmp_path: Path, fake_tools: FakeTools) -> GitRepository:
    """A driver in a folder of a repository; a git that is run anyway is noticed."""
    fake_tools.add("git", "exit 1")
    repository = GitRepository(tmp_path / "checkout")
    repository.write("driver/a.c", b"int a;")
    repository.write("driver/sub/build.sh", b"make", 0o755)
    repository.write("README", b"not of the driver")
    (repository.top / "driver/link").symlink_to("a.c")
    return repository


def _read(folder: Path) -> SourceCommit | None:
    return read_commit("source", folder, read_tree(folder).files)


def _driver(repository: GitRepository) -> SourceCommit | None:
    return _read(repository.top / "driver")


def test_a_source_that_is_as_it_was_committed(repository: GitRepository) -> None:
    commit = repository.commit()
    (repository.git_dir / "config").write_text('[remote "origin"]\n\turl = https://u:secret@git.test/org/drv.git\n')
    assert _driver(repository) == SourceCommit(
        name="source", commit=commit, dirty=Dirty.NO, repository="git+https://git.test/org/drv.git", path="driver"
    )
    whole = _read(repository.top)
    assert whole is not None
    assert (whole.path, whole.dirty) == ("", Dirty.NO)


@pytest.mark.parametrize("change", ["content", "mode", "more", "less", "kind", "link"])
def test_whatever_differs_makes_it_dirty(repository: GitRepository, change: str) -> None:
    commit = repository.commit()
    driver = repository.top / "driver"
    if change == "content":
        repository.write("driver/a.c", b"int b;")
    elif change == "mode":
        (driver / "a.c").chmod(0o755)
    elif change == "more":
        repository.write("driver/ignored.h")
    elif change == "less":
        (driver / "sub/build.sh").unlink()
    else:
        (driver / "link").unlink()
        (driver / "link").symlink_to("b.c") if change == "link" else repository.write("driver/link", b"a.c")
    assert (found := _driver(repository)) is not None
    assert (found.commit, found.dirty) == (commit, Dirty.YES)


def test_what_no_build_sees_makes_nothing_dirty(repository: GitRepository) -> None:
    repository.write("driver/.gitignore")
    repository.commit()
    repository.write("README", b"changed")
    repository.write("driver/a.o", b"left behind")
    repository.write("driver/.gitignore", b"changed")
    assert (found := _driver(repository)) is not None
    assert found.dirty is Dirty.NO


@pytest.mark.parametrize("target", ["./a.c", "sub/", "sub//build.sh", "../driver/./a.c"])
def test_a_link_is_compared_as_it_was_written(repository: GitRepository, target: str) -> None:
    (repository.top / "driver/link").unlink()
    (repository.top / "driver/link").symlink_to(target)
    repository.commit()
    assert (found := _driver(repository)) is not None
    assert found.dirty is Dirty.NO


def test_a_file_that_changed_since_it_was_read_is_dirty(repository: GitRepository) -> None:
    repository.write("driver/a.c", b"int b;")
    files = read_tree(repository.top / "driver").files
    repository.write("driver/a.c", b"int a;")
    repository.commit()
    assert (found := read_commit("source", repository.top / "driver", files)) is not None
    assert found.dirty is Dirty.YES


def test_some_files_of_a_folder(repository: GitRepository) -> None:
    """The project is what a build reads of it; what else lies there may be as it wants."""
    repository.write("versions.yaml", b"drivers: []")
    repository.write("deep/er/Containerfile", b"FROM x")
    repository.commit()
    repository.write("README", b"changed")
    repository.write("more")
    names = ["versions.yaml", "deep/er/Containerfile", "versions.yaml", "absent"]

    def read(*more: str) -> str:
        found = read_commit("project", repository.top, read_files(repository.top, [*names, *more]), is_whole=False)
        return found.dirty if found else ""

    assert read() == "no"
    assert read("README") == read("more") == "yes"
    repository.write("deep/er/Containerfile", b"FROM y")
    assert read() == "yes"


def test_a_pack_that_git_wrote_is_read(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "checkout")
    for number in range(120):
        more = f"int g{number};\n" if number < 12 else ""
        repository.write(f"driver/many/file-{number:03}.c", f"int f{number};\n{more}".encode())
    repository.write("driver/Makefile", b"obj-m := a.o\n", 0o755)
    repository.write("driver/src/a.c", b"int a;\n")
    (repository.top / "driver/link").symlink_to("Makefile")
    for file in _DATA.glob("pack-*"):
        shutil.copy(file, repository.git_dir / "objects/pack")
    commit = "9e774b3e377981c614992d03d1aaa77c3b411d15"
    (repository.git_dir / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{commit} refs/heads/main\n^{'0' * 40}\n"
    )
    assert _driver(repository) == SourceCommit(name="source", commit=commit, dirty=Dirty.NO, path="driver")
    repository.write("driver/many/file-119.c", b"changed")
    assert (found := _driver(repository)) is not None
    assert found.dirty is Dirty.YES


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_detached_head_of_either_kind_of_hash(tmp_path: Path, algorithm: str) -> None:
    repository = GitRepository(tmp_path / "checkout", algorithm)
    repository.write("driver/a.c")
    commit = repository.commit()
    (repository.git_dir / "HEAD").write_text(commit)
    (repository.git_dir / "refs/heads/main").unlink()
    assert (found := _driver(repository)) is not None
    assert (found.commit, found.dirty) == (commit, Dirty.NO)


def test_a_pointer_of_git_lfs_stands_for_its_file(repository: GitRepository) -> None:
    firmware = b"firmware" * 100
    oid = hashlib.sha256(firmware).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(firmware)}\n"
    repository.write("driver/fw.bin", pointer.encode())
    repository.commit()
    repository.write("driver/fw.bin", firmware)
    assert (found := _driver(repository)) is not None
    assert found.dirty is Dirty.NO
    repository.write("driver/fw.bin", firmware[1:])
    assert (found := _driver(repository)) is not None
    assert found.dirty is Dirty.YES


def _worktree(repository: GitRepository, place: Path, *, back: Path | None = None) -> Path:
    """Check the repository out a second time, as 'git worktree add' does."""
    commit = repository.commit()
    own = repository.git_dir / "worktrees" / "other"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/main\n")
    (own / "commondir").write_text("../..\n")
    shutil.copytree(repository.top, place, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    (place / ".git").write_text(f"gitdir: {own}\n")
    (own / "gitdir").write_text(f"{back or place / '.git'}\n")
    assert (repository.git_dir / "refs/heads/main").read_text().strip() == commit
    return place


def test_a_worktree_is_a_checkout_too(repository: GitRepository, tmp_path: Path) -> None:
    place = _worktree(repository, tmp_path / "other")
    assert _read(place / "driver") == _driver(repository)


def test_a_submodule_is_a_checkout_and_part_of_one(repository: GitRepository, tmp_path: Path) -> None:
    inner = GitRepository(tmp_path / "checkout/driver/lib")
    inner.write("lib.c", b"int lib;")
    wanted = inner.commit()
    own = repository.git_dir / "modules/lib"
    own.parent.mkdir()
    inner.git_dir.rename(own)
    inner.git_dir.write_text("gitdir: ../../.git/modules/lib\n")
    (own / "config").write_text("[core]\n\tworktree = ../../../driver/lib\n")
    outer = repository.commit({"driver/lib": wanted})
    assert (found := _read(inner.top)) is not None
    assert (found.commit, found.dirty) == (wanted, Dirty.NO)
    assert (found := _driver(repository)) is not None
    assert (found.commit, found.dirty) == (outer, Dirty.NO)
    inner.write("lib.c", b"int changed;")
    assert (found := _driver(repository)) is not None
    assert found.dirty is Dirty.YES
    shutil.rmtree(inner.top)
    inner.top.mkdir()
    assert (found := _driver(repository)) is not None
    assert found.dirty is Dirty.NO, "as after a clone without its submodules"


def test_files_of_a_submodule_without_a_repository_prove_nothing(repository: GitRepository) -> None:
    repository.write("driver/lib/lib.c")
    repository.commit({"driver/lib": "1" * 40})
    assert (found := _driver(repository)) is not None
    assert found.dirty is Dirty.YES


def test_no_setting_is_obeyed_and_no_program_run(
    repository: GitRepository, fake_tools: FakeTools, tmp_path: Path
) -> None:
    evil = tmp_path / "evil"
    (repository.git_dir / "config").write_text(
        f"[core]\n\tfsmonitor = touch {evil}\n\thooksPath = {tmp_path}\n\tsshCommand = touch {evil}\n\tworktree = /\n"
        f'[filter "x"]\n\tclean = touch {evil}\n[include]\n\tpath = /dev/zero\n[extensions]\n\tpartialClone = x\n'
        f'[remote "x"]\n\turl = ext::touch {evil}\n\tpromisor = true\n[alias]\n\tstatus = !touch {evil}\n'
    )
    (repository.git_dir / "hooks").mkdir()
    (repository.git_dir / "hooks/post-index-change").write_text(f"touch {evil}")
    repository.write("driver/.gitattributes", b"* filter=x\n")
    commit = repository.commit()
    assert _driver(repository) == SourceCommit(name="source", commit=commit, dirty=Dirty.NO, path="driver")
    assert (evil.exists(), fake_tools.calls("git")) == (False, [])


def test_a_source_cannot_name_a_repository_of_somebody_else(repository: GitRepository, tmp_path: Path) -> None:
    """Its commit, and where it lies, would be told to everybody."""
    repository.commit()
    source = tmp_path / "unpacked"
    source.mkdir()
    (source / "a.c").write_text("int a;")
    mark = source / ".git"
    own = _worktree(repository, tmp_path / "other", back=tmp_path / "other/.git") / ".git"
    for text in (
        f"gitdir: {repository.git_dir}",
        own.read_text(),
        "gitdir: ../checkout/.git",
        "gitdir: /",
        "",
        "x" * 9000,
    ):
        mark.write_text(text)
        assert _read(source) is None, text
    mark.unlink()
    for target in (repository.git_dir, repository.git_dir / "HEAD", tmp_path / "gone"):
        mark.symlink_to(target)
        assert _read(source) is None
        mark.unlink()
    os.mkfifo(mark)
    assert _read(source) is None


@pytest.mark.parametrize(
    ("mark", "own", "content"),
    [
        ("gitdir: a\0b", "config", ""),
        ("gitdir: m/worktrees/x", "gitdir", "a\0b"),
        ("gitdir: m", "config", "[core]\n\tworktree = a\0b\n"),
    ],
)
def test_what_is_no_path_names_no_repository(tmp_path: Path, mark: str, own: str, content: str) -> None:
    (tmp_path / "a.c").write_text("int a;")
    (tmp_path / ".git").write_text(mark)
    folder = tmp_path / ("m/worktrees/x" if own == "gitdir" else "m")
    folder.mkdir(parents=True)
    (folder / own).write_text(content)
    assert read_commit("source", tmp_path, []) is None


def test_settings_that_cannot_be_read_are_none(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those of somebody else, in a repository that is ours."""
    commit = repository.commit()
    real = open_inside

    def refuse(root: Path, name: str, *, most: int) -> BufferedReader:
        if name == "config":
            raise PermissionError(13, "Permission denied")
        return real(root, name, most=most)

    monkeypatch.setattr(git, "open_inside", refuse)
    assert _driver(repository) == SourceCommit(name="source", commit=commit, dirty=Dirty.NO, path="driver")


def test_parts_of_a_repository_that_lead_out_of_it_are_none(repository: GitRepository, tmp_path: Path) -> None:
    commit = repository.commit()
    victim = repository.git_dir.rename(tmp_path / "victim")
    repository.git_dir.mkdir()
    (repository.git_dir / "HEAD").symlink_to(victim / "HEAD")
    assert _driver(repository) is None
    (repository.git_dir / "HEAD").unlink()
    (repository.git_dir / "HEAD").write_text("ref: refs/heads/main")
    (repository.git_dir / "refs").symlink_to(victim / "refs")
    assert _driver(repository) is None
    (repository.git_dir / "HEAD").write_text(commit)
    (repository.git_dir / "config").symlink_to(victim / "config")
    (repository.git_dir / "objects").mkdir()
    assert _driver(repository) == SourceCommit(name="source", commit=commit, dirty=Dirty.UNKNOWN, path="driver")


@pytest.mark.parametrize(
    "head",
    [
        "", "ref: ", "ref: refs/heads/../../../secret", "ref: /etc/passwd", "ref: refs/heads/.invalid", "ref: refs/heads/gone",
        "ref: refs//heads", "z" * 40, "1" * 39, "ref: HEAD", "\0", "\x1b[31m" * 10,
    ],
)  # fmt: skip
def test_a_head_that_names_no_commit_is_none(repository: GitRepository, head: str) -> None:
    repository.commit()
    (repository.top / "secret").write_text("1" * 40)
    (repository.git_dir / "HEAD").write_text(head)
    assert _driver(repository) is None


def test_refs_that_name_each_other_end(repository: GitRepository) -> None:
    repository.commit()
    (repository.git_dir / "refs/heads/main").write_text("ref: refs/heads/main")
    assert _driver(repository) is None


def test_a_commit_that_the_repository_does_not_have_is_named_and_nothing_proved(repository: GitRepository) -> None:
    """Such as with alternates, or in a format that is not known."""
    commit = repository.commit()
    shutil.rmtree(repository.git_dir / "objects")
    assert _driver(repository) == SourceCommit(name="source", commit=commit, dirty=Dirty.UNKNOWN, path="driver")


def test_a_repository_around_that_does_not_hold_the_files_is_none(repository: GitRepository) -> None:
    """A home folder may be one."""
    repository.commit()
    repository.write("another/a.c")
    assert _read(repository.top / "another") is None


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("x")
    assert _read(tmp_path) is None


def test_a_repository_of_another_user_is_none(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write into a folder above could claim a commit for our files."""
    repository.commit()
    plain = os.geteuid()
    real = Path.lstat

    def foreign(path: Path) -> os.stat_result:
        status = real(path)
        return os.stat_result((*status[:4], plain + 4711, *status[5:])) if path.name == ".git" else status

    monkeypatch.setattr(Path, "lstat", foreign)
    assert _driver(repository) is None


def test_a_repository_has_bounds(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.write("driver/a/b/c/d/x")
    repository.commit()
    for bound, most in (("_DEEPEST_TREE", 3), ("_MOST_TREES", 4), ("_MOST_ENTRIES", 6)):
        with monkeypatch.context() as bounds:
            bounds.setattr(git, bound, most)
            assert (found := _driver(repository)) is not None
            assert found.dirty is Dirty.UNKNOWN, bound


def test_names_of_folders_need_not_be_text(repository: GitRepository) -> None:
    odd = repository.top / os.fsdecode(b"odd\xff")
    (repository.top / "driver").rename(odd)
    repository.write("a.c")
    commit = repository.put("commit", b"tree " + repository.put("tree", _tree_of_one(repository, odd)).encode() + b"\n")
    (repository.git_dir / "refs/heads/main").write_text(commit)
    assert _read(odd) == SourceCommit(name="source", commit=commit, dirty=Dirty.NO, path="odd\ufffd")


def _tree_of_one(repository: GitRepository, folder: Path) -> bytes:
    tree = repository.put("tree", repository.tree_of(folder))
    return b"40000 " + os.fsencode(folder.name) + b"\0" + bytes.fromhex(tree)
