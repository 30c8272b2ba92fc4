"""Boot tests without guests: what goes into one, how it is started, and what is made of its end."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.consoles import EDU_ALIAS, WORDS
from fakes.guests import NO_SMM, describe_firmware, read_initramfs
from fakes.samples import Sample

from builder.boot import guest_run
from builder.boot import stage as stage_module
from builder.boot.confine import helper_limits, make_confine
from builder.boot.kernel_image import BootKernel
from builder.boot.load_order import ModuleFacts, ModuleIndex
from builder.boot.script import make_script
from builder.boot.stage import Booter, BootReport, BootRequest
from builder.boot.verdict import BootCheck
from builder.config.model.boot import BootTest
from builder.errors import CellError, HostError
from builder.kernel import Arch, parse_kernel_version
from builder.kmod.fit import place_modules

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.boot.script import Script
    from builder.kernel import KernelVersion

_next_words = [iter(WORDS)]
_KERNEL = parse_kernel_version("6.12.5+deb12-amd64")


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
    numbered = zip(WORDS, lines, strict=False)
    return before + "".join(f"echo '[    1.000000] kmodsmith {word} {line}'\n" for word, line in numbered)


def _boot(request: BootRequest, tools: FakeTools, script: str, **options: Any) -> BootReport:
    _next_words[0] = iter(WORDS)
    tools.add("qemu-system-x86_64", script)
    return Booter(request.log_file.parent.parent / "boot", memory_mib=4096, **options).boot(request)


def test_a_guest_that_passes(request_: BootRequest, fake_tools: FakeTools, tmp_path: Path) -> None:
    keep = f'while [ "$1" != -initrd ]; do shift; done; cp "$2" "{tmp_path}/kept"\n'
    report = _boot(request_, fake_tools, keep + _print(_GOOD))
    files = read_initramfs((tmp_path / "kept").read_bytes())
    assert files["kmodsmith/modules/demo.ko"][1] == request_.modules[0].data
    assert files["kmodsmith/in-tree/crc_itu_t.ko"][1] == b"in-tree"
    assert files["lib/firmware/a.bin"][1] == b"1"
    assert files["kmodsmith/test/run"] == (0o100755, b"test")
    words = files["kmodsmith/words"][1].decode().split(" ")
    assert words == [*WORDS[: len(words) - 1], ""]
    assert files["kmodsmith/confine"] == (0o100755, make_confine(Arch.X86_64))
    assert files["kmodsmith/helpers"][1] == helper_limits().encode()
    assert files["kmodsmith/modprobe"][0] == 0o100755
    assert files["kmodsmith/answers"][1] == b""
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


_ASKS = [
    "start",
    f"fact release {_KERNEL}",
    "fact taint-before 0",
    "begin 1\nend 1 0",
    "begin 2\nasked crypto-magma\nend 2 1",
    "mark\nlog 4096 14 sum -",
    "finish",
]
_PASSES_WITH_CIPHER = [*_GOOD[:3], *(f"begin {n}\nend {n} 0" for n in range(1, 7)), *_GOOD[-2:]]
_CIPHER = ModuleFacts(name="magma_generic", aliases=("crypto-magma",))


def _guests(folder: Path, *scripts: str) -> str:
    """Return a QEMU whose guests print one of the scripts each, and then no more."""
    for number, script in enumerate(scripts, 1):
        (folder / f"guest-{number}").write_text(script)
    count = f'n=1; while [ -e "{folder}/started-$n" ]; do n=$((n + 1)); done; : >"{folder}/started-$n"\n'
    return f'{count}. "{folder}/guest-$n"\n'


@pytest.fixture
def asking(request_: BootRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BootRequest:
    """A driver that asks for a cipher, of which the kernel has a module; each guest has the same words."""
    images = _Images(tmp_path)
    monkeypatch.setattr(images, "index", lambda _: ModuleIndex([ModuleFacts(name="crc_itu_t"), _CIPHER]))
    monkeypatch.setattr(stage_module, "make_script", _with_words_from_the_first)
    return replace(request_, images=images)


def _with_words_from_the_first(*arguments: Any, **more: Any) -> Script:
    _next_words[0] = iter(WORDS)
    return make_script(*arguments, **more)


def test_what_the_kernel_asked_for_is_there_in_the_next_guest(
    asking: BootRequest, fake_tools: FakeTools, tmp_path: Path
) -> None:
    """A node's modprobe loads it in the middle of an init; that of a guest loads nothing."""
    keep = f'while [ "$1" != -initrd ]; do shift; done; cp "$2" "{tmp_path}/kept"\n'
    report = _boot(asking, fake_tools, keep + _guests(tmp_path, _print(_ASKS), _print(_PASSES_WITH_CIPHER)))
    assert read_initramfs((tmp_path / "kept").read_bytes())["kmodsmith/answers"][1] == b"crypto-magma\n"
    assert report.verdict.problems == ()
    assert [step.step for step in report.steps][:3] == [
        "load-in-tree crc_itu_t",
        "load-soft-dependency magma_generic",
        "load demo",
    ]
    assert "loaded before demo, which asks the kernel for it: crypto-magma" in report.verdict.notes
    assert len(list(tmp_path.glob("started-*"))) == 2


_ASKS_AGAIN = [*_ASKS[:4], "begin 2\nend 2 0", "begin 3\nasked crypto-magma\nend 3 1", *_ASKS[5:]]
_ASKS_FOR_NOTHING = [report.replace("crypto-magma", "crypto-nothing") for report in _ASKS]


@pytest.mark.parametrize("guests", [(_ASKS, _ASKS_AGAIN), (_ASKS_FOR_NOTHING,)], ids=["all is there", "there is none"])
def test_a_failure_that_no_other_module_explains_is_final(
    asking: BootRequest, fake_tools: FakeTools, tmp_path: Path, guests: tuple[list[str], ...]
) -> None:
    report = _boot(asking, fake_tools, _guests(tmp_path, *map(_print, guests)))
    assert [problem.check for problem in report.verdict.problems] == [BootCheck.LOAD_REFUSED]
    assert len(list(tmp_path.glob("started-*"))) == len(guests)


@pytest.mark.parametrize(
    ("complaint", "check"),
    [
        ("Oops: general protection fault: 0000 [#1] PREEMPT SMP", BootCheck.KERNEL_OOPS),
        ("WARNING: CPU: 0 PID: 9 at demo.c:1 demo_init+0x1/0x2 [demo]", BootCheck.KERNEL_WARNING),
        ("refcount_t: underflow; use-after-free.", BootCheck.MEMORY_MISUSE),
    ],
)
def test_a_complaint_of_the_kernel_has_no_second_chance(
    asking: BootRequest, fake_tools: FakeTools, tmp_path: Path, complaint: str, check: BootCheck
) -> None:
    """A fault that comes now and then would be green at the next try, and the module that is missing its excuse."""
    first = _print(_ASKS).replace("asked crypto-magma'", f"asked crypto-magma'\necho '[    1.100000] {complaint}'")
    report = _boot(asking, fake_tools, _guests(tmp_path, first, _print(_PASSES_WITH_CIPHER)))
    assert report.verdict.problems[0].check is check
    assert len(list(tmp_path.glob("started-*"))) == 1


def test_a_pass_tells_what_a_node_would_have_loaded_as_well(
    asking: BootRequest, fake_tools: FakeTools, tmp_path: Path
) -> None:
    good = [report.replace("begin 2\n", "begin 2\nasked crypto-magma\n") for report in _GOOD]
    report = _boot(asking, fake_tools, _guests(tmp_path, _print(good)))
    assert report.verdict.problems == ()
    assert report.verdict.notes[-1] == (
        "a node would also load what the kernel asked for meanwhile: magma_generic; boot.in_tree loads it here"
    )
    assert len(list(tmp_path.glob("started-*"))) == 1


def _lines_of_main(request: BootRequest, tools: FakeTools, folder: Path) -> list[str]:
    """Return what the guest's first process does, one after the other, as it is written into the guest."""
    keep = f'while [ "$1" != -initrd ]; do shift; done; cp "$2" "{folder}/kept"\n'
    _boot(request, tools, keep + _print(_GOOD))
    mode, content = read_initramfs((folder / "kept").read_bytes())["init"]
    assert mode == 0o100755
    body = content.decode().partition("\nmain() {\n")[2].partition("\n}\n")[0]
    return [line.strip() for line in body.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_a_guest_forgets_its_words_and_plans_before_anything_strange_runs(
    request_: BootRequest, fake_tools: FakeTools, tmp_path: Path
) -> None:
    """Who could read a word could forge the report that goes with it."""
    lines = _lines_of_main(request_, fake_tools, tmp_path)
    gone = [word for line in lines if line.startswith("rm ") for word in line.split()[1:]]
    assert sorted(gone) == [f"/kmodsmith/{name}" for name in ("helpers", "prepare", "steps", "words")]
    removal = next(number for number, line in enumerate(lines) if line.startswith("rm "))
    reads = [number for number, line in enumerate(lines) if "$(cat /kmodsmith/" in line]
    assert len(reads) == len(gone)
    assert max(reads) < removal < min(number for number, line in enumerate(lines) if line.startswith("eval "))
    bound = next(number for number, line in enumerate(lines) if line.endswith("/usermodehelper/bset"))
    assert lines[bound].startswith('echo "$helpers" >')
    assert bound < min(number for number, line in enumerate(lines) if line.startswith("eval "))


def test_a_guests_smoke_test_is_started_by_what_confines_it(
    request_: BootRequest, fake_tools: FakeTools, tmp_path: Path
) -> None:
    """And by nothing else; it gets neither the log that reports go to nor a process of the guest to look into."""
    _lines_of_main(request_, fake_tools, tmp_path)
    script = read_initramfs((tmp_path / "kept").read_bytes())["init"][1].decode()
    (started,) = [line.strip() for line in script.splitlines() if "/kmodsmith/test &&" in line]
    assert started == (
        "(cd /kmodsmith/test && exec unshare -p -f --mount-proc /kmodsmith/confine "
        '"$@") >/tmp/said 2>&1 </dev/null 6>&- 7>&-'
    )
    assert script.partition("\nsmoke() {")[2].partition("\n}\n")[0].count('"$@"') == 1


def test_a_guests_kernel_hides_nothing_that_it_says(request_: BootRequest, fake_tools: FakeTools) -> None:
    """A module that turns the loglevel down would hide what it breaks."""
    _boot(request_, fake_tools, _print(_GOOD))
    call = next(call for call in fake_tools.calls("qemu-system-x86_64") if "-append" in call)
    words = call[call.index("-append") + 1].split()
    assert {"ignore_loglevel", "printk.devkmsg=on", "printk.time=1", "panic=-1"} <= set(words)
    assert not {"quiet", "loglevel"} & {word.partition("=")[0] for word in words}


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
    steps = read_initramfs((tmp_path / "kept").read_bytes())["kmodsmith/steps"][1].decode()
    assert "taken /kmodsmith/modules/net_core.ko queues=64" in steps
    assert "net_core\n" in steps
    assert "vendor" not in steps


@pytest.mark.parametrize(("mib", "memory"), [(0, 512 + 64), (8, 512 + 64), (33, 512 + 128)])
def test_a_large_initramfs_gets_memory_of_its_own_in_steps(
    request_: BootRequest, fake_tools: FakeTools, mib: int, memory: int
) -> None:
    _boot(replace(request_, firmware={"big": bytes(mib * 1024**2)}), fake_tools, _print(_GOOD))
    call = fake_tools.calls("qemu-system-x86_64")[-1]
    assert int(call[call.index("-m") + 1]) == memory


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
    monkeypatch.setattr(guest_run, "_ANSWER_TIMEOUT_S", 0.2)
    report = _boot(
        request_, fake_tools, _print(["start", f"fact release {_KERNEL}", "begin 1\nend 1 0", "begin 2"]) + "cat"
    )
    assert [problem.check for problem in report.verdict.problems] == [BootCheck.LOAD_HUNG]
    assert "nmi" in request_.log_file.read_text()


def test_a_console_that_floods_is_cut_off(
    request_: BootRequest, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_run, "_MOST_CONSOLE_BYTES", 100_000)
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
    with pytest.raises(HostError, match="a guest needs 1344 MiB, and 800 MiB are available"):
        booter.boot(large)


def _wish(mode: str, *devices: str) -> BootTest:
    return BootTest.model_validate({"mode": mode, "devices": devices})


def test_what_guests_need_is_looked_for_before_anything_else(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    booter = Booter(tmp_path, memory_mib=1)
    with pytest.raises(HostError, match="qemu-system-x86_64 is not installed"):
        booter.check([(Arch.X86_64, _wish("plain"))])
    fake_tools.add("qemu-system-x86_64")
    monkeypatch.setattr("builder.boot.machine.find_firmware.__defaults__", ((tmp_path,),))
    booter.check([(Arch.X86_64, _wish("plain"))])
    for mode in ("auto", "secure"):
        with pytest.raises(HostError, match="no UEFI firmware with Secure Boot"):
            booter.check([(Arch.X86_64, _wish("plain")), (Arch.X86_64, _wish(mode))])
    Booter(tmp_path, memory_mib=1, mode="plain").check([(Arch.X86_64, _wish("secure"))])


@pytest.mark.usefixtures("kvm")
def test_kvm_that_is_asked_for_is_looked_for_before_anything_else(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.boot.machine.find_firmware.__defaults__", ((tmp_path,),))
    host = type("Uname", (), {"machine": "x86_64", "release": "6.1", "version": "1"})
    monkeypatch.setattr("builder.boot.acceleration.os.uname", lambda: host)
    describe_firmware(tmp_path, "firmware")
    fake_tools.add("qemu-system-x86_64", NO_SMM)
    booter = Booter(tmp_path, memory_mib=1, acceleration="kvm")
    booter.check([(Arch.X86_64, _wish("plain")), (Arch.X86_64, _wish("auto"))])
    with pytest.raises(HostError, match="KVM was asked for.*System Management Mode not supported"):
        booter.check([(Arch.X86_64, _wish("secure"))])
    Booter(tmp_path, memory_mib=1).check([(Arch.X86_64, _wish("secure"))])


_HELP = """case "$*" in "-device help") printf '%s' 'name "pcie-root-port", bus PCI
name "edu", bus PCI' ;; esac"""


def test_a_qemu_without_a_device_is_told_before_anything_else(fake_tools: FakeTools, tmp_path: Path) -> None:
    booter = Booter(tmp_path, memory_mib=1)
    fake_tools.add("qemu-system-x86_64", _HELP)
    fake_tools.add("qemu-system-aarch64", "exit 0")
    booter.check([(Arch.X86_64, _wish("plain", "edu")), (Arch.AARCH64, _wish("plain"))])
    with pytest.raises(HostError, match="qemu-system-x86_64 of this machine has no device pci-testdev") as caught:
        booter.check([(Arch.X86_64, _wish("plain", "edu", "pci-testdev"))])
    assert "boot.devices" in (caught.value.hint or "")
    with pytest.raises(HostError, match="no device pcie-root-port, edu, which boot tests of aarch64 are to have"):
        booter.check([(Arch.AARCH64, _wish("plain", "edu"))])


# A QEMU that prints reports, and between them listens to its monitor, answers, and ends; it writes down what it was told.
# A program of Python, because no shell writes to a descriptor of two digits.
_QEMU = """
import os, re, socket, sys
monitor = socket.socket(fileno=int(re.search("fd=([0-9]+)", " ".join(sys.argv))[1])).makefile("rw")
for kind, text in {lines!r}:
    if kind == "print":
        print(text, flush=True)
    elif kind == "hear":
        open({told!r}, "a").write(monitor.readline())
    elif kind == "say":
        monitor.write(text + "\\n")
        monitor.flush()
    elif kind == "stay":
        sys.stdin.read()
    else:
        os._exit(1)
"""


@pytest.fixture
def plugged(request_: BootRequest) -> BootRequest:
    """A driver for the edu device."""
    alias = f"alias={EDU_ALIAS}"
    modules, _ = place_modules(
        [("opt/lib/modules/k/extra/nic.ko", Sample(name="nic", modinfo=["license=GPL", alias]).write())]
    )
    settings = {"devices": ("edu",), "timeouts": {"boot": 5, "load": 1, "unload": 1, "smoke_test": 1}}
    return replace(request_, modules=modules, settings=BootTest.model_validate(settings), test_files={})


_Line = tuple[str, str]
_HEAR, _STAY, _END = ("hear", ""), ("stay", ""), ("end", "")
_THERE, _BOUND = "device 0000:01:00.0 1234:11e8 - -", "device 0000:01:00.0 1234:11e8 nic nic"


def _say(**message: Any) -> _Line:
    return ("say", json.dumps(message))


_GONE = _say(event="DEVICE_DELETED", data={"device": "edu"})
_GREET: list[_Line] = [_say(QMP={}), _HEAR, _say(id=1, **{"return": {}})]


def _answer(number: int) -> list[_Line]:
    return [_HEAR, _say(id=number, **{"return": {}})]


def _speak(folder: Path, *lines: str | _Line) -> str:
    """Return a QEMU that prints reports, and between them does what the other lines say."""
    words = iter(WORDS)
    done = [
        ("print", f"[    1.000000] kmodsmith {next(words)} {line}") if isinstance(line, str) else line for line in lines
    ]
    (folder / "qemu.py").write_text(_QEMU.format(lines=done, told=str(folder / "told")))
    return f'exec {sys.executable} -S -E "{folder}/qemu.py" "$@"'


_COMES_UP: list[str | _Line] = ["start", f"fact release {_KERNEL}", "fact taint-before 0", "begin 1", _THERE, "end 1 0"]
_PLUGGED: list[str | _Line] = [
    *_COMES_UP,
    "begin 2", *_GREET, *_answer(2), _GONE, "end 2 0", "begin 3", *_answer(3), _THERE, "end 3 0",
    "begin 4", "end 4 0", "begin 5", _BOUND, "end 5 0",
    "begin 6", *_answer(4), _GONE, "end 6 0", "begin 7", *_answer(5), _BOUND, "end 7 0",
    "begin 8", "end 8 0", "begin 9", _THERE, "end 9 0", "begin 10", "end 10 0",
    "mark", "log 4096 14 sum -", "finish",
]  # fmt: skip


def test_the_host_takes_the_device_away_and_gives_it_back(
    plugged: BootRequest, fake_tools: FakeTools, tmp_path: Path
) -> None:
    report = _boot(plugged, fake_tools, _speak(tmp_path, *_PLUGGED))
    assert report.verdict.problems == ()
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert [item["execute"] for item in told] == ["qmp_capabilities", *["device_del", "device_add"] * 2]
    assert [step.step for step in report.steps][5:7] == ["unplug-device edu", "plug-device edu"]
    assert report.verdict.notes[0] == "bound edu 1234:11e8 at 0000:01:00.0: driver nic of nic"
    (call,) = fake_tools.calls("qemu-system-x86_64")
    assert "driver=edu,id=edu,bus=port-edu" in call


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (
            [*_COMES_UP[:4], _STAY],
            "no-device", "does not find edu, before the driver is loaded: it was not done after 1 s",
        ),
        (
            [*_COMES_UP[:4], ("print", "x" * 70_000), _STAY],
            "no-device", "before the driver is loaded: it printed more than 65536 bytes",
        ),
        ([*_COMES_UP[:4], "finish"], "no-device", "before the driver is loaded: it said that it was through"),
        ([*_COMES_UP, "begin 2", *_GREET, *_answer(2), _STAY], "no-hot-plug", "does not let go of edu, before"),
        (
            [*_COMES_UP, "begin 2", *_GREET, *_answer(2), _GONE, "end 2 0", "begin 3", *_answer(3), _STAY],
            "no-hot-plug", "does not find again edu",
        ),
        (
            [*_COMES_UP, "begin 2", *_GREET, *_answer(2), "end 2 0", "begin 3", _STAY],
            "no-hot-plug", "QEMU did not let go of edu within",
        ),
        (
            [*_COMES_UP, "begin 2", *_GREET, _HEAR, _say(id=2, error={"desc": "no such"}), _STAY],
            "no-hot-plug", "QEMU refuses device_del edu: no such",
        ),
        ([*_COMES_UP, "begin 2", ("say", "hello {"), _STAY], "no-hot-plug", "what QEMU says on its monitor is not JSON"),
        ([*_COMES_UP, "begin 2", _STAY], "no-hot-plug", "QEMU did not carry out qmp_capabilities within"),
        ([*_COMES_UP, "begin 2", *_GREET, _STAY], "no-hot-plug", "QEMU did not answer device_del edu within"),
        ([*_COMES_UP, "begin 2", _END], "no-hot-plug", "let go of edu, before the driver is loaded: it ended with exit"),
    ],
    ids=["no device", "flood", "passed over", "not gone", "not back", "still there", "refused", "no JSON", "silent", "no answer", "dead"],
)  # fmt: skip
def test_where_hot_plug_itself_does_not_work_nothing_is_said_of_the_driver(
    plugged: BootRequest, fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    lines: list[str | _Line], code: str, words: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("builder.boot.script._TAKE_AWAY_S", 0.4)
    monkeypatch.setattr("builder.boot.monitor._PATIENCE_S", 0.3 if words.startswith("QEMU did not") else 30.0)
    monkeypatch.setattr(guest_run, "_ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(guest_run, "_MOST_CONSOLE_BYTES", 65_536)
    with pytest.raises(CellError, match=words) as caught:
        _boot(plugged, fake_tools, _speak(tmp_path, *lines))
    assert (caught.value.failure.failure_class, caught.value.failure.code) == ("infrastructure", code)


def test_a_driver_that_does_not_let_go_is_to_blame_itself(
    plugged: BootRequest, fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.boot.script._TAKE_AWAY_S", 0.4)
    monkeypatch.setattr(guest_run, "_ANSWER_TIMEOUT_S", 0.1)
    begun = _PLUGGED[: _PLUGGED.index("begin 6") + 1]
    report = _boot(plugged, fake_tools, _speak(tmp_path, *begun, *_answer(4), _STAY))
    assert [problem.check for problem in report.verdict.problems] == [BootCheck.DEVICE_NOT_REMOVED]
    report = _boot(plugged, fake_tools, _speak(tmp_path, *begun, _END))
    assert [problem.check for problem in report.verdict.problems] == [BootCheck.GUEST_ENDED]


@pytest.mark.parametrize(
    ("between", "early"),
    [
        (["end 6 0", "begin 7", _BOUND, "end 7 0"], ["unplug-device edu", "plug-device edu"]),
        ([_HEAR, "end 6 0", "begin 7", _BOUND, "end 7 0"], ["unplug-device edu", "plug-device edu"]),
        ([*_answer(4), "end 6 0", "begin 7", _BOUND, "end 7 0"], ["plug-device edu"]),
        ([*_answer(4), _GONE, "end 6 0", "begin 7", _HEAR, _BOUND, "end 7 0"], ["plug-device edu"]),
    ],
    ids=["nothing was asked", "nothing was answered", "it is still there", "it did not come back"],
)
def test_a_guest_that_is_ahead_of_qemu_is_not_believed(
    plugged: BootRequest, fake_tools: FakeTools, tmp_path: Path, between: list[str | _Line], early: list[str]
) -> None:
    """What code in the kernel can forge is its own word; that a device went and came back is QEMU's."""
    before, after = _PLUGGED[: _PLUGGED.index("begin 6") + 1], _PLUGGED[_PLUGGED.index("begin 8") :]
    report = _boot(plugged, fake_tools, _speak(tmp_path, *before, *between, *after))
    assert [(item.check, item.sentence) for item in report.verdict.problems] == [
        (BootCheck.REPORT_OUT_OF_ORDER, f"{step} was reported as done before QEMU had done its part") for step in early
    ]
