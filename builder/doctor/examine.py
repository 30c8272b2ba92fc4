"""Is this machine ready to build, and if not, what makes it so?"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from builder.boot.acceleration import Acceleration, GuestKind
from builder.boot.machine import find_firmware
from builder.doctor.condition import Condition, State
from builder.doctor.tools import BOOT_TOOLS, CERTIFICATES, E2E_TOOLS, FIRMWARE, TEST_TOOLS, TOOLS, Tool
from builder.errors import ConfigError, HostError, KmodsmithError
from builder.host.disk import GIB
from builder.host.memory import available_memory
from builder.host.run import Command, find_tool, run
from builder.kernel import Arch
from builder.store.jail import find_walls

if TYPE_CHECKING:
    from collections.abc import Collection

    from builder.plan.project import Project


_ROOM_BYTES = 5 * GIB
# Sources, what the compiler keeps of them, programs and the images of nodes; half of it once they are made.
_E2E_ROOM_BYTES = 15 * GIB


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


def examine(
    cache_dir: Path,
    *,
    user_id: int | None = None,
    tests: bool = False,
    e2e: bool = False,
    boot: Collection[Arch] = (),
    root: Path = Path("/"),
) -> list[Condition]:
    """Look at tools, container store, disk and memory.

    Args:
        cache_dir: where downloads are kept.
        user_id: whose needs count; default: the user's who runs this.
        tests: look also at the tools of the project's own tests.
        e2e: look also at what their cluster needs.
        boot: look also at what guests of these architectures need.
        root: below which files of the machine are looked for.
    """
    is_root = (os.geteuid() if user_id is None else user_id) == 0
    more = (*(TEST_TOOLS if tests else ()), *(E2E_TOOLS if e2e else ()))
    conditions = examine_tools(user_id=user_id, boot=boot, root=root, asks=True)
    conditions += [_examine_tool(tool) for tool in more if not (tool.plain_user_only and is_root)]
    if boot:
        conditions.append(_examine_kvm(cache_dir))
    if find_tool("buildah"):
        conditions += _examine_store()
        conditions.append(_examine_jail())
    room = _E2E_ROOM_BYTES if e2e else _ROOM_BYTES
    return [*conditions, _examine_disk("disk of the cache", cache_dir, room), _examine_memory()]


def examine_tools(
    *, user_id: int | None = None, boot: Collection[Arch] = (), root: Path = Path("/"), asks: bool = False
) -> list[Condition]:
    """Look only at what is installed: that can be told of an image wherever it is run.

    Args:
        user_id: as for ``examine``.
        boot: as for ``examine``.
        root: as for ``examine``.
        asks: start programs for their version; an image of another architecture cannot, and its packages are locked.
    """
    is_root = (os.geteuid() if user_id is None else user_id) == 0
    conditions = [_examine_tool(tool, asks=asks) for tool in TOOLS if not (tool.plain_user_only and is_root)]
    conditions.append(_examine_certificates(root))
    for arch in sorted(set(boot) & BOOT_TOOLS.keys()):
        conditions += [_examine_tool(BOOT_TOOLS[arch], asks=asks), _examine_firmware(arch)]
    return conditions


def _examine_tool(tool: Tool, *, asks: bool = True) -> Condition:
    if find_tool(tool.name) is None:
        remedy = f"package {tool.debian} (Debian, Ubuntu), {tool.fedora} (Fedora, RHEL)"
        return Condition(
            name=tool.name,
            status=State.MISSING,
            message=f"not installed; {tool.purpose}",
            remedy=remedy,
        )
    if not tool.version or not asks:
        return Condition(name=tool.name, status=State.OK, message=tool.purpose)
    printed = run(Command(argv=(tool.name, "--version"), timeout_s=20.0)).stdout
    match = re.search(r"(\d+)\.(\d+)", printed)
    found = tuple(int(part) for part in match.groups()) if match else ()
    wanted = ".".join(str(part) for part in tool.version)
    printed = printed.strip().partition("\n")[0]
    if found < tool.version:
        message = f"{printed or 'no version'}; {wanted} or newer is needed"
        return Condition(name=tool.name, status=State.BROKEN, message=message, remedy="update the package")
    return Condition(name=tool.name, status=State.OK, message=printed)


def _examine_certificates(root: Path) -> Condition:
    tool = CERTIFICATES
    file = next((path for name in _CERTIFICATE_FILES if (path := root / name).is_file()), None)
    if file is None:
        remedy = f"package {tool.debian} (Debian, Ubuntu, Fedora, RHEL)"
        message = f"none installed; it {tool.purpose}"
        return Condition(name=tool.name, status=State.MISSING, message=message, remedy=remedy)
    return Condition(name=tool.name, status=State.OK, message=str(file))


def _examine_firmware(arch: Arch) -> Condition:
    tool = FIRMWARE[arch]
    try:
        firmware = find_firmware(arch)
    except HostError as error:
        remedy = f"package {tool.debian} (Debian, Ubuntu), {tool.fedora} (Fedora, RHEL)"
        return Condition(name=tool.name, status=State.MISSING, message=error.message, remedy=remedy)
    return Condition(name=tool.name, status=State.OK, message=str(firmware.code))


def _examine_kvm(cache_dir: Path) -> Condition:
    """Say how guests will run; that KVM is missing is no fault, they only take longer."""
    host = os.uname().machine
    if host not in BOOT_TOOLS or find_tool(BOOT_TOOLS[Arch(host)].name) is None:
        message = "no KVM without QEMU for this machine's own architecture: guests run in software emulation"
        return Condition(name="acceleration", status=State.OK, message=message)
    acceleration = Acceleration(memory=cache_dir / "boot" / "acceleration.json")
    arch = Arch(host)
    kinds = [GuestKind(arch=arch, is_secure=False), GuestKind(arch=arch, is_secure=True, needs_smm=arch is Arch.X86_64)]
    problems = {kind.name: acceleration.look(kind) for kind in kinds}
    told = [
        f"{name} in software emulation: {problem}" if problem else f"{name} with KVM"
        for name, problem in problems.items()
    ]
    return Condition(name="acceleration", status=State.OK, message=f"guests of {'; '.join(told)}")


def _examine_store() -> list[Condition]:
    outcome = run(Command(argv=("buildah", "info", "--format", "{{.store.GraphDriverName}} {{.store.GraphRoot}}")))
    if not outcome:
        remedy = "'buildah info' tells more; rootless users need entries in /etc/subuid and /etc/subgid"
        message = outcome.stderr.strip()
        return [Condition(name="container store", status=State.BROKEN, message=message, remedy=remedy)]
    driver, _, root = outcome.stdout.strip().partition(" ")
    store = Condition(name="container store", status=State.OK, message=f"{driver} at {root}")
    if driver == "vfs":
        store = Condition(
            name="container store",
            status=State.WARN,
            message=f"driver vfs at {root} copies every layer of every image",
            remedy=f"write '[storage]' and 'driver = \"overlay\"' into {_storage_file()}; what vfs holds is made again",
        )
    return [store, _examine_disk("disk of the store", Path(root))]


def _storage_file() -> Path:
    """Where this user says how images are stored."""
    if os.geteuid() == 0:
        return Path("/etc/containers/storage.conf")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers" / "storage.conf"


def _examine_jail() -> Condition:
    """Say what surrounds a compile on this machine, and what of it is missing."""
    try:
        walls = find_walls()
    except KmodsmithError as error:
        return Condition(name="jail", status=State.BROKEN, message=error.message, remedy=_JAIL_REMEDY)
    is_whole = walls.has_room and walls.users and walls.grouping
    remedy = "" if is_whole else "docs/security.md says what each part holds, and what a machine needs for it"
    return Condition(
        name="jail",
        status=State.OK if is_whole else State.WARN,
        message=f"compiles run in {walls}",
        remedy=remedy,
    )


def _examine_disk(name: str, folder: Path, room: int = _ROOM_BYTES) -> Condition:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    message = f"{free / GIB:.0f} GiB free at {place}"
    if free < room:
        remedy = f"a first build of everything needs up to {room / GIB:.0f} GiB"
        return Condition(name=name, status=State.WARN, message=message, remedy=remedy)
    return Condition(name=name, status=State.OK, message=message)


def _examine_memory() -> Condition:
    available = available_memory()
    cores = len(os.sched_getaffinity(0))
    message = f"{available / GIB:.1f} GiB available, {cores} cores"
    if available < GIB:
        remedy = "build one cell at a time: --jobs 1"
        return Condition(name="memory", status=State.WARN, message=message, remedy=remedy)
    return Condition(name="memory", status=State.OK, message=message)


def booted_arches(project: Project) -> tuple[Arch, ...]:
    """Return the architectures whose kernels a build without selectors boots; none where nothing is configured."""
    try:
        config = project.config
    except ConfigError:  # what builds will say so; a doctor that does not start is of no help
        return ()
    group = config.groups[config.default_group]
    return () if config.build.boot == "never" else group.arches
