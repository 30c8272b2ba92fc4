"""Objects of repositories that somebody hostile prepared."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest
from fakes.git import GitRepository, copy_step, delta, distance, insert_step, pack_entry

from builder.drivers.git_objects import ObjectStore
from builder.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

_A, _B, _C = b"100644 a\0" + b"1" * 20, b"100644 a\0" + b"1" * 19 + b"2", b"100644 a\0" + b"1" * 18 + b"33"


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "checkout")


def _store(repository: GitRepository) -> ObjectStore:
    return ObjectStore(repository.git_dir / "objects")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_loose_object_is_read(tmp_path: Path, algorithm: str) -> None:
    repository = GitRepository(tmp_path / "checkout", algorithm)
    assert _store(repository).read(repository.put("tree", _A), "tree") == _A


def test_what_is_not_there_is_told(repository: GitRepository) -> None:
    with pytest.raises(FormatError, match=f"does not have the tree {'0' * 40}"):
        _store(repository).read("0" * 40, "tree")


def test_an_object_of_another_kind_is_told(repository: GitRepository) -> None:
    with pytest.raises(FormatError, match="is no tree"):
        _store(repository).read(repository.put("blob", b"x"), "tree")


def test_an_object_under_the_id_of_another_is_told(repository: GitRepository) -> None:
    right, wrong = repository.put("tree", _A), repository.put("tree", _B)
    objects = repository.git_dir / "objects"
    (objects / wrong[:2] / wrong[2:]).replace(objects / right[:2] / right[2:])
    with pytest.raises(FormatError, match="is damaged"):
        _store(repository).read(right, "tree")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no zlib", "cannot be unpacked"),
        (zlib.compress(b"tree 5\0" + b"x" * 100)[:-6], "cut off"),
        (zlib.compress(b"\0" * 80_000_000), "larger than it says"),
        (b"", "cut off"),
    ],
)
def test_a_damaged_loose_object_is_told(repository: GitRepository, content: bytes, words: str) -> None:
    object_id = repository.put("tree", _A)
    (repository.git_dir / "objects" / object_id[:2] / object_id[2:]).write_bytes(content)
    with pytest.raises(FormatError, match=words):
        _store(repository).read(object_id, "tree")


def test_a_fifo_is_not_waited_for_and_a_link_out_is_not_followed(repository: GitRepository, tmp_path: Path) -> None:
    object_id = repository.put("tree", _A)
    file = repository.git_dir / "objects" / object_id[:2] / object_id[2:]
    outside = tmp_path / "outside"
    file.rename(outside)
    os.mkfifo(file)
    with pytest.raises(FormatError, match="does not have"):
        _store(repository).read(object_id, "tree")
    file.unlink()
    file.symlink_to(outside)
    with pytest.raises(FormatError, match="does not have"):
        _store(repository).read(object_id, "tree")


def _chain(repository: GitRepository) -> list[str]:
    """Pack three trees: one whole, one as a delta by place, one as a delta by id."""
    ids = [repository.id_of("tree", content) for content in (_A, _B, _C)]
    whole = pack_entry("tree", _A)
    second = delta(_A, copy_step(0, len(_A) - 1), insert_step(b"2"), size=len(_A))
    by_place = pack_entry(6, second, before=distance(len(whole)))
    third = delta(_B, copy_step(0, len(_B) - 2), insert_step(b"33"), size=len(_B))
    by_id = pack_entry(7, third, before=bytes.fromhex(ids[1]))
    offsets = [12, 12 + len(whole), 12 + len(whole) + len(by_place)]
    repository.pack(whole, by_place, by_id, ids=ids, offsets=offsets)
    return ids


def test_packed_objects_are_read_with_what_they_are_made_of(repository: GitRepository) -> None:
    ids = _chain(repository)
    store = _store(repository)
    assert [store.read(item, "tree") for item in ids] == [_A, _B, _C]
    with pytest.raises(FormatError, match="is no commit"):
        store.read(ids[0], "commit")
    with pytest.raises(FormatError, match="does not have"):
        store.read("f" * 40, "tree")


@pytest.mark.parametrize("far", [1, 200, 16_500])
def test_a_base_may_be_far_away(repository: GitRepository, far: int) -> None:
    whole = pack_entry("tree", _A)
    made = delta(_A, copy_step(0, len(_A) - 1), insert_step(b"2"), size=len(_A))
    gap = b"\0" * far
    entry = pack_entry(6, made, before=distance(len(whole) + far))
    ids = [repository.id_of("tree", _A), repository.id_of("tree", _B)]
    repository.pack(whole, gap, entry, ids=ids, offsets=[12, 12 + len(whole) + far])
    assert _store(repository).read(ids[1], "tree") == _B


_ID = "ab" * 20


@pytest.mark.parametrize(
    ("entry", "offset", "words"),
    [
        (pack_entry(6, b"x", before=distance(0)), 12, "a pack of its repository is damaged"),
        (pack_entry(6, b"x", before=distance(5000)), 12, "a pack of its repository is damaged"),
        (pack_entry(6, b"x", before=b"\xff" * 12), 12, "a pack of its repository is damaged"),
        (pack_entry(7, b"x", before=b"\x11" * 20), 12, "names an object that is not there"),
        (pack_entry(7, b"x", before=bytes.fromhex(_ID)), 12, "made of too many others"),
        (pack_entry("tree", b"x", size=2**40), 12, "larger than it may be"),
        (pack_entry("tree", b"x" * 1000, size=5), 12, "larger than it says|is damaged"),
        (pack_entry(5, b"x"), 12, "is no tree"),
        (b"", 12, "cut off"),
        (b"\xff" * 4, 12, "cut off"),
        (pack_entry("tree", b"x"), 2**33, "cut off"),
        (pack_entry("tree", b"x"), 2**45, "is damaged"),
        (pack_entry("tree", b"x"), 12, "is damaged"),
    ],
)
def test_a_hostile_pack_is_told(repository: GitRepository, entry: bytes, offset: int, words: str) -> None:
    repository.pack(entry, ids=[_ID], offsets=[offset])
    with pytest.raises(FormatError, match=words):
        _store(repository).read(_ID, "tree")


@pytest.mark.parametrize("cut", [0, 4, 100, 1031, 1040, 1056])
def test_an_index_that_is_cut_off_is_told(repository: GitRepository, cut: int) -> None:
    repository.pack(pack_entry("tree", b"x"), ids=[_ID], offsets=[12])
    index = next((repository.git_dir / "objects/pack").glob("*.idx"))
    index.write_bytes(index.read_bytes()[:cut])
    with pytest.raises(FormatError, match="an index of its repository|does not have"):
        _store(repository).read(_ID, "tree")


def test_a_fanout_that_lies_is_told(repository: GitRepository) -> None:
    repository.pack(pack_entry("tree", b"x"), ids=[_ID], offsets=[12])
    index = next((repository.git_dir / "objects/pack").glob("*.idx"))
    content = index.read_bytes()
    place = 8 + 4 * 0xAB
    for lie in (b"\xff\xff\xff\xff", b"\0\0\0\0"):
        index.write_bytes(content[:place] + lie + content[place + 4 :])
        with pytest.raises(FormatError, match="is damaged|does not have"):
            _store(repository).read(_ID, "tree")


def test_what_would_cost_too_much_is_not_read(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.drivers.git_objects._MOST_READ", 2500)
    store = _store(repository)
    ids = [repository.put("tree", content) for content in (_A, _B, _C)]
    store.read(ids[0], "tree")
    store.read(ids[1], "tree")
    with pytest.raises(FormatError, match="would have to be read"):
        store.read(ids[2], "tree")


def test_deltas_that_make_next_to_nothing_have_an_end(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an empty tree, a chain of a few bytes each could be unpacked for every folder of a commit."""
    entries, offsets = [pack_entry("tree", b"")], [12]
    for _ in range(200):
        offsets.append(offsets[-1] + len(entries[-1]))
        entries.append(pack_entry(6, delta(b"", size=0), before=distance(len(entries[-1]))))
    empty = repository.id_of("tree", b"")
    repository.pack(*entries, ids=[empty], offsets=offsets[-1:])
    store = _store(repository)
    assert store.read(empty, "tree") == b""
    monkeypatch.setattr("builder.drivers.git_objects._MOST_READ", 100_000)
    with pytest.raises(FormatError, match="would have to be read"):
        _store(repository).read(empty, "tree")


def test_what_deltas_are_made_of_is_held_within_bounds(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.drivers.git_objects._LARGEST", 100)
    ids = ["ab" * 20, "cd" * 20, "ef" * 20]
    parts = [
        pack_entry("tree", b"x" * 40),
        *(pack_entry(7, b"y" * 40, before=bytes.fromhex(item)) for item in ids[:2]),
    ]
    offsets = [12, 12 + len(parts[0]), 12 + len(parts[0]) + len(parts[1])]
    repository.pack(*parts, ids=ids, offsets=offsets)
    with pytest.raises(FormatError, match="made of more"):
        _store(repository).read(ids[2], "tree")


def test_a_large_index_is_not_read_as_a_whole(repository: GitRepository) -> None:
    count = 3_000_000
    pack = repository.pack(pack_entry("tree", b"x"), ids=[_ID], offsets=[12])
    with pack.with_suffix(".idx").open("wb") as index:
        index.write(b"\xfftOc" + struct.pack(">I256I", 2, *([0] * 0xAB), *([count] * (256 - 0xAB))))
        index.truncate(1032 + count * 20)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="does not have"):
            _store(repository).read(_ID, "tree")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1024**2


def test_looking_into_many_packs_has_an_end(repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.drivers.git_objects._MOST_READ", 5000)
    for number in range(3):
        repository.pack(pack_entry("tree", _A), ids=[_ID], offsets=[12], name=f"{number:040}")
    with pytest.raises(FormatError, match="would have to be read"):
        _store(repository).read("f" * 40, "tree")
