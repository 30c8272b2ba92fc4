"""What KMM, certification and good manners demand of a kmod image; facts, not opinions, each with its source.

KMM runs ``/bin/sh -c "mkdir -p ...; cp -R /opt/lib/modules/KERNEL ..."`` in the image, as the image's own user, and
``modprobe -d`` in its worker, with what was copied (internal/pod/workerpodmanager.go). openshift-preflight checks
labels, ``/licenses``, layers (at most 40) and packages (policy "container"). The kernel's own packages are Red Hat's to
ship.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.image.depmod import INPUTS, check_depmod_data, make_depmod_data
from builder.image.labels import KERNEL_LABEL, MODULE_ROOT
from builder.image.leaks import find_setting_leaks
from builder.image.rpm_database import read_rpm_packages
from builder.kmod.elf import read_program
from builder.kmod.finding import Check, Finding
from builder.kmod.fit import MACHINES, check_modules, check_signatures
from builder.kmod.packing import is_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from builder.image.contents import ImageContents
    from builder.image.overlay import ImageFile
    from builder.kernel import Arch
    from builder.kmod.fit import ExpectedSigner, PlacedModule
    from builder.kmod.kernel_facts import KernelFacts

FIRMWARE_ROOTS = ("firmware", "lib/firmware")
_SHELL = "/bin/sh"
_TOOLS = ("mkdir", "cp")
# Where engines search if an image has no PATH.
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_INTERPRETERS = 4
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
    expected = None if expected is None else tuple(expected)
    modules, unreadable = image.modules
    findings = [*unreadable]
    findings += check_modules(modules, kernel, expected=expected, compiled_for=compiled_for)
    if signers is not None:
        findings += check_signatures(modules, signers)
    if not modules and not expected:  # what is expected is told by its names
        sentence = "there is nothing that could be loaded"
        findings.append(Finding(check=Check.NO_MODULES, subject=f"/{MODULE_ROOT}", sentence=sentence))
    findings += _check_places(modules, image, kernel.kernel.raw)
    findings += _check_firmware(modules, image)
    findings += _check_depmod(modules, image, kernel.kernel.raw)
    findings += check_platform(image, kernel.kernel.arch)
    findings += _check_tools(image, kernel.kernel.arch)
    findings += _check_reader(modules, image)
    findings += check_certified(image)
    findings += _check_kernel_labels(image, kernel.kernel.raw)
    findings += check_packages(image)
    findings += check_leaks(image)
    return modules, findings


def _check_places(modules: Sequence[PlacedModule], image: ImageContents, kernel_version: str) -> Iterator[Finding]:
    """Check that what lies in an image is what ``cp -R`` copies out of it: it copies links as links."""
    folder = f"{MODULE_ROOT}/{kernel_version}"
    yield from check_layers(image)
    for module in modules:
        if not module.path.startswith(f"{folder}/") and f"/lib/modules/{kernel_version}/" in f"/{module.path}":
            sentence = f"it must lie below {folder}/, where modprobe looks"
            yield Finding(check=Check.WRONG_FOLDER, subject=module.path, sentence=sentence)
    listed = image.files.get(f"{folder}/modules.dep")
    paths = (listed.content or b"").decode(errors="backslashreplace") if listed else ""
    for file in [image.files.get(folder), *image.below(folder)]:
        # depmod is told of the kernel's own modules by a link, which on a node leads to those of the node.
        if file is None or not file.link or file.link == f"/lib/modules/{kernel_version}":
            continue
        name = file.path.removeprefix(f"{folder}/")
        is_used = is_module(name) or name.startswith("modules.") or f"{name}/" in paths or file.path == folder
        if is_used:
            sentence = f"it is a link to {file.link}, and copied as one, so on a node it may lead elsewhere"
            yield Finding(check=Check.MODULE_IS_LINK, subject=file.path, sentence=sentence)


def check_layers(image: ImageContents) -> Iterator[Finding]:
    """Check that every engine sees the same files."""
    for item in image.ambiguities:
        sentence = f"what a container sees there depends on the engine: {item.sentence}"
        yield Finding(check=Check.LAYERS_AMBIGUOUS, subject=item.path, sentence=sentence)


def check_platform(image: ImageContents, arch: Arch) -> Iterator[Finding]:
    """Check that nodes of an architecture pull the image."""
    for key, wanted in (("architecture", arch.oci), ("os", "linux")):
        if (found := image.config.get(key)) != wanted:
            sentence = f"it says {found!r}, and should say {wanted}: nodes do not pull it, or cannot run it"
            yield Finding(check=Check.WRONG_ARCHITECTURE, subject=f"configuration, {key}", sentence=sentence)


def _check_tools(image: ImageContents, arch: Arch) -> Iterator[Finding]:
    for tool in (_SHELL, *_TOOLS):
        yield from check_program(image, tool, arch, "KMM runs it in the image")


def check_program(image: ImageContents, name: str, arch: Arch, why: str) -> Iterator[Finding]:
    """Check that a program is there, and that a kernel of an architecture starts it; ``why`` begins the sentence."""
    file = find_program(image, name)
    if file is None:
        place = "" if name.startswith("/") else f" in {_search_path(image)}"
        yield Finding(check=Check.TOOL_MISSING, subject=name, sentence=f"{why}, and there is no such program{place}")
    elif problem := _why_not_runnable(image, file, arch):
        yield Finding(check=Check.TOOL_CANNOT_RUN, subject=name, sentence=f"/{file.path} {problem}")


def find_program(image: ImageContents, name: str) -> ImageFile | None:
    """Return the file that is started for a name: one of PATH, unless it holds a slash."""
    places = [name] if "/" in name else [f"{folder}/{name}" for folder in _search_path(image).split(":")]
    found = (file for place in places if (file := image.find(place)) and file.is_file and file.mode & 0o111)
    return next(found, None)


def _search_path(image: ImageContents) -> str:
    return next((word[5:] for word in reversed(image.environment) if word.startswith("PATH=")), _SEARCH_PATH)


def _why_not_runnable(image: ImageContents, file: ImageFile, arch: Arch) -> str:
    """Say why a kernel of an architecture does not start a program; empty if it would."""
    for _ in range(_MOST_INTERPRETERS):
        program = read_program(file.head)
        if program.machine and program.machine != MACHINES[arch]:
            return f"is for ELF machine {program.machine[1]}, and {arch} is {MACHINES[arch][1]}"
        if not program.machine and not program.interpreter:
            return "is no program that a kernel could start"
        if not program.interpreter:
            return ""
        needed = image.find(program.interpreter)
        if needed is None or not needed.is_file or not needed.mode & 0o111:
            return f"needs {program.interpreter}, which the image does not have"
        if program.machine:
            machine = read_program(needed.head).machine
            return "" if machine == MACHINES[arch] else f"needs {program.interpreter}, which is for another machine"
        file = needed
    return "is a script whose interpreter is a script, and so on"


def _check_reader(modules: Sequence[PlacedModule], image: ImageContents) -> Iterator[Finding]:
    """Check that the image's own user exists, and may read what is copied; root may read everything."""
    known = _read_users(image)
    if image.user and not image.user.isdecimal() and image.user not in known:
        sentence = f"containers run as {image.user} (USER), whom the image's /etc/passwd does not know: none starts"
        yield Finding(check=Check.UNREADABLE_BY_USER, subject="configuration, User", sentence=sentence)
    if known.get(image.user, image.user or "0") == "0":
        return
    paths = [module.path for module in modules] + [
        file.path for root in FIRMWARE_ROOTS[:1] for file in image.below(root)
    ]
    parents = {path[:place] for path in paths for place, letter in enumerate(path) if letter == "/"}
    for path in sorted({*paths, *parents}):
        file = image.files.get(path)
        wanted = 0o5 if file is not None and file.is_folder else 0o4
        if file is not None and not file.link and file.mode & wanted != wanted:
            sentence = f"its mode is {file.mode:04o}, and containers run as {image.user} (USER): KMM's copy would fail"
            yield Finding(check=Check.UNREADABLE_BY_USER, subject=file.path, sentence=sentence)


def _read_users(image: ImageContents) -> dict[str, str]:
    """Return the numbers of users by name (passwd(5)); root is known without."""
    file = image.find("etc/passwd")
    text = (file.content or b"").decode(errors="backslashreplace") if file else ""
    rows = (line.split(":") for line in text.splitlines())
    return {"root": "0"} | {row[0]: row[2] for row in rows if len(row) > 2}  # noqa: PLR2004 - name, password, number


def _check_firmware(modules: Iterable[PlacedModule], image: ImageContents) -> Iterator[Finding]:
    for module in modules:
        for name in module.object.modinfo.get("firmware", ()):
            places = [f"{root}/{name}{suffix}" for root in FIRMWARE_ROOTS for suffix in ("", ".xz", ".zst")]
            if not any(_is_copied(image, place) for place in places):
                sentence = f"it asks for firmware {name}, which is not in the image at /{FIRMWARE_ROOTS[0]}/{name}"
                yield Finding(check=Check.FIRMWARE_MISSING, subject=module.path, sentence=sentence)


def _is_copied(image: ImageContents, path: str) -> bool:
    """Tell whether a file is among what KMM copies: it is one, and links to it stay within the folder."""
    file = image.find(path)
    root = next(root for root in FIRMWARE_ROOTS if path.startswith(f"{root}/"))
    return file is not None and file.is_file and file.path.startswith(f"{root}/")


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


def _check_kernel_labels(image: ImageContents, kernel_version: str) -> Iterator[Finding]:
    labels = image.labels
    for label in ("release", KERNEL_LABEL):
        if labels.get(label, kernel_version) != kernel_version:
            sentence = f"it says {labels[label]}, but the image is for {kernel_version}"
            yield Finding(check=Check.WRONG_LABEL, subject=label, sentence=sentence)


def check_certified(image: ImageContents) -> Iterator[Finding]:
    """Check what certification demands of every image: labels, licences, the number of layers."""
    for label in REQUIRED_LABELS:
        if not image.labels.get(label, "").strip():
            yield Finding(check=Check.LABEL_MISSING, subject=label, sentence="certification demands this label")
    if not any(file.is_file and file.size for file in image.below("licenses")):
        yield Finding(
            check=Check.LICENSES_FOLDER_EMPTY, subject="/licenses", sentence="certification demands a licence there"
        )
    if len(image.layers) > _MOST_LAYERS:
        sentence = f"it has {len(image.layers)} layers; certification allows {_MOST_LAYERS}"
        yield Finding(check=Check.TOO_MANY_LAYERS, subject="layers", sentence=sentence)


def check_packages(image: ImageContents) -> Iterator[Finding]:
    """Check that nothing of the kernel or the boot loader is installed."""
    try:
        names = list(_list_packages(image))
    except FormatError as error:
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
    for place in ("var/lib/dpkg/status", *sorted(file.path for file in image.below("var/lib/dpkg/status.d"))):
        file = image.find(place)
        if file is not None and not file.is_folder:
            if file.content is None:
                raise FormatError(f"/{place} leads to /{file.path}, where no package database should be")
            text = file.content.decode(errors="replace")
            yield from re.findall(r"^Package: (\S+)$", text, re.MULTILINE)
    for folder in ("var/lib/rpm", "usr/lib/sysimage/rpm"):
        database = image.find(f"{folder}/rpmdb.sqlite")
        if database is not None and database.content is None:
            raise FormatError(f"/{folder}/rpmdb.sqlite leads to /{database.path}, where no package database should be")
        ahead = image.find(f"{folder}/rpmdb.sqlite-wal")
        if database is not None and ahead is not None and ahead.size:
            raise FormatError(
                f"/{ahead.path} holds changes that its database does not have: whoever installed was killed"
            )
        if database is not None and database.content is not None:
            yield from (package.name for package in read_rpm_packages(database.content))
        elif image.find(f"{folder}/Packages") or image.find(f"{folder}/Packages.db"):
            raise FormatError("its RPM database is of a kind older than SQLite")


def check_leaks(image: ImageContents) -> Iterator[Finding]:
    """Check that no layer and no setting holds a secret."""
    for layer in image.layers:
        for leak in layer.leaks:
            sentence = f"{leak.kind} in layer {layer.digest[:19]}, also if a later layer deletes it"
            yield Finding(check=Check.SECRET_IN_LAYER, subject=leak.path, sentence=sentence)
    for leak in find_setting_leaks(image.environment):
        yield Finding(check=Check.SECRET_IN_SETTINGS, subject=leak.path, sentence=f"{leak.kind} with a secret's name")
