"""The device plugin's own image in a guest with Secure Boot, where the signed modules come and go."""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509
from fakes.locks import debian_of

from builder.boot.acceleration import EMULATION
from builder.boot.initramfs import GuestFile, write_initramfs
from builder.boot.kernel_image import SourceKernels
from builder.boot.machine import Guest, find_firmware, make_command
from builder.boot.secure_boot import DB, MOK, GuestKeys, make_variables, read_kernel_signers
from builder.kernel import Arch
from builder.kmod.fit import place_modules
from builder.kmod.signature import Certificate
from builder.plan.project import open_project
from builder.sources.debian.kernels import PackagedKernels, read_busybox
from builder.sources.debian.parts import DebianParts
from builder.sources.download import Downloads
from builder.sources.lock_file import read_lock
from integration.buildah.test_sign import configure, make_certificate
from integration.conftest import ROOT, Machine, copy_project

if TYPE_CHECKING:
    from pathlib import Path

    from builder.kernel import KernelVersion

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_PLUGIN = "localhost/device-plugin:0.1.0-amd64"
_TOLD = re.compile(r"guest (\[.*\])\r?$", re.MULTILINE)
_ENDS_WITHIN_S = 420
# The image's root is a folder of the guest: its programs find what a pod's would find.
_INIT = b"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /bin /image
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t securityfs none /sys/kernel/security
echo "<13>guest [\\"lockdown\\", \\"$(cat /sys/kernel/security/lockdown)\\"]" >/dev/kmsg
tar -C /image -xf /image.tar && rm /image.tar
cd /image
mkdir -p proc sys dev tmp var/lib/kubelet/device-plugins var/run/cdi
for folder in proc sys dev; do mount -o bind /$folder $folder; done
ifconfig lo up
chroot /image /usr/bin/env -i PATH=/usr/bin:/bin PYTHONPATH=/guest:/opt/kmod-operator PYTHONDONTWRITEBYTECODE=1 \
    python3.11 /guest/plugin_guest.py >/dev/console 2>&1
poweroff -f
"""


def _newest(lock: Path) -> KernelVersion:
    kernels = read_lock(lock).kernel_versions("debian")
    return [kernel for kernel in kernels if kernel.series == "6.12" and kernel.raw.endswith("cloud-amd64")][-1]


@dataclass(frozen=True)
class _Built:
    """A project, and the image of its driver for one kernel."""

    project: Path
    kernel: KernelVersion
    image: str


@pytest.fixture
def built(machine: Machine, lock_text: str, tmp_path: Path) -> _Built:
    """The sample driver, signed, and the image of its device plugin."""
    project = copy_project(tmp_path)
    (project / "versions.lock.yaml").write_text(lock_text)
    shutil.copytree(ROOT / "operator", project / "operator")
    shutil.copy(ROOT / "LICENSE", project)
    key, certificate = make_certificate(tmp_path, "signer")
    configure(project, {"signer": {"certificate": str(certificate), "key_file": str(key)}}, "signer")
    file = project / "versions.yaml"
    settings = yaml.safe_load(file.read_text())
    declared = yaml.safe_load((ROOT / "versions.yaml").read_text())["components"]
    settings["components"] = [item | {"arches": ["x86_64"]} for item in declared if item["name"] == "device-plugin"]
    file.write_text(yaml.safe_dump(settings))
    machine.builder(project, "discover", "--source", "debian", check=True)
    kernel = _newest(project / "versions.lock.yaml")
    code, results = machine.build(project, "--component", "device-plugin")
    assert code == 0, results
    code, results = machine.build(project, "--kernel", kernel.raw)
    assert code == 0, results
    return _Built(project, kernel, results["cells"][0]["image"])


def test_devices_come_and_go_with_the_signed_modules(machine: Machine, built: _Built, tmp_path: Path) -> None:
    """Nobody's module is taken; ours brings devices, and what a pod has of them is unhealthy when it goes."""
    kernel, root = built.kernel, tmp_path / "root"
    with machine.mounted(built.image) as image:
        files = [(f"opt/lib/modules/{kernel}/extra/{file.name}", file.read_bytes()) for file in image.rglob("*.ko")]
    modules, findings = place_modules(files)
    assert (len(modules), findings) == (3, [])
    (root / "guest" / "modules").mkdir(parents=True)
    for module in modules:
        assert module.signed.signers, "a signer signed it when it was built"
        name = module.object.name
        (root / "guest" / "modules" / f"{name}.ko").write_bytes(module.data)
        (root / "guest" / "modules" / f"{name}-unsigned.ko").write_bytes(module.signed.content)
    here = ROOT / "tests"
    shutil.copy(here / "integration" / "qemu" / "plugin_guest.py", root / "guest")
    (root / "guest" / "fakes").mkdir()
    shutil.copy(here / "fakes" / "kubelet.py", root / "guest" / "fakes")

    told = _run_guest(machine, built, root, tmp_path)
    count = 5
    well = {f"ptemplate-{number}": "Healthy" for number in range(count)}
    assert told == [
        ["lockdown", "none [integrity] confidentiality"],
        ["before", {}],
        ["unsigned", errno.EKEYREJECTED],
        ["load", 0],
        ["loaded", well],
        ["given", ["drivers.example.com/ptemplate=ptemplate-0"]],
        ["written and read", "from a pod"],
        ["unload", 0],
        ["unloaded", {"ptemplate-0": "Unhealthy"}],
        ["given back", {}],
        ["load again", 0],
        ["loaded again", well],
        ["ended", 0],
    ]


def _run_guest(machine: Machine, built: _Built, root: Path, folder: Path) -> list[Any]:
    project, kernel = built.project, built.kernel
    lock = debian_of(read_lock(project / "versions.lock.yaml"))
    cache = open_project(project).cache_dir
    parts = DebianParts(locked=lock, build_arch=Arch.X86_64)
    downloads = Downloads(cache / "packages")
    try:
        kernels = SourceKernels(PackagedKernels(parts, folder=cache / "boot", downloads=downloads))
        boot, busybox = kernels.of(kernel), read_busybox(parts, Arch.X86_64, downloads)
    finally:
        downloads.close()
    (root / "guest" / "busybox").write_bytes(busybox)
    (root / "guest" / "busybox").chmod(0o755)
    archive = folder / "image.tar"
    with machine.mounted(_PLUGIN) as image, tarfile.open(archive, "w") as packed:
        packed.add(image, ".")
        packed.add(root / "guest", "guest")
    initramfs = folder / "initramfs"
    files = [
        GuestFile(path="init", content=_INIT, mode=0o755),
        GuestFile(path="bin/busybox", content=busybox, mode=0o755),
        GuestFile(path="image.tar", content=archive.read_bytes()),
    ]
    initramfs.write_bytes(write_initramfs(files))
    certificate = Certificate(x509.load_pem_x509_certificate((folder / "signer.pem").read_bytes()))
    firmware = find_firmware(Arch.X86_64)
    guest = Guest(
        arch=Arch.X86_64,
        vmlinuz=boot.vmlinuz,
        initramfs=initramfs,
        memory_mib=1024,
        cpus=2,
        arguments=["panic=-1", "printk.devkmsg=on", "cryptomgr.notests", "mitigations=off"],
        firmware=firmware,
        variables=make_variables(
            folder,
            firmware,
            owner=GuestKeys(folder / "keys").platform.certificate,
            kernel_signers=read_kernel_signers(boot.vmlinuz.read_bytes()),
            module_signers=[certificate],
            enrolled_in=MOK if "CONFIG_INTEGRITY_MACHINE_KEYRING" in boot.settings else DB,
        ),
    )
    command = make_command(guest, EMULATION).argv
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        timeout=_ENDS_WITHIN_S,
    )  # fmt: skip
    (folder / "console.log").write_text(done.stdout)
    found = [json.loads(line) for line in _TOLD.findall(done.stdout)]
    assert found, done.stdout[-4000:]
    assert found[-1][0] == "ended", done.stdout[-4000:]
    return found
