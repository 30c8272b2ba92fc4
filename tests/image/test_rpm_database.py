from __future__ import annotations

import sqlite3
import struct

import pytest
from fakes.rpm import Rpm, make_header, rpm_database, rpm_header

from builder.errors import FormatError
from builder.image.rpm_database import RpmFile, RpmPackage, read_rpm_packages


def test_packages_with_what_they_own() -> None:
    owner = Rpm(name="coreutils", files=(("/usr/bin/cp", 0), ("/etc/cp.conf", 1)))
    found = read_rpm_packages(rpm_database("bash", owner))
    assert [item.name for item in found] == ["bash", "coreutils"]
    assert found[1] == RpmPackage(
        name="coreutils", version="1.0", release="1.el9", arch="x86_64", vendor="Red Hat, Inc.",
        installed=1_700_000_000, files=(RpmFile("/usr/bin/cp", 0), RpmFile("/etc/cp.conf", 1)),
    )  # fmt: skip


def test_a_key_is_a_package_without_files_and_architecture() -> None:
    header = make_header([(1000, 6, 1, b"gpg-pubkey\0")])
    assert read_rpm_packages(rpm_database(damage=header)) == [RpmPackage(name="gpg-pubkey")]


_GOOD = rpm_header(Rpm(name="x", files=(("/a/b", 0),)))
_NAME = (1000, 6, 1, b"x\0")


@pytest.mark.parametrize(
    "header",
    [
        b"xx",
        struct.pack(">II", 2**31, 0) + b"\0" * 64,
        _GOOD[:-1],  # its last text has no end
        make_header([]),
        make_header([(1000, 6, 1, b"\0")]),
        make_header([_NAME, _NAME]),
        make_header([(1000, 6, 2**31, b"x\0")]),
        make_header([_NAME, (1008, 4, 1, b"\0\0")]),
        make_header([(1000, 6, 1, b"x" * 5000 + b"\0")]),
        make_header([_NAME, (1117, 8, 1, b"a\0")]),  # in no folder
        make_header([_NAME, (1116, 4, 1, b"\0\0\0\1"), (1117, 8, 1, b"a\0"), (1118, 8, 1, b"/\0")]),
        make_header([_NAME, (1037, 4, 2, b"\0" * 8), (1116, 4, 1, b"\0" * 4), (1117, 8, 1, b"a\0"), (1118, 8, 1, b"/\0")]),
        make_header([_NAME, (1117, 8, 250_001, b"a\0" * 250_001)]),
    ],
)  # fmt: skip
def test_a_damaged_header_is_an_error(header: bytes) -> None:
    with pytest.raises(FormatError, match="damaged"):
        read_rpm_packages(rpm_database("bash", damage=header))


def test_paths_that_would_fill_the_memory_are_an_error() -> None:
    """Every file may name the same folder: 80 kB of names would be 80 MB of paths."""
    most, folder = 20_000, b"/" + b"d" * 4000 + b"\0"
    header = make_header([
        _NAME, (1116, 4, most, b"\0" * 4 * most), (1117, 8, most, b"a\0" * most), (1118, 8, 1, folder),
    ])  # fmt: skip
    with pytest.raises(FormatError, match="no end"):
        read_rpm_packages(rpm_database(damage=header))


_ENDLESS = "WITH RECURSIVE c(blob) AS (SELECT x'00' UNION ALL SELECT blob FROM c) SELECT blob FROM c"


@pytest.mark.parametrize(
    "statements",
    [
        [f"CREATE VIEW Packages AS {_ENDLESS}"],
        ["CREATE VIEW Packages AS SELECT zeroblob(900000000) AS blob"],
        ["CREATE TABLE p (blob BLOB)", "CREATE VIEW Packages AS SELECT blob FROM p"],
        ["CREATE TABLE Packages (x, blob AS (zeroblob(900000000 + x)))", "INSERT INTO Packages (x) VALUES (1)"],
        ["CREATE TABLE Packages (blob TEXT)", "INSERT INTO Packages VALUES ('x')"],
        ["CREATE TABLE Packages (other BLOB)"],
    ],
)
def test_a_database_that_is_a_trap(statements: list[str]) -> None:
    """Only a plain table is read: what else may be called Packages runs for ever, or takes all memory."""
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    with pytest.raises(FormatError, match="no database of RPM|header of it is damaged"):
        read_rpm_packages(connection.serialize())
