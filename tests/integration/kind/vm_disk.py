"""The disk of a node that is a virtual machine: the image of kind's nodes, without what only containers need."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from builder.host.locks import alone
from integration.kind.make import Say, cache_dir, minutes, say
from integration.kind.node_image import node_engine, put_images, stop_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.kind.world import World

_FILES = Path(__file__).parent / "vm"
_ROOM = "8G"  # as the node sees it; what is not written takes none
_ENGINE = "var/lib/containerd"
_OWN = {
    "agent": "usr/local/bin/vm-agent",
    "agent.service": "etc/systemd/system/vm-agent.service",
    "crun-here": "usr/local/bin/crun-here",
    "emulated.conf": "etc/systemd/system.conf.d/emulated.conf",
}
# Images of a control plane go, with all names that they have: an engine looks at each of its images when it starts. Layers of
# the others become folders.
_UNPACK = """set -e
ctr() { command ctr --namespace=k8s.io "$@"; }
ctr images list | awk '{of[$1] = $3} /kube-(apiserver|controller|scheduler)|etcd|coredns/ {gone[$3]}
    END {for (name in of) if (of[name] in gone) print name}' | while read -r name; do ctr images remove --sync "$name"; done
ctr images list | awk '/^registry|kmodsmith/ {print $3}' | sort -u | while read -r digest; do
    ctr snapshots --snapshotter=overlayfs unpack "$digest"
done"""
_WANTED = "etc/systemd/system/sysinit.target.wants/vm-agent.service"


def make_disk(world: World, node_image: str, images: Sequence[str], tell: Say = say) -> Path:
    """Return a file with the root file system of a node that has images of the world's engine; never to be written."""
    # An image that is made again has another id, and the same layers; a node image is called by what it is made of.
    layers = world.docker("image", "inspect", "--format={{.RootFS.Layers}}", *images)
    recipe = b"\0".join(file.read_bytes() for file in [Path(__file__), *(_FILES / name for name in _OWN)])
    key = hashlib.sha256(recipe + f"{node_image}\n{layers}".encode()).hexdigest()[:16]
    disk = cache_dir() / f"vm-disk-{key}.img"
    with alone(disk):
        if not disk.is_file():
            begun = time.monotonic()
            tell("making the disk of a virtual machine")
            for old in cache_dir().glob("vm-disk-*.img"):  # a gigabyte and a half each; its images are gone with it
                old.unlink()
            _make(world, node_image, images, disk)
            tell(f"made the disk of a virtual machine in {minutes(time.monotonic() - begun)}")
    return disk


def _make(world: World, node_image: str, images: Sequence[str], disk: Path) -> None:
    root = disk.with_name(f".vm-root-{os.getpid()}")
    root.mkdir(mode=0o700)
    fresh = disk.with_name(f".{disk.name}.{os.getpid()}")
    try:
        # Its own file system, and not one of overlays: nothing else can be laid over.
        with node_engine(world, node_image, f"--volume=/{_ENGINE}") as container:
            put_images(world, container, images)
            # An emulated processor takes longer for that than kubelet waits, and would begin anew each time.
            world.docker("exec", container, "sh", "-c", _UNPACK)
            stop_engine(world, container)
            world.run("sh", "-c", f"docker export {container} | tar --extract --directory={root}")
            volume = world.docker("inspect", "--format={{range .Mounts}}{{.Source}}{{end}}", container)
            world.run("cp", "--archive", f"{volume}/.", root / _ENGINE)
        _adapt(root)
        command = ["mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", str(root), str(fresh), _ROOM]
        subprocess.run(command, check=True, capture_output=True)
        fresh.rename(disk)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        fresh.unlink(missing_ok=True)


def _adapt(root: Path) -> None:
    (root / ".dockerenv").unlink(missing_ok=True)
    # It makes control groups for kubelet in a container, and refuses to where kernel threads are among the processes.
    (root / "etc/systemd/system/kubelet.service.d/11-kind.conf").unlink()
    for name, place in _OWN.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_FILES / name, root / place)
    for name in ("agent", "crun-here"):
        (root / _OWN[name]).chmod(0o755)
    link = root / _WANTED
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("../vm-agent.service")
    # kind tells containers of product files, which a real machine has itself.
    base = root / "etc/containerd/cri-base.json"
    spec = json.loads(base.read_text())
    del spec["hooks"]
    base.write_text(json.dumps(spec))
    settings = root / "etc/containerd/config.toml"
    text = settings.read_text()
    assert "SystemdCgroup = true" in text
    # runc begins itself anew several times for each step of a container's life, which takes an emulated processor seconds.
    settings.write_text(
        text.replace("SystemdCgroup = true", 'SystemdCgroup = false\n    BinaryName = "/usr/local/bin/crun-here"')
    )
