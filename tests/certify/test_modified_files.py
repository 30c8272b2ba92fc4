"""What of a package a later layer may change: made by hand, with the conditions that preflight's source has."""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.rpm import Rpm, rpm_database

from builder.certify.modified_files import DATABASE, UNKNOWN, find_modified, find_platform, read_layers
from builder.errors import FormatError
from builder.image.overlay import ImageFile, Layer

if TYPE_CHECKING:
    from collections.abc import Iterable

_CP = "usr/bin/cp"
_OWNER = Rpm(name="coreutils", files=((f"/{_CP}", 0), ("/etc/cp.conf", 0), ("/usr/share/doc/cp", 2)))


def _layer(*files: ImageFile, hidden: Iterable[str] = ()) -> Layer:
    return Layer(
        digest="sha256:" + "a" * 64, files={file.path: file for file in (_FOLDER, *files)}, folders=frozenset(), implied=frozenset(),
        hidden=frozenset(hidden), opaque=frozenset(), leaks=(),
    )  # fmt: skip


_FOLDER = ImageFile(path="var/lib/rpm", mode=0o755, size=0, is_folder=True)


def _file(path: str = _CP, mode: int = 0o755, content: bytes | None = None) -> ImageFile:
    return ImageFile(path=path, mode=mode, size=1, is_file=True, content=content)


def _database(*packages: str | Rpm) -> ImageFile:
    return _file(DATABASE, 0o644, rpm_database(*packages))


_BASE = _layer(_database(_OWNER), _file(), _file("etc/cp.conf"), _file("usr/share/doc/cp"))


def _modified(*above: Layer, base: Layer = _BASE, platform: str = "el9") -> list[str]:
    return [path for _, path, _ in find_modified(read_layers([base, *above]), platform)]


def test_what_is_changed_without_rpm_is_found_with_its_layer() -> None:
    found = find_modified(read_layers([_BASE, _layer(_file("opt/a")), _layer(_file())]), "el9")
    assert found == [(2, _CP, "it is of coreutils-1.0-1.el9-x86_64, and was changed without RPM")]


def test_what_is_taken_away_counts_as_changed() -> None:
    assert _modified(_layer(hidden=[_CP])) == [_CP]


def test_a_link_in_place_of_a_file_counts_as_changed() -> None:
    assert _modified(_layer(ImageFile(path=_CP, mode=0o777, size=0, link="busybox"))) == [_CP]


@pytest.mark.parametrize(
    "above",
    [
        _layer(_file("opt/lib/modules/x.ko"), _file("licenses/LICENSE")),
        _layer(_file("etc/cp.conf")),  # a folder that anybody may write
        _layer(_file("usr/share/doc/cp")),  # documentation
        _layer(replace(_file(), has_capabilities=True)),
        _layer(_file(), ImageFile(path="usr/bin/copy", mode=0o755, size=1, is_file=True, twin_of=_CP)),
        _layer(_file(), ImageFile(path="usr/bin/copy", mode=0o777, size=0, link=f"/{_CP}")),
        _layer(ImageFile(path=_CP, mode=0o755, size=0, is_folder=True)),
        _layer(ImageFile(path=_CP, mode=0o755, size=0)),  # a device
    ],
)
def test_what_may_be_changed(above: Layer) -> None:
    assert _modified(above) == []


@pytest.mark.parametrize(("bit", "found"), [(stat.S_ISUID, []), (stat.S_ISGID, []), (stat.S_ISVTX, [_CP])])
def test_setuid_and_setgid_may_go(bit: int, found: list[str]) -> None:
    base = _layer(_database(_OWNER), _file(mode=0o755 | bit))
    assert _modified(_layer(_file("opt/a")), _layer(_file()), base=base) == found


@pytest.mark.parametrize(
    ("owner", "platform"),
    [
        (replace(_OWNER, vendor="Somebody"), "el9"),
        (replace(_OWNER, release="1.fc40"), "el9"),
        (_OWNER, "el10"),
    ],
)
def test_packages_of_others_may_be_changed(owner: Rpm, platform: str) -> None:
    assert _modified(_layer(_file()), base=_layer(_database(owner), _file()), platform=platform) == []


def test_of_an_unknown_platform_the_vendor_alone_decides() -> None:
    assert _modified(_layer(_file()), platform=UNKNOWN) == [_CP]


def test_an_update_by_rpm_is_no_change() -> None:
    assert _modified(_layer(_database(replace(_OWNER, version="1.1")), _file())) == []
    assert _modified(_layer(_database(_OWNER, Rpm(name="new", files=(("/opt/new", 0),))), _file("opt/new"))) == []
    assert _modified(_layer(_database(replace(_OWNER, installed=1_800_000_000)), _file())) == []


def test_an_update_to_another_distribution_or_architecture_is_one() -> None:
    assert _modified(_layer(_database(replace(_OWNER, release="2.fc40")), _file())) == [_CP]
    assert _modified(_layer(_database(replace(_OWNER, arch="i686")), _file())) == [_CP]


def test_with_a_database_of_its_own_a_layer_is_held_to_the_same() -> None:
    assert _modified(_layer(_database(_OWNER), _file())) == [_CP]


def test_of_two_architectures_the_first_keeps_a_file() -> None:
    pair = (Rpm(name="glibc", files=(("/usr/lib/x", 0),)), Rpm(name="glibc", arch="i686", files=(("/usr/lib/x", 0),)))
    (layer,) = read_layers([_layer(_database(*pair))])
    assert layer.owners == {"usr/lib/x": "glibc-1.0-1.el9-x86_64"}
    dashed = tuple(replace(item, name="glibc-common") for item in pair)  # preflight takes such a name apart wrongly
    (layer,) = read_layers([_layer(_database(*dashed))])
    assert layer.owners == {"usr/lib/x": "glibc-common-1.0-1.el9-i686"}


def test_the_first_layer_is_what_others_are_held_against() -> None:
    assert find_modified(read_layers([_layer(_file())]), "el9") == []


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (_layer(_file(DATABASE, content=b"nonsense" * 100)), "cannot be read"),
        (_layer(_file(DATABASE, content=None)), "larger"),
        (_layer(_file("var/lib/rpm/Packages")), "older than SQLite"),
    ],
)
def test_a_database_that_is_not_read_here_is_no_answer(layer: Layer, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_layers([_BASE, layer])


def test_a_database_in_a_folder_that_its_layer_does_not_name_is_not_seen() -> None:
    bare = replace(_BASE, files={path: file for path, file in _BASE.files.items() if path != _FOLDER.path})
    assert _modified(_layer(_file()), base=bare) == []
    above = _layer(_database(replace(_OWNER, version="1.1")), _file())
    assert _modified(above) == []
    bare = replace(above, files={path: file for path, file in above.files.items() if path != _FOLDER.path})
    assert _modified(bare) == [_CP]


def test_the_platform_is_that_of_os_release() -> None:
    assert find_platform(b'NAME="x"\nPLATFORM_ID="platform:el9"\n') == "el9"
    assert find_platform(b"PLATFORM_ID=platform:el9\n\xff") == UNKNOWN
