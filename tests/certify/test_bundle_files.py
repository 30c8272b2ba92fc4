from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fakes.bundle import ANNOTATIONS_FILE, CSV_FILE, bundle_files, make_good_bundle
from fakes.samples import read_sample_image

from builder.certify.bundle_files import (
    MEDIATYPE_LABEL,
    is_bundle,
    make_bundle,
    need_whole,
    read_bundle_folder,
    read_bundle_of,
)
from builder.errors import FormatError, UsageError
from builder.image.layout import LayerEntry

if TYPE_CHECKING:
    from pathlib import Path


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_and_an_image_of_it_are_the_same_bundle(tmp_path: Path) -> None:
    files = bundle_files()
    folder = read_bundle_folder(_write(tmp_path / "bundle", files))
    entries = [LayerEntry(path=name, content=content) for name, content in files.items()]
    image = read_sample_image(tmp_path, [[*entries, LayerEntry(path="metadata/other.yaml", content=b"x")]])
    assert read_bundle_of(image) == folder
    assert (folder.problems, folder.unread, len(folder.objects)) == ((), (), 2)
    assert folder.packed_size > 1000


def test_an_image_is_a_bundle_by_its_label(tmp_path: Path) -> None:
    assert not is_bundle(read_sample_image(tmp_path / "a", [[]]))
    assert is_bundle(read_sample_image(tmp_path / "b", [[]], {MEDIATYPE_LABEL: "registry+v1"}))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("manifests/.hidden.yaml", b"a: 1", "is hidden"),
        ("manifests/x.yaml", b"- 1", "no object of Kubernetes"),
        ("manifests/x.yaml", b"", "no object of Kubernetes"),
        (ANNOTATIONS_FILE, b"", "is empty"),
        (ANNOTATIONS_FILE, None, "is missing"),
    ],
)
def test_what_preflight_cannot_load(name: str, content: bytes | None, words: str) -> None:
    assert words in make_good_bundle(more={name: content}).problems[0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("manifests/x.yaml", b"a: [", "manifests/x.yaml:"),
        ("manifests/x.yaml", b"a: &b 1\nc: *b", "anchors"),
        ("manifests/x.yaml", b"\xff", "not UTF-8"),
        ("manifests/x.yaml", b"a: " + b"x" * 1024**2, "larger"),
        (ANNOTATIONS_FILE, b"a: [", "metadata/annotations.yaml:"),
    ],
)
def test_what_is_not_read_here(name: str, content: bytes, words: str) -> None:
    assert words in make_good_bundle(more={name: content}).unread[0]


@pytest.mark.parametrize("content", [b"- 1", b"annotations: 5", b"other: {}"])
def test_annotations_of_another_kind_are_none(content: bytes) -> None:
    assert make_good_bundle(more={ANNOTATIONS_FILE: content}).annotations == {}


def test_what_lies_in_an_image_otherwise_is_told(tmp_path: Path) -> None:
    entries = [
        LayerEntry(path="manifests/a/b.yaml", content=b"a: 1"),
        LayerEntry(path="manifests/c.yaml", link="/nowhere"),
        LayerEntry(path="manifests/d.yaml", link="/srv/d.yaml"),
        LayerEntry(path="srv/d.yaml", content=b"a: 1"),
    ]
    bundle = read_bundle_of(read_sample_image(tmp_path, [entries]))
    assert "manifests/a/b.yaml lies in a folder" in bundle.problems[0]
    assert [text.split()[0] for text in bundle.unread] == ["manifests/c.yaml", "manifests/d.yaml"]


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no bundle"):
        read_bundle_folder(tmp_path)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    place = _write(tmp_path, bundle_files()) / CSV_FILE
    place.unlink()
    place.symlink_to("/etc/passwd") if kind == "link" else os.mkfifo(place)
    with pytest.raises(FormatError, match=r"demo\.clusterserviceversion\.yaml (cannot be read|is no regular file)"):
        need_whole(read_bundle_folder(tmp_path))


def test_a_folder_among_the_manifests_is_told(tmp_path: Path) -> None:
    (_write(tmp_path, bundle_files()) / "manifests" / "more").mkdir()
    assert "manifests/more is a folder" in read_bundle_folder(tmp_path).problems[0]


def test_a_folder_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.certify.bundle_files._MOST_FILES", 1)
    with pytest.raises(UsageError, match="a bundle has 1 at most"):
        read_bundle_folder(_write(tmp_path, bundle_files()))


def test_no_file_is_no_bundle() -> None:
    assert make_bundle({}, [], []).problems == (f"{ANNOTATIONS_FILE} is missing",)
