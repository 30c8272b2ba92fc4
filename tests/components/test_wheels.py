"""Wheels: fetched once, each by its hash, unpacked into their folder and nowhere else."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest
from fakes.wheels import FILES, PURE, Index, lock_line, make_wheel, pretend_index, sha256

from builder.components.wheel_lock import read_wheel_lock
from builder.components.wheels import Wheel, fetch_wheels, unpack_wheels
from builder.errors import CellError, FailureClass, FormatError, SourceUnreachableError
from builder.evidence.blame import describe_error, is_worth_another_try
from builder.evidence.records import WheelRecord
from builder.kernel import Arch

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.components.wheel_lock import Requirement

_HASH = f"--hash=sha256:{'1' * 64}"


def _read(folder: Path, text: str) -> tuple[Requirement, ...]:
    file = folder / "requirements.lock"
    file.write_text(text)
    return read_wheel_lock(file)


@pytest.fixture
def index(tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple")
    return pretend_index(tmp_path / "index", fake_tools, monkeypatch)


def _fetch(folder: Path, requirements: tuple[Requirement, ...], arch: Arch = Arch.AARCH64) -> list[Wheel]:
    return fetch_wheels(requirements, python="3.11", arch=arch, cache=folder / "cache")


def test_wheels_are_fetched_for_the_image_and_once(tmp_path: Path, index: Index) -> None:
    requirements = _read(tmp_path, lock_line(make_wheel(index.folder)) + f"no==1 ; os_name == 'nt' {_HASH}\n")
    (wheel,) = _fetch(tmp_path, requirements)
    assert wheel.record == WheelRecord(name="demo", version="1.0", file=PURE, sha256=sha256(index.folder / PURE))
    assert wheel.file.is_relative_to(tmp_path / "cache")
    (call,) = index.calls
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:", "manylinux2014_aarch64"} <= {*call}
    assert call[call.index("--python-version") + 1] == "3.11"
    assert not [word for word in call if "x86_64" in word]
    assert _fetch(tmp_path, requirements) == [wheel]
    assert len(index.calls) == 1
    _fetch(tmp_path, requirements, Arch.X86_64)
    assert len(index.calls) == 2, "another architecture has other wheels"
    assert not list((tmp_path / "cache").glob(".*")), "nothing half is left"


def test_what_a_killed_run_was_fetching_is_removed(tmp_path: Path, index: Index) -> None:
    left = tmp_path / "cache" / ".fetch-killed"
    (left / "wheels").mkdir(parents=True)
    (left / "wheels" / PURE).write_bytes(b"half")
    _fetch(tmp_path, _read(tmp_path, lock_line(make_wheel(index.folder))))
    assert not left.exists()
    assert not list((tmp_path / "cache").glob(".fetch-*"))


def test_a_lock_without_packages_for_an_image_asks_nobody(tmp_path: Path, index: Index) -> None:
    assert _fetch(tmp_path, _read(tmp_path, f"no==1 ; os_name == 'nt' {_HASH}\n")) == []
    assert not index.calls


@pytest.mark.parametrize("damage", ["other bytes", "gone", "one more", "no wheel"])
def test_what_is_damaged_in_the_cache_is_fetched_again(tmp_path: Path, index: Index, damage: str) -> None:
    requirements = _read(tmp_path, lock_line(make_wheel(index.folder)))
    (wheel,) = _fetch(tmp_path, requirements)
    folder = wheel.file.parent
    if damage == "other bytes":
        wheel.file.write_bytes(b"x")
    elif damage == "gone":
        wheel.file.unlink()
    elif damage == "one more":
        make_wheel(folder, "more-1.0-py3-none-any.whl")
    else:
        (folder / "README").touch()
    (again,) = _fetch(tmp_path, requirements)
    assert again == wheel
    assert sha256(again.file) == again.record.sha256
    assert [file.name for file in folder.iterdir()] == [PURE]
    assert len(index.calls) == 2


@pytest.mark.parametrize("kind", ["another name", "other bytes", "nothing"])
def test_an_index_that_gives_something_else_is_not_believed(tmp_path: Path, index: Index, kind: str) -> None:
    wheel = make_wheel(index.folder)
    requirements = _read(tmp_path, lock_line(wheel))
    if kind == "another name":
        make_wheel(index.folder, "other-1.0-py3-none-any.whl")
    elif kind == "other bytes":
        make_wheel(index.folder, files={"demo/__init__.py": b"evil\n"})
    else:
        wheel.unlink()
        (index.folder / "x.whl").touch()
    with pytest.raises(CellError) as caught:
        _fetch(tmp_path, requirements)
    failure = caught.value.failure
    assert (failure.failure_class, failure.code) == (FailureClass.TOOLKIT, "wheel-differs")
    assert not is_worth_another_try(failure)
    assert not list((tmp_path / "cache").iterdir()), "and nothing of it is kept"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "wheel-differs"),
        ("ERROR: No matching distribution found for demo==1.0", "wheel-missing"),
        ("", "wheel-missing"),
    ],
)
def test_what_the_index_does_not_have_is_not_asked_for_again(
    tmp_path: Path, index: Index, words: str, code: str
) -> None:
    index.fail(words)
    with pytest.raises(CellError) as caught:
        _fetch(tmp_path, _read(tmp_path, f"demo==1.0 {_HASH}\n"))
    assert (caught.value.failure.failure_class, caught.value.failure.code) == (FailureClass.TOOLKIT, code)
    assert not is_worth_another_try(caught.value.failure)


@pytest.mark.parametrize(
    "words",
    [
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'\nERROR: No matching distribution",
        "ERROR: Max retries exceeded with url: /simple/demo/",
        "ERROR: 503 Service Unavailable",
        "ProxyError('Cannot connect to proxy.')",
    ],
)  # fmt: skip
def test_an_index_that_does_not_answer_says_nothing_about_packages(tmp_path: Path, index: Index, words: str) -> None:
    index.fail(words)
    with pytest.raises(SourceUnreachableError, match="does not answer") as caught:
        _fetch(tmp_path, _read(tmp_path, f"demo==1.0 {_HASH}\n"))
    failure = describe_error(caught.value, stage="wheels")
    assert failure.failure_class is FailureClass.INFRASTRUCTURE
    assert is_worth_another_try(failure)


def _unpack(folder: Path, *files: Path) -> Path:
    wheels = [Wheel(record=WheelRecord(name="", version="", file=file.name, sha256=""), file=file) for file in files]
    unpack_wheels(wheels, folder / "tree")
    return folder / "tree"


def test_wheels_lie_as_in_site_packages(tmp_path: Path) -> None:
    points = {"entry_points.txt": b"[console_scripts]\ndemo = demo:main\n"}
    files = {
        **FILES, "demo/fast.so": b"\x7fELF", "demo-1.0.data/scripts/old": b"#!python\nx\n",
        "demo-1.0.data/data/share/demo.txt": b"d",
    }  # fmt: skip
    tree = _unpack(
        tmp_path,
        make_wheel(tmp_path, files=files, info=points),
        make_wheel(tmp_path, "other-1.0-py3-none-any.whl", {"other.py": b""}),
    )
    modes = {str(file.relative_to(tree)): file.stat().st_mode & 0o777 for file in tree.rglob("*") if file.is_file()}
    assert modes["demo/__init__.py"] == modes["share/demo.txt"] == modes["other.py"] == 0o644
    assert modes["demo/fast.so"] == modes["bin/demo"] == modes["bin/old"] == 0o755
    for script in ("demo", "old"):
        assert (tree / "bin" / script).read_bytes().startswith(b"#!/usr/bin/python3\n"), "not this machine's Python"
    assert (tree / "demo-1.0.dist-info" / "METADATA").is_file()
    shutil.move(tree, tmp_path / "before")
    assert {file.name: file.read_bytes() for file in _unpack(tmp_path, tmp_path / PURE).rglob("*.py")} == {
        "__init__.py": FILES["demo/__init__.py"]
    }


def test_a_full_disk_is_no_fault_of_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("builder.components.wheels.install", refuse)
    with pytest.raises(OSError, match="No space left"):
        _unpack(tmp_path, make_wheel(tmp_path))


def _raw(folder: Path, *names: str) -> Path:
    file = make_wheel(folder)
    with zipfile.ZipFile(file, "a") as archive:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, b"x")
    return file


@pytest.mark.parametrize("name", ["../evil", "demo/../../evil", "/tmp/evil", "demo\\..\\evil", "..", "a/.."])
def test_a_wheel_that_would_lie_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    file = _raw(tmp_path / "wheels", name)
    with pytest.raises(FormatError, match="would lie elsewhere"):
        _unpack(tmp_path, file)
    assert not list((tmp_path / "tree").iterdir())


@pytest.mark.parametrize("name", ["../../evil", "{outside}/evil", "a/../../../evil"])
def test_no_script_of_a_wheel_is_written_elsewhere(tmp_path: Path, name: str) -> None:
    name = name.format(outside=tmp_path)
    points = {"entry_points.txt": f"[console_scripts]\n{name} = demo:main\n".encode()}
    with pytest.raises(FormatError, match="cannot be unpacked"):
        _unpack(tmp_path, make_wheel(tmp_path / "wheels", info=points))
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: b"", "is no zip file"),
        (lambda data: data[: len(data) // 2], "is no zip file"),
        (lambda data: data.replace(b"answer = 42", b"answer = 43"), "cannot be unpacked"),
        (lambda data: data.replace(b"METADATA", b"METADATE"), "cannot be unpacked"),
        (lambda data: data.replace(b"WHEEL", b"WHEEX"), "cannot be unpacked"),
    ],
)
def test_a_damaged_wheel_is_refused(tmp_path: Path, change: object, words: str) -> None:
    file = make_wheel(tmp_path / "wheels")
    file.write_bytes(change(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(FormatError, match=words):
        _unpack(tmp_path, file)


@pytest.mark.parametrize(
    ("info", "record"),
    [
        ({"entry_points.txt": b"[console_scripts\nx"}, None),
        ({"entry_points.txt": b"[console_scripts]\nx = y\nx = z\n"}, None),
        ({"entry_points.txt": b"[console_scripts]\nx = !\n"}, None),
        ({"entry_points.txt": b"\xff"}, None),
        ({"WHEEL": b"Wheel-Version: 9.0\nRoot-Is-Purelib: true\n"}, None),
        ({"WHEEL": b"nonsense"}, None),
        ({}, '"unclosed'),
        ({}, "a,b\n"),
        ({}, "demo/__init__.py,sha256=x,y\n"),
    ],
)
def test_a_wheel_with_nonsense_in_it_is_refused(tmp_path: Path, info: dict[str, bytes], record: str | None) -> None:
    with pytest.raises(FormatError, match="cannot be unpacked"):
        _unpack(tmp_path, make_wheel(tmp_path / "wheels", info=info, record=record))


def test_two_wheels_with_one_file_are_refused(tmp_path: Path) -> None:
    other = make_wheel(tmp_path, "other-1.0-py3-none-any.whl", FILES)
    with pytest.raises(FormatError, match="other-1.0.*File already exists"):
        _unpack(tmp_path, make_wheel(tmp_path), other)


def test_a_locked_wheel_is_refused(tmp_path: Path) -> None:
    file = make_wheel(tmp_path / "wheels")
    data = bytearray(file.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # general purpose bit 0: encrypted (APPNOTE 4.4.4)
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 1)
    file.write_bytes(data)
    with pytest.raises(FormatError, match="cannot be unpacked"):
        _unpack(tmp_path, file)


def test_a_wheel_that_unpacks_to_gigabytes_is_refused_before(tmp_path: Path) -> None:
    file = make_wheel(tmp_path / "wheels")
    data = bytearray(file.read_bytes())
    at = data.find(b"PK\1\2")
    data[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(FormatError, match="holds more than"):
        _unpack(tmp_path, file)
