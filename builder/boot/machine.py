"""QEMU machines: which firmware there is, and the command line of a guest."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.boot.devices import missing_devices, qemu_words
from builder.errors import FormatError, HostError
from builder.foreign import read_json
from builder.host.places import open_regular
from builder.host.run import Command, find_tool, run
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIRMWARE_FOLDERS = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
_LARGEST_DESCRIPTOR = 1024**2
_HELP_TIMEOUT_S = 30.0
# No guest is given a way to the host: QEMU may start nothing and gain nothing, whatever the guest makes of it.
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Emulator:
    """What differs between architectures; ``cpu`` is the model in software emulation."""

    program: str
    machine: str
    machine_pattern: str
    console: str
    cpu: str


_EMULATORS = {
    Arch.X86_64: _Emulator(
        program="qemu-system-x86_64", machine="q35", machine_pattern="pc-q35-99", console="ttyS0", cpu="max,la57=off"
    ),
    Arch.AARCH64: _Emulator(
        # The architected pointer authentication costs two thirds of the time in software emulation.
        program="qemu-system-aarch64", machine="virt", machine_pattern="virt-99", console="ttyAMA0",
        cpu="max,pauth-impdef=on",
    ),
}  # fmt: skip


# Switches from the console to QEMU's monitor, which sends every processor an NMI: a kernel told to panic on it says
# where it was, even in a loop with interrupts off.
ASK_WHERE = b"\x01cnmi\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """UEFI firmware with Secure Boot: its code, a template of its variables, and whether it needs SMM."""

    code: Path
    variables: Path
    needs_smm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A virtual machine to be started. ``variables`` are the firmware's, only with ``firmware``.

    ``devices`` are further ones of QEMU, each behind a port of its own.
    """

    arch: Arch
    vmlinuz: Path
    initramfs: Path
    memory_mib: int
    cpus: int
    arguments: Sequence[str]
    firmware: Firmware | None = None
    variables: Path | None = None
    devices: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStart:
    """How a guest starts: more words for QEMU, and the descriptors in them, which it inherits."""

    words: tuple[str, ...] = ()
    inherits: tuple[int, ...] = ()


FROM_RESET = GuestStart()


def emulator_of(arch: Arch) -> str:
    """Return the QEMU program for an architecture.

    Raises:
        HostError: boot tests of this architecture are not supported, or the program is not installed.
    """
    emulator = _EMULATORS.get(arch)
    if emulator is None:
        raise HostError(f"kernels of {arch} cannot be booted here: only {', '.join(_EMULATORS)} are supported")
    if find_tool(emulator.program) is None:
        raise HostError(
            f"{emulator.program} is not installed, and boots the kernels of {arch}",
            hint="'nox -s doctor -- --boot --install' installs what boot tests need",
        )
    return emulator.program


def check_devices(arch: Arch, names: Sequence[str]) -> None:
    """Look whether QEMU has devices for guests of an architecture.

    Raises:
        HostError: it lacks one, or does not say.
    """
    program = emulator_of(arch)
    told = run(Command(argv=(program, "-device", "help"), timeout_s=_HELP_TIMEOUT_S)).check()
    if missing := missing_devices(told.stdout, names):
        raise HostError(
            f"{program} of this machine has no device {', '.join(missing)}, which boot tests of {arch} are to have",
            hint="take it out of the driver's boot.devices in versions.yaml, or install a QEMU that has it",
        )


def find_firmware(arch: Arch, folders: Sequence[Path] = FIRMWARE_FOLDERS) -> Firmware:
    """Return firmware with Secure Boot, as QEMU's own descriptors name it (docs/interop/firmware.json).

    Raises:
        HostError: none is installed.
    """
    emulator = _EMULATORS[arch]
    for file in _descriptors(folders):
        if (firmware := _read_descriptor(file, arch, emulator.machine_pattern)) is not None:
            return firmware
    raise HostError(
        f"no UEFI firmware with Secure Boot for {arch} is installed",
        hint="'nox -s doctor -- --boot --install' installs it; or boot without Secure Boot: --mode plain",
    )


def _descriptors(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield descriptors by name; of one name only that of the first folder, which may be empty to hide the others."""
    by_name = {file.name: file for folder in reversed(folders) for file in folder.glob("*.json")}
    for _, file in sorted(by_name.items()):
        yield file


def _read_descriptor(file: Path, arch: Arch, machine: str) -> Firmware | None:
    try:
        with open_regular(file, most=_LARGEST_DESCRIPTOR) as stream:
            data = read_json(stream.read(_LARGEST_DESCRIPTOR), "it")
        mapping = data["mapping"]
        code, variables = mapping["executable"], mapping["nvram-template"]
        fits = (
            "secure-boot" in data["features"]
            and any(_is_target(target, arch, machine) for target in data["targets"])
            and code["format"] == variables["format"] == "raw"
        )
        firmware = Firmware(
            code=Path(code["filename"]), variables=Path(variables["filename"]),
            needs_smm="requires-smm" in data["features"],
        )  # fmt: skip
    except (OSError, FormatError, ValueError, KeyError, TypeError):
        return None  # other kinds of firmware have other descriptors
    is_there = firmware.code.is_file() and firmware.variables.is_file() and _has_content(firmware.variables)
    return firmware if fits and is_there else None


def _is_target(target: dict[str, Any], arch: Arch, machine: str) -> bool:
    return target["architecture"] == arch and any(fnmatchcase(machine, pattern) for pattern in target["machines"])


def _has_content(file: Path) -> bool:
    """Tell whether a template holds a store of variables: Debian's AAVMF_VARS.fd is 64 MiB of zeros."""
    with file.open("rb") as stream:
        return any(stream.read(4096))


def machine_of(arch: Arch, acceleration: str, *, needs_smm: bool) -> str:
    """Return QEMU's ``-machine``, which is what a probe has to try and a guest then gets."""
    return f"{_EMULATORS[arch].machine}{',smm=on' if needs_smm else ''},accel={acceleration}"


def make_command(
    guest: Guest, acceleration: str, *, monitor: int | None = None, start: GuestStart = FROM_RESET
) -> Command:
    """Return the command that runs a guest with its console on stdout: no network, no disk, no folder of the host.

    ``monitor`` is a descriptor, our end of which speaks to QEMU; it is inherited.
    """
    emulator = _EMULATORS[guest.arch]
    needs_smm = guest.firmware is not None and guest.firmware.needs_smm
    argv = [
        emulator_of(guest.arch), "-nodefaults", "-no-user-config", "-sandbox", _SANDBOX,
        "-machine", machine_of(guest.arch, acceleration, needs_smm=needs_smm),
        "-cpu", "host" if acceleration == "kvm" else emulator.cpu, "-smp", str(guest.cpus), "-m", str(guest.memory_mib),
        "-display", "none", "-serial", "mon:stdio", "-no-reboot",
        "-kernel", str(guest.vmlinuz), "-initrd", str(guest.initramfs),
        "-append", " ".join([f"console={emulator.console}", *guest.arguments]), *qemu_words(guest.devices),
    ]  # fmt: skip
    if monitor is not None:
        argv += ["-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"]
    if guest.firmware and guest.variables:
        if needs_smm:
            argv += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        argv += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={_escape(guest.firmware.code)}"]
        # The firmware writes into its variables; QEMU keeps that in a file that is gone when it ends.
        argv += ["-drive", f"if=pflash,format=raw,unit=1,snapshot=on,file={_escape(guest.variables)}"]
    inherits = start.inherits if monitor is None else (monitor, *start.inherits)
    return Command(argv=(*argv, *start.words), inherits=inherits)


def _escape(file: Path) -> str:
    """Return a path as one value of QEMU's option lists, in which a comma begins the next."""
    return str(file).replace(",", ",,")
