"""Proof of fit: a good module and a good image pass, and each thing that is broken is found under its own code."""

from __future__ import annotations

import json
import sqlite3
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.samples import (
    DEPMOD_FILES,
    FACT_FILES,
    FLAGS,
    KERNEL,
    LABELS,
    SYMVERS,
    Sample,
    depmod_text,
    image_entries,
    make_facts,
    make_program,
    write_facts,
    write_sample_image,
)

from builder.errors import CellError, FailureClass, FormatError
from builder.image import contract as image_contract
from builder.image.contents import LayerCache, read_oci_layout
from builder.image.contract import check_image, read_rpm_names
from builder.image.depmod import check_depmod_data, read_index
from builder.image.layout import LayerEntry
from builder.image.leaks import find_leaks
from builder.kmod.finding import Check, Finding, raise_findings
from builder.kmod.fit import check_modules, place_modules
from builder.kmod.kernel_facts import evaluate_vermagic
from builder.kmod.packing import pack_module
from builder.sources.kernel_files import read_kernel_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.image.contents import ImageContents

REAL = Path(__file__).parents[1] / "data" / "modules" / "6.12.117+deb12-amd64"
PLACE = f"opt/lib/modules/{KERNEL}/extra/demo.ko"


def _codes(*modules: tuple[str, bytes], expected: Sequence[str] | None = None, **facts: Any) -> set[str]:
    placed, findings = place_modules(modules)
    findings += check_modules(placed, make_facts(**facts), expected=expected)
    return {finding.check for finding in findings}


def test_a_good_module_fits() -> None:
    assert _codes((PLACE, Sample().write()), expected=["demo"]) == set()


def test_real_modules_fit_their_kernel() -> None:
    kernel = "6.12.117+deb12-amd64"
    files = [(f"opt/lib/modules/{kernel}/extra/{file.name}", file.read_bytes()) for file in sorted(REAL.glob("*.ko"))]
    placed, findings = place_modules(files)
    facts = make_facts(kernel, (REAL / "Module.symvers").read_text())
    findings += check_modules(placed, facts, expected=["ptemplate_core", "ptemplate_char"])
    assert findings == []
    assert {finding.check for finding in check_modules(placed[:1], facts, expected=None)} == {
        Check.SYMBOL_MISSING,
        Check.DEPENDENCY_UNKNOWN,
    }


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        (Check.WRONG_CLASS, {"bits": 32}),
        (Check.WRONG_ENDIANNESS, {"order": ">"}),
        (Check.WRONG_MACHINE, {"machine": 183}),
        (Check.NOT_RELOCATABLE, {"kind": 3}),
        (Check.WRONG_KERNEL, {"kernel": "6.12.4+deb12-amd64"}),
        (Check.WRONG_VERMAGIC_FLAGS, {"flags": "SMP preempt_rt mod_unload modversions "}),
        (Check.WRONG_VERMAGIC_FLAGS, {"flags": "SMP preempt mod_unload "}),
        (Check.IN_TREE_FLAG, {"modinfo": ["license=GPL", "intree=Y"]}),
        (
            Check.SYMBOL_MISSING,
            {"imports": ["kfree", "absent_thing"], "versions": {"kfree": 0x11111111, "absent_thing": 1}},
        ),
        (Check.SYMBOL_WITHOUT_VERSION, {"versions": {"kfree": 0x11111111}}),
        (Check.WRONG_SYMBOL_VERSION, {"versions": {"kfree": 0x11111110, "_printk": 0x22222222}}),
        (Check.WRONG_SYMBOL_VERSION, {"versions": {"kfree": 0x11111111, "_printk": 0x22222222, "module_layout": 1}}),
        (Check.WRONG_SYMBOL_VERSION, {"versions": {"kfree": 0x01111111, "_printk": 0x22222222}, "extended": True}),
        (Check.NAMESPACE_NOT_IMPORTED, {"imports": ["space_thing"]}),
        (Check.NAMESPACE_NOT_IMPORTED, {"imports": ["for_some"], "name": "stranger"}),
        (Check.GPL_ONLY_SYMBOL, {"imports": ["gpl_thing"], "modinfo": ["license=Proprietary"]}),
        (Check.LICENSE_MISSING, {"modinfo": []}),
        (Check.DEPENDENCY_UNKNOWN, {"depends": "nowhere"}),
        (Check.DEPENDENCY_NOT_DECLARED, {"imports": ["usb_thing"]}),
    ],
)
def test_each_broken_thing_has_its_code(check: Check, changes: dict[str, Any]) -> None:
    name = changes.get("name", "demo")
    assert _codes((PLACE.replace("demo", name), Sample(**changes).write())) == {check}


@pytest.mark.parametrize(
    "changes",
    [
        {"imports": ["space_thing"], "modinfo": ["license=GPL", "import_ns=OTHER", "import_ns=SPACE"]},
        {"imports": ["for_some"]},
        {"imports": ["for_some"], "name": "other-thing"},
        {"imports": ["gpl_thing"], "modinfo": ["license=Dual BSD/GPL"]},
        {"imports": ["usb_thing"], "depends": "usbcore"},
        {"weak": ["absent_thing"]},
        {"modinfo": ["license=Proprietary"]},
    ],
)
def test_what_is_allowed_is_no_finding(changes: dict[str, Any]) -> None:
    name = changes.get("name", "demo")
    assert _codes((PLACE.replace("demo", name), Sample(**changes).write())) == set()


def test_files_that_are_no_modules() -> None:
    good = Sample().write()
    assert _codes((PLACE, good[: len(good) // 2])) == {Check.MODULE_UNREADABLE}
    assert _codes((PLACE, b"")) == {Check.MODULE_UNREADABLE}
    assert _codes((f"{PLACE}.xz", good)) == {Check.MODULE_UNREADABLE}
    assert _codes((PLACE, Sample(flags="").write().replace(b"vermagic=", b"vermagik="))) == {Check.VERMAGIC_MISSING}
    for compression in ("xz", "zst", "gz"):
        assert _codes((f"{PLACE}.{compression}", pack_module(good, compression))) == set()


def test_places_and_names() -> None:
    good = Sample().write()
    elsewhere = PLACE.replace(KERNEL, "6.12.4+deb12-amd64")
    assert _codes((elsewhere, good)) == {Check.WRONG_FOLDER}
    assert _codes((PLACE.removeprefix("opt/lib/modules/"), good)) == {Check.WRONG_FOLDER}
    assert _codes((PLACE, good), expected=["demo", "other"]) == {Check.MODULE_MISSING}
    assert _codes((PLACE, good), expected=[]) == {Check.MODULE_UNEXPECTED}
    assert _codes((PLACE.replace("demo", "renamed"), good), expected=["renamed"]) == set()
    assert _codes((PLACE, good), (f"{PLACE}.gz", pack_module(good, "gz"))) == {Check.MODULE_TWICE}


def test_modules_of_one_image_resolve_each_other() -> None:
    provider = Sample(name="base", exports={"base_call": 0xAB}).write()
    versions = {"base_call": 0xAB}
    user = Sample(imports=["base_call"], versions=versions, depends="base").write()
    base = PLACE.replace("demo", "base")
    assert _codes((PLACE, user), (base, provider)) == set()
    changed = Sample(name="base", exports={"base_call": 0xAC}).write()
    assert _codes((PLACE, user), (base, changed)) == {Check.WRONG_SYMBOL_VERSION}
    undeclared = Sample(imports=["base_call"], versions=versions).write()
    assert _codes((PLACE, undeclared), (base, provider)) == {Check.DEPENDENCY_NOT_DECLARED}
    assert _codes((PLACE, user)) == {Check.SYMBOL_MISSING, Check.DEPENDENCY_UNKNOWN}


def test_a_symbol_has_one_owner() -> None:
    """verify_exported_symbols() refuses a second one, whoever owns the first."""
    for name in ("gpl_thing", "usb_thing"):
        assert _codes((PLACE, Sample(exports={name: 1}).write())) == {Check.DUPLICATE_SYMBOL}
    replaced = Sample(name="usbcore", exports={"usb_thing": 0x44444444}).write()
    assert _codes((PLACE.replace("demo", "usbcore"), replaced)) == set()
    posing = Sample(name="vmlinux", exports={"gpl_thing": 0x33333333}).write()
    assert _codes((PLACE.replace("demo", "vmlinux"), posing)) == {Check.DUPLICATE_SYMBOL}
    two = [(PLACE.replace("demo", name), Sample(name=name, exports={"shared": 1}).write()) for name in ("one", "two")]
    assert _codes(*two) == {Check.DUPLICATE_SYMBOL}


def test_a_name_belongs_to_one_module() -> None:
    files = [(PLACE.replace("demo", name), Sample(name="same").write()) for name in ("one", "two")]
    assert _codes(*files) == {Check.MODULE_TWICE}
    assert _codes(files[0]) == set()
    placed, _ = place_modules([(PLACE, Sample(name="loop").write())])
    kernel = replace(make_facts(), built_in=frozenset({"loop"}))
    assert {item.check for item in check_modules(placed, kernel, expected=None)} == {Check.MODULE_BUILT_IN}


def test_a_kernel_without_symbol_versions_compares_none() -> None:
    flags = "SMP preempt mod_unload "
    module = Sample(flags=flags, versions={}).write()
    assert _codes((PLACE, module), flags=flags) == set()


def test_a_reused_module_needs_symbol_versions() -> None:
    older = "6.12.4+deb12-amd64"
    placed, _ = place_modules([(PLACE, Sample(kernel=older).write())])
    assert check_modules(placed, make_facts(), expected=None, compiled_for=older) == []
    flags = "SMP preempt mod_unload "
    placed, _ = place_modules([(PLACE, Sample(kernel=older, flags=flags, versions={}).write())])
    findings = check_modules(placed, make_facts(flags=flags), expected=None, compiled_for=older)
    assert [finding.check for finding in findings] == [Check.WRONG_KERNEL]


def test_one_flipped_bit_of_a_crc_is_found() -> None:
    good = Sample().write()
    place = good.index(struct.pack("<Q", 0x11111111))
    for byte in range(4):
        broken = bytearray(good)
        broken[place + byte] ^= 1
        assert _codes((PLACE, bytes(broken))) == {Check.WRONG_SYMBOL_VERSION}


# The image.


@pytest.fixture(autouse=True)
def _pretend_depmod(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real depmod runs in tests/integration; here it makes what image_entries() puts into a good image."""
    monkeypatch.setattr(image_contract, "make_depmod_data", lambda *_: dict.fromkeys(DEPMOD_FILES, depmod_text()))


def _image(
    folder: Path,
    layers: Sequence[Sequence[LayerEntry]],
    labels: Mapping[str, str] = LABELS,
    environment: Mapping[str, str] | None = None,
) -> ImageContents:
    return read_oci_layout(write_sample_image(folder, layers, labels, environment), "test", LayerCache())


def _image_codes(image: ImageContents) -> set[str]:
    return {finding.check for finding in check_image(image, make_facts(), expected=["demo"], signers=())[1]}


GOOD = image_entries({"extra/demo.ko": Sample().write()})


def test_a_good_image_passes(tmp_path: Path) -> None:
    assert _image_codes(_image(tmp_path, [GOOD])) == set()


def _without(path: str) -> list[LayerEntry]:
    assert any(entry.path == path for entry in GOOD)
    return [entry for entry in GOOD if entry.path != path]


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
        (Check.MODULE_IS_LINK, [*GOOD, LayerEntry(path=f"{_ROOT}/extra/other.ko", link="demo.ko")]),
        (Check.MODULE_IS_LINK, [*GOOD, LayerEntry(path=f"{_ROOT}/modules.softdep", link="/etc/softdep")]),
        (Check.WRONG_FOLDER, [*_without(PLACE), LayerEntry(path=PLACE.removeprefix("opt/"), content=Sample().write())]),
        (Check.FIRMWARE_MISSING, [*_instead(PLACE, Sample(modinfo=["license=GPL", "firmware=a"]).write()), LayerEntry(path="firmware/a")]),
        (Check.FIRMWARE_MISSING, [*_instead(PLACE, Sample(modinfo=["license=GPL", "firmware=a"]).write()), LayerEntry(path="firmware/a", link="/srv/a"), LayerEntry(path="srv/a", content=b"x")]),
        (Check.PACKAGES_UNREADABLE, [*GOOD, LayerEntry(path="var/lib/dpkg/status", link="/srv/status"), LayerEntry(path="srv/status", content=_STATUS)]),
        (Check.PACKAGES_UNREADABLE, [*GOOD, LayerEntry(path="var/lib/rpm", link="/srv"), LayerEntry(path="srv/rpmdb.sqlite", content=b"x")]),
        (Check.TOOL_MISSING, _instead("usr/bin/busybox", b"\x7fELF", 0o644)),
        (Check.DEPMOD_MISSING, _without(f"{_ROOT}/modules.dep.bin")),
        (Check.DEPMOD_DIFFERS, _instead(f"{_ROOT}/modules.dep", b"extra/old.ko:\n")),
        (Check.DEPMOD_DIFFERS, _instead(f"{_ROOT}/modules.alias.bin", b"\0")),
        (Check.LICENSES_FOLDER_EMPTY, _without("licenses/LICENSE")),
        (Check.LICENSES_FOLDER_EMPTY, _instead("licenses/LICENSE", b"")),
        (Check.FIRMWARE_MISSING, _instead(PLACE, Sample(modinfo=["license=GPL", "firmware=demo/a.bin"]).write())),
        (Check.PROHIBITED_PACKAGE, [*GOOD, LayerEntry(path="var/lib/dpkg/status", content=_STATUS)]),
        (Check.PACKAGES_UNREADABLE, [*GOOD, LayerEntry(path="var/lib/rpm/rpmdb.sqlite", content=b"nonsense" * 200)]),
        (Check.PACKAGES_UNREADABLE, [*GOOD, LayerEntry(path="var/lib/rpm/Packages", content=b"bdb")]),
        (Check.KERNEL_FILE, [*GOOD, LayerEntry(path=f"lib/modules/{KERNEL}/vmlinuz", content=b"MZ")]),
        (Check.KERNEL_FILE, [*GOOD, LayerEntry(path=f"usr/src/kernels/{KERNEL}/Makefile", content=b"x")]),
        (Check.SECRET_IN_LAYER, [*GOOD, LayerEntry(path="etc/pki/sign.pem", content=_PEM)]),
        (Check.SECRET_IN_LAYER, [*GOOD, LayerEntry(path="etc/pki/sign.der", content=b"prefix" + _PKCS8)]),
        (Check.SECRET_IN_LAYER, [*GOOD, LayerEntry(path="usr/lib/big", content=b"\0" * (1 << 20) + b"\n" + _PEM)]),
        (Check.SECRET_IN_LAYER, [*GOOD, LayerEntry(path="root/.netrc", content=b"machine x login y password z")]),
        (Check.SECRET_IN_LAYER, [*GOOD, LayerEntry(path="root/config.json", content=json.dumps({"auths": {"quay.io": {"auth": "dXNlcjpwYXNzd29yZA=="}}}).encode())]),
    ],
)  # fmt: skip
def test_each_broken_image_has_its_code(check: Check, entries: list[LayerEntry], tmp_path: Path) -> None:
    assert _image_codes(_image(tmp_path, [entries])) == {check}


def test_an_image_without_modules_is_found(tmp_path: Path) -> None:
    image = _image(tmp_path, [_without(PLACE)])
    assert {item.check for item in check_image(image, make_facts(), expected=None, signers=())[1]} == {Check.NO_MODULES}


@pytest.mark.parametrize(("key", "value"), [("architecture", "arm64"), ("os", "windows"), ("architecture", None)])
def test_an_image_for_other_nodes_is_found(key: str, value: str | None, tmp_path: Path) -> None:
    image = _image(tmp_path, [GOOD])
    assert _image_codes(replace(image, config={**image.config, key: value})) == {Check.WRONG_ARCHITECTURE}


def test_a_script_may_stand_for_a_tool(tmp_path: Path) -> None:
    entries = _instead("usr/bin/cp", b"#! /bin/sh -e\n", 0o755)
    assert _image_codes(_image(tmp_path, [entries])) == set()
    loader = [*GOOD, LayerEntry(path="lib64/ld.so", content=make_program(), mode=0o755)]
    entries = [entry for entry in loader if entry.path != "usr/bin/busybox"]
    entries.append(LayerEntry(path="usr/bin/busybox", content=make_program(interpreter="/lib64/ld.so"), mode=0o755))
    assert _image_codes(_image(tmp_path / "b", [entries])) == set()
    entries = [*GOOD, LayerEntry(path="lib64/ld.so", content=make_program(183), mode=0o755)]
    entries = [entry for entry in entries if entry.path != "usr/bin/busybox"]
    entries.append(LayerEntry(path="usr/bin/busybox", content=make_program(interpreter="/lib64/ld.so"), mode=0o755))
    assert _image_codes(_image(tmp_path / "c", [entries])) == {Check.TOOL_CANNOT_RUN}


@pytest.mark.parametrize(("user", "found"), [("", set()), ("0:0", set()), ("1001", {Check.UNREADABLE_BY_USER})])
def test_the_images_own_user_must_read_modules(user: str, found: set[Check], tmp_path: Path) -> None:
    image = _image(tmp_path, [_instead(PLACE, Sample().write(), 0o640)])
    settings = {**image.config["config"], "User": user}
    assert _image_codes(replace(image, config={**image.config, "config": settings})) == found


def test_the_images_own_user_must_exist(tmp_path: Path) -> None:
    users = b"root:x:0:0::/:\nnobody:x:65534:65534::/:\nadmin:x:0:0::/:\nbroken\n"
    image = _image(
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
    assert Check.MODULE_MISSING in _image_codes(_image(tmp_path, [GOOD, top]))


def test_files_whose_place_depends_on_the_engine_are_found(tmp_path: Path) -> None:
    through = [LayerEntry(path="bin/extra", content=b"x")]  # /bin is a link below
    assert Check.LAYERS_AMBIGUOUS in _image_codes(_image(tmp_path, [GOOD, through]))


# modules.dep.bin as depmod (kmod 30) writes it for the two modules of tests/data/modules.
_REAL_INDEX = bytes.fromhex(
    "b007f4570002000120000099617200000000010000000065787472612f7074656d706c6174655f636861722e6b6f3a206578"
    "7472612f7074656d706c6174655f636f72652e6b6f00726500000000010000000165787472612f7074656d706c6174655f63"
    "6f72652e6b6f3a0074656d706c6174655f6300686fc000000c000000000000000000000000000000000000000000000000c0"
    "0000487070a000006c"
)


def _index(entries: Mapping[str, str]) -> bytes:
    """Write an index file of keys that begin with different letters."""
    first, last = min(entries)[0], max(entries)[0]
    nodes = {key[0]: key[1:].encode() + b"\0" + struct.pack(">II", 1, 0) + value.encode() + b"\0" for key, value in entries.items()}  # fmt: skip
    table, body, place = b"", b"", 12 + 2 + 4 * (ord(last) - ord(first) + 1)
    for number in range(ord(first), ord(last) + 1):
        node = nodes.get(chr(number), b"")
        table += struct.pack(">I", 0xC0000000 | (place + len(body)) if node else 0)
        body += node
    return struct.pack(">IIIBB", 0xB007F457, 0x00020001, 0x20000000 | 12, ord(first), ord(last)) + table + body


def test_an_index_of_depmod_is_read() -> None:
    assert read_index(_REAL_INDEX) == {
        b"ptemplate_core extra/ptemplate_core.ko:",
        b"ptemplate_char extra/ptemplate_char.ko: extra/ptemplate_core.ko",
    }
    assert read_index(_index({"demo": "extra/demo.ko:", "x": "y"})) == {b"demo extra/demo.ko:", b"x y"}
    circle = struct.pack(">III", 0xB007F457, 0x00020001, 0x20000000 | 12) + b"aa" + struct.pack(">I", 0x20000000 | 12)
    for wrong in (b"", b"no index", _REAL_INDEX[:-5], circle, _REAL_INDEX.replace(b"\0", b"x")):
        assert read_index(wrong) == set()


def test_data_that_covers_the_kernel_must_be_right_of_our_own_modules() -> None:
    text = b"extra/demo.ko:\nhost/kernel/x.ko:\n"
    made = {"modules.dep": b"extra/demo.ko:\n", "modules.dep.bin": _index({"demo": "extra/demo.ko:"})}
    good = {"modules.dep": text, "modules.dep.bin": _index({"demo": "extra/demo.ko:", "x": "host/kernel/x.ko:"})}

    def codes(found: Mapping[str, bytes]) -> list[str]:
        return [item.subject for item in check_depmod_data(found, made, "f") if item.check is Check.DEPMOD_DIFFERS]

    assert codes(good) == []
    assert codes(good | {"modules.dep.bin": _index({"demo": "extra/other.ko:"})}) == ["f/modules.dep.bin"]
    assert codes(good | {"modules.dep.bin": b""}) == ["f/modules.dep.bin"]
    node = b"emo\0" + struct.pack(">II", 2, 0) + b"extra/demo.ko:\0" + struct.pack(">I", 1) + b"/srv/demo.ko:\0"
    twice = struct.pack(">IIIBBI", 0xB007F457, 0x00020001, 0x20000000 | 12, 100, 100, 0xC0000000 | 18) + node
    assert codes(good | {"modules.dep.bin": twice}) == ["f/modules.dep.bin"], "the one of higher priority counts"
    assert codes(good | {"modules.dep": text + b"extra/demo.ko: host/kernel/x.ko\n"}) == ["f/modules.dep"]


@pytest.mark.parametrize(("target", "found"), [(f"/lib/modules/{KERNEL}", set()), ("/srv", {Check.MODULE_IS_LINK})])
def test_a_folder_that_modprobe_looks_into_is_the_nodes_own(target: str, found: set[Check], tmp_path: Path) -> None:
    entries = _instead(f"{_ROOT}/modules.dep", depmod_text() + b"host/kernel/x.ko:\n")
    image = _image(tmp_path, [[*entries, LayerEntry(path=f"{_ROOT}/host", link=target)]])
    assert _image_codes(image) - {Check.DEPMOD_DIFFERS} == found


def test_firmware_that_is_there_is_found(tmp_path: Path) -> None:
    entries = _instead(PLACE, Sample(modinfo=["license=GPL", "firmware=demo/a.bin"]).write())
    entries.append(LayerEntry(path="firmware/demo/a.bin", content=b"x"))
    assert _image_codes(_image(tmp_path, [entries])) == set()


@pytest.mark.parametrize("label", sorted(LABELS))
def test_each_label_is_demanded(label: str, tmp_path: Path) -> None:
    labels = {name: value for name, value in LABELS.items() if name != label}
    assert _image_codes(_image(tmp_path, [GOOD], labels)) == {Check.LABEL_MISSING}


def test_labels_must_name_the_kernel(tmp_path: Path) -> None:
    assert _image_codes(_image(tmp_path, [GOOD], LABELS | {"release": "6.1.0-1-amd64"})) == {Check.WRONG_LABEL}


def test_layers_and_settings(tmp_path: Path) -> None:
    many = [GOOD, *([LayerEntry(path=f"tmp/{number}", content=b"x")] for number in range(40))]
    assert _image_codes(_image(tmp_path, many)) == {Check.TOO_MANY_LAYERS}
    secret = {"PATH": "/bin", "REGISTRY_TOKEN": "abc"}
    assert _image_codes(_image(tmp_path / "b", [GOOD], LABELS, secret)) == {Check.SECRET_IN_SETTINGS}


def test_a_secret_that_a_later_layer_deletes_is_still_in_the_image(tmp_path: Path) -> None:
    image = _image(
        tmp_path, [GOOD, [LayerEntry(path="key.pem", content=_PEM)], [LayerEntry(path=".wh.key.pem", content=b"")]]
    )
    assert image.find("key.pem") is None
    assert _image_codes(image) == {Check.SECRET_IN_LAYER}


def test_whiteouts_and_links(tmp_path: Path) -> None:
    low = [
        *GOOD,
        LayerEntry(path="a/b/c", content=b"1"),
        LayerEntry(path="a/d", content=b"1"),
        LayerEntry(path="loop", link="loop"),
    ]
    high = [
        LayerEntry(path="a/.wh..wh..opq", content=b""),
        LayerEntry(path="a/e", content=b"2"),
        LayerEntry(path="up", link="../../usr"),
    ]
    image = _image(tmp_path, [low, high])
    assert [image.find(path) is None for path in ("a/b/c", "a/d", "a/e", "loop", "loop/x")] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert image.find("up/bin/sh") == image.find("bin/sh") == image.find("usr/bin/busybox")


def test_programs_that_read_keys_are_no_keys(tmp_path: Path) -> None:
    entries = [
        *GOOD,
        LayerEntry(path="usr/lib/libcrypto.so", content=b"\0-----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----\0"),
    ]
    assert _image_codes(_image(tmp_path, [entries])) == set()


@pytest.mark.parametrize(
    "unit",
    [
        b'"auths"',
        b'"auths": {"a": {',
        b"-----BEGIN ",
        b"-----BEGIN A PRIVATE KEY-----\n",
        b"\x30\x82\0\0\2\1\0\2\x82\0\0",
        b"AKIAABCDEFGHIJKLMNOP",
    ],
)
def test_no_file_makes_the_search_for_secrets_crawl(unit: bytes) -> None:
    assert find_leaks(unit * ((1 << 20) // len(unit)), "x") == []


@pytest.mark.parametrize("what", ["index", "layer", "config", "outside"])
def test_damaged_images_are_refused(what: str, tmp_path: Path) -> None:
    layers = [GOOD] if what != "outside" else [[LayerEntry(path="../../etc/passwd", content=b"x")]]
    layout = write_sample_image(tmp_path, layers)
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
    parts = json.loads((layout / "blobs/sha256" / manifest).read_text())
    blobs = {"layer": parts["layers"][0]["digest"], "config": parts["config"]["digest"]}
    if what == "index":
        (layout / "index.json").write_text("{}")
    elif what in blobs:
        blob = layout / "blobs/sha256" / blobs[what].removeprefix("sha256:")
        blob.write_bytes(blob.read_bytes()[:-600] + b"\1" * 600)
    words = {
        "index": "exactly one image",
        "layer": "another digest",
        "config": "another digest",
        "outside": "points out of the image",
    }
    with pytest.raises(FormatError, match=words[what]):
        read_oci_layout(layout, "test", LayerCache())


def test_rpm_database() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    for name in (b"bash", b"kernel-core"):
        header = struct.pack(">II", 2, 64) + struct.pack(">IIII", 63, 7, 0, 16) + struct.pack(">IIII", 1000, 6, 16, 1)
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (header + b"\0" * 16 + name + b"\0",))
    connection.execute("INSERT INTO Packages (blob) VALUES (?)", (b"xx",))
    connection.commit()
    with pytest.raises(FormatError, match="damaged"):
        read_rpm_names(connection.serialize())
    connection.execute("DELETE FROM Packages WHERE blob = ?", (b"xx",))
    connection.commit()
    assert read_rpm_names(connection.serialize()) == ["bash", "kernel-core"]


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
        read_rpm_names(connection.serialize())


# What is told.


def test_every_check_has_a_test() -> None:
    text = Path(__file__).read_text() + Path(__file__).parents[1].joinpath("signing", "test_modules.py").read_text()
    assert [check.name for check in Check if f"Check.{check.name}" not in text] == []


def test_every_check_is_documented() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "proof-and-signing.md").read_text()
    assert [check for check in Check if f"`{check}`" not in page] == []


def test_the_first_check_names_the_failure() -> None:
    findings = [
        Finding(check=Check.TOO_MANY_LAYERS, subject="layers", sentence="too many"),
        Finding(check=Check.SYMBOL_MISSING, subject="a.ko", sentence="it needs x"),
    ]
    with pytest.raises(CellError) as caught:
        raise_findings(findings)
    assert (caught.value.failure.failure_class, caught.value.failure.code) == (
        FailureClass.UNRESOLVED_SYMBOL,
        "symbol-missing",
    )
    assert caught.value.hint == "1 more: too-many-layers: layers: too many"
    raise_findings([])


# The kernel's side.


def test_facts_from_a_folder(tmp_path: Path) -> None:
    write_facts(tmp_path)
    facts = read_kernel_facts(tmp_path, make_facts().kernel)
    assert facts.vermagic == f"{KERNEL} {FLAGS}"
    assert "usbcore" in facts.in_tree
    (tmp_path / "modules.builtin").write_text("kernel/drivers/gpio/gpio-lib.ko\n")
    assert "gpio_lib" in read_kernel_facts(tmp_path, make_facts().kernel).in_tree
    with pytest.raises(FormatError, match="belongs to kernel"):
        read_kernel_facts(tmp_path, make_facts("6.1.0-1-amd64").kernel)
    (tmp_path / "Module.symvers").write_text(SYMVERS + "garbage\n")
    with pytest.raises(FormatError, match=r"Module.symvers: line 8"):
        read_kernel_facts(tmp_path, make_facts().kernel)
    (tmp_path / "vermagic.h").unlink()
    with pytest.raises(FormatError, match="vermagic.h cannot be read|Module.symvers"):
        read_kernel_facts(tmp_path, make_facts().kernel)


def test_vermagic_is_evaluated_as_a_preprocessor_would() -> None:
    header = '#ifndef X\n#define P "preempt_rt "\n#elif defined(CONFIG_A)\n#define P "a "\n#else\n#define P "none "\n#endif\n'
    header += '#if defined(CONFIG_A)\n# define Q "q "\n#else\n# define Q ""\n#endif\n#define VERMAGIC_STRING "1 " P Q\n'
    assert evaluate_vermagic([header], frozenset()) == "1 preempt_rt "
    assert evaluate_vermagic([header], frozenset({"X", "CONFIG_A"})) == "1 a q "
    assert evaluate_vermagic([header], frozenset({"X"})) == "1 none "
    with pytest.raises(FormatError, match="do not define"):
        evaluate_vermagic([FACT_FILES["arch-vermagic.h"]], frozenset())
    with pytest.raises(FormatError, match="in a circle"):
        evaluate_vermagic(["#define VERMAGIC_STRING A\n#define A VERMAGIC_STRING\n"], frozenset())
