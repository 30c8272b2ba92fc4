"""Archives for guests, read as the kernel reads them."""

from __future__ import annotations

import pytest
from fakes.guests import read_initramfs

from builder.boot.initramfs import GuestFile, write_initramfs


def test_an_initramfs_holds_files_and_their_folders() -> None:
    archive = write_initramfs(
        [GuestFile(path="lib/firmware/a/b.bin", content=b"12345"), GuestFile(path="init", content=b"#!", mode=0o755)]
    )
    files = read_initramfs(archive)
    assert files["init"] == (0o100755, b"#!")
    assert files["lib/firmware/a/b.bin"] == (0o100644, b"12345")
    assert [name for name, (mode, _) in files.items() if mode == 0o040755] == ["lib", "lib/firmware", "lib/firmware/a"]
    assert list(files).index("lib") < list(files).index("lib/firmware/a/b.bin")


@pytest.mark.parametrize("size", range(5))
def test_names_and_contents_of_every_length_keep_the_alignment(size: int) -> None:
    files = [GuestFile(path="n" * length, content=b"x" * size) for length in range(1, 6)]
    assert read_initramfs(write_initramfs(files)) == {file.path: (0o100644, file.content) for file in files}


def test_equal_files_give_equal_bytes_whatever_their_order() -> None:
    files = [GuestFile(path=path, content=path.encode()) for path in ("b/c", "a", "b/a", "b/d/e")]
    assert write_initramfs(files) == write_initramfs(reversed(files))
    assert write_initramfs(files) != write_initramfs(files[1:])


def test_one_file_by_two_spellings_of_its_path_is_one_and_the_last_counts() -> None:
    files = [GuestFile(path="lib//a/../b", content=b"old"), GuestFile(path="./lib/b", content=b"new")]
    assert read_initramfs(write_initramfs(files)) == {"lib": (0o040755, b""), "lib/b": (0o100644, b"new")}


def test_letters_of_other_alphabets_count_in_bytes() -> None:
    assert list(read_initramfs(write_initramfs([GuestFile(path="Gerät/é.bin", content=b"1")]))) == [
        "Gerät",
        "Gerät/é.bin",
    ]
