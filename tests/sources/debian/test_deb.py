"""Reading .deb files and writing layers and images out of them."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from fakes.debs import make_deb, make_member
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.errors import SourceError
from builder.image.layout import LayerEntry, write_image, write_layer
from builder.sources.debian.deb import find_members, read_members

if TYPE_CHECKING:
    from pathlib import Path


def test_reads_files_and_merges_usr(tmp_path: Path) -> None:
    deb = make_deb(
        tmp_path / "a.deb",
        (make_member("./", tarfile.DIRTYPE), b""),
        (make_member("./bin/tool"), b"x"),
        (make_member("./usr/share/doc"), b"y"),
        (make_member("./lib/link", tarfile.LNKTYPE, "./bin/tool"), b""),
    )
    members = [(member.name, member.linkname, content) for member, content in read_members(deb)]
    assert members == [
        ("usr/bin/tool", "", b"x"),
        ("usr/share/doc", "", b"y"),
        ("usr/lib/link", "usr/bin/tool", b""),
    ]


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (make_member("../../etc/passwd"), "points out of the package"),
        (make_member("/etc/passwd"), "points out of the package"),
        (make_member("a", tarfile.LNKTYPE, "../../etc/shadow"), "points out of the package"),
        (make_member("dev/sda", tarfile.BLKTYPE), "a device or a pipe"),
        (make_member("run/pipe", tarfile.FIFOTYPE), "a device or a pipe"),
    ],
)
def test_refuses_hostile_members(tmp_path: Path, member: tarfile.TarInfo, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        list(read_members(make_deb(tmp_path / "evil.deb", (member, b""))))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable"),
        (b"!<arch>\n", "no data.tar"),
        (b"PK\x03\x04" * 20, "not a readable"),
        (b"!<arch>\n" + b"x" * 70, "not a"),
    ],
)
def test_refuses_what_is_no_package(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "bad.deb").write_bytes(content)
    with pytest.raises(SourceError, match=rf"bad.deb.*{words}"):
        list(read_members(tmp_path / "bad.deb"))


def test_refuses_unknown_compression(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="compression '.bz2'"):
        list(read_members(make_deb(tmp_path / "a.deb", name="data.tar.bz2")))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 600), byte=st.integers(0, 255), cut=st.integers(0, 600))
def test_damage_never_escapes_as_another_error(tmp_path: Path, position: int, byte: int, cut: int) -> None:
    content = bytearray(make_deb(tmp_path / "a.deb", (make_member("usr/x"), b"content")).read_bytes())
    content[position % len(content)] = byte
    (tmp_path / "a.deb").write_bytes(bytes(content[: len(content) - cut % len(content)]))
    try:
        list(read_members(tmp_path / "a.deb"))
    except SourceError as error:
        assert "a.deb" in error.message


def test_layers_are_equal_for_equal_contents(tmp_path: Path) -> None:
    one = write_layer(tmp_path / "1", [(make_member("usr/a"), b"")])
    two = write_layer(tmp_path / "2", [(make_member("usr/a"), b"")])
    assert one.digest == two.digest
    with tarfile.open(tmp_path / "1") as archive:
        member = archive.getmember("usr/a")
    assert (member.mtime, member.uid, member.uname) == (0, 0, "")


def test_our_own_entries_win_and_folders_may_repeat(tmp_path: Path) -> None:
    own = [
        LayerEntry(path="etc"),
        LayerEntry(path="etc/passwd", content=b"root"),
        LayerEntry(path="bin", link="usr/bin"),
    ]
    members = [
        (make_member("etc", tarfile.DIRTYPE), b""),
        (make_member("etc/passwd"), b""),
        (make_member("usr", tarfile.DIRTYPE), b""),
        (make_member("usr", tarfile.DIRTYPE), b""),
    ]
    write_layer(tmp_path / "layer", members, own)
    with tarfile.open(tmp_path / "layer") as archive:
        assert archive.getnames() == ["etc", "etc/passwd", "bin", "usr"]


def test_two_packages_with_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="two packages of one layer hold usr/a"):
        write_layer(tmp_path / "layer", [(make_member("usr/a"), b""), (make_member("usr/a"), b"")])


def test_image_layout(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "layer", [], [LayerEntry(path="a", content=b"1")])
    write_image(tmp_path / "image", [layer], arch="arm64", environment={"PATH": "/bin"}, labels={"name": "n"})
    blobs = tmp_path / "image" / "blobs" / "sha256"
    index = json.loads((tmp_path / "image" / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_text())
    config = json.loads((blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_text())
    assert manifest["layers"] == [
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": f"sha256:{layer.digest}",
            "size": layer.size,
        }
    ]
    assert (config["architecture"], config["config"]["Labels"], config["rootfs"]["diff_ids"]) == (
        "arm64",
        {"name": "n"},
        [f"sha256:{layer.digest}"],
    )
    assert "created" not in config


@pytest.mark.parametrize("name", ["data.tar.xz", "data.tar"])
def test_finds_files_and_stops_reading(tmp_path: Path, name: str) -> None:
    deb = make_deb(
        tmp_path / "a.deb",
        (make_member("./boot/vmlinuz"), b"kernel"),
        (make_member("./lib/modules/k/a.ko"), b"a"),
        (make_member("./lib/modules/../../../etc/passwd"), b"never read"),
        name=name,
    )
    wanted = {"boot/vmlinuz", "usr/lib/modules/k/a.ko"}
    assert find_members(deb, wanted.__contains__, most=2) == {"boot/vmlinuz": b"kernel", "usr/lib/modules/k/a.ko": b"a"}
    with pytest.raises(SourceError, match="points out of the package"):
        find_members(deb, wanted.__contains__, most=3)


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"no package at all"])
def test_finds_nothing_in_what_is_no_package(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.deb").write_bytes(content)
    with pytest.raises(SourceError, match="not a (readable )?Debian package"):
        find_members(tmp_path / "a.deb", lambda _: True, most=1)
