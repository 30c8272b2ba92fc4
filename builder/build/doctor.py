"""The doctor: is this machine ready to build, and if not, which command makes it so."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import ConfigError, HostError, KmodsmithError
from builder.host.disk import GIB
from builder.host.memory import available_memory
from builder.host.run import Command, find_tool, run
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from builder.plan.project import Project

_INSTALL_TIMEOUT_S = 1800.0
_ROOM_BYTES = 5 * GIB


class FindingStatus(StrEnum):
    OK = "ok"
    WARN = "warn"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that kmodsmith runs: why, from which version on, and the packages that bring it."""

    name: str
    purpose: str
    debian: str
    fedora: str
    version: tuple[int, ...] = ()
    plain_user_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: FindingStatus
    message: str
    remedy: str = ""

    @property
    def is_fine(self) -> bool:
        return self.status in {FindingStatus.OK, FindingStatus.WARN}

    def __str__(self) -> str:
        return f"{self.status:<8} {self.name}: {self.message}{f' -> {self.remedy}' if self.remedy else ''}"


# buildah 1.28 (Debian 12) is the oldest that was tried; it takes --build-context, --output and --identity-label.
TOOLS = (
    Tool(name="buildah", purpose="builds the images", debian="buildah", fedora="buildah", version=(1, 28)),
    Tool(name="bwrap", purpose="locks compiles up", debian="bubblewrap", fedora="bubblewrap"),
    Tool(name="unshare", purpose="tries user namespaces", debian="util-linux", fedora="util-linux"),
    Tool(name="setpriv", purpose="lets no compile outlive us", debian="util-linux", fedora="util-linux"),
    Tool(name="depmod", purpose="proves the data that modprobe reads", debian="kmod", fedora="kmod"),
    Tool(
        name="newuidmap", purpose="maps users in rootless builds", debian="uidmap", fedora="shadow-utils",
        plain_user_only=True,
    ),
)  # fmt: skip
# What the project's own tests and benchmarks need beside those; a test compares these with the programs they start.
TEST_TOOLS = (
    Tool(name="openssl", purpose="makes the keys of the tests", debian="openssl", fedora="openssl"),
    Tool(
        name="docker-registry",
        purpose="is the tests' registry server",
        debian="docker-registry",
        fedora="docker-distribution",
    ),
    Tool(name="softhsm2-util", purpose="is the tests' PKCS#11 token", debian="softhsm2", fedora="softhsm"),
    Tool(name="skopeo", purpose="reads images as others would", debian="skopeo", fedora="skopeo"),
    Tool(name="podman", purpose="pulls images as others would", debian="podman", fedora="podman"),
    Tool(name="modinfo", purpose="reads modules as others would", debian="kmod", fedora="kmod"),
    Tool(name="mount", purpose="gives tests a small disk", debian="mount", fedora="util-linux-core"),
)
# What boot tests need beside those, by architecture of the guests.
BOOT_TOOLS = {
    Arch.X86_64: Tool(
        name="qemu-system-x86_64", purpose="boots kernels", debian="qemu-system-x86", fedora="qemu-system-x86-core",
        version=(6, 2),
    ),
    Arch.AARCH64: Tool(
        name="qemu-system-aarch64", purpose="boots kernels", debian="qemu-system-arm",
        fedora="qemu-system-aarch64-core", version=(6, 2),
    ),
}  # fmt: skip
# No programs, but packages: UEFI firmware with Secure Boot.
_FIRMWARE = {
    Arch.X86_64: Tool(name="firmware for x86_64", purpose="Secure Boot", debian="ovmf", fedora="edk2-ovmf"),
    Arch.AARCH64: Tool(
        name="firmware for aarch64", purpose="Secure Boot", debian="qemu-efi-aarch64", fedora="edk2-aarch64"
    ),
}
# No program either: whom buildah believes. Debian only recommends it to buildah, so a bare machine has none.
_CERTIFICATES = Tool(
    name="certificates",
    purpose="tells real registries from false ones",
    debian="ca-certificates",
    fedora="ca-certificates",
)
# Where Go programs look, Debian's place first.
_CERTIFICATE_FILES = (
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
_JAIL_REMEDY = (
    "bubblewrap must be able to make namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
    "AppArmor); in a pod that may not, see docs/security.md"
)
# apt-get is no requirement: without it 'discover' runs apt in a Debian image.


def examine(
    cache_dir: Path,
    *,
    user_id: int | None = None,
    tests: bool = False,
    boot: Collection[Arch] = (),
    root: Path = Path("/"),
) -> list[Finding]:
    """Look at tools, container store, disk and memory.

    Args:
        cache_dir: where downloads are kept.
        user_id: whose needs count; default: the user's who runs this.
        tests: look also at the tools of the project's own tests.
        boot: look also at what guests of these architectures need.
        root: below which files of the machine are looked for.
    """
    is_root = (os.geteuid() if user_id is None else user_id) == 0
    tools = TOOLS + TEST_TOOLS if tests else TOOLS
    findings = [_examine_tool(tool) for tool in tools if not (tool.plain_user_only and is_root)]
    findings.append(_examine_certificates(root))
    for arch in sorted(set(boot) & BOOT_TOOLS.keys()):
        findings += [_examine_tool(BOOT_TOOLS[arch]), _examine_firmware(arch)]
    if boot:
        findings.append(_examine_kvm(cache_dir))
    if find_tool("buildah"):
        findings += _examine_store()
        findings.append(_examine_jail())
    return [*findings, _examine_disk("disk of the cache", cache_dir), _examine_memory()]


def install_missing(
    findings: Iterable[Finding], *, say: Callable[[str], None], os_release: Path = Path("/etc/os-release")
) -> bool:
    """Install the tools that are missing; returns whether there was something to do.

    Raises:
        HostError: this user may not install, or the distribution is not known; the message has the command.
    """
    missing = {finding.name for finding in findings if finding.status is FindingStatus.MISSING}
    known = (*TOOLS, *TEST_TOOLS, _CERTIFICATES, *BOOT_TOOLS.values(), *_FIRMWARE.values())
    tools = [tool for tool in known if tool.name in missing]
    if not tools:
        return False
    commands = install_commands(tools, _read_family(os_release))
    readable = " && ".join(" ".join(command) for command in commands)
    prefix = _become_root(readable)
    for command in commands:
        say(f"+ {' '.join(command)}")
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        run(Command(argv=(*prefix, *command), environment=environment, timeout_s=_INSTALL_TIMEOUT_S)).check()
    return True


def install_commands(tools: Sequence[Tool], family: str) -> list[tuple[str, ...]]:
    """Return the commands that bring tools onto a distribution (family ``debian`` or ``fedora``)."""
    if family == "debian":
        packages = sorted({tool.debian for tool in tools})
        return [("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends", *packages)]
    return [("dnf", "install", "-y", *sorted({tool.fedora for tool in tools}))]


def _become_root(readable: str) -> tuple[str, ...]:
    if os.geteuid() == 0:
        return ()
    if find_tool("sudo") and run(Command(argv=("sudo", "-n", "true"))):
        return ("sudo", "-n")
    raise HostError("tools are missing and this user may not install them", hint=f"as root: {readable}")


def _read_family(os_release: Path) -> str:
    text = os_release.read_text(encoding="utf-8") if os_release.is_file() else ""
    names = " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)"?$', text, re.MULTILINE)).split()
    if {"debian", "ubuntu"} & set(names):
        return "debian"
    if {"fedora", "rhel", "centos"} & set(names):
        return "fedora"
    tools = ", ".join(tool.name for tool in TOOLS)
    raise HostError(
        f"{names[0] if names else 'this distribution'} is not one that the doctor can install on",
        hint=f"install these programs by its own means: {tools}",
    )


def _examine_tool(tool: Tool) -> Finding:
    if find_tool(tool.name) is None:
        remedy = f"package {tool.debian} (Debian, Ubuntu), {tool.fedora} (Fedora, RHEL)"
        return Finding(
            name=tool.name,
            status=FindingStatus.MISSING,
            message=f"not installed; {tool.purpose}",
            remedy=remedy,
        )
    if not tool.version:
        return Finding(name=tool.name, status=FindingStatus.OK, message=tool.purpose)
    printed = run(Command(argv=(tool.name, "--version"), timeout_s=20.0)).stdout
    match = re.search(r"(\d+)\.(\d+)", printed)
    found = tuple(int(part) for part in match.groups()) if match else ()
    wanted = ".".join(str(part) for part in tool.version)
    printed = printed.strip().partition("\n")[0]
    if found < tool.version:
        message = f"{printed or 'no version'}; {wanted} or newer is needed"
        return Finding(name=tool.name, status=FindingStatus.BROKEN, message=message, remedy="update the package")
    return Finding(name=tool.name, status=FindingStatus.OK, message=printed)


def _examine_certificates(root: Path) -> Finding:
    tool = _CERTIFICATES
    file = next((path for name in _CERTIFICATE_FILES if (path := root / name).is_file()), None)
    if file is None:
        remedy = f"package {tool.debian} (Debian, Ubuntu, Fedora, RHEL)"
        message = f"none installed; it {tool.purpose}"
        return Finding(name=tool.name, status=FindingStatus.MISSING, message=message, remedy=remedy)
    return Finding(name=tool.name, status=FindingStatus.OK, message=str(file))


def _examine_firmware(arch: Arch) -> Finding:
    from builder.boot.machine import find_firmware  # noqa: PLC0415 - only where boot tests are asked about

    tool = _FIRMWARE[arch]
    try:
        firmware = find_firmware(arch)
    except HostError as error:
        remedy = f"package {tool.debian} (Debian, Ubuntu), {tool.fedora} (Fedora, RHEL)"
        return Finding(name=tool.name, status=FindingStatus.MISSING, message=error.message, remedy=remedy)
    return Finding(name=tool.name, status=FindingStatus.OK, message=str(firmware.code))


def _examine_kvm(cache_dir: Path) -> Finding:
    """Say how guests will run; that KVM is missing is no fault, they only take longer."""
    from builder.boot.acceleration import Acceleration, GuestKind  # noqa: PLC0415 - as above

    host = os.uname().machine
    if host not in BOOT_TOOLS or find_tool(BOOT_TOOLS[Arch(host)].name) is None:
        message = "no KVM without QEMU for this machine's own architecture: guests run in software emulation"
        return Finding(name="acceleration", status=FindingStatus.OK, message=message)
    acceleration = Acceleration(memory=cache_dir / "boot" / "acceleration.json")
    arch = Arch(host)
    kinds = [GuestKind(arch=arch, is_secure=False), GuestKind(arch=arch, is_secure=True, needs_smm=arch is Arch.X86_64)]
    problems = {kind.name: acceleration.look(kind) for kind in kinds}
    told = [
        f"{name} in software emulation: {problem}" if problem else f"{name} with KVM"
        for name, problem in problems.items()
    ]
    return Finding(name="acceleration", status=FindingStatus.OK, message=f"guests of {'; '.join(told)}")


def _examine_store() -> list[Finding]:
    outcome = run(Command(argv=("buildah", "info", "--format", "{{.store.GraphDriverName}} {{.store.GraphRoot}}")))
    if not outcome:
        remedy = "'buildah info' tells more; rootless users need entries in /etc/subuid and /etc/subgid"
        message = outcome.stderr.strip()
        return [Finding(name="container store", status=FindingStatus.BROKEN, message=message, remedy=remedy)]
    driver, _, root = outcome.stdout.strip().partition(" ")
    store = Finding(name="container store", status=FindingStatus.OK, message=f"{driver} at {root}")
    if driver == "vfs":
        store = Finding(
            name="container store",
            status=FindingStatus.WARN,
            message=f"driver vfs at {root} copies every layer of every image",
            remedy=f"write '[storage]' and 'driver = \"overlay\"' into {_storage_file()}; what vfs holds is made again",
        )
    return [store, _examine_disk("disk of the store", Path(root))]


def _storage_file() -> Path:
    """Where this user says how images are stored."""
    if os.geteuid() == 0:
        return Path("/etc/containers/storage.conf")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers" / "storage.conf"


def _examine_jail() -> Finding:
    """Say what surrounds a compile on this machine, and what of it is missing."""
    from builder.store.jail import find_walls  # noqa: PLC0415 - only the doctor asks here

    try:
        walls = find_walls()
    except KmodsmithError as error:
        return Finding(name="jail", status=FindingStatus.BROKEN, message=error.message, remedy=_JAIL_REMEDY)
    is_whole = walls.has_room and walls.users and walls.grouping
    remedy = "" if is_whole else "docs/security.md says what each part holds, and what a machine needs for it"
    return Finding(
        name="jail",
        status=FindingStatus.OK if is_whole else FindingStatus.WARN,
        message=f"compiles run in {walls}",
        remedy=remedy,
    )


def _examine_disk(name: str, folder: Path) -> Finding:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    message = f"{free / GIB:.0f} GiB free at {place}"
    if free < _ROOM_BYTES:
        remedy = "a first build of everything needs up to 5 GiB"
        return Finding(name=name, status=FindingStatus.WARN, message=message, remedy=remedy)
    return Finding(name=name, status=FindingStatus.OK, message=message)


def _examine_memory() -> Finding:
    available = available_memory()
    cores = len(os.sched_getaffinity(0))
    message = f"{available / GIB:.1f} GiB available, {cores} cores"
    if available < GIB:
        remedy = "build one cell at a time: --jobs 1"
        return Finding(name="memory", status=FindingStatus.WARN, message=message, remedy=remedy)
    return Finding(name="memory", status=FindingStatus.OK, message=message)


def booted_arches(project: Project) -> tuple[Arch, ...]:
    """Return the architectures whose kernels a build without selectors boots; none where nothing is configured."""
    try:
        config = project.config
    except ConfigError:  # what builds will say so; a doctor that does not start is of no help
        return ()
    group = config.groups[config.default_group]
    return () if config.build.boot == "never" else group.arches
