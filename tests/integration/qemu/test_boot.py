"""Booting with the real QEMU: real kernels, Secure Boot, and modules that misbehave, each in its own way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fakes.locks import debian_of

from builder.boot.kernel_image import SourceKernels
from builder.boot.secure_boot import GuestKeys
from builder.boot.stage import Booter, BootReport, BootRequest
from builder.boot.verdict import BootCheck
from builder.config.model.boot import BootTest
from builder.errors import CellError, FailureClass, HostError
from builder.kernel import Arch
from builder.kmod.fit import place_modules
from builder.kmod.signature import Certificate, append_signature
from builder.plan.project import open_project
from builder.signing.create import certify_itself
from builder.sources.debian.kernels import PackagedKernels, read_busybox
from builder.sources.debian.parts import DebianParts
from builder.sources.debian.source import DebianSource
from builder.sources.download import Downloads
from builder.sources.lock_file import read_lock
from integration.conftest import ROOT, copy_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from builder.boot.kernel_image import BootKernel
    from builder.boot.load_order import ModuleIndex
    from builder.kernel import KernelVersion
    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_BAD = ROOT / "tests" / "data" / "bad-modules"
_QUICK = {"load": 6, "unload": 6, "smoke_test": 6}


def _newest(project: Path, ending: str) -> KernelVersion:
    kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
    return [kernel for kernel in kernels if kernel.series == "6.12" and kernel.raw.endswith(ending)][-1]


@dataclass
class _Lab:
    """Compiled modules, and guests to put them into; boots run side by side, as in a build."""

    kernel: KernelVersion
    folder: Path
    images: SourceKernels
    busybox: bytes
    booter: Booter
    pool: ThreadPoolExecutor

    def request(self, name: str, **changes: Any) -> BootRequest:
        settings = {"mode": "plain", "timeouts": _QUICK, **changes.pop("settings", {})}
        module = (self.folder / f"{name}.ko").read_bytes()
        if sign := changes.pop("sign", None):
            module = sign(module)
        modules, findings = place_modules([(f"opt/lib/modules/{self.kernel}/extra/{name}.ko", module)])
        assert not findings
        label = changes.pop("label", name)
        test = changes.pop("test", None)
        return BootRequest(
            cell=f"{label}-1.0.0/{self.kernel}",
            kernel=self.kernel,
            modules=modules,
            firmware=changes.pop("firmware", {}),
            settings=BootTest.model_validate(settings),
            test_files={"run": f"#!/bin/sh\n{test}\n".encode()} if test else {},
            certificates=changes.pop("certificates", []),
            images=changes.pop("images", self.images),
            busybox=self.busybox,
            log_file=self.folder / label / "boot.log",
            **changes,
        )

    def start(self, name: str, **changes: Any) -> Future[BootReport]:
        return self.pool.submit(self.booter.boot, self.request(name, **changes))


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=2) as threads:
        yield threads


@pytest.fixture(scope="module")
def lab(
    machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor
) -> Iterator[_Lab]:
    with _open_lab("cloud-amd64", machine, lock_text, tmp_path_factory.mktemp("lab"), pool) as opened:
        yield opened


@pytest.fixture(scope="module")
def arm_lab(
    machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor
) -> Iterator[_Lab]:
    with _open_lab("cloud-arm64", machine, lock_text, tmp_path_factory.mktemp("arm-lab"), pool) as opened:
        yield opened


@contextlib.contextmanager
def _open_lab(ending: str, machine: Machine, lock_text: str, folder: Path, pool: ThreadPoolExecutor) -> Iterator[_Lab]:
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    _set_version(project, "1.3.0")
    kernel = _newest(project, ending)
    # A build of the sample driver brings the toolkit into the store.
    machine.builder(project, "build", "--group", "debian", "--kernel", kernel.raw, check=True)
    source = debian_of(read_lock(project / "versions.lock.yaml"))
    modules = shutil.copytree(_BAD, folder / "modules")
    container = machine.buildah(
        "from", "--pull-never", DebianSource(locked=source, build_arch=Arch.X86_64).toolkit_image(kernel)
    ).strip()
    make = ("make", "-C", f"/lib/modules/{kernel}/build", "M=/src", "KBUILD_MODPOST_WARN=1", "modules")
    machine.buildah("run", "--isolation", "chroot", "--volume", f"{modules}:/src", container, "--", *make)
    machine.buildah("rm", container)
    cache = open_project(project).cache_dir
    parts = DebianParts(locked=source, build_arch=Arch.X86_64)
    downloads = Downloads(cache / "packages")
    try:
        yield _Lab(
            kernel=kernel,
            folder=modules,
            images=SourceKernels(PackagedKernels(parts, folder=cache / "boot", downloads=downloads)),
            busybox=read_busybox(parts, kernel.arch, downloads),
            booter=Booter(cache / "boot"),
            pool=pool,
        )
    finally:
        downloads.close()


_SECURE = {"mode": "secure"}
_ABSENT = {"expect": "ENODEV", "because": "no such hardware in a guest"}
_SLOW = {**_QUICK, "load": 30}
_DEVICE = {"devices": ("pci-testdev",)}
_PRINTK = "/sys/module/printk/parameters"
_WARN = "echo 1 >/sys/module/bad_switch/parameters/warn"
# Fails as soon as one of the ways into other processes or the kernel is open, or a word lies in a file.
_LOOK_FOR_WORDS = r"""
failed=0
bad() { echo "FAIL $*"; failed=1; }
mknod /tmp/mem c 1 1; mknod /tmp/port c 1 4
umount /proc # that of its own: below it is the first process's
for place in /proc/1/mem /proc/1/environ /proc/1/fd/6 /proc/1/fd/7 /proc/kcore /tmp/mem /tmp/port; do
    head -c 16 $place >/dev/null 2>/tmp/answer
    grep -q "ermitted\|ermission denied\|No such device" /tmp/answer || bad "$place: $(cat /tmp/answer)"
done
[ -e /proc/1/mem ] && [ "$(cat /proc/1/comm)" = init ] || bad "this is not the first process, but $(cat /proc/1/comm)"
insmod /kmodsmith/modules/good.ko 2>&1 | grep -q "not permitted" || bad "insmod"
reboot -f 2>/dev/null && bad "reboot"
[ "$(ls /kmodsmith)" = "answers
confine
modprobe
modules
stranger
test
unsigned" ] || bad "left: $(ls /kmodsmith)"
words=$(dmesg | sed -n 's/.*kmodsmith \([0-9a-f]*\) .*/\1/p')
[ -n "$words" ] || bad "no words in the log"
for word in $words; do
    grep -l "$word" /proc/cmdline /proc/*/cmdline /proc/*/environ /init && bad "$word"
done
rm /tmp/mem /tmp/port
exit $failed
"""
_LEAVE = r"""
rm /bin/rmmod /bin/insmod
printf '#!/bin/sh\nexit 0\n' >/bin/rmmod
chmod 755 /bin/rmmod
(while :; do dmesg -n 1; done) &
sleep 0.2
"""
# What the next test is started by has all rights until it gives them up.
_REPLACE_CONFINE = """
printf '#!/bin/sh\\nexit 0\\n' >/kmodsmith/confine
"""
# name of the case: module, changes of its request, what must be found first
_CASES: dict[str, tuple[str, dict[str, Any], BootCheck | None]] = {
    "nothing wrong": ("good", {"settings": {"repeat": 12}}, None),
    "two processors and more memory": (
        "good",
        {
            "settings": {"cpus": 2, "memory": 1024},
            "test": "[ $(nproc) = 2 ] && [ $(sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) -gt 900000 ]",
        },
        None,
    ),
    "init returns an error": ("bad_init", {}, BootCheck.LOAD_REFUSED),
    "oops at load": ("bad_oops", {}, BootCheck.KERNEL_OOPS),
    "panic at load": ("bad_panic", {}, BootCheck.KERNEL_PANIC),
    "warning at load": ("bad_warning", {}, BootCheck.KERNEL_WARNING),
    "busy loop at load": ("bad_spin", {}, BootCheck.LOAD_HUNG),
    "sleeps for ever at load": ("bad_sleep", {}, BootCheck.LOAD_HUNG),
    "sleeps where it must not": ("bad_atomic", {}, BootCheck.LOCK_MISUSE),
    "leaves a device node": ("bad_node", {}, BootCheck.DEVICE_NODE_LEFT),
    "leaves memory": ("bad_memory", {}, BootCheck.MEMORY_LEFT),
    "leaves a little memory every time": ("bad_slab", {"settings": {"repeat": 30}}, BootCheck.MEMORY_LEFT),
    "leaves a folder in /proc": ("bad_proc", {}, BootCheck.REGISTRATION_LEFT),
    "cannot be unloaded": ("bad_stuck", {}, BootCheck.UNLOAD_REFUSED),
    "oops at unload": ("bad_unload", {}, BootCheck.KERNEL_OOPS),
    "needs a missing symbol": ("bad_symbol", {}, BootCheck.SYMBOL_MISSING),
    "takes any parameter": (
        "bad_parameter",
        {
            "settings": {
                "parameters": ({"name": "far too much", "modules": {"bad_parameter": "limit=99"}, "refused": True},)
            }
        },
        BootCheck.PARAMETERS_ACCEPTED,
    ),
    "refuses a parameter that is no number": (
        "bad_parameter",
        {
            "settings": {
                "parameters": ({"name": "a word", "modules": {"bad_parameter": "limit=many"}, "refused": True},)
            }
        },
        None,
    ),
    "smoke test fails": ("good", {"test": "echo ok one; echo FAIL two; exit 1"}, BootCheck.SMOKE_TEST_FAILED),
    "smoke test hangs": ("good", {"test": "sleep 1000"}, BootCheck.SMOKE_TEST_HUNG),
    "a warning behind an answer of the kernel": ("bad_sysrq", {}, BootCheck.KERNEL_WARNING),
    "what was said first is dropped": ("bad_lost", {"settings": {"timeouts": _SLOW}}, BootCheck.OUTPUT_LOST),
    "taints without a word": (
        "bad_taint",
        {
            "settings": {
                "parameters": tuple(
                    {"name": f"bit {bit}", "modules": {"bad_taint": f"bit={bit}"}} for bit in (5, 7, 9, 14)
                )
            }
        },
        BootCheck.TAINT,
    ),
    "smoke test turns the console down": (
        "bad_switch",
        {"test": f"dmesg -n 1; {_WARN}; dmesg -n 8"},
        BootCheck.KERNEL_WARNING,
    ),
    "smoke test turns everything down": (
        "bad_switch",
        {"test": f"cd {_PRINTK}; echo N >ignore_loglevel; dmesg -n 1; {_WARN}; dmesg -n 8; echo Y >ignore_loglevel"},
        BootCheck.OUTPUT_LOST,
    ),
    "smoke test looks for the words": ("good", {"test": _LOOK_FOR_WORDS, "settings": _SECURE}, None),
    "smoke test spends a word again": (
        "good",
        {"test": "dmesg | sed -n 's/.*\\(kmodsmith [0-9a-f]* \\).*/\\1finish/p' | tail -n 1 >/dev/kmsg; exit 3"},
        BootCheck.REPORT_OUT_OF_ORDER,
    ),
    "smoke test changes the module": (
        "good",
        {"test": "cp run /kmodsmith/modules/good.ko"},
        BootCheck.GUEST_CHANGED,
    ),
    "smoke test leaves processes and programs behind": ("good", {"test": _LEAVE, "settings": {"repeat": 3}}, None),
    "smoke test replaces what confines the next one": (
        "bad_parameter",
        {
            "test": _REPLACE_CONFINE,
            "settings": {
                "parameters": (
                    {"name": "little", "modules": {"bad_parameter": "limit=1"}},
                    {"name": "more", "modules": {"bad_parameter": "limit=2"}},
                )
            },
        },
        BootCheck.GUEST_CHANGED,
    ),
    "smoke test pretends to be the guest": (
        "good",
        {"test": "echo '<13>kmodsmith 0123456789abcdef finish' >/dev/kmsg; exit 3"},
        BootCheck.SMOKE_TEST_FAILED,
    ),
    "firmware, and a module of the kernel": (
        "good_firmware",
        {"settings": {"repeat": 2}, "firmware": {"kmodsmith/test.bin": b"123456789"}},
        None,
    ),
    "asks the kernel for another module": ("good_asking", {}, None),
    "firmware is missing": ("good_firmware", {}, BootCheck.LOAD_REFUSED),
    "excused": (
        "bad_warning",
        {"settings": {"allow": ({"pattern": "kernel-warning.*bad_init", "reason": "r", "expires": "2999-01-01"},)}},
        None,
    ),
    "unsigned, with Secure Boot": ("good", {"settings": _SECURE}, None),
    "gives back a cache that was merged": ("good_merged", {"settings": {"repeat": 3}}, None),
    "keeps a cache that was merged": ("bad_merged", {}, BootCheck.MEMORY_LEFT),
    "its hardware is not there": ("good_absent", {"settings": {"load": {"good_absent": _ABSENT}}}, None),
    "its hardware is not there, with Secure Boot": (
        "good_absent", {"settings": {**_SECURE, "load": {"good_absent": _ABSENT}}}, None,
    ),
    "its hardware is there after all": ("good", {"settings": {"load": {"good": _ABSENT}}}, BootCheck.LOAD_ACCEPTED),
    "answers something else without hardware": (
        "bad_init", {"settings": {"load": {"bad_init": _ABSENT}}}, BootCheck.LOAD_REFUSED,
    ),
    "takes its device, and takes it again": (
        "good_device", {"settings": {**_DEVICE, "repeat": 12}, "test": "ls /sys/bus/pci/drivers/good_device | grep -q 0000:"},
        None,
    ),
    "does so with Secure Boot": ("good_device", {"settings": {**_SECURE, **_DEVICE}}, None),
    "takes no device": ("bad_probe", {"settings": _DEVICE}, BootCheck.DEVICE_NOT_BOUND),
    "takes its device once": ("bad_probe_again", {"settings": _DEVICE}, BootCheck.DEVICE_NOT_BOUND),
    "takes its device once, and nobody tries it twice": (
        "bad_probe_again", {"settings": {**_DEVICE, "hot_plug": False}}, None,
    ),
    "oops in remove": ("bad_remove", {"settings": _DEVICE}, BootCheck.KERNEL_OOPS),
    "sleeps for ever in remove": ("bad_remove_sleep", {"settings": _DEVICE}, BootCheck.DEVICE_NOT_REMOVED),
    "does not say that it is unloaded": ("bad_bound", {"settings": _DEVICE}, BootCheck.DEVICE_STILL_BOUND),
    "is for no device of the guest": ("good_device", {"settings": {"devices": ("edu",)}}, None),
    "must have a parameter": (
        "bad_parameter",
        {"settings": {"parameters": ({"name": "one", "modules": {"bad_parameter": "limit=1"}, "default": True},)}},
        None,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def reports(lab: _Lab) -> dict[str, Future[BootReport]]:
    return {
        case: lab.start(name, label=case.replace(" ", "-").replace("/", ""), **changes)
        for case, (name, changes, _) in _CASES.items()
    }


@pytest.mark.parametrize("case", _CASES)
def test_what_is_found(case: str, reports: dict[str, Future[BootReport]]) -> None:
    report = reports[case].result()
    found = [problem.check for problem in report.verdict.problems]
    expected = _CASES[case][2]
    assert found[:1] == ([expected] if expected else []), report.verdict.problems


_ON_ARM = (
    "nothing wrong", "oops at load", "warning at load", "sleeps for ever at load", "leaves a device node",
    "takes its device, and takes it again", "takes no device", "oops in remove",
)  # fmt: skip


def test_the_same_is_found_on_arm64(arm_lab: _Lab) -> None:
    reports = {
        case: arm_lab.start(_CASES[case][0], label=case.replace(" ", "-"), **_CASES[case][1]) for case in _ON_ARM
    }
    secure = arm_lab.start("good", label="secure", settings=_SECURE).result()
    assert (secure.mode, secure.facts["lockdown"], secure.verdict.problems) == (
        "secure",
        "none [integrity] confidentiality",
        (),
    )
    for case, started in reports.items():
        found = [problem.check for problem in started.result().verdict.problems]
        assert found[:1] == ([_CASES[case][2]] if _CASES[case][2] else []), started.result().verdict.problems
    assert reports["oops at load"].result().verdict.problems[0].place.startswith("bad_init+0x")


def test_places_are_named(reports: dict[str, Future[BootReport]]) -> None:
    for case, function in {
        "oops at load": "bad_init",
        "busy loop at load": "bad_init",
        "oops at unload": "bad_exit",
    }.items():
        problem = reports[case].result().verdict.problems[0]
        assert problem.place.startswith(f"{function}+0x"), problem
    slept = reports["sleeps for ever at load"].result().verdict.problems
    assert [(problem.check, problem.place[:8]) for problem in slept] == [(BootCheck.LOAD_HUNG, "bad_init")]


def test_what_became_of_devices_is_said(reports: dict[str, Future[BootReport]]) -> None:
    for case in ("takes its device, and takes it again", "does so with Secure Boot"):
        bound = "bound pci-testdev 1b36:0005 at 0000:01:00.0: driver good_device of good_device"
        assert reports[case].result().verdict.notes[:2] == (bound, f"plugged in again and {bound}")
    (once,) = reports["takes its device once"].result().verdict.problems
    assert once.step == "plug-device pci-testdev"
    assert "probe with driver bad_probe_again failed with error -16" in once.sentence
    oops = reports["oops in remove"].result().verdict.problems[0]
    assert (oops.step, oops.place[:14]) == ("unplug-device pci-testdev", "device_remove+")
    unused = reports["is for no device of the guest"].result().verdict.notes[0]
    assert unused.startswith("edu 1234:11e8: not exercised")


def test_a_device_that_qemu_does_not_have_is_told_at_once(
    lab: _Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.booter.check([(lab.kernel.arch, BootTest.model_validate({"mode": "plain", **_DEVICE}))])
    script = 'exec /usr/bin/qemu-system-x86_64 "$@" | grep -v testdev'
    _fake_tool(tmp_path / "bin", "qemu-system-x86_64", script, monkeypatch)
    with pytest.raises(HostError, match="has no device pci-testdev, which boot tests of x86_64 are to have"):
        lab.booter.check([(lab.kernel.arch, BootTest.model_validate({"mode": "plain", **_DEVICE}))])


def test_what_is_not_exercised_is_said(reports: dict[str, Future[BootReport]]) -> None:
    for case, refused in (("its hardware is not there", 0), ("its hardware is not there, with Secure Boot", 2)):
        verdict = reports[case].result().verdict
        assert verdict.notes[0].startswith("good_absent: not exercised: no hardware: its init must answer ENODEV")
        assert len(verdict.refusals) == refused
    kept = reports["keeps a cache that was merged"].result().verdict.problems
    assert "kmodsmith_kept" in kept[0].sentence


def test_what_the_kernel_was_asked_for_is_loaded_and_said(reports: dict[str, Future[BootReport]]) -> None:
    report = reports["asks the kernel for another module"].result()
    assert "load-soft-dependency camellia_x86_64" in {step.step for step in report.steps}, report.steps
    assert report.verdict.notes[0].startswith(
        "loaded before good_asking, which asks the kernel for it: crypto-camellia"
    )


def test_every_taint_is_named(reports: dict[str, Future[BootReport]]) -> None:
    problems = reports["taints without a word"].result().verdict.problems
    assert [problem.sentence[:12] for problem in problems] == [f"is tainted {letter}" for letter in "BDWL"]


def test_a_module_of_a_name_that_is_taken_is_not_passed_over(lab: _Lab) -> None:
    request = lab.request("good", label="twice")
    twice = [*request.modules, replace(request.modules[0], path="opt/lib/modules/k/extra/other.ko")]
    verdict = lab.booter.boot(replace(request, modules=twice)).verdict
    found = [(problem.check, problem.step) for problem in verdict.problems]
    assert found == [(BootCheck.MODULE_NOT_LOADED, "opt/lib/modules/k/extra/other.ko")]


def test_what_is_excused_is_still_told(reports: dict[str, Future[BootReport]]) -> None:
    assert [problem.check for problem in reports["excused"].result().verdict.allowed] == [BootCheck.KERNEL_WARNING]


def test_secure_boot_refuses_what_it_must(reports: dict[str, Future[BootReport]]) -> None:
    report = reports["unsigned, with Secure Boot"].result()
    assert report.signed_by == "throwaway"
    assert report.facts["lockdown"] == "none [integrity] confidentiality"
    assert report.facts["enforced"] == "Y"
    assert report.verdict.refusals == (
        "refuse-unsigned good: EKEYREJECTED: Loading of unsigned module is rejected",
        "refuse-stranger good: EKEYREJECTED: Loading of module with unavailable key is rejected",
    )


class _EcdsaSigner:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP384R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ECDSA signer")])
        self.certificate = Certificate(certify_itself(subject, self._key, datetime.now(UTC)))

    def sign_module(self, content: bytes) -> bytes:
        signature = self._key.sign(content, ec.ECDSA(hashes.SHA384()))
        return append_signature(content, [(self.certificate, "sha384", signature)])


def test_signatures_are_accepted_and_refused_as_the_certificate_says(lab: _Lab, tmp_path: Path) -> None:
    keys = GuestKeys(tmp_path)
    signer, other, ecdsa = keys.platform, keys.stranger, _EcdsaSigner()
    cases = {
        "by the signer": lab.start(
            "good", label="by-signer", sign=signer.sign_module, certificates=[signer.certificate], settings=_SECURE
        ),
        "by an ECDSA signer": lab.start(
            "good", label="by-ecdsa", sign=ecdsa.sign_module, certificates=[ecdsa.certificate], settings=_SECURE
        ),
        "by another": lab.start(
            "good", label="by-other", sign=other.sign_module, certificates=[signer.certificate], settings=_SECURE
        ),
    }
    accepted = [cases[name].result() for name in ("by the signer", "by an ECDSA signer")]
    assert [(report.signed_by, report.enrolled, report.verdict.problems) for report in accepted] == [
        ("signers", "MokListRT", ())
    ] * 2
    refused = cases["by another"].result().verdict.problems
    assert [problem.check for problem in refused] == [BootCheck.SIGNATURE_REFUSED]
    assert "module with unavailable key" in refused[0].sentence


def _fails_with(lab: _Lab, **changes: Any) -> CellError:
    """Return why nothing is known about a module with which nothing is wrong."""
    with pytest.raises(CellError) as caught:
        lab.booter.boot(lab.request("good", **changes))
    assert caught.value.failure.failure_class is FailureClass.INFRASTRUCTURE
    return caught.value


def _fake_tool(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_broken_qemu_says_nothing_about_modules(lab: _Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo 'qemu: error while loading shared libraries: libpixman-1.so.0' >&2; exit 127"
    _fake_tool(tmp_path / "bin", "qemu-system-x86_64", script, monkeypatch)
    error = _fails_with(lab, label="broken-qemu")
    assert error.failure.code == "kernel-did-not-start"
    assert "ended with exit code 127" in error.message
    assert "libpixman" in error.message


class _Images:
    """The real kernels, to be changed in one thing."""

    def __init__(self, images: SourceKernels) -> None:
        self._images = images

    def of(self, kernel: KernelVersion) -> BootKernel:
        return self._images.of(kernel)

    def identity_of(self, kernel: KernelVersion) -> str:
        return self._images.identity_of(kernel)

    def missing_bytes(self, kernel: KernelVersion) -> int:
        return self._images.missing_bytes(kernel)

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        return self._images.in_tree(kernel, names)

    def index(self, kernel: KernelVersion) -> ModuleIndex:
        return self._images.index(kernel)


class _WithoutMachineKeyring(_Images):
    """Kernels that say that they have no keyring for machine owner keys: certificates are enrolled in db then."""

    def of(self, kernel: KernelVersion) -> BootKernel:
        real = self._images.of(kernel)
        return replace(real, settings=real.settings - {"CONFIG_INTEGRITY_MACHINE_KEYRING"})


def test_certificates_go_where_the_kernel_looks_for_them(lab: _Lab) -> None:
    images = _WithoutMachineKeyring(lab.images)
    in_db = lab.start("good", label="db", settings=_SECURE, images=images).result()
    assert (in_db.enrolled, in_db.facts["keyring-machine"], in_db.verdict.problems) == ("db", "empty", ())
    as_owner = lab.start("good", label="mok", settings=_SECURE).result()
    assert (as_owner.enrolled, as_owner.facts["keyring-machine"]) == ("MokListRT", "1")


class _DamagedImages(_Images):
    """The kernel, with a piece in its middle overwritten."""

    def __init__(self, images: SourceKernels, folder: Path) -> None:
        super().__init__(images)
        self._folder = folder

    def of(self, kernel: KernelVersion) -> BootKernel:
        real = self._images.of(kernel)
        image = bytearray(real.vmlinuz.read_bytes())
        image[len(image) // 2 : len(image) // 2 + 4096] = bytes(4096)
        damaged = self._folder / "vmlinuz"
        damaged.write_bytes(image)
        return replace(real, vmlinuz=damaged)


@pytest.mark.parametrize("mode", ["plain", "secure"])
def test_an_unbootable_kernel_says_nothing_about_modules(lab: _Lab, mode: str, tmp_path: Path) -> None:
    images = _DamagedImages(lab.images, tmp_path)
    settings = {"mode": mode, "timeouts": {**_QUICK, "boot": 12}}
    error = _fails_with(lab, label=f"damaged-{mode}", images=images, settings=settings)
    assert error.failure.code == "kernel-did-not-start"
    assert str(lab.kernel) in error.message
    assert "boot.log" in (error.hint or "")


def test_a_host_without_memory(lab: _Lab, tmp_path: Path) -> None:
    booter = Booter(tmp_path, memory_mib=700)
    with pytest.raises(HostError, match="needs 832 MiB, and 700 MiB are available") as caught:
        booter.boot(lab.request("good", label="no-memory"))
    assert "boot.memory" in (caught.value.hint or "")


def test_firmware_that_is_missing(lab: _Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.boot.machine.find_firmware.__defaults__", ((tmp_path,),))
    with pytest.raises(HostError, match="no UEFI firmware with Secure Boot for x86_64") as caught:
        lab.booter.boot(lab.request("good", label="no-firmware", settings=_SECURE))
    assert "--mode plain" in (caught.value.hint or "")


def test_kvm_that_does_not_work_is_found_out(lab: _Lab) -> None:
    """Whatever this machine's /dev/kvm is worth: a guest comes up, and the report says how."""
    report = Booter(lab.booter._folder, acceleration="auto").boot(lab.request("good", label="auto"))
    assert report.acceleration in {"kvm", "tcg"}
    assert report.verdict.problems == ()


def test_nothing_is_written_to_the_host(lab: _Lab, tmp_path: Path) -> None:
    test = "echo written >/written; ls /sys/block /sys/class/net; mount"
    report = lab.booter.boot(lab.request("good", label="isolated", test=test))
    said = (lab.folder / "isolated" / "boot.log").read_text(errors="replace")
    assert report.verdict.problems == ()
    assert " said lo\n" in said
    assert " said eth0" not in said
    assert "vda" not in said
    assert " 9p " not in said
    assert not Path("/written").exists()


def _set_version(project: Path, version: str) -> None:
    """Make the cells of this test its own: the container store is shared by all tests."""
    file = project / "versions.yaml"
    file.write_text(file.read_text().replace("version: 1.0.0", f"version: {version}"))


def test_the_sample_driver_passes_in_a_build(machine: Machine, project: Path) -> None:
    """Both architectures, both modes, and what comes of it in the plan, the results and the journal."""
    _set_version(project, "1.1.0")
    kernels = [_newest(project, "cloud-amd64").raw, _newest(project, "cloud-arm64").raw]
    selection = ["--group", "debian", *(word for kernel in kernels for word in ("--kernel", kernel))]
    code, report = machine.build(project, "--boot", "changed", *selection)
    assert code == 0, report["failures"]
    assert [cell["status"] for cell in report["cells"]] == ["built", "built"]
    for cell in report["cells"]:
        assert (cell["boot"]["passed"], cell["boot"]["mode"]) == (True, "secure"), cell["boot"]
        assert len(cell["boot"]["refusals"]) == 6
        bound = "bound edu 1234:11e8 at 0000:01:00.0: driver ptemplate_edu of ptemplate_edu"
        assert cell["boot"]["notes"][:2] == [bound, f"plugged in again and {bound}"]
        steps = json.loads((project / ".kmodsmith" / "cells" / cell["cell"] / "boot.json").read_text())["steps"]
        assert {"smoke-test limits", "smoke-test defaults after hot-plug"} <= {step["step"] for step in steps}
        said = (project / ".kmodsmith" / "cells" / cell["cell"] / "boot.log").read_text(errors="replace")
        assert said.count("said ok   edu computes 12!") == 3
        assert said.count("said ok   edu gives back what it was sent") == (3 if "amd64" in cell["kernel"] else 0)
        assert "refuse-parameters ptemplate_char max_dev=0" in {step["step"] for step in steps}
    code, again = machine.build(project, "--boot", "changed", *selection)
    assert (code, again["counts"]) == (0, {"skipped": 2})
    done = machine.builder(project, "boot", *selection[:4], "--mode", "plain", "--json")
    assert done.returncode == 0, done.stderr
    assert [cell["status"] for cell in json.loads(done.stdout)["cells"]] == ["booted"]


def test_an_image_that_fails_gets_no_name_and_its_module_is_not_compiled_again(machine: Machine, project: Path) -> None:
    _set_version(project, "1.2.0")
    file = project / "versions.yaml"
    file.write_text(file.read_text().replace("smoke_test: smoke-test.sh", "smoke_test: fails.sh"))
    test = project / "kernel-module" / "fails.sh"
    test.write_text("#!/bin/sh\necho FAIL on purpose\nexit 1\n")
    selection = ["--group", "debian", "--kernel", _newest(project, "cloud-amd64").raw]
    code, report = machine.build(project, "--boot", "changed", *selection)
    cell = report["cells"][0]
    assert (code, cell["status"], cell["failure"]["code"]) == (15, "failed", "smoke-test-failed")
    assert "FAIL on purpose" in cell["failure"]["detail"]
    assert cell["log"].endswith("boot.log")
    assert cell["image"] not in machine.buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()
    code, report = machine.build(project, "--boot", "changed", *selection)
    assert (code, report["cells"][0]["action"]) == (15, "assemble")


def test_the_kernel_of_an_operating_system_image(machine: Machine, project: Path, lab: _Lab, tmp_path: Path) -> None:
    """As RHCOS has it: vmlinuz, config and compressed modules in /usr/lib/modules."""
    _set_version(project, "1.4.0")
    selection = ["--group", "debian", "--kernel", lab.kernel.raw]
    machine.builder(project, "build", *selection, check=True)
    kernel = lab.images.of(lab.kernel)
    folder = tmp_path / "os" / "usr" / "lib" / "modules" / lab.kernel.raw
    (folder / "kernel").mkdir(parents=True)
    shutil.copy(kernel.vmlinuz, folder / "vmlinuz")
    shutil.copy(kernel.vmlinuz.with_name("config"), folder / "config")
    source = debian_of(read_lock(project / "versions.lock.yaml"))
    base = DebianSource(locked=source, build_arch=Arch.X86_64).base_image(lab.kernel.arch)
    (tmp_path / "Containerfile").write_text(f"FROM {base}\nCOPY os /\n")
    machine.buildah("build", "--isolation", "chroot", "--pull-never", "--tag", "localhost/os:1", str(tmp_path))
    done = machine.builder(project, "boot", "--json", "--os-image", "localhost/os:1", *selection)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["cells"][0]["boot"]["mode"] == "secure"
