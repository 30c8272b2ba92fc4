"""URLs without secrets, git's settings, and its trees and deltas, as somebody hostile writes them."""

from __future__ import annotations

import tracemalloc

import pytest
from fakes.git import copy_step, delta, insert_step
from hypothesis import given
from hypothesis import strategies as st

from builder.drivers.git_formats import (
    TreeEntry,
    apply_delta,
    choose_remote,
    clean_url,
    parse_commit_tree,
    parse_settings,
    parse_tree,
)
from builder.errors import FormatError


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://github.com/org/drv.git", "git+https://github.com/org/drv.git"),
        ("https://user:secret@git.test:8443/org/drv", "git+https://git.test:8443/org/drv"),
        ("https://secret@git.test/org/drv", "git+https://git.test/org/drv"),
        ("https://git.test/org/drv?private_token=secret#secret", "git+https://git.test/org/drv"),
        ("https://us%40er:se%2Fcret@git.test/drv", "git+https://git.test/drv"),
        ("ssh://git@git.test:22/org/drv.git", "git+ssh://git.test:22/org/drv.git"),
        ("git@github.com:org/drv.git", "git+ssh://github.com/org/drv.git"),
        ("git.test:/org/drv.git", "git+ssh://git.test/org/drv.git"),
        ("https://[2001:db8::1]/drv", "git+https://[2001:db8::1]/drv"),
        ("git://git.test/drv", "git+git://git.test/drv"),
    ],
)
def test_a_remote_is_told_without_what_is_secret(url: str, clean: str) -> None:
    assert clean_url(url) == clean


@pytest.mark.parametrize(
    "url",
    [
        "", "/home/me/drv", "../drv", "file:///home/me/drv", "C:\\drv", "ext::sh -c evil", "ext::evil", "fd::7",
        "https://user:sec/ret@git.test/drv", "https://git.test", "https://git.test/", "https://git.test:x/drv",
        "https://user:pw\\@git.test/drv", "https://a@b@git.test/x@y", "javascript:alert(1)//x@y", "https://gi t/x",
        "https://git.test/\x1b[31m", "https://git.test/\u202e", "https://[::1/drv", "https:///drv", "x" * 3000,
        "http://user:pass@/drv", "https://git.test/a?x/../@b", "user:pass@git.test:drv@x",
    ],
)  # fmt: skip
def test_what_could_tell_more_is_not_told(url: str) -> None:
    assert clean_url(url) == ""


@given(st.text(max_size=60))
def test_no_url_breaks_it(text: str) -> None:
    for url in (text, f"https://{text}", f"https://u:SECRET@{text}", f"u@{text}:{text}"):
        clean = clean_url(url)
        assert clean == "" or (clean.startswith("git+") and "@" not in clean and "SECRET" not in clean)


_SETTINGS = r"""
# a comment
[core] bare = false
[Remote "origin"] ; another
    URL = https://u:p@git.test/a ; what follows
    fetch = +refs/heads/*:refs/remotes/origin/*
[remote "with \"quotes\" and ]"]
    url = "https://git.test/b#c;d" x \
        continued
[alias]
    evil = !touch /tmp/x
[include]
    path = /etc/shadow
nonsense = = =
[broken
"""


def test_settings_are_read_and_not_obeyed() -> None:
    found = list(parse_settings(_SETTINGS))
    assert ("remote.origin", "url", "https://u:p@git.test/a") in found
    assert ('remote.with "quotes" and ]', "url", "https://git.test/b#c;d x         continued") in found
    assert ("include", "path", "/etc/shadow") in found
    assert ("core", "bare", "false") in found
    assert choose_remote(found) == "git+https://git.test/a"


def test_the_remote_is_origin_or_the_only_one() -> None:
    origin, other = ("remote.origin", "url", "https://o.test/a"), ("remote.b", "url", "https://b.test/a")
    assert choose_remote([other, origin]) == "git+https://o.test/a"
    assert choose_remote([other]) == "git+https://b.test/a"
    assert choose_remote([other, ("remote.c", "url", "https://c.test/a")]) == ""
    assert choose_remote([]) == ""
    assert (
        choose_remote([("remote", "url", "https://x.test/a"), ("remote.origin", "pushurl", "https://x.test/a")]) == ""
    )


@given(st.text())
def test_no_settings_break_it(text: str) -> None:
    assert choose_remote(list(parse_settings(text))) in {"", choose_remote(list(parse_settings(text)))}


@pytest.mark.parametrize(
    "text", [f"[a{' ' * 300_000}x", f"[{' ' * 300_000}", f'[a "{"x" * 300_000}', f"a{' ' * 300_000}x"]
)
def test_a_line_without_an_end_costs_no_more_than_its_length(text: str) -> None:
    assert list(parse_settings(f"{text}\n[core]\n\tbare = true\n")) == [("core", "bare", "true")]


_ID = bytes(range(20))


def test_a_tree_is_read() -> None:
    content = b"".join(mode + b" n\0" + _ID for mode in (b"100644", b"100755", b"120000", b"40000", b"160000"))
    kinds = ["file", "program", "link", "folder", "commit"]
    assert parse_tree(content, 20) == [TreeEntry("n", kind, _ID.hex()) for kind in kinds]
    assert parse_tree(b"", 20) == []


@pytest.mark.parametrize(
    "content",
    [
        b"100644 n\0" + _ID[:19],
        b"100644 \0" + _ID,
        b"100644",
        b"777777 n\0" + _ID,
        b" n\0" + _ID,
        b"100644 n" + _ID * 300,
    ],
)
def test_a_damaged_tree_is_told(content: bytes) -> None:
    with pytest.raises(FormatError, match="is damaged"):
        parse_tree(content, 20)


def test_a_commit_names_its_tree() -> None:
    assert parse_commit_tree(b"tree " + b"a" * 40 + b"\nparent") == "a" * 40
    for wrong in (b"", b"tree x\n", b"parent " + b"a" * 40, b"tree " + b"a" * 41 + b"\n"):
        with pytest.raises(FormatError, match="is damaged"):
            parse_commit_tree(wrong)


def test_a_delta_makes_an_object() -> None:
    base = bytes(range(256)) * 300
    made = apply_delta(base, delta(base, copy_step(0, 0x10000), insert_step(b"new"), copy_step(70_000, 5), size=65544))
    assert made == base[:0x10000] + b"new" + base[70_000:70_005]


def test_a_delta_of_many_steps_takes_no_more_memory_than_it_makes() -> None:
    steps = 20_000
    many = delta(b"", *([insert_step(b"ab")] * steps), size=2 * steps)
    tracemalloc.start()
    try:
        apply_delta(b"", many)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 * 2 * steps


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"\x80", b"\x80" * 20, delta(b"other", size=1), delta(b"base", size=1), delta(b"base", b"\0", size=1),
        delta(b"base", insert_step(b"x"), size=2), delta(b"base", insert_step(b"xy"), size=1),
        delta(b"base", copy_step(3, 2), size=2), delta(b"base", copy_step(2**31, 2), size=2),
        delta(b"base", b"\x05abc", size=5), delta(b"base", b"\xff\0", size=5), delta(b"base", size=2**40),
    ],
)  # fmt: skip
def test_a_damaged_delta_is_told(wrong: bytes) -> None:
    with pytest.raises(FormatError, match="a delta of its repository"):
        apply_delta(b"base", wrong)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_delta_breaks_it(base: bytes, hostile: bytes) -> None:
    try:
        apply_delta(base, hostile)
        parse_tree(hostile, 20)
    except FormatError as error:
        assert len(error.message) < 200
