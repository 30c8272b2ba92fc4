"""A project as one archive: the same bytes for the same files, no secret, nothing from outside; and laid out again."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from builder.drivers.tree import read_tree
from builder.errors import FormatError, UsageError
from builder.plan.project import open_project
from builder.shards import snapshot as module
from builder.shards.snapshot import find_path_problem, lay_out, read_snapshot, write_snapshot

if TYPE_CHECKING:
    from pathlib import Path


def _write(project_dir: Path, file: Path, *outside: Path) -> bytes:
    project = replace(open_project(project_dir), outside=outside)
    write_snapshot(read_snapshot(project), file)
    return file.read_bytes()


def _names(content: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.getnames()


def test_only_what_the_project_names_is_in_it(project_dir: Path, tmp_path: Path) -> None:
    for name in (".kmodsmith/journal.jsonl", ".git/config", "keys/images.key", "notes.txt", "src/demo.o", "src/.git/x"):
        file = project_dir / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("private\n")
    assert _names(_write(project_dir, tmp_path / "a.tar")) == [
        "driver-container/Containerfile", "src/LICENSE", "src/demo.c", "versions.lock.yaml", "versions.yaml",
    ]  # fmt: skip


def test_equal_files_are_equal_bytes(project_dir: Path, tmp_path: Path) -> None:
    first = _write(project_dir, tmp_path / "a.tar")
    for file in project_dir.rglob("*"):
        os.utime(file, (1, 1))
        file.chmod(0o700 if file.is_dir() else 0o600)
    assert _write(project_dir, tmp_path / "b.tar") == first
    (project_dir / "src" / "demo.c").chmod(0o700)
    assert _write(project_dir, tmp_path / "c.tar") != first, "a program is another source"


def test_what_is_laid_out_has_the_same_sources(project_dir: Path, tmp_path: Path) -> None:
    (project_dir / "src" / "sub").mkdir()
    (project_dir / "src" / "sub" / "tool.sh").write_text("#!/bin/sh\n")
    (project_dir / "src" / "sub" / "tool.sh").chmod(0o755)
    (project_dir / "src" / "linked.c").symlink_to("sub/../demo.c")
    (project_dir / "src" / "gone.c").symlink_to("nowhere.c")
    _write(project_dir, tmp_path / "a.tar")
    root = lay_out(tmp_path / "a.tar", tmp_path / "laid" / "out")
    assert read_tree(root / "src").digest == read_tree(project_dir / "src").digest
    there, here = open_project(root), open_project(project_dir)
    assert there.lock == here.lock
    assert there.drivers["demo"].recipe_digest == here.drivers["demo"].recipe_digest
    assert len({(root / "src" / name).stat().st_mtime for name in ("demo.c", "LICENSE")}) == 1


def test_certificates_and_public_keys_go_and_private_ones_stay(project_dir: Path, tmp_path: Path) -> None:
    (project_dir / "vendor.pem").write_text("certificate")
    (project_dir / "images.pub").write_text("public")
    (project_dir / "images.key").write_text("private")
    with (project_dir / "versions.yaml").open("a") as file:
        file.write("signers: {vendor: {certificate: vendor.pem, key_file: vendor.key}}\n")
        file.write("publish: {signer: {public_key: images.pub, key_file: images.key}}\n")
    names = _names(_write(project_dir, tmp_path / "a.tar"))
    assert {"vendor.pem", "images.pub"} <= {*names}
    assert not {"images.key", "vendor.key"} & {*names}


def _private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/signing.pem", None),
        ("src/id_rsa", "anything"),
        ("driver-container/Containerfile", None),
        ("src/config.json", '{"auths": {"quay.io": {"auth": "dXNlcjpzZWNyZXQ="}}}'),
    ],
)
def test_secrets_are_refused(project_dir: Path, tmp_path: Path, name: str, text: str | None) -> None:
    (project_dir / name).write_text(text or _private_key())
    with pytest.raises(UsageError, match="holds a secret") as caught:
        _write(project_dir, tmp_path / "a.tar")
    assert name in caught.value.message


def test_a_source_outside_is_refused(project_dir: Path, outside: Path, tmp_path: Path) -> None:
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace("source: src", "source: ../outside"))
    with pytest.raises(UsageError, match="lies outside of the project"):
        _write(project_dir, tmp_path / "a.tar", outside)


def test_a_file_that_is_a_link_out_is_refused(project_dir: Path, outside: Path, tmp_path: Path) -> None:
    (project_dir / "driver-container" / "Containerfile").unlink()
    (project_dir / "driver-container" / "Containerfile").symlink_to(outside / "LICENSE")
    with pytest.raises(UsageError, match="lies outside of the project"):
        _write(project_dir, tmp_path / "a.tar", outside)


def test_a_source_with_the_work_folder_in_it_is_refused(project_dir: Path, tmp_path: Path) -> None:
    (project_dir / ".kmodsmith").mkdir()
    (project_dir / ".kmodsmith" / "journal.jsonl").write_text("")
    (project_dir / "LICENSE").write_text("GPL\n")
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace("source: src", "source: ."))
    with pytest.raises(UsageError, match=r"\.kmodsmith is no part"):
        _write(project_dir, tmp_path / "a.tar")


def test_a_named_file_behind_a_link_is_carried(project_dir: Path, tmp_path: Path) -> None:
    (project_dir / "shared").mkdir()
    (project_dir / "shared" / "Containerfile").write_text("FROM scratch\n")
    (project_dir / "src" / "Containerfile").symlink_to("../shared/Containerfile")
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor: V", "    containerfile: src/Containerfile\n    vendor: V"))
    _write(project_dir, tmp_path / "a.tar")
    root = lay_out(tmp_path / "a.tar", tmp_path / "out")
    assert (root / "src" / "Containerfile").read_text() == "FROM scratch\n"


def test_what_changes_while_it_is_read_is_told(project_dir: Path, tmp_path: Path) -> None:
    found = read_snapshot(open_project(project_dir))
    (project_dir / "src" / "demo.c").write_text("int other;\n")
    with pytest.raises(UsageError, match="changed while it was being read"):
        write_snapshot(found, tmp_path / "a.tar")


def test_a_project_that_is_too_large_is_refused(
    project_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1024)
    with pytest.raises(UsageError, match="a plan carries at most"):
        _write(project_dir, tmp_path / "a.tar")


def _archive(file: Path, *members: tuple[str, bytes, str]) -> Path:
    """Write an archive of (name, type, link target)."""
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            content = b"x" if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


_FILE, _LINK = tarfile.REGTYPE, tarfile.SYMTYPE


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("../escaped", _FILE, "")], "leads out"),
        ([("a/../../escaped", _FILE, "")], "leads out"),
        ([("/escaped", _FILE, "")], "leads out"),
        ([("./a", _FILE, "")], "leads out"),
        ([("a//b", _FILE, "")], "leads out"),
        ([("a\nb", _FILE, "")], "characters"),
        ([("a/" * 600 + "b", _FILE, "")], "longer"),
        ([(".kmodsmith/journal.jsonl", _FILE, "")], "is no part"),
        ([("src/.git/config", _FILE, "")], "is no part"),
        ([("a", _LINK, "/etc")], "leads out of it, to '/etc'"),
        ([("a", _LINK, "../escaped")], "leads out of it"),
        ([("d/a", _LINK, "../../escaped")], "leads out of it"),
        ([("b", _LINK, "."), ("c", _LINK, "b/../escaped")], "leads out of it"),
        ([("a", _LINK, "d"), ("a/b", _FILE, ""), ("d/x", _FILE, "")], "twice"),
        ([("a", _LINK, "/tmp"), ("a/b", _LINK, "x")], "below 'a', which is a link"),
        ([("a", _FILE, ""), ("a", _FILE, "")], "twice"),
        ([("a", _FILE, ""), ("a/b", _FILE, "")], "twice"),
        ([("a", _FILE, ""), ("a", _LINK, "b")], "twice"),
        ([("a", tarfile.LNKTYPE, "b")], "neither a file nor a link"),
        ([("a", tarfile.FIFOTYPE, "")], "neither a file nor a link"),
        ([("a", tarfile.CHRTYPE, "")], "neither a file nor a link"),
        ([("a", tarfile.DIRTYPE, "")], "neither a file nor a link"),
    ],
)
def test_hostile_archives_leave_nothing(tmp_path: Path, members: list[tuple[str, bytes, str]], words: str) -> None:
    (tmp_path / "in").mkdir()
    before = {*tmp_path.rglob("*")}
    file = _archive(tmp_path / "in" / "hostile.tar", *members)
    with pytest.raises(FormatError) as caught:
        lay_out(file, tmp_path / "in" / "out")
    assert words in caught.value.message
    assert {*tmp_path.rglob("*")} == {*before, file}


def test_an_archive_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    file = _archive(tmp_path / "a.tar", ("a", _FILE, ""))
    file.write_bytes(file.read_bytes()[:512])
    with pytest.raises(FormatError, match="cut off"):
        lay_out(file, tmp_path / "out")
    assert [*tmp_path.iterdir()] == [file]


def test_a_size_that_is_a_lie_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1024)
    file = _archive(tmp_path / "a.tar", ("a", _FILE, ""))
    content = bytearray(file.read_bytes())
    content[124:136] = b"77777777777\0"
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    file.write_bytes(content)
    with pytest.raises(FormatError, match="more than a project may have"):
        lay_out(file, tmp_path / "out")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 2)
    file = _archive(tmp_path / "a.tar", *((str(number), _FILE, "") for number in range(3)))
    with pytest.raises(FormatError, match="more than a project may have"):
        lay_out(file, tmp_path / "out")


def test_what_was_laid_out_is_used_again(tmp_path: Path) -> None:
    file = _archive(tmp_path / "a.tar", ("a", _FILE, ""))
    root = lay_out(file, tmp_path / "out")
    file.write_bytes(b"")
    assert lay_out(file, tmp_path / "out") == root


@pytest.mark.parametrize("path", ["versions.yaml", "src/a b.c", "src/ünlaut.c", "src/.config", "a/..b"])
def test_good_paths_are_taken(path: str) -> None:
    assert find_path_problem(path) == ""
