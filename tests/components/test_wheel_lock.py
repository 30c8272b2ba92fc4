"""Locks of Python packages: versions with hashes and nothing else, for the image and not for this machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from builder.components.wheel_lock import read_wheel_lock
from builder.errors import FormatError
from builder.kernel import Arch

if TYPE_CHECKING:
    from pathlib import Path

    from builder.components.wheel_lock import Requirement

_HASH = f"--hash=sha256:{'1' * 64}"


def _read(folder: Path, text: str) -> tuple[Requirement, ...]:
    file = folder / "requirements.lock"
    file.write_text(text)
    return read_wheel_lock(file)


def test_a_lock_is_read_as_uv_writes_it(tmp_path: Path) -> None:
    text = (
        "# uv pip compile --generate-hashes\n"
        f"Some_Package==1.0 \\\n    {_HASH} \\\n    --hash=sha256:{'2' * 64}\n    # via nobody\n\n"
        f"other==2!1.0+local ; python_version < '3.12' {_HASH}  # a comment\n"
    )
    first, second = _read(tmp_path, text)
    assert (first.name, first.version, first.marker, first.hashes) == (
        "some-package", "1.0", "", frozenset({"1" * 64, "2" * 64}),
    )  # fmt: skip
    assert (second.name, second.version, second.marker) == ("other", "2!1.0+local", "python_version < '3.12'")
    assert _read(tmp_path, "") == ()
    assert _read(tmp_path, f"last==1 {_HASH} \\") != ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--index-url https://evil.test/simple\n", "is not 'name==version"),
        ("-r other.txt\n", "is not 'name==version"),
        ("-e .\n", "is not 'name==version"),
        (f"a @ https://evil.test/a.whl {_HASH}\n", "is not 'name==version"),
        (f"a==${{HOME}} {_HASH}\n", "is not 'name==version"),
        (f"a>=1 {_HASH}\n", "is not 'name==version"),
        (f"a[extra]==1 {_HASH}\n", "is not 'name==version"),
        ("a==1\n", "is not 'name==version"),
        (f"a==1 --hash=md5:{'1' * 32}\n", "is not 'name==version"),
        (f"a==1 {_HASH} --global-option=x\n", "is not 'name==version"),
        (f"a==1 {_HASH} \\\n\nb==1 {_HASH} \\\n--pre\n", "is not 'name==version"),
        ("a==1 \\\n" + f"{_HASH} \\\n" * 5000, "is not 'name==version"),
        (f"a==1 {_HASH}\nA==2 {_HASH}\n", "a is there twice"),
        (f"a==1 ; os_name == 'posix' {_HASH}\na==2 {_HASH}\n", "a is there twice"),
        (f"a==1 {_HASH}\na==2 ; os_name == 'nt' {_HASH}\n", "a is there twice"),
        (f"a==1 ; os_name == 'nt' {_HASH}\na==2 ; os_name == 'nt' {_HASH}\n", "a is there twice"),
        (
            f"a==1 ; os_name == 'nt' {_HASH}\n" + f"a==2 ; os_name == 'posix' {_HASH}\n" * 2,
            "a is there twice",
        ),
        (f"a==1 ; colour == 'red' {_HASH}\n", "is no marker"),
        (f"a==1 ; os_name ~= 'posix' {_HASH}\n", "is no marker"),
        ("x" * (4 * 1024**2 + 1), "larger than"),
    ],
)  # fmt: skip
def test_anything_else_in_a_lock_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        _read(tmp_path, text)
    assert "requirements.lock" in caught.value.message
    assert len(caught.value.message) < 1000


def _refused(folder: Path, text: str) -> bool:
    try:
        _read(folder, text)
    except FormatError:
        return True
    return False


def test_a_marker_that_nests_deep_is_read_or_refused(tmp_path: Path) -> None:
    _refused(tmp_path, f"a==1 ; {'(' * 240}os_name == 'nt'{')' * 240} {_HASH}\n")


def test_a_lock_that_goes_on_and_on_takes_no_time(tmp_path: Path) -> None:
    """Joined again with each line, these would be copied a million times."""
    started = time.process_time()
    assert _refused(tmp_path, "a\\\n" * 250_000)
    assert time.process_time() - started < 5


def test_a_lock_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FormatError, match="is no regular file"):
        read_wheel_lock(tmp_path / "fifo")
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        read_wheel_lock(tmp_path / "absent")


@pytest.mark.parametrize(
    ("marker", "arch", "python", "wanted"),
    [
        ("platform_machine == 'aarch64'", Arch.AARCH64, "3.11", True),
        ("platform_machine == 'aarch64'", Arch.X86_64, "3.11", False),
        ("sys_platform == 'win32' or os_name == 'nt'", Arch.X86_64, "3.11", False),
        ("python_version < '3.10'", Arch.X86_64, "3.9", True),
        ("python_version < '3.10'", Arch.X86_64, "3.10", False),
        ("python_full_version >= '3.13'", Arch.X86_64, "3.13", True),
        ("implementation_version == '3.7.0'", Arch.X86_64, "3.7", True),
        ("implementation_name == 'pypy'", Arch.X86_64, "3.11", False),
        ("extra == 'dev'", Arch.X86_64, "3.11", False),
        ("platform_version == ''", Arch.X86_64, "3.11", True),
        ("platform_release == ''", Arch.X86_64, "3.11", True),
    ],
)
def test_markers_are_evaluated_for_the_image_and_not_for_this_machine(
    tmp_path: Path, marker: str, arch: Arch, python: str, wanted: bool
) -> None:
    (requirement,) = _read(tmp_path, f"a==1 ; {marker} {_HASH}\n")
    assert requirement.is_for(arch, python) is wanted
