"""Boot tests without guests: what goes into one, how it is started, and what is made of its end."""

from __future__ import annotations

import gzip
import json
import lzma
import struct
import threading
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.samples import Sample

from builder.boot import stage as stage_module
from builder.boot.acceleration import Acceleration, Choice, GuestKind
from builder.boot.bzimage import unpack_kernel
from builder.boot.confine import helper_limits, make_confine
from builder.boot.initramfs import GuestFile, write_initramfs
from builder.boot.kernel_image import BootKernel, unpacked_kernel
from builder.boot.load_order import ModuleFacts, ModuleIndex
from builder.boot.machine import Firmware, Guest, emulator_of, find_firmware, make_command
from builder.boot.secure_boot import GuestKeys, read_kernel_signers
from builder.boot.stage import Booter, BootReport, BootRequest
from builder.boot.verdict import BootCheck
from builder.config.model import BootTest
from builder.doctor.condition import State
from builder.doctor.examine import examine
from builder.errors import CellError, FormatError, HostError
from builder.evidence.journal import Journal
from builder.evidence.records import BootEvidence
from builder.kernel import Arch, parse_kernel_version
from builder.kmod.fit import place_modules
from builder.kmod.signature import split_signature

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.kernel import KernelVersion

_WORDS = [f"{number:016x}" for number in range(1000)]
_next_words = [iter(_WORDS)]
_KERNEL = parse_kernel_version("6.12.5+deb12-amd64")


def _read_initramfs(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Read "newc" as the kernel does (init/initramfs.c)."""
    files: dict[str, tuple[int, bytes]] = {}
    place = 0
    while True:
        assert data[place : place + 6] == b"070701"
        fields = [int(data[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[place + 110 : place + 110 + name_size - 1].decode()
        place += (110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return files
        files[name] = (mode, data[place : place + size])
        place += (size + 3) // 4 * 4


def test_an_initramfs_holds_files_and_their_folders() -> None:
    archive = write_initramfs(
        [GuestFile(path="lib/firmware/a/b.bin", content=b"12345"), GuestFile(path="init", content=b"#!", mode=0o755)]
    )
    files = _read_initramfs(archive)
    assert files["init"] == (0o100755, b"#!")
    assert files["lib/firmware/a/b.bin"] == (0o100644, b"12345")
    assert [name for name, (mode, _) in files.items() if mode == 0o040755] == ["lib", "lib/firmware", "lib/firmware/a"]
    assert list(files).index("lib") < list(files).index("lib/firmware/a/b.bin")


def _bzimage(payload: bytes, *, magic: bytes = b"HdrS", version: int = 0x20F) -> bytes:
    image = bytearray(0x400 + 512)
    image[0x1F1] = 1
    image[0x202:0x206] = magic
    struct.pack_into("<H", image, 0x206, version)
    struct.pack_into("<II", image, 0x248, 16, len(payload))
    place = 2 * 512 + 16
    return bytes(image[:place]).ljust(place, b"\0") + payload


_ELF = b"\x7fELF" + bytes(60)


@pytest.mark.parametrize(
    "payload", [lzma.compress(_ELF), gzip.compress(_ELF)], ids=["xz", "gzip"]
)  # zstd: every 6.12 kernel of the real tests
def test_a_kernel_is_taken_out_of_its_boot_image(payload: bytes) -> None:
    assert unpack_kernel(_bzimage(payload)) == _ELF


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (b"", "not a bzImage"),
        (_bzimage(lzma.compress(_ELF), magic=b"xxxx"), "not a bzImage"),
        (_bzimage(lzma.compress(_ELF), version=0x207), "not a bzImage"),
        (_bzimage(b"LZO?" + bytes(40)), "not known here"),
        (_bzimage(lzma.compress(b"text")), "no ELF kernel"),
        (_bzimage(lzma.compress(_ELF)[:-20] + bytes(20)), "damaged|no ELF"),
    ],
)
def test_what_is_no_boot_image(image: bytes, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        unpack_kernel(image)


def test_a_kernel_that_cannot_be_unpacked_is_started_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "vmlinuz"
    file.write_bytes(_bzimage(lzma.compress(_ELF)))
    kernel = BootKernel(kernel=_KERNEL, vmlinuz=file, settings=frozenset({"CONFIG_PVH"}), identity="x")
    assert unpacked_kernel(kernel).read_bytes() == _ELF
    assert unpacked_kernel(replace(kernel, settings=frozenset())) == file
    (tmp_path / "vmlinux").unlink()
    file.write_bytes(b"odd")
    assert unpacked_kernel(kernel) == file


@pytest.mark.parametrize(
    "image", [b"", b"MZ", b"not PE at all" * 20, b"MZ" + bytes(58) + struct.pack("<I", 64) + b"NE"]
)
def test_what_is_not_pe_is_not_signed(image: bytes) -> None:
    try:
        assert read_kernel_signers(image) == []
    except FormatError as error:
        assert "damaged" in error.message


def test_guest_keys_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    first, again = GuestKeys(tmp_path / "keys"), GuestKeys(tmp_path / "keys")
    assert first.stranger.certificate.fingerprint == again.stranger.certificate.fingerprint
    assert {file.stat().st_mode & 0o077 for file in (tmp_path / "keys").glob("*.pem")} == {0}
    module = Sample().write()
    signed = split_signature(first.stranger.sign_module(module))
    assert signed.content == module
    assert first.stranger.certificate.accepts(signed.signers[0].signature, signed.digest("sha256"), "sha256")


def _descriptor(folder: Path, name: str, **changes: Any) -> None:
    code, variables = folder / f"{name}.code", folder / f"{name}.vars"
    code.write_bytes(b"x")
    variables.write_bytes(b"x")
    data: dict[str, Any] = {
        "mapping": {
            "executable": {"filename": str(code), "format": "raw"},
            "nvram-template": {"filename": str(variables), "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["secure-boot", "requires-smm"],
    }
    (folder / f"{name}.json").write_text(json.dumps(data | changes))


def test_firmware_is_found_by_qemus_descriptors(tmp_path: Path) -> None:
    raw = {"filename": str(tmp_path / "zeros"), "format": "raw"}
    (tmp_path / "zeros").write_bytes(bytes(8192))
    (tmp_path / "10-text.json").write_text("no JSON")
    _descriptor(tmp_path, "20-plain", features=["acpi-s3"])
    _descriptor(tmp_path, "30-arm", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
    _descriptor(tmp_path, "40-empty", mapping={"executable": raw, "nvram-template": raw})
    _descriptor(tmp_path, "50-gone", mapping={"executable": raw, "nvram-template": raw | {"filename": "/nowhere"}})
    with pytest.raises(HostError, match="no UEFI firmware with Secure Boot for x86_64"):
        find_firmware(Arch.X86_64, [tmp_path])
    _descriptor(tmp_path, "60-right")
    assert find_firmware(Arch.X86_64, [tmp_path]).code.name == "60-right.code"
    assert find_firmware(Arch.AARCH64, [tmp_path]).code.name == "30-arm.code"


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
    assert "q35,smm=on,accel=tcg" in argv
    words = make_command(_guest(tmp_path), "kvm").argv
    assert words[words.index("-cpu") + 1] == "host"


def test_other_architectures_and_missing_emulators(fake_tools: FakeTools) -> None:
    with pytest.raises(HostError, match="kernels of s390x cannot be booted here"):
        emulator_of(Arch.S390X)
    with pytest.raises(HostError, match="qemu-system-aarch64 is not installed") as caught:
        emulator_of(Arch.AARCH64)
    assert "doctor" in (caught.value.hint or "")


_PLAIN = GuestKind(arch=Arch.X86_64, is_secure=False)
_SECURE = GuestKind(arch=Arch.X86_64, is_secure=True, needs_smm=True)
_ON_ARM = GuestKind(arch=Arch.AARCH64, is_secure=False)


@pytest.fixture
def kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/kvm that anybody may open, on a machine of which we know the processor; returns where that is written."""
    device, processors = tmp_path / "kvm", tmp_path / "cpuinfo"
    device.touch()
    processors.write_text("processor: 0\nmodel name\t: Fast One\n")
    monkeypatch.setattr("builder.boot.acceleration._KVM", device)
    monkeypatch.setattr("builder.boot.acceleration._CPUINFO", processors)
    monkeypatch.setattr("builder.boot.acceleration._PROBE_TIMEOUT_S", 0.3)
    return processors


@pytest.mark.parametrize(
    ("script", "chosen"),
    [("exit 43", "kvm"), ("exit 0", "tcg"), ("exit 134", "tcg"), ("sleep 30", "tcg")],
    ids=["answers", "answers-wrongly", "crashes", "hangs"],
)
@pytest.mark.usefixtures("kvm")
def test_kvm_must_answer_before_it_is_used(fake_tools: FakeTools, script: str, chosen: str) -> None:
    fake_tools.add("qemu-system-x86_64", script)
    acceleration = Acceleration(host="x86_64")
    assert acceleration.choose(_PLAIN).name == chosen
    if chosen == "kvm":
        acceleration.confirm(_PLAIN)
    assert acceleration.choose(_PLAIN) == Choice(name=chosen)
    assert len(fake_tools.calls("qemu-system-x86_64")) == 1
    assert acceleration.choose(_ON_ARM).name == "tcg"
    if chosen == "tcg":
        with pytest.raises(HostError, match="does not work here for guests of x86_64 without Secure Boot"):
            Acceleration("kvm", host="x86_64").choose(_PLAIN)


_NO_SMM = 'case "$*" in *smm=on*) echo "System Management Mode not supported" >&2; exit 1 ;; esac; exit 43'


@pytest.mark.usefixtures("kvm")
def test_the_probe_asks_for_what_the_guest_needs(fake_tools: FakeTools) -> None:
    """A small guest without SMM says nothing about Secure Boot, and the other way round."""
    fake_tools.add("qemu-system-x86_64", _NO_SMM)
    acceleration = Acceleration(host="x86_64")
    assert [acceleration.choose(kind).name for kind in (_SECURE, _PLAIN)] == ["tcg", "kvm"]
    with pytest.raises(HostError, match="with Secure Boot: System Management Mode not supported") as caught:
        Acceleration("kvm", host="x86_64").choose(_SECURE)
    assert "--accel auto" in (caught.value.hint or "")


@pytest.mark.usefixtures("kvm")
def test_emulation_that_is_asked_for_never_touches_kvm(fake_tools: FakeTools) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    assert Acceleration("tcg", host="x86_64").choose(_PLAIN) == Choice(name="tcg")
    assert fake_tools.calls("qemu-system-x86_64") == []


@pytest.mark.usefixtures("kvm")
def test_a_guest_of_a_foreign_architecture_decides_nothing(fake_tools: FakeTools) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    acceleration = Acceleration(host="x86_64")
    assert acceleration.choose(_ON_ARM) == Choice(name="tcg")
    acceleration.forget(_ON_ARM)
    assert acceleration.choose(_PLAIN).name == "kvm"
    with pytest.raises(HostError, match="guests of aarch64 without Secure Boot: this machine is x86_64"):
        Acceleration("kvm", host="x86_64").choose(_ON_ARM)


def test_what_did_not_work_is_told_once_and_remembered_for_this_machine(
    fake_tools: FakeTools, tmp_path: Path, kvm: Path
) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    memory = tmp_path / "boot" / "acceleration.json"
    said: list[str] = []

    def open_run(wish: str = "auto") -> Acceleration:
        return Acceleration(wish, memory=memory, say=said.append, host="x86_64")

    first = open_run()
    assert first.choose(_PLAIN).name == "kvm"
    first.distrust(_PLAIN, "said nothing")
    first.distrust(_PLAIN, "said nothing")
    assert first.choose(_PLAIN).name == "tcg"
    assert (len(said), "x86_64 without Secure Boot (said nothing)" in said[0]) == (1, True)
    calls = len(fake_tools.calls("qemu-system-x86_64"))
    assert [open_run().choose(kind).name for kind in (_PLAIN, _SECURE)] == ["tcg", "kvm"]
    probes = [call for call in fake_tools.calls("qemu-system-x86_64")[calls:] if "--version" not in call]
    assert len(probes) == 1, "what is remembered is not probed again"
    assert "remembered in" in open_run().look(_PLAIN)
    kvm.write_text("processor: 0\nmodel name\t: Another\n")
    assert open_run().choose(_PLAIN).name == "kvm"
    fake_tools.add("qemu-system-x86_64", 'case "$*" in *--version*) echo 9 ;; esac; exit 43')
    kvm.write_text("processor: 0\nmodel name\t: Fast One\n")
    assert open_run().choose(_PLAIN).name == "kvm"
    fake_tools.add("qemu-system-x86_64", "exit 43")
    assert open_run().choose(_PLAIN).name == "tcg"
    asked = open_run("kvm")
    assert asked.choose(_PLAIN).name == "kvm"
    asked.confirm(_PLAIN)
    assert open_run().choose(_PLAIN).name == "kvm"
    assert len(said) == 1


@pytest.mark.parametrize("content", ["", "[]", "{", '{"machine": 1, "problems": []}', "\0"])
@pytest.mark.usefixtures("kvm")
def test_a_damaged_memory_is_none(fake_tools: FakeTools, tmp_path: Path, content: str) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    memory = tmp_path / "acceleration.json"
    memory.write_text(content)
    acceleration = Acceleration(memory=memory, host="x86_64")
    assert acceleration.choose(_PLAIN).name == "kvm"
    acceleration.distrust(_PLAIN, "silent")
    assert json.loads(memory.read_text())["problems"] == {_PLAIN.name: "silent"}


@pytest.mark.usefixtures("kvm")
def test_others_wait_for_the_first_guest_with_kvm(fake_tools: FakeTools) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    acceleration = Acceleration(host="x86_64")
    assert acceleration.choose(_PLAIN).silence_s is not None
    chosen: list[str] = []
    threads = [threading.Thread(target=lambda: chosen.append(acceleration.choose(_PLAIN).name)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert chosen == []
    acceleration.distrust(_PLAIN, "said nothing")
    for thread in threads:
        thread.join()
    assert chosen == ["tcg"] * 3


def test_without_kvm_nothing_is_started(fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.boot.acceleration._KVM", tmp_path / "none")
    fake_tools.add("qemu-system-x86_64")
    assert Acceleration(host="x86_64", memory=tmp_path / "memory").choose(_PLAIN).name == "tcg"
    assert fake_tools.calls("qemu-system-x86_64") == []


def test_the_smoke_test_is_started_by_a_program_for_each_architecture() -> None:
    for arch, machine in ((Arch.X86_64, 62), (Arch.AARCH64, 183)):
        program = make_confine(arch)
        assert program[:5] == b"\x7fELF\x02"
        assert struct.unpack_from("<HH", program, 16) == (2, machine)
        assert program.endswith(bytes([16, 17, 19, 22, 38, 39, 255]))
        size = struct.unpack_from("<QQ", program, 64 + 32)
        assert size == (len(program), len(program))
    with pytest.raises(HostError, match="kernels of s390x cannot be booted here"):
        make_confine(Arch.S390X)
    low, high = map(int, helper_limits().split())
    assert [bit for bit in range(64) if not (high << 32 | low) >> bit & 1] == [16, 17, 19, 22, 38, 39]


class _Images:
    """A kernel source with one kernel that nobody signed."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "vmlinuz"
        self._file.write_bytes(b"kernel")

    def identity_of(self, kernel: KernelVersion) -> str:
        return kernel.raw

    def of(self, kernel: KernelVersion) -> BootKernel:
        return BootKernel(kernel=kernel, vmlinuz=self._file, settings=frozenset(), identity=kernel.raw)

    def missing_bytes(self, kernel: KernelVersion) -> int:
        return 0

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        return [(name, b"in-tree") for name in names]

    def index(self, kernel: KernelVersion) -> ModuleIndex:
        return ModuleIndex([ModuleFacts(name="crc_itu_t")])


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BootRequest:
    monkeypatch.setattr("builder.boot.acceleration._KVM", tmp_path / "none")
    monkeypatch.setattr("secrets.token_hex", lambda _: next(_next_words[0]))
    modules, _ = place_modules([("opt/lib/modules/k/extra/demo.ko", Sample(depends="crc-itu-t").write())])
    return BootRequest(
        cell="demo/k", kernel=_KERNEL, modules=modules, firmware={"a.bin": b"1"},
        settings=BootTest.model_validate({"timeouts": {"boot": 5, "load": 1, "unload": 1, "smoke_test": 1}}),
        test_files={"run": b"test"}, certificates=[], images=_Images(tmp_path), busybox=b"bb", log_file=tmp_path / "logs" / "boot.log",
    )  # fmt: skip


_GOOD = [
    "start",
    f"fact release {_KERNEL}",
    "fact taint-before 0",
    *(f"begin {n}\nend {n} 0" for n in range(1, 6)),
    "mark\nlog 4096 14 sum -",
    "finish",
]


def _print(reports: Iterable[str], before: str = "") -> str:
    lines = [line for report in reports for line in report.split("\n")]
    numbered = zip(_WORDS, lines, strict=False)
    return before + "".join(f"echo '[    1.000000] kmodsmith {word} {line}'\n" for word, line in numbered)


def _boot(request: BootRequest, tools: FakeTools, script: str, **options: Any) -> BootReport:
    _next_words[0] = iter(_WORDS)
    tools.add("qemu-system-x86_64", script)
    return Booter(request.log_file.parent.parent / "boot", memory_mib=4096, **options).boot(request)


def test_a_guest_that_passes(request_: BootRequest, fake_tools: FakeTools, tmp_path: Path) -> None:
    keep = f'while [ "$1" != -initrd ]; do shift; done; cp "$2" "{tmp_path}/kept"\n'
    report = _boot(request_, fake_tools, keep + _print(_GOOD))
    files = _read_initramfs((tmp_path / "kept").read_bytes())
    assert files["kmodsmith/modules/demo.ko"][1] == request_.modules[0].data
    assert files["kmodsmith/in-tree/crc_itu_t.ko"][1] == b"in-tree"
    assert files["lib/firmware/a.bin"][1] == b"1"
    assert files["kmodsmith/test/run"] == (0o100755, b"test")
    words = files["kmodsmith/words"][1].decode().split(" ")
    assert words == [*_WORDS[: len(words) - 1], ""]
    assert files["kmodsmith/confine"] == (0o100755, make_confine(Arch.X86_64))
    assert files["kmodsmith/helpers"][1] == helper_limits().encode()
    assert not any("unsigned" in name for name in files)
    assert report.verdict.problems == ()
    assert (report.mode, report.acceleration, report.signed_by, report.enrolled) == (
        "plain",
        "tcg",
        "nobody",
        "nowhere",
    )
    assert [step.step for step in report.steps] == [
        "load-in-tree crc_itu_t",
        "load demo",
        "smoke-test defaults",
        "unload demo",
        "leftovers defaults",
    ]
    told = json.loads(request_.log_file.with_suffix(".json").read_text())
    assert told["facts"]["release"] == str(_KERNEL)
    assert request_.log_file.read_text().startswith("+ qemu-system-x86_64 ")


def test_modules_go_by_the_kernels_name_for_them(request_: BootRequest, fake_tools: FakeTools, tmp_path: Path) -> None:
    """A dkms.conf may rename a module's file; versions.yaml names the file, rmmod wants the other name."""
    modules, _ = place_modules([("opt/lib/modules/k/extra/vendor-net.ko", Sample(name="net_core").write())])
    sets = ({"name": "many", "modules": {"vendor-net": "queues=64"}},)
    settings = BootTest.model_validate({"parameters": sets})
    keep = f'while [ "$1" != -initrd ]; do shift; done; cp "$2" "{tmp_path}/kept"\n'
    good = [
        "start",
        f"fact release {_KERNEL}",
        "fact taint-before 0",
        *(f"begin {n}\nend {n} 0" for n in range(1, 8)),
        "finish",
    ]
    _boot(replace(request_, modules=modules, settings=settings), fake_tools, keep + _print(good))
    steps = _read_initramfs((tmp_path / "kept").read_bytes())["kmodsmith/steps"][1].decode()
    assert "taken /kmodsmith/modules/net_core.ko queues=64" in steps
    assert "net_core\n" in steps
    assert "vendor" not in steps


def test_a_large_initramfs_gets_memory_of_its_own(request_: BootRequest, fake_tools: FakeTools) -> None:
    _boot(replace(request_, firmware={"big": bytes(8 * 1024**2)}), fake_tools, _print(_GOOD))
    call = fake_tools.calls("qemu-system-x86_64")[-1]
    assert int(call[call.index("-m") + 1]) == 512 + 16


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (
            "echo 'qemu: could not open' >&2; exit 1",
            "kernel-did-not-start",
            "ended with exit code 1: qemu: could not open; it said nothing",
        ),
        (
            "echo '[    0.1] Kernel panic - not syncing: VFS'; exit 0",
            "kernel-did-not-start",
            "its last words: [    0.1] Kernel panic",
        ),
        (_print(["start", "fact release 6.1.0-1-amd64", "finish"]), "wrong-kernel", "runs 6.1.0-1-amd64, not 6.12.5"),
        ("kill -9 $$", "kernel-did-not-start", "was killed by SIGKILL"),
    ],
)
def test_a_guest_that_does_not_come_up(
    request_: BootRequest, fake_tools: FakeTools, script: str, code: str, words: str
) -> None:
    with pytest.raises(CellError) as caught:
        _boot(request_, fake_tools, script)
    assert (caught.value.failure.failure_class, caught.value.failure.code) == ("infrastructure", code)
    assert words in caught.value.message


def test_a_guest_that_is_never_done(
    request_: BootRequest, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "_ANSWER_TIMEOUT_S", 0.2)
    report = _boot(
        request_, fake_tools, _print(["start", f"fact release {_KERNEL}", "begin 1\nend 1 0", "begin 2"]) + "cat"
    )
    assert [problem.check for problem in report.verdict.problems] == [BootCheck.LOAD_HUNG]
    assert "nmi" in request_.log_file.read_text()


def test_a_console_that_floods_is_cut_off(
    request_: BootRequest, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "_MOST_CONSOLE_BYTES", 100_000)
    flood = _print(["start", f"fact release {_KERNEL}", "begin 1"]) + "while :; do echo '[    1.0] more and more'; done"
    report = _boot(request_, fake_tools, flood)
    assert [problem.check for problem in report.verdict.problems] == [BootCheck.CONSOLE_FLOODED]


@pytest.mark.parametrize(
    ("how", "why"),
    [("exit 1", "ended with exit code 1"), ("sleep 30", "said nothing for 0.1 s")],
    ids=["fails", "hangs"],
)
@pytest.mark.usefixtures("kvm")
def test_a_guest_that_fails_only_with_kvm_is_started_again_without(
    request_: BootRequest, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, why: str
) -> None:
    _use_kvm(monkeypatch, tmp_path)
    said: list[str] = []
    script = f'case "$*" in *isa-debug-exit*) exit 43 ;; *accel=kvm*) {how} ;; esac\n' + _print(_GOOD)
    report = _boot(request_, fake_tools, script, say=said.append)
    assert (report.acceleration, report.verdict.problems) == ("tcg", ())
    assert f"(the guest {why})" in said[0]
    assert "-append" in fake_tools.calls("qemu-system-x86_64")[1]
    assert _boot(request_, fake_tools, script, say=said.append).acceleration == "tcg"
    assert len(said) == 1
    with pytest.raises(HostError, match=f"KVM was asked for, and does not work here.*: the guest {why}"):
        _boot(request_, fake_tools, script, acceleration="kvm")
    assert "accel=tcg" not in " ".join(fake_tools.calls("qemu-system-x86_64")[-1])


def _use_kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Undo what the fixture of requests does: no /dev/kvm."""
    monkeypatch.setattr("builder.boot.acceleration._KVM", tmp_path / "kvm")
    monkeypatch.setattr("builder.boot.acceleration._SILENCE_S", 0.1)
    host = type("Uname", (), {"machine": "x86_64", "release": "6.1", "version": "1"})
    monkeypatch.setattr("builder.boot.acceleration.os.uname", lambda: host)


@pytest.mark.usefixtures("kvm")
def test_a_guest_that_comes_up_in_no_way_says_nothing_about_kvm(
    request_: BootRequest, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _use_kvm(monkeypatch, tmp_path)
    said: list[str] = []
    with pytest.raises(CellError, match="ended with exit code 1"):
        _boot(request_, fake_tools, 'case "$*" in *isa-debug-exit*) exit 43 ;; esac; exit 1', say=said.append)
    assert said == []
    assert not list(tmp_path.rglob("acceleration.json"))


def test_two_modules_of_one_name_are_not_both_loaded(request_: BootRequest, fake_tools: FakeTools) -> None:
    files = [(f"opt/lib/modules/k/extra/{name}.ko", Sample(name="net_core").write()) for name in ("a", "b")]
    modules, _ = place_modules(files)
    good = [*_GOOD[:3], *(f"begin {n}\nend {n} 0" for n in range(1, 5)), "mark\nlog 4096 12 sum -", "finish"]
    report = _boot(replace(request_, modules=modules), fake_tools, _print(good))
    problems = [(item.check, item.step) for item in report.verdict.problems]
    assert problems == [(BootCheck.MODULE_NOT_LOADED, "opt/lib/modules/k/extra/b.ko")]
    assert "net_core, as opt/lib/modules/k/extra/a.ko does" in report.verdict.problems[0].sentence


def test_secure_boot_that_is_demanded_but_impossible(request_: BootRequest, fake_tools: FakeTools) -> None:
    with pytest.raises(CellError, match="carries no signature and it has no lockdown") as caught:
        _boot(request_, fake_tools, "exit 0", mode="secure")
    assert caught.value.failure.code == "no-secure-boot"


def test_guests_wait_for_memory_and_one_that_never_fits_is_refused(
    request_: BootRequest, fake_tools: FakeTools
) -> None:
    fake_tools.add("qemu-system-x86_64", _print(_GOOD))
    booter = Booter(request_.log_file.parent, memory_mib=800)
    together: list[int] = []
    running = 0
    real = booter._memory.reserve

    def start() -> None:
        nonlocal running
        with real(768):
            running += 1
            together.append(running)
            running -= 1

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1, 1, 1, 1]
    large = replace(request_, settings=request_.settings.model_copy(update={"memory": 1024}))
    with pytest.raises(HostError, match="a guest needs 1280 MiB, and 800 MiB are available"):
        booter.boot(large)


def test_what_guests_need_is_looked_for_before_anything_else(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    booter = Booter(tmp_path, memory_mib=1)
    with pytest.raises(HostError, match="qemu-system-x86_64 is not installed"):
        booter.check([(Arch.X86_64, "plain")])
    fake_tools.add("qemu-system-x86_64")
    monkeypatch.setattr("builder.boot.machine.find_firmware.__defaults__", ((tmp_path,),))
    booter.check([(Arch.X86_64, "plain")])
    for mode in ("auto", "secure"):
        with pytest.raises(HostError, match="no UEFI firmware with Secure Boot"):
            booter.check([(Arch.X86_64, "plain"), (Arch.X86_64, mode)])
    Booter(tmp_path, memory_mib=1, mode="plain").check([(Arch.X86_64, "secure")])


@pytest.mark.usefixtures("kvm")
def test_kvm_that_is_asked_for_is_looked_for_before_anything_else(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.boot.machine.find_firmware.__defaults__", ((tmp_path,),))
    host = type("Uname", (), {"machine": "x86_64", "release": "6.1", "version": "1"})
    monkeypatch.setattr("builder.boot.acceleration.os.uname", lambda: host)
    _descriptor(tmp_path, "firmware")
    fake_tools.add("qemu-system-x86_64", _NO_SMM)
    booter = Booter(tmp_path, memory_mib=1, acceleration="kvm")
    booter.check([(Arch.X86_64, "plain"), (Arch.X86_64, "auto")])
    with pytest.raises(HostError, match="KVM was asked for.*System Management Mode not supported"):
        booter.check([(Arch.X86_64, "secure")])
    Booter(tmp_path, memory_mib=1).check([(Arch.X86_64, "secure")])


def test_the_journal_keeps_the_latest_boot(tmp_path: Path) -> None:
    evidence = BootEvidence(
        cell="demo/k", key="1", digest="sha256:1", passed=True, run="r", finished="2026-11-23T00:00:00Z", mode="secure",
        acceleration="tcg", enrolled="db", signed_by="signers", seconds=8.1, refusals=("a", "b"),
    )  # fmt: skip
    journal = Journal(tmp_path / "journal.jsonl")
    journal.record_boot(evidence)
    journal.record_boot(replace(evidence, passed=False, code="kernel-oops"))
    assert asdict(Journal(tmp_path / "journal.jsonl").boots["demo/k"]) == asdict(
        replace(evidence, passed=False, code="kernel-oops")
    )


_PASSED = BootEvidence(
    cell="demo/k", key="1", digest="sha256:1", passed=True, run="r", finished="2026-11-23T00:00:00Z", mode="secure",
    acceleration="tcg", enrolled="db", signed_by="signers", seconds=8.1,
)  # fmt: skip
_COPIES = replace(_PASSED, signed_by="throwaway")
_WITHOUT = replace(_PASSED, mode="plain", signed_by="nobody", wish="plain")


@pytest.mark.parametrize(
    ("earlier", "later", "counts"),
    [
        (_PASSED, _WITHOUT, False),
        (_PASSED, _COPIES, False),
        (_COPIES, _WITHOUT, False),
        (_WITHOUT, _COPIES, True),
        (_COPIES, _PASSED, True),
        (_PASSED, replace(_PASSED, run="s"), True),
        (_PASSED, replace(_WITHOUT, passed=False), True),
        (replace(_PASSED, passed=False), _WITHOUT, True),
        (_PASSED, replace(_WITHOUT, digest="sha256:2"), True),
        (_PASSED, replace(_WITHOUT, key="2"), True),
    ],
)
def test_a_weaker_pass_does_not_replace_a_stronger_one(
    tmp_path: Path, earlier: BootEvidence, later: BootEvidence, *, counts: bool
) -> None:
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    journal.record_boot(earlier)
    journal.record_boot(later)
    for read in (journal, Journal(file)):
        assert read.boots["demo/k"] == (later if counts else earlier)
        assert read.last_boots["demo/k"] == later
    assert len(file.read_text().splitlines()) == 2


def test_the_doctor_looks_at_what_boot_tests_need(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.doctor.examine.find_tool", lambda name: None if name.startswith("qemu") else name)
    monkeypatch.setattr("builder.boot.machine.find_firmware.__defaults__", ((tmp_path,),))
    fake_tools.add("buildah", 'case "$*" in --version) echo buildah version 1.30.0 ;; *) echo overlay / ;; esac')
    found = {item.name: item for item in examine(tmp_path, user_id=0, boot=[Arch.AARCH64])}
    assert found["qemu-system-aarch64"].status is found["firmware for aarch64"].status is State.MISSING
    assert "qemu-efi-aarch64" in found["firmware for aarch64"].remedy
    assert "qemu-system-x86_64" not in found
    assert "software emulation" in found["acceleration"].message
    assert not any("qemu" in item.name for item in examine(tmp_path, user_id=0))
