"""What KMM, certification and good manners demand of a kmod image; facts, not opinions, each with its source.

KMM's worker runs ``sh``, ``mkdir`` and ``cp`` of the image and ``modprobe -d /opt`` on the node. openshift-preflight
checks labels, ``/licenses``, layers (at most 40) and packages (policy "container"). The kernel's own packages are Red
Hat's to ship.
"""

from __future__ import annotations

import fnmatch
import re
import sqlite3
import struct
from typing import TYPE_CHECKING

from builder.depmod import INPUTS, check_depmod_data, make_depmod_data
from builder.errors import FormatError
from builder.finding import Check, Finding
from builder.fit import check_modules, check_signatures, place_modules
from builder.image_files import list_modules
from builder.leaks import find_setting_leaks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from builder.fit import ExpectedSigner, PlacedModule
    from builder.image_files import ImageContents
    from builder.kernel_facts import KernelFacts

MODULE_ROOT = "opt/lib/modules"
FIRMWARE_ROOTS = ("firmware", "lib/firmware")
_TOOLS = ("sh", "mkdir", "cp")
_SEARCH_PATH = ("usr/bin", "bin", "usr/sbin", "sbin", "usr/local/bin")
REQUIRED_LABELS = ("name", "vendor", "version", "release", "summary", "description", "maintainer")
_MOST_LAYERS = 40
# openshift-preflight, check HasNoProhibitedPackages, the newer names of the same packages, and Debian's.
_PROHIBITED = (
    "grub", "grub2", "grub2-*", "kernel", "kernel-core", "kernel-debug*", "kernel-devel*", "kernel-doc",
    "kernel-modules*", "kernel-tools*", "kernel-rt*", "kernel-64k*", "kmod-kvdo", "linux-firmware*", "kpatch*",
    "linux-image-*", "linux-headers-*", "firmware-linux*", "firmware-misc-*", "grub-*",
)  # fmt: skip
_KERNEL_FILES = re.compile(
    r"boot/vmlinuz.*|(usr/)?lib/modules/[^/]+/(vmlinuz|kernel/.*)|usr/src/kernels/.*|usr/src/linux-headers-.*"
)
_RPMTAG_NAME = 1000


def check_image(
    image: ImageContents,
    kernel: KernelFacts,
    *,
    expected: Iterable[str] | None,
    signers: Sequence[ExpectedSigner] | None,
    compiled_for: str = "",
) -> tuple[list[PlacedModule], list[Finding]]:
    """Check a final image as it would be pulled; returns its modules and what is wrong.

    Args:
        image: the image.
        kernel: the kernel that it is for.
        expected: names of the modules that must be there; None where that is not known.
        signers: who must have signed; empty where nobody may have, None to leave signatures alone.
        compiled_for: see ``fit.check_modules``.

    Raises:
        CommandError: depmod could not be run.
    """
    files = [(file.path, file.content or b"") for file in list_modules(image)]
    modules, findings = place_modules(files)
    findings += check_modules(modules, kernel, expected=expected, compiled_for=compiled_for)
    if signers is not None:
        findings += check_signatures(modules, signers)
    findings += _check_firmware(modules, image)
    findings += _check_depmod(modules, image, kernel.kernel.raw)
    findings += _check_settings(image, kernel.kernel.raw)
    findings += _check_packages(image)
    findings += _check_leaks(image)
    return modules, findings


def _check_firmware(modules: Iterable[PlacedModule], image: ImageContents) -> Iterator[Finding]:
    for module in modules:
        for name in module.object.modinfo.get("firmware", ()):
            places = [f"{root}/{name}{suffix}" for root in FIRMWARE_ROOTS for suffix in ("", ".xz", ".zst")]
            if not any(image.find(place) for place in places):
                sentence = f"it asks for firmware {name}, which is not in the image at /{FIRMWARE_ROOTS[0]}/{name}"
                yield Finding(check=Check.FIRMWARE_MISSING, subject=module.path, sentence=sentence)


def _check_depmod(modules: Sequence[PlacedModule], image: ImageContents, kernel_version: str) -> list[Finding]:
    folder = f"{MODULE_ROOT}/{kernel_version}"
    prefix = f"{folder}/"
    ours = {module.path.removeprefix(prefix): module.data for module in modules if module.path.startswith(prefix)}
    found = {
        file.path.removeprefix(prefix): file.content
        for file in image.below(folder)
        if file.content is not None and file.path.startswith(f"{prefix}modules.")
    }
    inputs = {name: found.pop(name) for name in INPUTS if name in found}
    if not ours:
        return []
    return check_depmod_data(found, make_depmod_data(ours, inputs, kernel_version), folder)


def _check_settings(image: ImageContents, kernel_version: str) -> Iterator[Finding]:
    for tool in _TOOLS:
        file = next((file for folder in _SEARCH_PATH if (file := image.find(f"{folder}/{tool}"))), None)
        if file is None or not file.is_file or not file.mode & 0o111:
            yield Finding(check=Check.TOOL_MISSING, subject=tool, sentence="KMM's worker runs it in the image")
    labels = image.labels
    for label in REQUIRED_LABELS:
        if not labels.get(label, "").strip():
            yield Finding(check=Check.LABEL_MISSING, subject=label, sentence="certification demands this label")
    for label in ("release", "io.kmodsmith.kernel"):
        if labels.get(label, kernel_version) != kernel_version:
            sentence = f"it says {labels[label]}, but the image is for {kernel_version}"
            yield Finding(check=Check.WRONG_LABEL, subject=label, sentence=sentence)
    if not any(file.is_file and file.size for file in image.below("licenses")):
        yield Finding(
            check=Check.LICENSES_FOLDER_EMPTY, subject="/licenses", sentence="certification demands a licence there"
        )
    if len(image.layers) > _MOST_LAYERS:
        sentence = f"it has {len(image.layers)} layers; certification allows {_MOST_LAYERS}"
        yield Finding(check=Check.TOO_MANY_LAYERS, subject="layers", sentence=sentence)


def _check_packages(image: ImageContents) -> Iterator[Finding]:
    try:
        names = list(_list_packages(image))
    except (sqlite3.Error, FormatError) as error:
        sentence = f"what is installed cannot be told: {error}"
        yield Finding(check=Check.PACKAGES_UNREADABLE, subject="package database", sentence=sentence)
        names = []
    for name in sorted(set(names)):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _PROHIBITED):
            sentence = "it belongs to the kernel or the boot loader, which no driver image may contain"
            yield Finding(check=Check.PROHIBITED_PACKAGE, subject=name, sentence=sentence)
    kernel_files = sorted(path for path, file in image.files.items() if file.is_file and _KERNEL_FILES.fullmatch(path))
    if kernel_files:
        sentence = f"it belongs to the kernel, not to a driver ({len(kernel_files)} such files)"
        yield Finding(check=Check.KERNEL_FILE, subject=kernel_files[0], sentence=sentence)


def _list_packages(image: ImageContents) -> Iterator[str]:
    for file in [image.find("var/lib/dpkg/status"), *image.below("var/lib/dpkg/status.d")]:
        if file is not None and file.is_file:
            text = (file.content or b"").decode(errors="replace")
            yield from re.findall(r"^Package: (\S+)$", text, re.MULTILINE)
    for folder in ("var/lib/rpm", "usr/lib/sysimage/rpm"):
        database = image.find(f"{folder}/rpmdb.sqlite")
        if database is not None and database.content is not None:
            yield from read_rpm_names(database.content)
        elif image.find(f"{folder}/Packages") or image.find(f"{folder}/Packages.db"):
            raise FormatError("its RPM database is of a kind older than SQLite")


def read_rpm_names(database: bytes) -> list[str]:
    """Return the package names of an rpmdb.sqlite; the format of its headers is that of rpm's lib/header.c.

    Raises:
        sqlite3.Error: not a database of that form.
        FormatError: a header in it is damaged.
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(database)
        return [_read_rpm_name(blob) for (blob,) in connection.execute("SELECT blob FROM Packages")]
    finally:
        connection.close()


def _read_rpm_name(blob: object) -> str:
    if isinstance(blob, bytes) and len(blob) >= 8:  # noqa: PLR2004 - two counts
        entries, _ = struct.unpack_from(">II", blob)
        data = 8 + 16 * entries
        for number in range(min(entries, (len(blob) - 8) // 16)):
            tag, _, offset, _ = struct.unpack_from(">IIII", blob, 8 + 16 * number)
            if tag == _RPMTAG_NAME:
                return blob[data + offset : data + offset + 256].partition(b"\0")[0].decode(errors="backslashreplace")
    raise FormatError("a package header of it is damaged")


def _check_leaks(image: ImageContents) -> Iterator[Finding]:
    for layer in image.layers:
        for leak in layer.leaks:
            sentence = f"{leak.kind} in layer {layer.digest[:19]}, also if a later layer deletes it"
            yield Finding(check=Check.SECRET_IN_LAYER, subject=leak.path, sentence=sentence)
    for leak in find_setting_leaks(image.environment):
        yield Finding(check=Check.SECRET_IN_SETTINGS, subject=leak.path, sentence=f"{leak.kind} with a secret's name")
