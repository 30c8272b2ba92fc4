"""What a compile leaves behind is data: read once, bounded, nothing followed, written once."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builder.build.arrange import move_modules
from builder.errors import CellError, FailureClass, FormatError
from builder.host.places import file_digest
from builder.image.depmod import make_depmod_data
from builder.kernel import parse_kernel_version
from builder.store.compiled import CompiledResults
from builder.store.result import CompileResult, File, Folder, Link, make_result
from builder.store.result_folder import Bounds, copy_files, read_result, remove_folder, write_result

if TYPE_CHECKING:
    from collections.abc import Callable

_KERNEL = "6.1.0-10-amd64"
_ROOT = f"opt/lib/modules/{_KERNEL}"
_MODULE = f"{_ROOT}/extra/demo.ko"


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What an honest build leaves behind."""
    folder = tmp_path / "out"
    (folder / _ROOT / "extra").mkdir(parents=True)
    (folder / _MODULE).write_bytes(b"\x7fELF")
    (folder / _ROOT / "host").symlink_to(f"/lib/modules/{_KERNEL}")
    (folder / "firmware" / "sub").mkdir(parents=True)
    (folder / "firmware" / "sub" / "a.bin").write_bytes(b"a")
    (folder / "firmware" / "b.bin").symlink_to("sub/a.bin")
    (folder / "licenses").mkdir()
    (folder / "licenses" / "LICENSE").write_bytes(b"GPL")
    (folder / "licenses" / "COPYING").symlink_to("./LICENSE")
    return folder


def _code(function: Callable[[], object]) -> str:
    with pytest.raises(CellError) as caught:
        function()
    assert caught.value.failure.failure_class is FailureClass.COMPILE
    assert "\n" not in caught.value.message
    return caught.value.failure.code


def test_what_an_honest_build_leaves_is_kept_and_written_as_it_was(left: Path, tmp_path: Path) -> None:
    (left / "tool").write_bytes(b"#!/bin/sh\n")
    (left / "tool").chmod(0o770)
    (left / "licenses" / "LICENSE").chmod(0o600)
    result = read_result(left)
    assert result.modules() == [(_MODULE, b"\x7fELF")]
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
        (_link(f"{_ROOT}/modules.alias", "/etc/crontab"), "result-link"),
        (_link(f"{_ROOT}/modules.alias", "modules.dep"), "result-link"),
        (_link(f"{_ROOT}/host", "/lib/modules/other"), "result-link"),
        (_link(f"{_ROOT}/host", f"/lib/modules/{_KERNEL}/../../.."), "result-link"),
        (_link(f"{_ROOT}/extra/host", f"/lib/modules/{_KERNEL}"), "result-link"),
        (_link(_MODULE, "/lib/x.ko"), "module-not-a-file"),
        (lambda folder: (folder / _ROOT / "dir.ko").mkdir(), "module-not-a-file"),
        (_link("firmware/x", "/etc/shadow"), "result-link"),
        (_link("firmware/x", "../../etc/shadow"), "result-link"),
        (_link("firmware/x", "/licenses/LICENSE"), "result-link"),
        (_link(".containerignore", "/licenses/LICENSE"), "result-link"),
        (_link("firmware/x", "../../firmware/sub/a.bin"), "result-link"),
        (_link("firmware/x", "sub/../sub/a.bin"), "result-link"),
        (_link("firmware/x", "x"), "result-link"),
        (_link("firmware/x", "."), "result-link"),
        (_link("firmware/x", "absent"), "result-link"),
        (_link("licenses/x", f"../{_ROOT}/host/secret"), "result-link"),
        (_replace_folder(_ROOT, "/lib/modules"), "result-link"),
        (_replace_folder("opt", "licenses"), "result-link"),
        (_replace_folder("firmware", "/etc"), "result-link"),
        (lambda folder: os.mkfifo(folder / "firmware" / "pipe"), "result-special"),
        (lambda folder: os.mkfifo(folder / _ROOT / "pipe.ko"), "result-special"),
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
    assert _code(lambda: read_result(left, Bounds(entries=200))) == code
    remove_folder(left)
    assert not left.exists()


def test_the_folder_itself_may_be_a_link(left: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(left)
    assert _code(lambda: read_result(link)) == "result-unreadable"
    remove_folder(link)
    assert (left / _MODULE).exists()
    assert not link.is_symlink()


def test_two_names_of_one_file_inside_are_two_files(left: Path) -> None:
    os.link(left / _MODULE, left / _ROOT / "extra" / "other.ko")
    assert [path.rpartition("/")[2] for path, _ in read_result(left).modules()] == ["demo.ko", "other.ko"]


def test_holes_count_before_they_are_read(left: Path) -> None:
    with (left / "firmware" / "big").open("wb") as stream:
        stream.truncate(100)
    assert _code(lambda: read_result(left, Bounds(size=80))) == "result-too-large"


def test_a_file_that_grows_while_it_is_read_is_refused(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = os.read

    def grow(descriptor: int, size: int) -> bytes:
        with (left / _MODULE).open("ab") as stream:
            stream.write(b"more")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", grow)
    assert _code(lambda: read_result(left)) == "result-changed"


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
    assert _code(lambda: read_result(folder)) in {"result-special", "result-unreadable", "result-name"}
    remove_folder(folder)
    assert not folder.exists()


def test_copies_hold_files_only(left: Path, tmp_path: Path) -> None:
    assert _code(lambda: copy_files(left, tmp_path / "copy", Bounds())) == "result-link"
    for link in ("firmware/b.bin", "licenses/COPYING", f"{_ROOT}/host"):
        (left / link).unlink()
    copy_files(left, tmp_path / "other", Bounds())
    assert read_result(tmp_path / "other") == read_result(left)


@pytest.mark.parametrize(
    "path", ["/etc/x", "../x", "a/../../x", "a//b", "", "a/.", "a\0b", "x" * 2000, "a/" * 50 + "b"]
)
def test_paths_that_lead_out_are_refused(path: str) -> None:
    assert _code(lambda: make_result([(path, File(b""))])) == "result-name"


@pytest.mark.parametrize(
    "entries",
    [
        [("a", File(b"")), ("a", File(b""))],
        [("a", File(b"")), ("a/b", File(b""))],
        [("a", Link("b")), ("b", Folder()), ("a/c", File(b""))],
    ],
)
def test_two_things_at_one_path_are_refused(entries: list[tuple[str, File]]) -> None:
    assert _code(lambda: make_result(entries)) == "result-twice"


def test_modules_move_with_the_link_to_the_nodes_own(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.build.arrange.make_depmod_data", lambda *_: {"modules.dep": b"new"})
    moved = move_modules(read_result(left), parse_kernel_version(_KERNEL), parse_kernel_version("6.1.0-11-amd64"))
    root = "opt/lib/modules/6.1.0-11-amd64"
    assert moved.entries[f"{root}/host"] == Link("/lib/modules/6.1.0-11-amd64")
    assert moved.entries[f"{root}/modules.dep"] == File(b"new")
    assert _ROOT not in moved.entries


@pytest.mark.parametrize("path", ["/etc/demo.ko", "../demo.ko", "modules.alias/demo.ko"])
def test_depmod_gets_no_module_in_a_place_of_its_own(path: str) -> None:
    with pytest.raises(FormatError, match="no place for a module"):
        make_depmod_data({path: b""}, {}, _KERNEL)


# Kept results.


def _write_kept(folder: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> CompiledResults:
    folder.mkdir()
    with tarfile.open(folder / "x", "w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return _name_kept(folder)


def _name_kept(folder: Path) -> CompiledResults:
    (folder / "x").rename(folder / f"key-{file_digest(folder / 'x')}.tar")
    return CompiledResults(folder)


def _member(path: str, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(path)
    for name, value in fields.items():
        setattr(member, name, value)
    return member, b"\0" * member.size


def test_results_are_kept(left: Path, tmp_path: Path) -> None:
    result = read_result(left)
    kept = CompiledResults(tmp_path / "kept")
    assert kept.restore("key") is None
    kept.keep("key", CompileResult({}))
    kept.keep("key", result)
    assert kept.restore("key") == result
    assert kept.keys() == {"key"}


def test_results_that_older_versions_kept_are_read(left: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    with tarfile.open(folder / "x", "w") as archive:
        archive.add(left, arcname=".")
    assert _name_kept(folder).restore("key") == read_result(left)


@pytest.mark.parametrize(
    "members",
    [
        [_member("/etc/cron.d/x")],
        [_member("../../x")],
        [_member("./a/../../x")],
        [_member("a"), _member("a")],
        [_member("link", type=tarfile.SYMTYPE, linkname="/etc"), _member("link/x")],
        [_member("x", type=tarfile.SYMTYPE, linkname="/etc/shadow")],
        [_member("a"), _member("b", type=tarfile.LNKTYPE, linkname="a")],
        [_member("x", type=tarfile.CHRTYPE)],
        [_member("x", type=tarfile.FIFOTYPE)],
        [_member("x", type=tarfile.GNUTYPE_SPARSE)],
        [_member("x", type=b"Z")],
        [_member("a\nb")],
    ],
)
def test_kept_results_that_were_made_by_hand_are_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match="compiled again"):
        _write_kept(tmp_path / "kept", members).restore("key")


def test_headers_within_headers_within_headers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 11
    block = header.tobuf(tarfile.USTAR_FORMAT) + b"11 path=ab\n".ljust(512, b"\0")
    (folder / "x").write_bytes(block * 3000)
    with pytest.raises(FormatError, match="compiled again"):
        _name_kept(folder).restore("key")
