"""Each guess from what it is made of, and a question where nothing tells."""

from __future__ import annotations

import pytest

from builder.drivers.dkms import DkmsRecipe
from builder.init.guess import draft_driver, make_domain, make_slug
from builder.init.known import DriverDraft, Wish
from builder.init.look import SourceLook

_C = 'MODULE_LICENSE("GPL");\n'
_WISH = Wish(vendor="My Company")


def _draft(
    *,
    c: str = _C,
    names: tuple[str, ...] = (),
    words: dict[str, str] | None = None,
    folder: str = "drv",
    wish: Wish = _WISH,
    recipe: DkmsRecipe | None = None,
    built: dict[str, dict[str, tuple[str, ...]]] | None = None,
    kbuild: str = "obj-m := a.o",
) -> DriverDraft:
    look = SourceLook(
        folder_name=folder,
        names=("Kbuild", "a.c", *names),
        makefiles={"Kbuild": kbuild},
        c_files={"a.c": c},
        words=words or {},
        built=built or {},
    )
    return draft_driver(look, wish, recipe=recipe)


def _why(draft: DriverDraft, key: str) -> str:
    return next(guess.why for guess in draft.guesses if guess.key == key)


def _question(draft: DriverDraft, key: str) -> str:
    return next((question.text for question in draft.questions if question.key == key), "")


@pytest.mark.parametrize(
    ("folder", "name"), [("drv", "drv"), ("my_Drv-1.2", "my-drv"), ("drv-v2", "drv"), ("1.2", "1-2"), ("-", "driver")]
)
def test_names_from_folders(folder: str, name: str) -> None:
    draft = _draft(folder=folder)
    assert draft.name == name
    assert bool(_question(draft, "name")) is (folder == "-")


def test_a_name_that_is_given_or_in_dkms_conf() -> None:
    recipe = DkmsRecipe(name="jool-dkms", version="4", make=(), modules=())
    assert _draft(recipe=recipe).name == "jool"
    assert _draft(recipe=recipe, wish=Wish(vendor="V", name="mine")).name == "mine"


@pytest.mark.parametrize(
    ("more", "version", "why"),
    [
        ({"recipe": DkmsRecipe(name="d", version="9-1", make=(), modules=())}, "9-1", "PACKAGE_VERSION"),
        ({"words": {"VERSION": "2.0\n"}}, "2.0", "the file VERSION"),
        ({"c": f'{_C}MODULE_VERSION("3.1");'}, "3.1", "MODULE_VERSION in a.c:2"),
        ({"built": {"a": {"version": ("4.0",)}}}, "4.0", "modinfo"),
        ({"words": {"configure.ac": "AC_INIT([x], [5.1])"}}, "5.1", "AC_INIT"),
        ({"words": {"debian/changelog": "x (1:6.2-3) sid; y"}}, "6.2", "debian/changelog"),
        ({"folder": "drv-7.5-1"}, "7.5-1", "the name of the folder"),
    ],
)
def test_versions(more: dict[str, object], version: str, why: str) -> None:
    draft = _draft(**more)  # type: ignore[arg-type]
    assert draft.version == version
    assert why in _why(draft, "version")


@pytest.mark.parametrize("text", ["#MODULE_VERSION#", "1 2"[1:], "../x", "x" * 99, "$(git describe)"])
def test_a_version_that_no_tag_can_have_is_none(text: str) -> None:
    draft = _draft(words={"VERSION": text})
    assert draft.version == ("2" if text == " 2" else "0.1.0")
    assert bool(_question(draft, "version")) is (text != " 2")


def test_two_versions_are_none() -> None:
    assert _draft(c=f'{_C}MODULE_VERSION("1");MODULE_VERSION("2");').version == "0.1.0"


def test_domains() -> None:
    assert _draft().maintainer == "My Company <drivers@my-company.example>"
    assert _question(_draft(), "maintainer")
    mine = _draft(wish=Wish(vendor="My Company", domain="my.com"))
    assert (mine.maintainer, _question(mine, "maintainer")) == ("My Company <drivers@my.com>", "")
    assert make_domain(Wish(vendor="株式会社")) == "vendor.example"
    assert make_slug("Ä b__c!") == "b-c"


def test_images() -> None:
    assert _question(_draft(), "image")
    draft = _draft(wish=Wish(vendor="V", image="quay.io/v/d"))
    assert (draft.image, _question(draft, "image")) == ("quay.io/v/d", "")


def test_summaries() -> None:
    assert _draft(c=f'{_C}MODULE_DESCRIPTION("A card");').summary == "A card"
    assert _draft(built={"a": {"description": ("Of modinfo",)}}).summary == "Of modinfo"
    assert _question(_draft(), "summary")
    assert _draft().summary == "Kernel modules of drv"


@pytest.mark.parametrize(
    ("names", "c", "licenses", "text"),
    [
        (("COPYING", "x/LICENSE"), _C, ("COPYING",), ""),
        (("LICENSES/GPL-2.0", "debian/copyright"), _C, ("LICENSES/GPL-2.0",), ""),
        (("debian/copyright",), _C, ("debian/copyright",), ""),
        ((), _C, (), "GPL-2.0-only"),
        ((), f"// SPDX-License-Identifier: GPL-2.0 OR MIT\n{_C}", (), "GPL-2.0 OR MIT"),
        ((), 'MODULE_LICENSE("Proprietary");', (), ""),
        (("my LICENSE",), _C, (), "GPL-2.0-only"),
    ],
)
def test_licences(names: tuple[str, ...], c: str, licenses: tuple[str, ...], text: str) -> None:
    draft = _draft(names=names, c=c)
    assert (draft.licenses, draft.license_text) == (licenses, text)
    assert bool(_question(draft, "licenses")) is not bool(licenses)
    assert ("Proprietary" in _question(draft, "licenses")) is ("Proprietary" in c)


def test_firmware_that_is_there_elsewhere_or_nowhere() -> None:
    c = f'{_C}MODULE_FIRMWARE("acme/a.bin");MODULE_FIRMWARE("b.bin");MODULE_FIRMWARE("acme/c.bin");'
    draft = _draft(c=c, names=("firmware/acme/a.bin", "fw/c.bin"))
    assert draft.firmware == ("firmware/acme/a.bin",)
    asked = _question(draft, "firmware")
    assert "[acme/c.bin, b.bin]" in asked
    assert "[fw/c.bin] has such a name" in asked
    assert "is computed" in _question(_draft(c=f"{_C}MODULE_FIRMWARE(NAME);"), "firmware")


def test_hardware_and_devices_of_guests() -> None:
    draft = _draft(c=f"{_C}{{ PCI_DEVICE(0x1234, 0x11e8) }}")
    assert draft.devices == ("edu",)
    assert "pci 1234:11e8" in next(guess.value for guess in draft.guesses if guess.key == "(hardware)")
    alias = "usb:v1234p0001d*dc*dsc*dp*ic*isc*ip*in*"
    built = _draft(built={"a": {"alias": (alias, "pci:nonsense", "pci:v00001234d00000002sv*sd*bc*sc*i*")}})
    assert "[usb 1234:0001, pci 1234:0002]" in {guess.value for guess in built.guesses}
    assert built.devices == ()


def test_smoke_tests() -> None:
    assert _draft(names=("smoke.sh",)).smoke_test == "smoke.sh"
    assert _question(_draft(), "boot.smoke_test")


def test_what_may_refuse_to_be_loaded_is_asked_about() -> None:
    c = f"{_C}static int __init a(void) {{ return -ENODEV; }}"
    assert "a.c:2 can answer ENODEV" in _question(_draft(c=c), "boot.load")
    assert not _question(_draft(), "boot.load")


def test_several_modules_are_asked_about() -> None:
    assert "[a, b]" in _question(_draft(kbuild="obj-m := a.o b.o\nb-y := a.o"), "kmm.module")
    assert not _question(_draft(), "kmm.module")


def test_what_a_build_asks_of_the_machine_is_asked_about() -> None:
    assert "Kbuild:2 asks for pkg-config" in _question(
        _draft(kbuild="obj-m := a.o\nX=$(shell pkg-config x)"), "build_packages"
    )
    assert "configure" in _question(_draft(words={"configure": "#!/bin/sh"}), "make")


def test_notes_are_not_endless() -> None:
    recipe = DkmsRecipe(name="d", version="1", make=(), modules=(), notes=tuple(map(str, range(50))))
    notes = _draft(recipe=recipe).notes
    assert (len(notes), notes[-1]) == (21, "30 more that were passed over")
