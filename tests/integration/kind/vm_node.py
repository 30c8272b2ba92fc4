"""A node with a kernel of its own: a virtual machine that joins a kind cluster, with Secure Boot.

kind's nodes share this machine's kernel, which often takes no modules. This one boots Debian's own signed kernel of a
cell, so that KMM's worker loads what was published into the very kernel that it was built for.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from builder.boot.acceleration import EMULATION, KVM, Acceleration, GuestKind
from builder.boot.initramfs import GuestFile, write_initramfs
from builder.boot.machine import Guest, find_firmware, make_command
from builder.boot.secure_boot import DB, MOK, GuestKeys, make_variables, read_kernel_signers
from builder.kernel import Arch
from integration.kind.client import Refused, wait_until
from integration.kind.cluster import NAME
from integration.kind.world import PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.kmod.signature import Certificate
    from integration.kind.cluster import Cluster
    from integration.kind.vm_kernel import NodeKernel

NODE = f"{NAME}-vm"
_CONTROL_PLANE = f"{NAME}-control-plane"
_TAP = "vm0"
_PORT = PLACE / "vm.sock"
_MACHINE_KEYRING = "CONFIG_INTEGRITY_MACHINE_KEYRING"
_READY_WITHIN_S = 900.0
# An emulated processor's clock is one for all of them, which a kernel does not believe; to ask another device for the time
# is what takes most of the time then. Nor does anybody look into an emulated processor's caches.
_EMULATED = ("tsc=reliable", "mitigations=off", "no_timer_check")
_MAC = "52:54:00:6b:6d:73"


class VmError(AssertionError):
    """The virtual machine does not do what it is for."""


@dataclass(kw_only=True)
class VmNode:
    """A node that is a virtual machine. Its disk stays from one start to the next, its kernel need not."""

    cluster: Cluster
    folder: Path
    disk: Path
    kernel: NodeKernel
    certificates: Sequence[Certificate]
    files: Mapping[str, bytes]
    pull_secret: str
    accelerator: str = EMULATION
    memory_mib: int = 2048
    cpus: int = 2
    starts: int = 0
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def console(self) -> str:
        """What the kernel and systemd have said since the last start."""
        return (self.folder / f"console-{self.starts}.log").read_text(errors="replace")

    @property
    def peak_mib(self) -> int:
        """How much of this machine's memory it has taken at most."""
        assert self._child is not None
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) // 1024

    def start(self) -> None:
        """Switch it on."""
        self.starts += 1
        _PORT.unlink(missing_ok=True)
        initramfs = self.folder / "initramfs"
        # One archive after the other is one archive to the kernel: what is of the kernel, and what is of this run.
        settings = write_initramfs(GuestFile(path=path, content=data) for path, data in self.files.items())
        initramfs.write_bytes(self.kernel.initramfs.read_bytes() + settings)
        command = ["setpriv", "--pdeathsig", "KILL", "--", *self._command(initramfs)]
        with (self.folder / f"console-{self.starts}.log").open("wb") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _command(self, initramfs: Path) -> list[str]:
        firmware = find_firmware(Arch.X86_64)
        keys = GuestKeys(self.folder / "keys")
        variables = make_variables(
            self.folder,
            firmware,
            owner=keys.platform.certificate,
            kernel_signers=read_kernel_signers(self.kernel.boot.vmlinuz.read_bytes()),
            module_signers=self.certificates,
            enrolled_in=MOK if _MACHINE_KEYRING in self.kernel.boot.settings else DB,
        )
        guest = Guest(
            arch=Arch.X86_64,
            vmlinuz=self.kernel.boot.vmlinuz,
            initramfs=initramfs,
            memory_mib=self.memory_mib,
            cpus=self.cpus,
            arguments=["panic=-1", "cryptomgr.notests", *(_EMULATED if self.accelerator == EMULATION else ())],
            firmware=firmware,
            variables=variables,
        )
        devices = [
            # What a node has written is in this machine's memory also where QEMU is killed: to wait for a disk is for
            # machines that can lose their power.
            "-drive", f"if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file={self.disk}",
            "-device", "virtio-blk-pci,drive=disk",
            "-netdev", f"tap,id=network,ifname={_TAP},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=network,mac={_MAC},romfile=",
            "-chardev", f"socket,id=agent,path={_PORT},server=on,wait=off",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent",
        ]  # fmt: skip
        return [*make_command(guest, self.accelerator).argv, *devices]

    def run(self, script: str, *, seconds: float = 120.0) -> tuple[int, str]:
        """Run a script in the node, past kubelet and network; returns its exit code and what it said."""
        with socket.socket(socket.AF_UNIX) as port:
            port.settimeout(seconds)
            port.connect(str(_PORT))
            port.sendall(base64.b64encode(script.encode()) + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                part = port.recv(65536)
                if not part:
                    raise VmError(f"the node ended while it ran {script!r}: {self.console[-2000:]}")
                answer += part
        code, _, text = answer.decode().strip().partition(" ")
        return int(code), base64.b64decode(text).decode(errors="replace")

    def ask(self, script: str) -> str:
        """Return what a script says that must not fail."""
        code, text = self.run(script)
        if code:
            raise VmError(f"{script!r} ended with {code} in the node: {text}")
        return text

    def wait_for_ready(self, after: str = "") -> dict[str, Any]:
        """Wait until the cluster calls it ready, on its kernel; ``after`` is a boot id that is over."""

        def ask() -> dict[str, Any] | None:
            if self._child is not None and self._child.poll() is not None:
                raise VmError(f"the machine ended with {self._child.returncode}: {self.console[-3000:]}")
            node = self.cluster.client.get("v1", "Node", NODE)
            ready = any(item["type"] == "Ready" and item["status"] == "True" for item in node["status"]["conditions"])
            info = node["status"]["nodeInfo"]
            return node if ready and info["bootID"] != after and info["kernelVersion"] == self.kernel.name else None

        try:
            found = wait_until(ask, seconds=_READY_WITHIN_S, what="a ready node")
        except AssertionError as error:
            raise VmError(f"{error}\n{self.console[-3000:]}") from None
        assert found is not None
        return found

    def switch_off(self) -> None:
        """Take the power away: nothing is written any more, nobody is told."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def wait_for_end(self, seconds: float = 180.0) -> None:
        """Wait until it has shut down by itself."""
        assert self._child is not None
        self._child.wait(seconds)
        self._child = None

    def describe(self, folder: Path) -> None:
        """Write what the consoles said, and the journal where it can still be asked for."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("console-*.log"):
            shutil.copy(file, folder / f"{NODE}.{file.name}")
        with contextlib.suppress(OSError, VmError):
            (folder / f"{NODE}.journal").write_text(self.run("journalctl --no-pager", seconds=60)[1])


def choose_accelerator(memory: Path) -> str:
    """Return KVM where it runs guests with Secure Boot, for all that is remembered of this machine."""
    firmware = find_firmware(Arch.X86_64)
    kind = GuestKind(arch=Arch.X86_64, is_secure=True, needs_smm=firmware.needs_smm)
    return EMULATION if Acceleration(memory=memory).look(kind) else KVM


@contextlib.contextmanager
def plugged(cluster: Cluster) -> Iterator[tuple[ipaddress.IPv4Interface, str]]:
    """Have a port of the nodes' bridge until the end of the block; yields an address for it, and the gateway's."""
    assert cluster.world is not None
    listing = json.loads(cluster.world.docker("network", "inspect", "kind"))[0]
    network = next(item for item in listing["IPAM"]["Config"] if "." in item["Subnet"])
    subnet = ipaddress.IPv4Network(network["Subnet"])
    cluster.world.run("ip", "link", "delete", _TAP, check=False)  # of a run that was killed
    cluster.world.run("ip", "tuntap", "add", "dev", _TAP, "mode", "tap")
    try:
        cluster.world.run("ip", "link", "set", _TAP, "master", f"br-{listing['Id'][:12]}", "up")
        # The engine gives away the first addresses of its network.
        yield ipaddress.IPv4Interface(f"{subnet[-2]}/{subnet.prefixlen}"), network["Gateway"]
    finally:
        cluster.world.run("ip", "link", "delete", _TAP, check=False)


@contextlib.contextmanager
def in_cluster(node: VmNode) -> Iterator[VmNode]:
    """Have a node start, and join its cluster, until the end of the block; nothing of it stays, there or here."""
    _forget(node.cluster)  # one of a run that was killed
    try:
        node.start()
        yield node
    finally:
        node.switch_off()
        node.disk.unlink()
        _forget(node.cluster)


def _forget(cluster: Cluster) -> None:
    with contextlib.suppress(Refused):
        cluster.client.delete({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})


def node_files(cluster: Cluster, address: ipaddress.IPv4Interface, gateway: str) -> dict[str, bytes]:
    """Return what makes a disk a node of this cluster, as kubeadm would write it, for the initramfs."""
    assert cluster.world is not None
    world, client = cluster.world, cluster.client
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    control_plane = world.docker("inspect", "--format", form, _CONTROL_PLANE)
    token = world.docker("exec", _CONTROL_PLANE, "kubeadm", "token", "create", "--ttl=2h").splitlines()[-1]
    authority = world.docker("exec", _CONTROL_PLANE, "cat", "/etc/kubernetes/pki/ca.crt")
    settings = yaml.safe_load(client.get("v1", "ConfigMap", "kubelet-config", "kube-system")["data"]["kubelet"])
    del settings["cgroupRoot"]  # kind's, for kubelets that share a kernel
    # An emulated processor is slow: no groups of groups to walk through every two seconds, and patience.
    settings |= {
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "cgroupDriver": "cgroupfs",
        "runtimeRequestTimeout": "15m",
    }
    flags = f"--node-ip={address.ip} --hostname-override={NODE} --container-runtime-endpoint=unix:///run/containerd/containerd.sock --housekeeping-interval=5m"
    node = {
        "etc/hostname": NODE,
        "etc/hosts": f"127.0.0.1 localhost\n{address.ip} {NODE}\n{control_plane} {_CONTROL_PLANE}",
        "etc/resolv.conf": f"nameserver {gateway}",
        "etc/kubernetes/pki/ca.crt": authority,
        "etc/kubernetes/bootstrap-kubelet.conf": _bootstrap(f"https://{_CONTROL_PLANE}:6443", authority, token),
        "var/lib/kubelet/config.yaml": yaml.safe_dump(settings),
        "var/lib/kubelet/kubeadm-flags.env": f'KUBELET_KUBEADM_ARGS="{flags}"',
    }
    found = {f"node/{path}": f"{text}\n".encode() for path, text in node.items()}
    return found | {"settings": f"address={address}\ngateway={gateway}\n".encode()}


def _bootstrap(server: str, authority: str, token: str) -> str:
    data = base64.b64encode(f"{authority}\n".encode()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "join",
            "contexts": [{"name": "join", "context": {"cluster": "join", "user": "join"}}],
            "clusters": [{"name": "join", "cluster": {"server": server, "certificate-authority-data": data}}],
            "users": [{"name": "join", "user": {"token": token}}],
        }
    )
