"""What stands between make and the compiler: its words, and what is read of what it leaves. How it runs is in tests/integration."""

from __future__ import annotations

import pytest

from builder.errors import FormatError
from builder.store.cached_compiler import (
    BEGIN,
    KNOWN,
    NEW,
    OWN,
    PROGRAMS,
    SCRIPTS,
    CacheUse,
    check_entry,
    read_statistics,
)

_NAME = "d6/a0hatqf5s8rm8h0dpvbq1i5vgp293m2"


def test_scripts_are_where_they_look_for_each_other() -> None:
    assert f". {OWN}/begin" == BEGIN
    assert f". {OWN}/compiler" in SCRIPTS["begin"]
    assert f"CCACHE_CONFIGPATH={OWN}/settings" in SCRIPTS["compiler"]
    assert f"{PROGRAMS}/ld.so --library-path {PROGRAMS} {PROGRAMS}/ccache " in SCRIPTS["compiler"]


def test_what_earlier_compiles_left_is_only_read() -> None:
    (line,) = [line for line in SCRIPTS["settings"].splitlines() if line.startswith("remote_storage")]
    assert line == f"remote_storage = file:{KNOWN}|read-only|update-mtime=true file:{NEW}"
    assert "remote_only = true\n" in SCRIPTS["settings"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"# a.c\ndirect_cache_hit\nremote_storage_hit\n# b.c\npreprocessed_cache_hit\n# c.c\ncache_miss\n", (2, 1)),
        (b"# direct_cache_hit\nxcache_miss\n", (0, 0)),
        (b"\xff\x00\n" * 10, (0, 0)),
        (b"cache_miss\n" * 1_000_001, (0, 1_000_000)),
        (b"", (0, 0)),
    ],
)
def test_statistics_are_counted_and_bounded(content: bytes, expected: tuple[int, int]) -> None:
    assert read_statistics(content) == expected


def test_an_entry_is_known_by_name_and_mark() -> None:
    check_entry(_NAME, b"\xcc\xac\x01")


@pytest.mark.parametrize(
    "name", ["d6/../../../../etc/passwd", "/etc/passwd", "d6/short", f"{_NAME}\n", _NAME.upper(), f"x/{_NAME}", ""]
)
def test_no_other_name_is_one_of_an_entry(name: str) -> None:
    with pytest.raises(FormatError, match="no name of an entry"):
        check_entry(name, b"\xcc\xac\x01")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\xac\xcc"])
def test_what_begins_otherwise_is_no_entry(content: bytes) -> None:
    with pytest.raises(FormatError, match="does not begin"):
        check_entry(_NAME, content)


def test_a_use_without_compiles_says_nothing() -> None:
    assert str(CacheUse()) == ""
    assert str(CacheUse(hits=152, misses=3)) == "152 of 155"
