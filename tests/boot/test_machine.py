"""Which firmware a guest gets, and with which words QEMU is started."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.guests import describe_firmware

from builder.boot.machine import Firmware, Guest, check_devices, emulator_of, find_firmware, make_command
from builder.errors import CommandError, HostError
from builder.kernel import Arch

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


def test_firmware_is_found_by_qemus_descriptors(tmp_path: Path) -> None:
    describe_firmware(
        tmp_path, "30-arm", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}], features=["secure-boot"]
    )
    describe_firmware(tmp_path, "60-right")
    describe_firmware(tmp_path, "70-later")
    found = find_firmware(Arch.X86_64, [tmp_path / "nowhere", tmp_path])
    assert found == Firmware(code=tmp_path / "60-right.code", variables=tmp_path / "60-right.vars", needs_smm=True)
    on_arm = find_firmware(Arch.AARCH64, [tmp_path])
    assert (on_arm.code.name, on_arm.needs_smm) == ("30-arm.code", False)


def _mapping(folder: Path, **changes: Any) -> dict[str, Any]:
    files = {
        "executable": {"filename": str(folder / "x.code"), "format": "raw"},
        "nvram-template": {"filename": str(folder / "x.vars"), "format": "raw"},
    }
    return {"mapping": {name: item | changes.get(name.partition("-")[0], {}) for name, item in files.items()}}


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ["acpi-s3"]},
        {"features": None},
        {"targets": [{"architecture": "aarch64", "machines": ["virt-*"]}]},
        {"targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*"]}]},
        {"targets": [{"architecture": "x86_64", "machines": [5]}]},
        {"targets": {"architecture": "x86_64"}},
        {"mapping": {"device": "memory", "filename": "/x"}},
        {"mapping": "text"},
        {"executable": {"format": "qcow2"}},
        {"executable": {"filename": "/nowhere"}},
        {"executable": {"filename": 5}},
        {"nvram": {"filename": "/nowhere"}},
        {"nvram": {"filename": "/dev"}},
        {"nvram": {"filename": "x\0"}},
    ],
    ids=str,
)
def test_firmware_of_another_kind_is_passed_over(tmp_path: Path, changes: dict[str, Any]) -> None:
    is_of_mapping = changes.keys() <= {"executable", "nvram"}
    describe_firmware(tmp_path, "x", **(_mapping(tmp_path, **changes) if is_of_mapping else changes))
    with pytest.raises(HostError, match="no UEFI firmware with Secure Boot for x86_64") as caught:
        find_firmware(Arch.X86_64, [tmp_path])
    assert "--mode plain" in (caught.value.hint or "")


@pytest.mark.parametrize("content", ["", "no JSON", "[]", "5", "null", '{"a":' * 100_000], ids=range(6))
def test_what_is_no_descriptor_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "10-text.json").write_text(content)
    describe_firmware(tmp_path, "20-right")
    assert find_firmware(Arch.X86_64, [tmp_path]).code.name == "20-right.code"


def test_a_template_without_a_store_of_variables_is_none(tmp_path: Path) -> None:
    describe_firmware(tmp_path, "x")
    (tmp_path / "x.vars").write_bytes(bytes(8192))
    with pytest.raises(HostError, match="no UEFI firmware"):
        find_firmware(Arch.X86_64, [tmp_path])


def test_a_descriptor_of_the_administrators_takes_the_place_of_its_namesake(tmp_path: Path) -> None:
    own, packaged = tmp_path / "etc", tmp_path / "usr"
    own.mkdir()
    packaged.mkdir()
    describe_firmware(packaged, "40-first")
    describe_firmware(packaged, "60-second")
    describe_firmware(own, "50-own")
    assert find_firmware(Arch.X86_64, [own, packaged]).code == packaged / "40-first.code"
    describe_firmware(own, "40-first")
    assert find_firmware(Arch.X86_64, [own, packaged]).code == own / "40-first.code"
    (own / "40-first.json").write_text("")
    assert find_firmware(Arch.X86_64, [own, packaged]).code == own / "50-own.code", "an empty one hides the other"
    (own / "40-first.json").unlink()
    (own / "40-first.json").symlink_to("/dev/null")
    assert find_firmware(Arch.X86_64, [own, packaged]).code == own / "50-own.code"


def _guest(tmp_path: Path, **changes: Any) -> Guest:
    guest = Guest(
        arch=Arch.X86_64, vmlinuz=tmp_path / "vmlinuz", initramfs=tmp_path / "initramfs", memory_mib=300, cpus=2,
        arguments=["panic=-1"],
    )  # fmt: skip
    return replace(guest, **changes)


def test_a_guest_gets_nothing_of_the_host(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("qemu-system-x86_64")
    fake_tools.add("qemu-system-aarch64")
    firmware = Firmware(code=tmp_path / "code", variables=tmp_path / "vars", needs_smm=True)
    for guest in (
        _guest(tmp_path),
        _guest(tmp_path, arch=Arch.AARCH64),
        _guest(tmp_path, firmware=firmware, variables=tmp_path / "v"),
    ):
        argv = make_command(guest, "tcg").argv
        assert {"-nodefaults", "-no-user-config", "-sandbox", "-no-reboot"} <= set(argv)
        assert not {"-netdev", "-nic", "-virtfs", "-fsdev", "-hda", "-net", "-device"} & set(argv)
        drives = [argv[place + 1] for place, word in enumerate(argv) if word == "-drive"]
        assert all("readonly=on" in drive or "snapshot=on" in drive for drive in drives)


def _value(argv: tuple[str, ...], option: str) -> str:
    return argv[argv.index(option) + 1]


@pytest.mark.parametrize(
    ("arch", "acceleration", "cpu", "machine", "console"),
    [
        (Arch.X86_64, "kvm", "host", "q35,accel=kvm", "ttyS0"),
        (Arch.X86_64, "tcg", "max,la57=off", "q35,accel=tcg", "ttyS0"),
        (Arch.AARCH64, "kvm", "host", "virt,accel=kvm", "ttyAMA0"),
        (Arch.AARCH64, "tcg", "max,pauth-impdef=on", "virt,accel=tcg", "ttyAMA0"),
    ],
)
def test_a_guest_is_told_what_its_architecture_needs(
    fake_tools: FakeTools, tmp_path: Path, arch: Arch, acceleration: str, cpu: str, machine: str, console: str
) -> None:
    fake_tools.add(f"qemu-system-{arch}")
    argv = make_command(_guest(tmp_path, arch=arch), acceleration).argv
    assert (argv[0], _value(argv, "-cpu"), _value(argv, "-machine")) == (f"qemu-system-{arch}", cpu, machine)
    assert (_value(argv, "-m"), _value(argv, "-smp")) == ("300", "2")
    assert _value(argv, "-append") == f"console={console} panic=-1"
    assert (_value(argv, "-kernel"), _value(argv, "-initrd")) == (
        str(tmp_path / "vmlinuz"),
        str(tmp_path / "initramfs"),
    )


@pytest.mark.parametrize("needs_smm", [True, False])
def test_variables_are_kept_from_the_guest_only_where_the_firmware_needs_that(
    fake_tools: FakeTools, tmp_path: Path, *, needs_smm: bool
) -> None:
    fake_tools.add("qemu-system-x86_64")
    firmware = Firmware(code=tmp_path / "code", variables=tmp_path / "template", needs_smm=needs_smm)
    argv = make_command(_guest(tmp_path, firmware=firmware, variables=tmp_path / "vars"), "tcg").argv
    assert ("-global" in argv, "smm=on" in _value(argv, "-machine")) == (needs_smm, needs_smm)
    drives = [argv[place + 1] for place, word in enumerate(argv) if word == "-drive"]
    assert [drive.rpartition("file=")[2] for drive in drives] == [str(tmp_path / "code"), str(tmp_path / "vars")]
    assert ["unit=0" in drives[0], "unit=1" in drives[1]] == [True, True]


def test_a_comma_in_a_path_begins_no_option(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("qemu-system-x86_64")
    firmware = Firmware(code=tmp_path / "a,snapshot=off", variables=tmp_path, needs_smm=False)
    argv = make_command(_guest(tmp_path, firmware=firmware, variables=tmp_path / "b,readonly=off"), "tcg").argv
    drives = [re.split("(?<!,),(?!,)", argv[place + 1]) for place, word in enumerate(argv) if word == "-drive"]
    assert [drive[-1] for drive in drives] == [f"file={tmp_path}/a,,snapshot=off", f"file={tmp_path}/b,,readonly=off"]


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.AARCH64])
def test_a_guest_with_devices_has_a_monitor_that_it_inherits(fake_tools: FakeTools, tmp_path: Path, arch: Arch) -> None:
    fake_tools.add(f"qemu-system-{arch}")
    command = make_command(_guest(tmp_path, arch=arch, devices=("edu",)), "tcg", monitor=17)
    assert (_value(command.argv, "-chardev"), _value(command.argv, "-mon")) == (
        "socket,id=monitor,fd=17",
        "chardev=monitor,mode=control",
    )
    assert command.inherits == (17,)
    devices = [command.argv[place + 1] for place, word in enumerate(command.argv) if word == "-device"]
    assert devices == ["pcie-root-port,id=port-edu,chassis=1,slot=1", "driver=edu,id=edu,bus=port-edu"]
    alone = make_command(_guest(tmp_path, arch=arch, devices=("edu",)), "tcg")
    assert ("-mon" in alone.argv, alone.inherits) == (False, ())


def test_what_qemu_has_is_asked_of_it(fake_tools: FakeTools) -> None:
    fake_tools.add("qemu-system-x86_64", """echo 'name "pcie-root-port"'; echo 'name "edu", bus PCI'""")
    check_devices(Arch.X86_64, ["edu"])
    assert fake_tools.calls("qemu-system-x86_64") == [["-device", "help"]]
    with pytest.raises(HostError, match="has no device pci-testdev, which boot tests of x86_64 are to have"):
        check_devices(Arch.X86_64, ["edu", "pci-testdev"])
    fake_tools.add("qemu-system-x86_64", "echo broken >&2; exit 1")
    with pytest.raises(CommandError, match="broken"):
        check_devices(Arch.X86_64, ["edu"])


def test_other_architectures_and_missing_emulators(fake_tools: FakeTools) -> None:
    with pytest.raises(HostError, match="kernels of s390x cannot be booted here"):
        emulator_of(Arch.S390X)
    with pytest.raises(HostError, match="qemu-system-aarch64 is not installed") as caught:
        emulator_of(Arch.AARCH64)
    assert "doctor" in (caught.value.hint or "")
