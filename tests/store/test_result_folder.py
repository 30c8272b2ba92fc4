"""What a compile leaves behind is data: read once, bounded, nothing followed, written once."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.results import KERNEL, MODULE, ROOT, refusal_of

from builder.errors import CellError
from builder.store.result import File
from builder.store.result_folder import Bounds, copy_files, read_result, remove_folder, write_result

if TYPE_CHECKING:
    from collections.abc import Callable


_LARGEST_READ = 1024**2


@pytest.fixture(autouse=True)
def _no_hole_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that forgot its bounds would fill the memory of the machine before its test failed."""
    read = os.read

    def read_little(descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_size > _LARGEST_READ:
            pytest.fail("a file that is larger than the bounds is read")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_little)


def test_what_an_honest_build_leaves_is_kept_and_written_as_it_was(left: Path, tmp_path: Path) -> None:
    (left / "tool").write_bytes(b"#!/bin/sh\n")
    (left / "tool").chmod(0o770)
    (left / "licenses" / "LICENSE").chmod(0o600)
    result = read_result(left)
    assert result.modules() == [(MODULE, b"\x7fELF")]
    target = tmp_path / "written"
    old = os.umask(0o077)
    try:
        write_result(result, target)
    finally:
        os.umask(old)
    assert read_result(target) == result
    modes = {
        path: stat.S_IMODE((target / path).stat().st_mode) for path in ("tool", "licenses/LICENSE", "firmware", ".")
    }
    assert modes == {"tool": 0o755, "licenses/LICENSE": 0o644, "firmware": 0o755, ".": 0o755}
    assert (target / "licenses" / "COPYING").readlink() == Path("LICENSE")


def _link(path: str, target: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        place = folder / path
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    return make


def _replace_folder(path: str, target: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / path).rename(folder.with_name("elsewhere"))
        (folder / path).symlink_to(target)

    return make


def _deep(folder: Path) -> None:
    for _ in range(40):
        folder /= "d"
        folder.mkdir()


def _sparse(folder: Path) -> None:
    with (folder / "firmware" / "big").open("wb") as stream:
        stream.truncate(2**40)


def _many(folder: Path) -> None:
    for number in range(300):
        (folder / "firmware" / str(number)).touch()


def _outside_name(folder: Path) -> None:
    (folder.parent / "secret").write_text("host")
    os.link(folder.parent / "secret", folder / "firmware" / "secret")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "s"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_link(f"{ROOT}/modules.alias", "/etc/crontab"), "result-link"),
        (_link(f"{ROOT}/modules.alias", "modules.dep"), "result-link"),
        (_link(f"{ROOT}/host", "/lib/modules/other"), "result-link"),
        (_link(f"{ROOT}/host", f"/lib/modules/{KERNEL}/../../.."), "result-link"),
        (_link(f"{ROOT}/extra/host", f"/lib/modules/{KERNEL}"), "result-link"),
        (_link(MODULE, "/lib/x.ko"), "module-not-a-file"),
        (lambda folder: (folder / ROOT / "dir.ko").mkdir(), "module-not-a-file"),
        (_link("firmware/x", "/etc/shadow"), "result-link"),
        (_link("firmware/x", "../../etc/shadow"), "result-link"),
        (_link("firmware/x", "/licenses/LICENSE"), "result-link"),
        (_link(".containerignore", "/licenses/LICENSE"), "result-link"),
        (_link("firmware/x", "../../firmware/sub/a.bin"), "result-link"),
        (_link("firmware/x", "sub/../sub/a.bin"), "result-link"),
        (_link("firmware/x", "x"), "result-link"),
        (_link("firmware/x", "."), "result-link"),
        (_link("firmware/x", "absent"), "result-link"),
        (_link("licenses/x", f"../{ROOT}/host/secret"), "result-link"),
        (_replace_folder(ROOT, "/lib/modules"), "result-link"),
        (_replace_folder("opt", "licenses"), "result-link"),
        (_replace_folder("firmware", "/etc"), "result-link"),
        (lambda folder: os.mkfifo(folder / "firmware" / "pipe"), "result-special"),
        (lambda folder: os.mkfifo(folder / ROOT / "pipe.ko"), "result-special"),
        (_socket, "result-special"),
        (lambda folder: (folder / "licenses" / "LICENSE").chmod(0o4755), "result-setuid"),
        (lambda folder: (folder / "licenses" / "LICENSE").chmod(0o2755), "result-setuid"),
        (_outside_name, "result-hard-link"),
        (_sparse, "result-too-large"),
        (_many, "result-too-large"),
        (_deep, "result-name"),
        (lambda folder: (folder / "a\nb").touch(), "result-name"),
        (lambda folder: (folder / "a\x1b[2J").touch(), "result-name"),
        (lambda folder: (folder / "\u202etxt").touch(), "result-name"),
        (lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/a\xff")).touch(), "result-name"),
        (lambda folder: (folder / ".wh.bin").touch(), "result-name"),
        (lambda folder: (folder / "firmware" / ".wh..wh..opq").touch(), "result-name"),
    ],
)  # fmt: skip
def test_what_no_build_may_leave_is_refused(change: Callable[[Path], object], code: str, left: Path) -> None:
    change(left)
    assert refusal_of(lambda: read_result(left, Bounds(entries=200))) == code
    remove_folder(left)
    assert not left.exists()


def test_the_folder_itself_may_be_a_link(left: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(left)
    assert refusal_of(lambda: read_result(link)) == "result-unreadable"
    remove_folder(link)
    assert (left / MODULE).exists()
    assert not link.is_symlink()


def test_two_names_of_one_file_inside_are_two_files(left: Path) -> None:
    os.link(left / MODULE, left / ROOT / "extra" / "other.ko")
    assert [path.rpartition("/")[2] for path, _ in read_result(left).modules()] == ["demo.ko", "other.ko"]


def test_holes_count_before_they_are_read(left: Path) -> None:
    """More than the blocks of all other files together, so that these alone are not too much."""
    with (left / "firmware" / "big").open("wb") as stream:
        stream.truncate(_LARGEST_READ + 1)
    assert refusal_of(lambda: read_result(left, Bounds(size=_LARGEST_READ))) == "result-too-large"


def test_a_file_that_grows_while_it_is_read_is_refused(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = os.read

    def grow(descriptor: int, size: int) -> bytes:
        with (left / MODULE).open("ab") as stream:
            stream.write(b"more")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", grow)
    assert refusal_of(lambda: read_result(left)) == "result-changed"


def test_a_file_that_another_process_exchanges_is_never_followed(left: Path, tmp_path: Path) -> None:
    """Whatever is caught while a link and a file take turns, it is the file, or a refusal; never what is behind."""
    (tmp_path / "secret").write_text("host secret")
    place, file, link = left / "firmware" / "turn", left / "firmware" / "f", left / "firmware" / "l"
    done = threading.Event()

    def take_turns() -> None:
        while not done.is_set():
            file.write_bytes(b"a file")
            file.replace(place)
            link.symlink_to(tmp_path / "secret")
            link.replace(place)

    turning = threading.Thread(target=take_turns)
    turning.start()
    try:
        for _ in range(60):
            try:
                found = read_result(left).entries.get("firmware/turn")
            except CellError:
                continue
            assert found in {None, File(b""), File(b"a file")}
    finally:
        done.set()
        turning.join()


def test_deep_and_closed_folders_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(50):
        os.mkdir("deep", dir_fd=descriptor)
        inner = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        os.mkfifo("pipe", dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    (folder / "closed").mkdir(mode=0)
    folder.chmod(0)
    assert refusal_of(lambda: read_result(folder)) in {"result-special", "result-unreadable", "result-name"}
    remove_folder(folder)
    assert not folder.exists()


def test_copies_hold_files_only(left: Path, tmp_path: Path) -> None:
    assert refusal_of(lambda: copy_files(left, tmp_path / "copy", Bounds())) == "result-link"
    for link in ("firmware/b.bin", "licenses/COPYING", f"{ROOT}/host"):
        (left / link).unlink()
    copy_files(left, tmp_path / "other", Bounds())
    assert read_result(tmp_path / "other") == read_result(left)
