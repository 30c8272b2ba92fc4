"""Stage boot: puts an image's modules into a guest with their own kernel, watches its console, and judges it."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from builder.boot.acceleration import Acceleration, GuestKind
from builder.boot.confine import helper_limits, make_confine
from builder.boot.devices import claim_devices
from builder.boot.guest_run import PLAIN, SECURE, GuestRun, GuestRunner, PreparedGuest, infrastructure_error
from builder.boot.initramfs import GuestFile, write_initramfs
from builder.boot.kernel_image import unpacked_kernel
from builder.boot.load_plan import LoadPlan, collect_requests, plan_loads
from builder.boot.machine import Guest, check_devices, emulator_of, find_firmware
from builder.boot.script import (
    IN_TREE_FOLDER,
    MODULE_FOLDER,
    STRANGER_FOLDER,
    TEST_FOLDER,
    UNSIGNED_FOLDER,
    Script,
    make_script,
)
from builder.boot.secure_boot import DB, MOK, GuestKeys, make_variables, read_kernel_signers
from builder.boot.snapshot import Snapshots
from builder.boot.verdict import BootCheck, Verdict, judge_boot
from builder.errors import CellError, FailureClass, FormatError, HostError
from builder.host.memory import available_memory
from builder.kmod.kernel_object import module_name
from builder.kmod.packing import unpack_module
from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from builder.boot.console import StepLog
    from builder.boot.kernel_image import BootKernel, KernelImages
    from builder.boot.machine import Firmware
    from builder.config.model.boot import BootTest
    from builder.kernel import Arch, KernelVersion
    from builder.kmod.fit import PlacedModule
    from builder.kmod.signature import Certificate

_ENFORCING = "CONFIG_SECURITY_LOCKDOWN_LSM"
_MACHINE_KEYRING = "CONFIG_INTEGRITY_MACHINE_KEYRING"
_MIB = 1024**2
# What QEMU itself needs beside the guest's memory: translated code, firmware, buffers.
_OVERHEAD_MIB = 256
_MEMORY_STEP_MIB = 64
# The kernel starts it with "-q -- NAME" (kernel/module/kmod.c, call_modprobe()). A modprobe that finds nothing ends
# with 1; without one, request_module() is an error, which drivers treat otherwise. What is found is loaded already.
_MODPROBE = b'#!/bin/busybox sh\nexec /bin/busybox grep -qxF -e "$3" /kmodsmith/answers\n'
# What is loaded because the kernel asked for it may ask for more: a cipher for a mode, that for another cipher.
_MOST_GUESTS = 4
# What comes of a module that is missing, and nothing else does: a fault that comes now and then gets no second chance.
_MISSED = frozenset({BootCheck.LOAD_REFUSED, BootCheck.DEVICE_NOT_BOUND, BootCheck.SMOKE_TEST_FAILED})
_TOLD_UNLOADED = "a node would also load what the kernel asked for meanwhile: {}; boot.in_tree loads it here"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRequest:
    """What is to be tested. ``test_files`` are the smoke test and its files by name; the test itself is ``run``."""

    cell: str
    kernel: KernelVersion
    modules: Sequence[PlacedModule]
    firmware: Mapping[str, bytes]
    settings: BootTest
    test_files: Mapping[str, bytes]
    certificates: Sequence[Certificate]
    images: KernelImages
    busybox: bytes
    log_file: Path
    modprobe_files: Mapping[str, bytes] = field(default_factory=dict)
    """The image's files of modprobe.d by path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """A step as it went: seconds by the guest's clock; ``code`` is None where it did not come to an end."""

    step: str
    code: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """How a boot test went.

    ``wish`` is what was asked for (auto, secure, plain), ``mode`` what it was (secure, plain); ``from_snapshot``: its
    firmware came up in an earlier guest; ``enrolled`` says where the certificates were (db, MokListRT, or nowhere), and
    ``signed_by`` whose signatures were tested (signers, throwaway, nobody). Seconds are wall time.
    """

    cell: str
    kernel: str
    wish: str
    mode: str
    acceleration: str
    from_snapshot: bool
    enrolled: str
    signed_by: str
    seconds: float
    boot_seconds: float
    facts: Mapping[str, str]
    steps: Sequence[StepTime]
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A guest that was run, with what (kvm, tcg), and what is to be said of it."""

    prepared: PreparedGuest
    outcome: GuestRun
    acceleration: str
    verdict: Verdict


class Booter:
    """Boots guests, as many at once as memory allows; safe to use from several threads.

    Args:
        folder: where firmware variables and the guests' keys are kept; shared by projects.
        mode: what the command line asks for, ``auto`` leaves it to each driver.
        acceleration: ``auto``, ``kvm`` or ``tcg``.
        from_reset: neither use nor take snapshots of firmware.
        say: hears what a user should know while it happens.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mode: str = "auto",
        acceleration: str = "auto",
        from_reset: bool = False,
        say: Callable[[str], None] = lambda _: None,
        memory_mib: int | None = None,
    ) -> None:
        self._folder = folder
        self._mode = mode
        self._acceleration = Acceleration(acceleration, memory=folder / "acceleration.json", say=say)
        self._runner = GuestRunner(self._acceleration, None if from_reset else Snapshots(folder / "firmware"))
        self._memory = _MemoryGate(memory_mib or available_memory() // _MIB)

    @cached_property
    def _keys(self) -> GuestKeys:
        return GuestKeys(self._folder / "keys")

    def check(self, guests: Iterable[tuple[Arch, BootTest]]) -> None:
        """Look for what guests need, before anything else is done.

        Args:
            guests: architecture and the driver's ``boot`` of each.

        Raises:
            HostError: QEMU, a device of it or firmware is missing, or KVM was asked for and does not answer.
        """
        for arch, mode, devices in sorted({(arch, test.mode, test.devices) for arch, test in guests}):
            emulator_of(arch)
            if devices:
                check_devices(arch, devices)
            wish = mode if self._mode == "auto" else self._mode
            firmware = find_firmware(arch) if wish != PLAIN else None
            # Whether auto means Secure Boot is known when there is a kernel.
            is_secure = wish == SECURE and firmware is not None
            needs_smm = is_secure and firmware is not None and firmware.needs_smm
            self._acceleration.check(GuestKind(arch=arch, is_secure=is_secure, needs_smm=needs_smm))

    def boot(self, request: BootRequest) -> BootReport:
        """Test one image's modules on their kernel.

        Raises:
            HostError: what a guest needs is missing on this machine.
            CellError: of class infrastructure: the guest did not come up, so nothing is known of the modules.
        """
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="guest-") as scratch:
            attempt = self._attempt_with_what_is_asked_for(request, Path(scratch))
        prepared, transcript = attempt.prepared, attempt.outcome.transcript
        logs = ((step, transcript.steps.get(step.number)) for step in prepared.script.steps)
        report = BootReport(
            cell=request.cell,
            kernel=request.kernel.raw,
            wish=self._wish(request),
            mode=prepared.mode,
            acceleration=attempt.acceleration,
            from_snapshot=attempt.outcome.from_snapshot,
            enrolled=prepared.enrolled,
            signed_by=prepared.signed_by,
            seconds=round(time.monotonic() - started, 3),
            boot_seconds=round(attempt.outcome.came_up_s or 0.0, 3),
            facts=dict(transcript.facts),
            steps=[_time_of(str(step), log) for step, log in logs if log is not None],
            verdict=attempt.verdict,
        )
        request.log_file.with_suffix(".json").write_text(emit_json(asdict(report)))
        return report

    def _attempt_with_what_is_asked_for(self, request: BootRequest, scratch: Path) -> _Attempt:
        """Run guests until none fails for want of a module that a node would have loaded."""
        requests: dict[str, list[str]] = {}
        for guests_left in reversed(range(_MOST_GUESTS)):
            attempt = self._attempt(request, scratch, requests)
            prepared, verdict = attempt.prepared, attempt.verdict
            requests = collect_requests(requests, prepared.script.steps, attempt.outcome.transcript)
            loads = _plan(request, requests).order if requests else prepared.loads
            if loads == prepared.loads or not guests_left or not _may_want_a_module(verdict):
                break
        if unloaded := [name for name in loads if name not in prepared.loads]:
            verdict = replace(verdict, notes=(*verdict.notes, _TOLD_UNLOADED.format(", ".join(unloaded))))
        return replace(attempt, verdict=verdict)

    def _attempt(self, request: BootRequest, scratch: Path, requests: Mapping[str, Sequence[str]]) -> _Attempt:
        prepared = self._prepare(request, scratch, requests)
        with self._memory.reserve(prepared.guest.memory_mib + _OVERHEAD_MIB):
            outcome, acceleration = self._runner.run(prepared)
        return _Attempt(
            prepared=prepared, outcome=outcome, acceleration=acceleration, verdict=_judge(outcome, prepared, request)
        )

    def _prepare(self, request: BootRequest, scratch: Path, requests: Mapping[str, Sequence[str]]) -> PreparedGuest:
        try:
            kernel = request.images.of(request.kernel)
            signers = read_kernel_signers(kernel.vmlinuz.read_bytes())
        except FormatError as error:
            raise infrastructure_error("kernel-unreadable", error.message, request.log_file) from None
        mode = self._choose_mode(request, kernel, is_signed=bool(signers))
        by_name, not_loaded = _name_modules(request.modules)
        plan = _plan(request, requests)
        script, words, content = self._make_content(request, by_name, plan, is_secure=mode == SECURE)
        initramfs = scratch / "initramfs"
        initramfs.write_bytes(content)
        is_signed = all(module.signed.signers for module in request.modules)
        firmware: Firmware | None = None
        variables = None
        enrolled = "nowhere"
        if mode == SECURE:
            firmware = find_firmware(request.kernel.arch)
            enrolled = MOK if _MACHINE_KEYRING in kernel.settings else DB
            variables = make_variables(
                self._folder, firmware, owner=self._keys.platform.certificate, kernel_signers=signers,
                module_signers=request.certificates if is_signed else [self._keys.throwaway.certificate],
                enrolled_in=enrolled,
            )  # fmt: skip
        vmlinuz = kernel.vmlinuz if mode == SECURE else unpacked_kernel(kernel)
        guest = Guest(
            arch=request.kernel.arch, vmlinuz=vmlinuz, initramfs=initramfs,
            # The initramfs is in memory twice while the kernel unpacks it. Guests of one size share snapshots.
            memory_mib=request.settings.memory + -(-2 * len(content) // _MIB // _MEMORY_STEP_MIB) * _MEMORY_STEP_MIB,
            cpus=request.settings.cpus,
            arguments=_kernel_arguments(is_secure=mode == SECURE),
            firmware=firmware, variables=variables, devices=request.settings.devices,
        )  # fmt: skip
        signed_by = "signers" if is_signed else "throwaway" if mode == SECURE else "nobody"
        return PreparedGuest(
            kernel=request.kernel, settings=request.settings, log_file=request.log_file,
            guest=guest, script=script, words=words, not_loaded=not_loaded, mode=mode, enrolled=enrolled,
            signed_by=signed_by, notes=[*script.not_exercised, *plan.notes], loads=plan.order,
        )  # fmt: skip

    def _wish(self, request: BootRequest) -> str:
        return self._mode if self._mode != "auto" else request.settings.mode

    def _choose_mode(self, request: BootRequest, kernel: BootKernel, *, is_signed: bool) -> str:
        wish = self._wish(request)
        missing = []
        if not is_signed:
            missing.append("its image carries no signature")
        if _ENFORCING not in kernel.settings:
            missing.append("it has no lockdown")
        if wish == SECURE and missing:
            raise CellError(
                FailureClass.INFRASTRUCTURE,
                "no-secure-boot",
                f"{request.kernel} cannot be booted with Secure Boot: {' and '.join(missing)}",
                hint="set the driver's boot.mode to plain or auto in versions.yaml",
            )
        return PLAIN if missing or wish == PLAIN else SECURE

    def _make_content(
        self, request: BootRequest, by_name: Mapping[str, PlacedModule], plan: LoadPlan, *, is_secure: bool
    ) -> tuple[Script, list[str], bytes]:
        """Return the script, the words of its reports, and the initramfs: nothing else brings anything into a guest."""
        file_names = {module_name(module.path): name for name, module in by_name.items()}
        script = make_script(
            plan.own,
            _with_kernel_names(request.settings, file_names),
            in_tree=plan.in_tree,
            claims=claim_devices(
                request.settings.devices,
                {name: module.object.modinfo.get("alias", ()) for name, module in by_name.items()},
            ),
            is_enforced=is_secure,
            has_test=bool(request.test_files),
        )
        words = [secrets.token_hex(8) for _ in range(script.most_reports)]
        guest_files = [
            GuestFile(path="bin/busybox", content=request.busybox, mode=0o755),
            GuestFile(path="init", content=files("builder.boot").joinpath("init.sh").read_bytes(), mode=0o755),
            GuestFile(path="kmodsmith/words", content=" ".join([*words, ""]).encode()),
            GuestFile(path="kmodsmith/confine", content=make_confine(request.kernel.arch), mode=0o755),
            GuestFile(path="kmodsmith/modprobe", content=_MODPROBE, mode=0o755),
            GuestFile(path="kmodsmith/answers", content="".join(f"{word}\n" for word in plan.answers).encode()),
            GuestFile(path="kmodsmith/helpers", content=helper_limits().encode()),
            GuestFile(path="kmodsmith/prepare", content=script.prepare.encode()),
            GuestFile(path="kmodsmith/steps", content=script.body.encode()),
        ]
        guest_files += [
            GuestFile(path=f"{IN_TREE_FOLDER}/{name}.ko", content=data) for name, data in plan.files.items()
        ]
        guest_files += [GuestFile(path=f"lib/firmware/{name}", content=data) for name, data in request.firmware.items()]
        guest_files += [
            GuestFile(path=f"{TEST_FOLDER}/{name}", content=data, mode=0o755)
            for name, data in request.test_files.items()
        ]
        for name, module in by_name.items():
            content = module.signed.content
            original = unpack_module(module.data, module.path)
            if is_secure and not module.signed.signers:
                original = self._keys.throwaway.sign_module(content)
            guest_files.append(GuestFile(path=f"{MODULE_FOLDER}/{name}.ko", content=original))
            if is_secure:
                stranger = self._keys.stranger.sign_module(content)
                guest_files.append(GuestFile(path=f"{UNSIGNED_FOLDER}/{name}.ko", content=content))
                guest_files.append(GuestFile(path=f"{STRANGER_FOLDER}/{name}.ko", content=stranger))
        return script, words, write_initramfs(guest_files)


def _plan(request: BootRequest, requests: Mapping[str, Sequence[str]]) -> LoadPlan:
    by_name, _ = _name_modules(request.modules)
    return plan_loads(
        by_name, request.settings, request.images, request.kernel, request.modprobe_files, requests=requests
    )


def _may_want_a_module(verdict: Verdict) -> bool:
    return bool(verdict.problems) and all(problem.check in _MISSED for problem in verdict.problems)


def _judge(outcome: GuestRun, prepared: PreparedGuest, request: BootRequest) -> Verdict:
    return judge_boot(
        outcome.transcript,
        prepared.script.steps,
        outcome.ending,
        allow=request.settings.allow,
        not_loaded=prepared.not_loaded,
        notes=prepared.notes,
        proprietary=_licences(request.modules),
    )


def _name_modules(modules: Iterable[PlacedModule]) -> tuple[dict[str, PlacedModule], dict[str, str]]:
    """Return modules by the name that the kernel knows, and why those that are left are not loaded, by their path.

    A vendor may have renamed a file (dkms.conf, DEST_MODULE_NAME); of one name the kernel takes one module.
    """
    by_name: dict[str, PlacedModule] = {}
    not_loaded: dict[str, str] = {}
    for module in modules:
        name = _plain(module.object.name)
        if name in by_name:
            not_loaded[module.path] = f"it calls itself {name}, as {by_name[name].path} does, which was loaded instead"
        by_name.setdefault(name, module)
    return by_name, not_loaded


def _with_kernel_names(settings: BootTest, file_names: Mapping[str, str]) -> BootTest:
    """Return settings whose parameters go by the kernel's names of modules, not by those of their files."""

    def rename(modules: Mapping[str, str]) -> dict[str, str]:
        return {file_names.get(_plain(name), _plain(name)): text for name, text in modules.items()}

    sets = tuple(item.model_copy(update={"modules": rename(item.modules)}) for item in settings.parameters)
    load = {file_names.get(_plain(name), _plain(name)): entry for name, entry in settings.load.items()}
    return settings.model_copy(update={"parameters": sets, "load": load})


def _licences(modules: Iterable[PlacedModule]) -> dict[str, str]:
    """Return the licences that are not compatible with the GPL, by module."""
    objects = (module.object for module in modules)
    return {item.name: item.first("license")[:80] for item in objects if not item.is_gpl_compatible}


def _time_of(step: str, log: StepLog) -> StepTime:
    return StepTime(step=step, code=log.code, seconds=None if log.ended is None else round(log.ended - log.began, 3))


def _kernel_arguments(*, is_secure: bool) -> list[str]:
    return [
        # Reports and all else must come through whole and at once, whatever "dmesg -n" says; an end of the kernel must
        # end the machine.
        "printk.devkmsg=on", "printk.time=1", "ignore_loglevel", "log_buf_len=4M", "panic=-1",
        # Kernels with PREEMPT_RT read no certificates from the firmware without it.
        "efi=runtime",
        # What ASK_WHERE needs.
        "unknown_nmi_panic",
        # The kernel's own self-tests of its ciphers are not what is tested here.
        "cryptomgr.notests",
        *(["module.sig_enforce=1"] if is_secure else []),
    ]  # fmt: skip


def _plain(name: str) -> str:
    return name.replace("-", "_")


class _MemoryGate:
    """Lets as many guests run as fit into the memory that there was at the start."""

    def __init__(self, budget_mib: int) -> None:
        self._budget = budget_mib
        self._free = budget_mib
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, mib: int) -> Iterator[None]:
        """Wait for memory.

        Raises:
            HostError: the machine does not have that much.
        """
        if mib > self._budget:
            raise HostError(
                f"a guest needs {mib} MiB, and {self._budget} MiB are available on this machine",
                hint="give the driver's boot.memory a smaller value in versions.yaml, or end other programs",
            )
        with self._changed:
            self._changed.wait_for(lambda: self._free >= mib)
            self._free -= mib
        try:
            yield
        finally:
            with self._changed:
                self._free += mib
                self._changed.notify_all()
