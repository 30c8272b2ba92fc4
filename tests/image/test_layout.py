"""Images that are written depend on their contents and on nothing else."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from builder.errors import SourceError
from builder.image.contents import LayerCache, read_oci_layout
from builder.image.layout import LayerEntry, write_image, write_layer

if TYPE_CHECKING:
    from pathlib import Path


def _member(name: str, content: bytes = b"", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in changes.items():
        setattr(member, field, value)
    return member, content


def test_clocks_and_owners_do_not_reach_a_layer(tmp_path: Path) -> None:
    plain = write_layer(tmp_path / "a", [_member("x", b"1")])
    owned = write_layer(tmp_path / "b", [_member("x", b"1", mtime=9, uid=7, uname="jo", pax_headers={"comment": "c"})])
    other = write_layer(tmp_path / "c", [_member("x", b"2")])
    assert plain.digest == owned.digest != other.digest


def test_our_own_entry_comes_first_and_stays(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "a", [_member("x", b"theirs")], [LayerEntry(path="x", content=b"ours", mode=0o755)])
    with tarfile.open(layer.file) as archive:
        ((member, stream),) = [(member, archive.extractfile(member)) for member in archive]
        assert stream is not None
        assert (stream.read(), member.mode) == (b"ours", 0o755)


def test_two_members_with_one_path_must_be_folders(tmp_path: Path) -> None:
    folders = [_member("x", type=tarfile.DIRTYPE)] * 2
    with tarfile.open(write_layer(tmp_path / "a", folders).file) as archive:
        assert archive.getnames() == ["x"]
    with pytest.raises(SourceError, match="two packages of one layer hold x"):
        write_layer(tmp_path / "b", [_member("x", b"1"), _member("x", b"2")])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    entries = [LayerEntry(path="d"), LayerEntry(path="d/f", content=b"1"), LayerEntry(path="l", link="d/f")]
    layers = [write_layer(tmp_path / "a", [], entries)]
    write_image(tmp_path / "oci", layers, arch="arm64", environment={"A": "b"}, labels={"k": "v"})
    image = read_oci_layout(tmp_path / "oci", "test", LayerCache())
    assert set(image.files) == {"d", "d/f", "l"}
    found = image.find("l")
    assert found is not None
    assert (found.path, found.size) == ("d/f", 1)
    settings = image.config["config"]
    assert (image.config["architecture"], settings["Env"], settings["Labels"]) == ("arm64", ["A=b"], {"k": "v"})
