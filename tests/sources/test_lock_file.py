from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.locks import parsed
from fakes.project import KERNELS, make_source
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.digest import content_id
from builder.errors import LockFileError
from builder.sources.lock import Lock, LockedNodeKernel
from builder.sources.lock_file import format_lock, read_lock, write_lock
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease

if TYPE_CHECKING:
    from pathlib import Path

_LOCK = Lock(sources={"debian": make_source(*KERNELS)})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_lock(_LOCK, tmp_path / "lock")
    assert read_lock(tmp_path / "lock") == _LOCK
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_form_is_canonical_and_a_new_kernel_is_few_lines() -> None:
    fewer = Lock(sources={"debian": make_source(*KERNELS[1:])})
    before, after = set(format_lock(fewer).splitlines()), set(format_lock(_LOCK).splitlines())
    assert len(after - before) == 2
    assert not before - after
    assert format_lock(Lock(sources={})).endswith("sources: {}\n")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("format: 1", "format: 2", "at format"),
        ("provider: debian", "provider: hurd", "at sources.debian.provider"),
        ("headers-6.1.0-9-amd64:", "headers-x:", "no such package headers-6.1.0-9-amd64"),
        ('tools: ["gcc"]', 'tools: ["gxx"]', "no such package gxx"),
        ('"x86_64": "tools"', '"x86_64": "tool"', "no such package tool"),
        ("      6.1.0-9-amd64:", "      nonsense:", "is not a kernel version"),
        ('"size": 10', '"size": -1', "size"),
        ("http://archive.test", "file:///etc", "url"),
        ("sources:", "sources: [", "is not YAML"),
        ("sources:", "\udcff", "cannot be read"),
    ],
)
def test_damage_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = format_lock(_LOCK)
    assert old in text
    (tmp_path / "lock").write_bytes(text.replace(old, new, 1).encode("utf-8", "surrogateescape"))
    with pytest.raises(LockFileError, match=words) as caught:
        read_lock(tmp_path / "lock")
    assert "lock" in caught.value.message


def test_a_missing_lock_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LockFileError) as caught:
        read_lock(tmp_path / "lock")
    assert caught.value.hint == "run 'nox -s discover' to write it"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 3000), garbage=st.text(max_size=8))
def test_mutations_give_clear_errors(tmp_path: Path, position: int, garbage: str) -> None:
    text = format_lock(_LOCK)
    (tmp_path / "lock").write_bytes(
        (text[:position] + garbage + text[position + len(garbage) :]).encode("utf-8", "replace")
    )
    try:
        read_lock(tmp_path / "lock")
    except LockFileError as error:
        assert str(tmp_path / "lock") in error.message


def test_content_id_depends_on_every_part() -> None:
    ids = {
        content_id("a", "b"),
        content_id("ab"),
        content_id("a", ["b"]),
        content_id({"a": "b"}),
        content_id("b", "a"),
    }
    assert len(ids) == 5


_LAUGHS = "a: &a [x]\nb: &b [*a,*a,*a]\n"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (_LAUGHS, "anchors and aliases are not supported"),
        ("a: !!timestamp 99999-99-99", "the tag .* is not supported"),
        ("a: !!python/object:os.system x", "the tag .* is not supported"),
        ("a: 2026-99-99", "is not YAML"),
        (f"a: {'9' * 5000}", "is not YAML"),
        (f"a: {'[' * 5000}", "is not YAML"),
    ],
)
def test_yaml_that_nobody_should_have_written(tmp_path: Path, extra: str, words: str) -> None:
    (tmp_path / "lock").write_text(f"{format_lock(Lock())}\n{extra}\n")
    with pytest.raises(LockFileError, match=words):
        read_lock(tmp_path / "lock")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (('"toolkits": ["', '"toolkits": ["x@'), "is not among its toolkits"),
        (('"releases": ["4.18.1"', '"releases": ["4.18.9"'), "no such release 4.18.9-x86_64"),
        (("provider: okd", "provider: debian"), r"at sources.okd.kernels\..*: Field required"),
        (
            ("      4.18.1-x86_64", "      4.18.1"),
            "at sources.okd.releases: '4.18.1' is no release with an architecture",
        ),
        (("x86_64: {}", 'x86_64: {"channels": {"fast": "x"}}'), "releases.4.18.1-x86_64.channels.fast: 'x' is no date"),
    ],
)
def test_damage_in_releases_is_named(tmp_path: Path, edit: tuple[str, str], words: str) -> None:
    kernel = "5.14.0-427.50.1.el9_4.x86_64"
    toolkit = f"quay.io/a@sha256:{'a' * 64}"
    locked = LockedOpenShift(
        provider="okd",
        resolved="2026-11-23T00:00:00Z",
        releases={"4.18.1-x86_64": LockedRelease()},
        kernels=parsed(
            {kernel: LockedNodeKernel(releases=("4.18.1",), streams=("os",), toolkit=toolkit, toolkits=(toolkit,))}
        ),
    )
    text = format_lock(Lock(sources={"okd": locked}))
    (tmp_path / "lock").write_text(text)
    assert read_lock(tmp_path / "lock").sources == {"okd": locked}
    assert edit[0] in text
    (tmp_path / "lock").write_text(text.replace(*edit))
    with pytest.raises(LockFileError, match=words):
        read_lock(tmp_path / "lock")
