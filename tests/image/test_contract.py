"""What a good image holds: each thing that is missing or wrong is found under its own code."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.rpm import rpm_database
from fakes.samples import (
    DEPMOD_FILES,
    GOOD_ENTRIES,
    KERNEL,
    LABELS,
    PLACE,
    Sample,
    depmod_text,
    make_facts,
    make_program,
    read_sample_image,
)

from builder.image import contract as image_contract
from builder.image.contract import check_image
from builder.image.layout import LayerEntry
from builder.kmod.finding import Check

if TYPE_CHECKING:
    from pathlib import Path

    from builder.image.contents import ImageContents


@pytest.fixture(autouse=True)
def _pretend_depmod(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real depmod runs in tests/integration; here it makes what image_entries() puts into a good image."""
    monkeypatch.setattr(image_contract, "make_depmod_data", lambda *_: dict.fromkeys(DEPMOD_FILES, depmod_text()))


def _image_codes(image: ImageContents) -> set[str]:
    return {finding.check for finding in check_image(image, make_facts(), expected=["demo"], signers=())[1]}


def test_a_good_image_passes(tmp_path: Path) -> None:
    assert _image_codes(read_sample_image(tmp_path, [GOOD_ENTRIES])) == set()


def _without(path: str) -> list[LayerEntry]:
    assert any(entry.path == path for entry in GOOD_ENTRIES)
    return [entry for entry in GOOD_ENTRIES if entry.path != path]


def _instead(path: str, content: bytes, mode: int = 0o644) -> list[LayerEntry]:
    return [*_without(path), LayerEntry(path=path, content=content, mode=mode)]


_ROOT = f"opt/lib/modules/{KERNEL}"
_PEM = b"-----BEGIN PRIVATE KEY-----\n" + b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n" * 3
_PKCS8 = bytes.fromhex("308204bd020100300d06092a864886f70d0101010500048204a7")


_STATUS = b"Package: bash\nStatus: install ok installed\n\nPackage: linux-headers-6.1.0-56-amd64\n"


@pytest.mark.parametrize(
    ("check", "entries"),
    [
        (Check.MODULE_MISSING, _without(PLACE)),
        (Check.TOOL_MISSING, _without("usr/bin/cp")),
        (Check.TOOL_MISSING, [*_without("usr/bin/cp"), LayerEntry(path="sbin/cp", content=make_program(), mode=0o755)]),
        (Check.TOOL_CANNOT_RUN, _instead("usr/bin/busybox", make_program(machine=183), 0o755)),
        (Check.TOOL_CANNOT_RUN, _instead("usr/bin/busybox", make_program(interpreter="/lib64/ld.so"), 0o755)),
        (Check.TOOL_CANNOT_RUN, _instead("usr/bin/cp", b"#!/usr/bin/perl\n", 0o755)),
        (Check.TOOL_CANNOT_RUN, _instead("usr/bin/cp", b"#!/usr/bin/cp\n", 0o755)),
        (Check.TOOL_CANNOT_RUN, _instead("usr/bin/cp", b"", 0o755)),
        (Check.MODULE_IS_LINK, [*GOOD_ENTRIES, LayerEntry(path=f"{_ROOT}/extra/other.ko", link="demo.ko")]),
        (Check.MODULE_IS_LINK, [*GOOD_ENTRIES, LayerEntry(path=f"{_ROOT}/modules.softdep", link="/etc/softdep")]),
        (Check.WRONG_FOLDER, [*_without(PLACE), LayerEntry(path=PLACE.removeprefix("opt/"), content=Sample().write())]),
        (Check.FIRMWARE_MISSING, [*_instead(PLACE, Sample(modinfo=["license=GPL", "firmware=a"]).write()), LayerEntry(path="firmware/a")]),
        (Check.FIRMWARE_MISSING, [*_instead(PLACE, Sample(modinfo=["license=GPL", "firmware=a"]).write()), LayerEntry(path="firmware/a", link="/srv/a"), LayerEntry(path="srv/a", content=b"x")]),
        (Check.PACKAGES_UNREADABLE, [*GOOD_ENTRIES, LayerEntry(path="var/lib/dpkg/status", link="/srv/status"), LayerEntry(path="srv/status", content=_STATUS)]),
        (Check.PACKAGES_UNREADABLE, [*GOOD_ENTRIES, LayerEntry(path="var/lib/rpm", link="/srv"), LayerEntry(path="srv/rpmdb.sqlite", content=b"x")]),
        (Check.TOOL_MISSING, _instead("usr/bin/busybox", b"\x7fELF", 0o644)),
        (Check.DEPMOD_MISSING, _without(f"{_ROOT}/modules.dep.bin")),
        (Check.DEPMOD_DIFFERS, _instead(f"{_ROOT}/modules.dep", b"extra/old.ko:\n")),
        (Check.DEPMOD_DIFFERS, _instead(f"{_ROOT}/modules.alias.bin", b"\0")),
        (Check.LICENSES_FOLDER_EMPTY, _without("licenses/LICENSE")),
        (Check.LICENSES_FOLDER_EMPTY, _instead("licenses/LICENSE", b"")),
        (Check.FIRMWARE_MISSING, _instead(PLACE, Sample(modinfo=["license=GPL", "firmware=demo/a.bin"]).write())),
        (Check.PROHIBITED_PACKAGE, [*GOOD_ENTRIES, LayerEntry(path="var/lib/dpkg/status", content=_STATUS)]),
        (Check.PACKAGES_UNREADABLE, [*GOOD_ENTRIES, LayerEntry(path="var/lib/rpm/rpmdb.sqlite", content=b"nonsense" * 200)]),
        (Check.PACKAGES_UNREADABLE, [*GOOD_ENTRIES, LayerEntry(path="var/lib/rpm/Packages", content=b"bdb")]),
        (Check.PACKAGES_UNREADABLE, [*GOOD_ENTRIES, LayerEntry(path="var/lib/rpm/rpmdb.sqlite", content=rpm_database()), LayerEntry(path="var/lib/rpm/rpmdb.sqlite-wal", content=b"x")]),
        (Check.PROHIBITED_PACKAGE, [*GOOD_ENTRIES, LayerEntry(path="var/lib/rpm/rpmdb.sqlite", content=rpm_database("kernel-core")), LayerEntry(path="var/lib/rpm/rpmdb.sqlite-wal", content=b"")]),
        (Check.KERNEL_FILE, [*GOOD_ENTRIES, LayerEntry(path=f"lib/modules/{KERNEL}/vmlinuz", content=b"MZ")]),
        (Check.KERNEL_FILE, [*GOOD_ENTRIES, LayerEntry(path=f"usr/src/kernels/{KERNEL}/Makefile", content=b"x")]),
        (Check.SECRET_IN_LAYER, [*GOOD_ENTRIES, LayerEntry(path="etc/pki/sign.pem", content=_PEM)]),
        (Check.SECRET_IN_LAYER, [*GOOD_ENTRIES, LayerEntry(path="etc/pki/sign.der", content=b"prefix" + _PKCS8)]),
        (Check.SECRET_IN_LAYER, [*GOOD_ENTRIES, LayerEntry(path="usr/lib/big", content=b"\0" * (1 << 20) + b"\n" + _PEM)]),
        (Check.SECRET_IN_LAYER, [*GOOD_ENTRIES, LayerEntry(path="root/.netrc", content=b"machine x login y password z")]),
        (Check.SECRET_IN_LAYER, [*GOOD_ENTRIES, LayerEntry(path="root/config.json", content=json.dumps({"auths": {"quay.io": {"auth": "dXNlcjpwYXNzd29yZA=="}}}).encode())]),
    ],
)  # fmt: skip
def test_each_broken_image_has_its_code(check: Check, entries: list[LayerEntry], tmp_path: Path) -> None:
    assert _image_codes(read_sample_image(tmp_path, [entries])) == {check}


def test_an_image_without_modules_is_found(tmp_path: Path) -> None:
    image = read_sample_image(tmp_path, [_without(PLACE)])
    assert {item.check for item in check_image(image, make_facts(), expected=None, signers=())[1]} == {Check.NO_MODULES}


@pytest.mark.parametrize(("key", "value"), [("architecture", "arm64"), ("os", "windows"), ("architecture", None)])
def test_an_image_for_other_nodes_is_found(key: str, value: str | None, tmp_path: Path) -> None:
    image = read_sample_image(tmp_path, [GOOD_ENTRIES])
    assert _image_codes(replace(image, config={**image.config, key: value})) == {Check.WRONG_ARCHITECTURE}


def test_a_script_may_stand_for_a_tool(tmp_path: Path) -> None:
    entries = _instead("usr/bin/cp", b"#! /bin/sh -e\n", 0o755)
    assert _image_codes(read_sample_image(tmp_path, [entries])) == set()
    loader = [*GOOD_ENTRIES, LayerEntry(path="lib64/ld.so", content=make_program(), mode=0o755)]
    entries = [entry for entry in loader if entry.path != "usr/bin/busybox"]
    entries.append(LayerEntry(path="usr/bin/busybox", content=make_program(interpreter="/lib64/ld.so"), mode=0o755))
    assert _image_codes(read_sample_image(tmp_path / "b", [entries])) == set()
    entries = [*GOOD_ENTRIES, LayerEntry(path="lib64/ld.so", content=make_program(183), mode=0o755)]
    entries = [entry for entry in entries if entry.path != "usr/bin/busybox"]
    entries.append(LayerEntry(path="usr/bin/busybox", content=make_program(interpreter="/lib64/ld.so"), mode=0o755))
    assert _image_codes(read_sample_image(tmp_path / "c", [entries])) == {Check.TOOL_CANNOT_RUN}


@pytest.mark.parametrize(("user", "found"), [("", set()), ("0:0", set()), ("1001", {Check.UNREADABLE_BY_USER})])
def test_the_images_own_user_must_read_modules(user: str, found: set[Check], tmp_path: Path) -> None:
    image = read_sample_image(tmp_path, [_instead(PLACE, Sample().write(), 0o640)])
    settings = {**image.config["config"], "User": user}
    assert _image_codes(replace(image, config={**image.config, "config": settings})) == found


def test_the_images_own_user_must_exist(tmp_path: Path) -> None:
    users = b"root:x:0:0::/:\nnobody:x:65534:65534::/:\nadmin:x:0:0::/:\nbroken\n"
    image = read_sample_image(
        tmp_path, [[*_instead(PLACE, Sample().write(), 0o640), LayerEntry(path="etc/passwd", content=users)]]
    )

    def sentences(user: str) -> list[str]:
        settings = {**image.config["config"], "User": user}
        named = replace(image, config={**image.config, "config": settings})
        findings = check_image(named, make_facts(), expected=["demo"], signers=())[1]
        assert {item.check for item in findings} <= {Check.UNREADABLE_BY_USER}
        return [item.sentence for item in findings]

    assert sentences("admin") == []
    assert ["its mode is 0640" in item for item in sentences("nobody")] == [True]
    assert "does not know" in sentences("stranger:stranger")[0]


_AWAY = LayerEntry(path=f"{_ROOT}/extra", link="/srv")


@pytest.mark.parametrize(
    "top",
    [
        [_AWAY],
        [LayerEntry(path=f"{_ROOT}/extra", content=b"")],
        [LayerEntry(path="opt/lib", link="/srv")],
        [LayerEntry(path="opt/lib/.wh..wh..opq", content=b"")],
        [LayerEntry(path=f"{_ROOT}/.wh.extra", content=b"")],
        [LayerEntry(path="opt/lib/.wh.modules", content=b""), LayerEntry(path="srv/x", content=b"")],
    ],
)
def test_modules_that_a_higher_layer_hides_are_not_there(top: list[LayerEntry], tmp_path: Path) -> None:
    assert Check.MODULE_MISSING in _image_codes(read_sample_image(tmp_path, [GOOD_ENTRIES, top]))


def test_files_whose_place_depends_on_the_engine_are_found(tmp_path: Path) -> None:
    through = [LayerEntry(path="bin/extra", content=b"x")]  # /bin is a link below
    assert Check.LAYERS_AMBIGUOUS in _image_codes(read_sample_image(tmp_path, [GOOD_ENTRIES, through]))


@pytest.mark.parametrize(("target", "found"), [(f"/lib/modules/{KERNEL}", set()), ("/srv", {Check.MODULE_IS_LINK})])
def test_a_folder_that_modprobe_looks_into_is_the_nodes_own(target: str, found: set[Check], tmp_path: Path) -> None:
    entries = _instead(f"{_ROOT}/modules.dep", depmod_text() + b"host/kernel/x.ko:\n")
    image = read_sample_image(tmp_path, [[*entries, LayerEntry(path=f"{_ROOT}/host", link=target)]])
    assert _image_codes(image) - {Check.DEPMOD_DIFFERS} == found


def test_firmware_that_is_there_is_found(tmp_path: Path) -> None:
    entries = _instead(PLACE, Sample(modinfo=["license=GPL", "firmware=demo/a.bin"]).write())
    entries.append(LayerEntry(path="firmware/demo/a.bin", content=b"x"))
    assert _image_codes(read_sample_image(tmp_path, [entries])) == set()


@pytest.mark.parametrize("label", sorted(LABELS))
def test_each_label_is_demanded(label: str, tmp_path: Path) -> None:
    labels = {name: value for name, value in LABELS.items() if name != label}
    assert _image_codes(read_sample_image(tmp_path, [GOOD_ENTRIES], labels)) == {Check.LABEL_MISSING}


def test_labels_must_name_the_kernel(tmp_path: Path) -> None:
    assert _image_codes(read_sample_image(tmp_path, [GOOD_ENTRIES], LABELS | {"release": "6.1.0-1-amd64"})) == {
        Check.WRONG_LABEL
    }


def test_layers_and_settings(tmp_path: Path) -> None:
    many = [GOOD_ENTRIES, *([LayerEntry(path=f"tmp/{number}", content=b"x")] for number in range(40))]
    assert _image_codes(read_sample_image(tmp_path, many)) == {Check.TOO_MANY_LAYERS}
    secret = {"PATH": "/bin", "REGISTRY_TOKEN": "abc"}
    assert _image_codes(read_sample_image(tmp_path / "b", [GOOD_ENTRIES], LABELS, secret)) == {Check.SECRET_IN_SETTINGS}


def test_a_secret_that_a_later_layer_deletes_is_still_in_the_image(tmp_path: Path) -> None:
    image = read_sample_image(
        tmp_path,
        [GOOD_ENTRIES, [LayerEntry(path="key.pem", content=_PEM)], [LayerEntry(path=".wh.key.pem", content=b"")]],
    )
    assert image.find("key.pem") is None
    assert _image_codes(image) == {Check.SECRET_IN_LAYER}
