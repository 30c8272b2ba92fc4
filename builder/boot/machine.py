"""QEMU machines: which firmware there is, whether hardware acceleration works, and the command line of a guest."""

from __future__ import annotations

import json
import os
import struct
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import HostError
from builder.kernel import Arch
from builder.run import Command, find_tool, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIRMWARE_FOLDERS = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
_KVM = Path("/dev/kvm")
_PROBE_TIMEOUT_S = 5.0
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
    """A virtual machine to be started. ``variables`` are the firmware's, only with ``firmware``."""

    arch: Arch
    vmlinuz: Path
    initramfs: Path
    memory_mib: int
    cpus: int
    arguments: Sequence[str]
    firmware: Firmware | None = None
    variables: Path | None = None


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


def find_firmware(arch: Arch, folders: Sequence[Path] = FIRMWARE_FOLDERS) -> Firmware:
    """Return firmware with Secure Boot, as QEMU's own descriptors name it (docs/interop/firmware.json).

    Raises:
        HostError: none is installed.
    """
    emulator = _EMULATORS[arch]
    for file in sorted(_descriptors(folders), key=lambda file: file.name):
        if (firmware := _read_descriptor(file, arch, emulator.machine_pattern)) is not None:
            return firmware
    raise HostError(
        f"no UEFI firmware with Secure Boot for {arch} is installed",
        hint="'nox -s doctor -- --boot --install' installs it; or boot without Secure Boot: --mode plain",
    )


def _descriptors(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from folder.glob("*.json")


def _read_descriptor(file: Path, arch: Arch, machine: str) -> Firmware | None:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
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
    except (OSError, ValueError, KeyError, TypeError):
        return None  # other kinds of firmware have other descriptors
    is_there = firmware.code.is_file() and firmware.variables.is_file() and _has_content(firmware.variables)
    return firmware if fits and is_there else None


def _is_target(target: dict[str, Any], arch: Arch, machine: str) -> bool:
    return target["architecture"] == arch and any(fnmatchcase(machine, pattern) for pattern in target["machines"])


def _has_content(file: Path) -> bool:
    """Tell whether a template holds a store of variables: Debian's AAVMF_VARS.fd is 64 MiB of zeros."""
    with file.open("rb") as stream:
        return any(stream.read(4096))


class Acceleration:
    """Chooses between KVM and software emulation: /dev/kvm can be there and not work, so a guest must answer first."""

    def __init__(self, wish: str = "auto", *, host: str | None = None) -> None:
        self._wish = wish
        self._host = host or os.uname().machine
        self._guard = threading.Lock()
        self._works: bool | None = None

    def choose(self, arch: Arch) -> str:
        """Return ``kvm`` or ``tcg`` for a guest.

        Raises:
            HostError: KVM was asked for and does not work for this guest.
        """
        if self._wish == "tcg":
            return "tcg"
        with self._guard:
            if self._works is None:
                self._works = arch == self._host and os.access(_KVM, os.R_OK | os.W_OK) and _answers(arch)
            works = self._works and arch == self._host
        if self._wish == "kvm" and not works:
            raise HostError(
                f"KVM does not work here for guests of {arch}: {_KVM} is missing, or a small guest gave no answer",
                hint="--accel auto uses software emulation then",
            )
        return "kvm" if works else "tcg"

    def distrust(self) -> None:
        """Use software emulation from now on: a guest did not come up with KVM."""
        with self._guard:
            self._works = False


def _answers(arch: Arch) -> bool:
    """Start a guest of a few instructions with the host's processor, and see whether it says what it should.

    x86: the reset vector writes to the debug exit port (QEMU ends with 2 * 21 + 1). aarch64: PSCI SYSTEM_OFF.
    """
    emulator = _EMULATORS[arch]
    answer, suffix = (43, "bios") if arch is Arch.X86_64 else (0, "kernel")
    probe = _X86_PROBE if arch is Arch.X86_64 else _AARCH64_PROBE
    extra = ("-device", "isa-debug-exit,iobase=0xf4,iosize=1") if arch is Arch.X86_64 else ()
    handle = os.memfd_create("probe", 0)
    try:
        os.write(handle, probe)
        argv = (
            emulator.program, "-nodefaults", "-no-user-config", "-machine", f"{emulator.machine},accel=kvm", "-cpu",
            "host", "-display", "none", *extra, f"-{suffix}", f"/proc/{os.getpid()}/fd/{handle}",
        )  # fmt: skip
        return run(Command(argv=argv, timeout_s=_PROBE_TIMEOUT_S)).exit_code == answer
    finally:
        os.close(handle)


# mov al, 21; out 0xf4, al; hlt - at the reset vector, 16 bytes before the end.
_X86_PROBE = b"\xf4" * (64 * 1024 - 16) + bytes.fromhex("b015e6f4f4") + b"\xf4" * 11
# movz w0, #8; movk w0, #0x8400, lsl #16; hvc #0; b .
_AARCH64_PROBE = struct.pack("<IIII", 0x52800100, 0x72B08000, 0xD4000002, 0x14000000)


def make_command(guest: Guest, acceleration: str) -> Command:
    """Return the command that runs a guest with its console on stdout: no network, no disk, no folder of the host."""
    emulator = _EMULATORS[guest.arch]
    smm = ",smm=on" if guest.firmware and guest.firmware.needs_smm else ""
    argv = [
        emulator_of(guest.arch), "-nodefaults", "-no-user-config", "-sandbox", _SANDBOX,
        "-machine", f"{emulator.machine}{smm},accel={acceleration}",
        "-cpu", "host" if acceleration == "kvm" else emulator.cpu, "-smp", str(guest.cpus), "-m", str(guest.memory_mib),
        "-display", "none", "-serial", "mon:stdio", "-no-reboot",
        "-kernel", str(guest.vmlinuz), "-initrd", str(guest.initramfs),
        "-append", " ".join([f"console={emulator.console}", *guest.arguments]),
    ]  # fmt: skip
    if guest.firmware and guest.variables:
        if guest.firmware.needs_smm:
            argv += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        argv += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={guest.firmware.code}"]
        # The firmware writes into its variables; QEMU keeps that in a file that is gone when it ends.
        argv += ["-drive", f"if=pflash,format=raw,unit=1,snapshot=on,file={guest.variables}"]
    return Command(argv=tuple(argv))
