"""Decides what versions.yaml should say of a source: each guess with its reason, and each doubt as a question. Pure.

A guess is taken only from something that stands in the source. What nothing tells gets a value with which the first
build runs, and a question that names the key, so that nobody takes it for known.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.boot.devices import DEVICES
from builder.config.license_names import is_license_name
from builder.errors import FormatError
from builder.init.build_guess import guess_build
from builder.init.c_source import read_c, read_defines
from builder.init.known import DriverDraft, Known, Wish, file_stem, list_words
from builder.init.makefile import read_makefile
from builder.kmod.device_alias import PciAlias, UsbAlias, parse_device_alias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.drivers.dkms import DkmsRecipe
    from builder.init.c_source import Said
    from builder.init.look import SourceLook

_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.+~-]{0,61}[A-Za-z0-9])?")
_NUMBERED = re.compile(r"[A-Za-z0-9_.+-]*?[-_]v?(\d[A-Za-z0-9_.+~]*(?:-[A-Za-z0-9_.+~]+)*)")
_PATH = re.compile(r"[A-Za-z0-9_.+,@%=/-]+")
_OF_USER_SPACE = re.compile(r"\bpkg-config\b|\biptables\b|\bxtables\b|\bpython3?\b(?=\s+\S+\.py)")
_LONGEST_NAME = 39
_MOST_NOTES = 20
_MOST_LICENSES = 8
_SMOKE_TESTS = ("smoke-test.sh", "smoke_test.sh", "smoke.sh")
_SHOWN = 5
# How SPDX spells what MODULE_LICENSE says (include/linux/module.h, and Documentation/process/license-rules.rst).
_SPDX = {
    "GPL": "GPL-2.0-only", "GPL v2": "GPL-2.0-only", "GPL and additional rights": "GPL-2.0-only",
    "Dual BSD/GPL": "GPL-2.0-only OR BSD-2-Clause", "Dual MIT/GPL": "GPL-2.0-only OR MIT",
    "Dual MPL/GPL": "GPL-2.0-only OR MPL-1.1",
}  # fmt: skip


def draft_driver(
    look: SourceLook, wish: Wish, *, recipe: DkmsRecipe | None = None, dkms_problem: str = ""
) -> DriverDraft:
    """Draft a driver's entry.

    Args:
        look: at its source.
        wish: what the person said.
        recipe: what its dkms.conf says; None where there is none, or it cannot be used.
        dkms_problem: why it cannot; the end of a sentence about the file.
    """
    defines: dict[str, str] = {}
    for text in look.c_files.values():
        for macro, value in read_defines(text).items():
            defines.setdefault(macro, value)
    known = Known(
        look=look, recipe=recipe, dkms_problem=dkms_problem, wish=wish,
        facts={path: read_c(text, defines) for path, text in look.c_files.items()},
        makefiles={path: read_makefile(text, path) for path, text in look.makefiles.items()},
    )  # fmt: skip
    name, version = _name(known), _version(known)
    modules, make, dkms = guess_build(known)
    names = tuple(module.name for module in recipe.modules) if recipe else tuple(word.lstrip("?") for word in modules)
    licenses, license_text = _licenses(known)
    draft = DriverDraft(
        name=name, version=version, vendor=wish.vendor, modules=modules, make=make, dkms=dkms,
        image=_image(known, name), maintainer=_maintainer(known), summary=_summary(known, name, names),
        description=_description(wish, names), licenses=licenses, license_text=license_text,
        firmware=_firmware(known), smoke_test=_smoke_test(known), devices=_devices(known),
    )  # fmt: skip
    _ask_about_loading(known, names)
    _ask_about_packages(known)
    notes = [*(recipe.notes if recipe else ()), *look.passed_over]
    if len(notes) > _MOST_NOTES:
        notes = [*notes[:_MOST_NOTES], f"{len(notes) - _MOST_NOTES} more that were passed over"]
    return replace(draft, guesses=tuple(known.guesses), questions=tuple(known.questions), notes=tuple(notes))


def make_slug(text: str) -> str:
    """Return a text as the name of a driver or a host has to be; empty where nothing of it can stand there."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST_NAME].strip("-")


def make_domain(wish: Wish) -> str:
    """Return the domain that was given, or one that is nobody's: .example is kept free for that (RFC 2606)."""
    return wish.domain or f"{make_slug(wish.vendor) or 'vendor'}.example"


def _name(known: Known) -> str:
    if known.wish.name:
        return known.wish.name
    recipe = known.recipe
    if recipe and (name := make_slug(recipe.name.removesuffix("-dkms"))):
        return known.guess("name", name, "PACKAGE_NAME of dkms.conf")
    folder = known.look.folder_name
    name = make_slug(re.sub(r"[-_]v?\d.*$", "", folder)) or make_slug(folder)
    if name:
        return known.guess("name", name, f"the name of the folder, {folder}")
    return known.ask("name", "What is the driver called?", "driver")


def _version(known: Known) -> str:
    for value, why in _versions(known):
        if _VERSION.fullmatch(value):
            return known.guess("version", value, why)
    return known.ask("version", "Which version of the source is it? It is part of every image's tag.", "0.1.0")


def _versions(known: Known) -> Iterator[tuple[str, str]]:
    if known.recipe and known.recipe.version:
        yield known.recipe.version, "PACKAGE_VERSION of dkms.conf"
    text = known.look.words.get("VERSION", "")
    yield (text.split() or [""])[0], "the file VERSION"
    said = {item.text: f"MODULE_VERSION in {path}:{item.line}" for path, item in known.said("versions") if item.text}
    if len(said) == 1:
        yield from said.items()
    built = {value for modinfo in known.look.built.values() for value in modinfo.get("version", ())}
    if len(built) == 1:
        yield built.pop(), "modinfo of the modules that lie in the source"
    if match := re.search(
        r"AC_INIT\(\s*\[[^\]]{1,100}\]\s*,\s*\[([^\]]{1,63})\]", known.look.words.get("configure.ac", "")
    ):
        yield match[1], "AC_INIT of configure.ac"
    if match := re.match(
        r"\S{1,100} \((?:\d+:)?([^)\s]{1,63}?)(?:-[^-)\s]*)?\)", known.look.words.get("debian/changelog", "")
    ):
        yield match[1], "debian/changelog"
    if match := _NUMBERED.fullmatch(known.look.folder_name):
        yield match[1], f"the name of the folder, {known.look.folder_name}"


def _maintainer(known: Known) -> str:
    maintainer = f"{known.wish.vendor} <drivers@{make_domain(known.wish)}>"
    if known.wish.domain:
        return known.guess("maintainer", maintainer, "--vendor and --domain")
    text = "Which address answers for the images? Give --domain, or write it."
    return known.ask("maintainer", text, maintainer)


def _image(known: Known, name: str) -> str:
    if known.wish.image:
        return known.wish.image
    text = "Into which registry are images published? Until it is said, they stay in this machine's store."
    known.ask("image", text, f"localhost/{name}")
    return ""


def _summary(known: Known, driver: str, modules: Sequence[str]) -> str:
    stems = [name.replace("-", "_") for name in modules]
    said = [(path, item) for path, item in known.said("descriptions") if item.text]

    def rank(entry: tuple[str, Said]) -> tuple[int, str]:
        stem = file_stem(entry[0])
        return stems.index(stem) if stem in stems else len(stems), entry[0]

    for path, item in sorted(said, key=rank):
        return known.guess("summary", item.text[:200], f"MODULE_DESCRIPTION in {path}:{item.line}")
    for name, modinfo in known.look.built.items():
        for text in modinfo.get("description", ()):
            return known.guess("summary", " ".join(text.split())[:200], f"modinfo of {name}.ko")
    text = "What is it, in one line? It is a label of every image."
    return known.ask("summary", text, f"Kernel modules of {driver}")


def _description(wish: Wish, modules: Sequence[str]) -> str:
    if not modules:
        return f"Kernel modules of {wish.vendor}"
    listed = f"{', '.join(modules[:_SHOWN])}{' and others' if len(modules) > _SHOWN else ''}"
    return f"The kernel {'module' if len(modules) == 1 else 'modules'} {listed} of {wish.vendor}"


def _licenses(known: Known) -> tuple[tuple[str, ...], str]:
    """Return the files with licences, or what a file LICENSE would have to say."""
    for folder in ("", "LICENSES", "debian"):
        found = tuple(
            path for path in known.look.names
            if path.rpartition("/")[0] == folder and _PATH.fullmatch(path)
            and (is_license_name(path.rpartition("/")[2]) or folder == "LICENSES")
        )  # fmt: skip
        if found:
            known.guess("licenses", list_words(found), "what the files are called")
            return found[:_MOST_LICENSES], ""
    spdx = sorted({facts.spdx for facts in known.facts.values() if facts.spdx and facts.is_module})
    said = {item.text: f"MODULE_LICENSE in {path}:{item.line}" for path, item in known.said("licenses") if item.text}
    text = " AND ".join(f"({item})" if " OR " in item and len(spdx) > 1 else item for item in spdx)
    text = text or " AND ".join(sorted({_SPDX[word] for word in said if word in _SPDX}))
    why = "SPDX-License-Identifier of the files with MODULE_LICENSE" if spdx else "; ".join(said.values())[:200]
    if not text:
        heard = f" MODULE_LICENSE says {list_words(said)}." if said else ""
        known.ask("licenses", f"Which files hold the licence? Certification wants it in every image.{heard}", "nothing")
        return (), ""
    known.guess("licenses", "[LICENSE]", f"{why}: {text}")
    ask = "The source has no file with its licence. Is the identifier, which LICENSE gets, enough for your customers?"
    known.ask("licenses", ask, text)
    return (), text


def _firmware(known: Known) -> tuple[str, ...]:
    wanted = {item.text: f"{path}:{item.line}" for path, item in known.said("firmware")}
    for name, modinfo in known.look.built.items():
        wanted |= dict.fromkeys(modinfo.get("firmware", ()), f"modinfo of {name}.ko")
    if (place := wanted.pop("", "")) and not wanted:
        text = f"MODULE_FIRMWARE at {place} is computed. Which files of the source are firmware?"
        known.ask("firmware", text, "none")
    there = {name: path for path in known.look.names for name in (path, path.removeprefix("firmware/"))}
    found = tuple(sorted(there[name] for name in wanted if name in there and _PATH.fullmatch(there[name])))
    if found:
        known.guess("firmware", list_words(found), "MODULE_FIRMWARE names them, and they are in the source")
    if missing := sorted(name for name in wanted if name not in there):
        _ask_about_firmware(known, missing)
    return found


def _ask_about_firmware(known: Known, missing: Sequence[str]) -> None:
    ends = {name.rpartition("/")[2] for name in missing}
    lying = [path for path in known.look.names if path.rpartition("/")[2] in ends]
    where = f" {list_words(lying)} has such a name: put it under firmware/, as it is asked for." if lying else ""
    text = f"The driver asks for {list_words(missing)}, which is not where it asks for it.{where} Who brings it?"
    known.ask("firmware", text, "the node (linux-firmware)")


def _smoke_test(known: Known) -> str:
    for name in _SMOKE_TESTS:
        if name in known.look.names:
            return known.guess("boot.smoke_test", name, "what the file is called")
    text = "Which script of the source shows that the loaded driver works? Until then modules are loaded and unloaded."
    known.ask("boot.smoke_test", text, "none")
    return ""


def _devices(known: Known) -> tuple[str, ...]:
    """Say what hardware it is for, and return devices of QEMU that are among that."""
    found = dict.fromkeys(device for facts in known.facts.values() for device in facts.devices)
    for modinfo in known.look.built.values():
        for text in modinfo.get("alias", ())[:1000]:
            try:
                alias = parse_device_alias(text)
            except FormatError:
                continue
            if isinstance(alias, PciAlias) and alias.vendor and alias.device:
                found[f"pci {alias.vendor}:{alias.device}"] = None
            elif isinstance(alias, UsbAlias) and alias.vendor and alias.product:
                found[f"usb {alias.vendor}:{alias.product}"] = None
    buses = dict.fromkeys(bus for facts in known.facts.values() for bus in facts.buses)
    if found or buses:
        what = list_words(found) if found else f"of {list_words(buses)}"
        known.guess("(hardware)", what, "its tables of devices; 'emit nfd' reads those of built modules")
    mine = tuple(name for name, device in DEVICES.items() if f"pci {device.id}" in found)
    if mine:
        known.guess("boot.devices", list_words(mine), "a device that guests of boot tests can have is in its table")
    return mine


def _ask_about_loading(known: Known, modules: Sequence[str]) -> None:
    named = {name.replace("-", "_") for name in modules}
    refusing = [
        (path, item) for path, item in known.said("refusals")
        if file_stem(path) in named or len(named) == 1
    ]  # fmt: skip
    if refusing:
        path, item = refusing[0]
        text = f"{path}:{item.line} can answer {item.text} when it is loaded. Does it, where hardware is missing?"
        known.ask("boot.load", text, "it must load")
    if len(modules) > 1:
        text = f"Which of {list_words(modules)} does modprobe load, with what it depends on?"
        known.ask("kmm.module", text, modules[-1])


def _ask_about_packages(known: Known) -> None:
    """Ask for packages where a build asks the machine for libraries or headers of user space."""
    texts = {**known.look.makefiles, **known.look.words}
    for path, text in sorted(texts.items()):
        if match := _OF_USER_SPACE.search(text):
            place = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
            ask = f"{place} asks for {match[0]}. Which packages does the build need beside compiler and headers?"
            known.ask("build_packages", ask, "none")
            return
    if "configure" in known.look.words and known.recipe is None:
        known.ask("make", "There is a configure. With which options is it run before make?", "it is not run")
