"""The image of kind's nodes, made here: Kubernetes as Go modules, everything else of Debian.

Entrypoint and units are those that kind's own module carries; the network of pods and the storage class are ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from integration.kind.debian import NODE_PACKAGES, PROXY_PACKAGES, make_root
from integration.kind.make import Say, minutes, say, sources_of
from integration.kind.recipe import KIND, KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from integration.kind.world import World

_FILES = Path(__file__).parent / "node"
_ROOTFS = "kmodsmith-e2e-rootfs"
_NODE_PROGRAMS = ("kubeadm", "kubectl", "kubelet", "crictl", "containerd", "containerd-shim-runc-v2", "ctr")
_IPTABLES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")


def node_image_key(programs: Mapping[str, Path]) -> str:
    """Return what a node image depends on: folders of programs are called by their recipe."""
    files = [*sorted(file for file in _FILES.iterdir() if file.is_file()), Path(__file__)]
    words = "\n".join([*sorted(str(path) for path in programs.values()), *NODE_PACKAGES, *PROXY_PACKAGES, KUBERNETES])
    return hashlib.sha256(words.encode() + b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def make_node_image(world: World, programs: Mapping[str, Path], tell: Say = say) -> str:
    """Return the name of the node image in a world's engine; it is made where it is not there."""
    name = f"kmodsmith-e2e-node:{node_image_key(programs)}"
    if world.docker("images", "--quiet", name):
        return name
    begun = time.monotonic()
    tell("making the image of nodes")
    node_root, proxy_root = make_root("minbase", NODE_PACKAGES, tell), make_root("extract", PROXY_PACKAGES, tell)
    world.docker("import", node_root, _ROOTFS)
    images = _make_images(world, programs, proxy_root)
    context = world.data_dir.with_name("node-context")
    shutil.rmtree(context, ignore_errors=True)
    try:
        _fill_context(context, programs)
        world.docker("build", "--tag", f"{name}-bare", context)
    finally:
        shutil.rmtree(context, ignore_errors=True)
    _put_images_into(world, f"{name}-bare", images, name)
    world.docker("rmi", *images)
    tell(f"made the image of nodes in {minutes(time.monotonic() - begun)}")
    return name


def import_image(
    world: World,
    tag: str,
    files: Mapping[str, Path],
    *changes: str,
    base: Path | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """Make an image of a few files, on nothing or on an archive of a root folder."""
    command = ["docker", "import", *(word for change in changes for word in ("--change", change)), "-", tag]
    with subprocess.Popen(world.command(*command), stdin=subprocess.PIPE, env=os.environ | world.environment) as child:
        assert child.stdin is not None
        with tarfile.open(fileobj=child.stdin, mode="w|") as target:
            if base is not None:
                _copy(base, target)
            for name, file in files.items():
                target.add(file.resolve(), name)
            for name, place in (links or {}).items():
                _link(target, name, place)
    if child.returncode:
        raise AssertionError(f"docker import {tag} ended with {child.returncode}")
    return tag


def _copy(base: Path, target: tarfile.TarFile) -> None:
    with tarfile.open(base) as source:
        for member in source:
            if member.type not in {tarfile.CHRTYPE, tarfile.BLKTYPE}:
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
    for name in _IPTABLES:  # Debian makes these links when a package is configured, which nobody did
        _link(target, f"usr/sbin/{name}", "xtables-nft-multi")


def _link(target: tarfile.TarFile, name: str, place: str) -> None:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, place
    target.addfile(link)


def _make_images(world: World, programs: Mapping[str, Path], proxy_root: Path) -> list[str]:
    """Make the images of a control plane, under the names that kubeadm and kind look for."""
    listing = world.run(programs["kubeadm"], "config", "images", "list", f"--kubernetes-version={KUBERNETES}").stdout
    names = {name.rpartition("/")[2].partition(":")[0]: name for name in listing.split()}
    made = []
    for short, name in names.items():
        if short == "kube-proxy":
            path = {"usr/local/bin/kube-proxy": programs[short]}
            made.append(
                import_image(
                    world, name, path, "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", base=proxy_root
                )
            )
        elif short == "pause":
            entry = 'ENTRYPOINT ["/pause"]'
            # containerd's own configuration names this one
            made += [
                import_image(world, tag, {"pause": programs[short]}, entry)
                for tag in {name, "registry.k8s.io/pause:3.10"}
            ]
        else:
            entry = f'ENTRYPOINT ["/usr/local/bin/{short}"]'
            files = {f"usr/local/bin/{short}": programs[short]}
            made.append(import_image(world, name, files, "ENV PATH=/usr/local/bin", entry))
    return made


def _fill_context(context: Path, programs: Mapping[str, Path]) -> None:
    files = sources_of(KIND) / "images" / "base" / "files"
    shutil.copytree(files, context / "kind")
    subprocess.run(
        ["chmod", "-R", "u+w", str(context / "kind")], check=True
    )  # the compiler's cache is not to be written
    (context / "programs").mkdir()
    for name in _NODE_PROGRAMS:
        shutil.copy(programs[name], context / "programs")
    own = context / "own"
    for name, place in {
        "node-cni": "usr/local/bin",
        "node-cni.service": "etc/systemd/system",
        "default-cni.yaml": "kind/manifests",
        "default-storage.yaml": "kind/manifests",
    }.items():
        (own / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(_FILES / name, own / place)
    (own / "kind" / "version").write_text(KUBERNETES)
    shutil.copy(_FILES / "Containerfile", context / "Dockerfile")


def _put_images_into(world: World, bare: str, images: list[str], name: str) -> None:
    """Load images into the container engine of a node, as kind's own builder does, and keep what came out."""
    with node_engine(world, bare) as container:
        put_images(world, container, images)
        stop_engine(world, container)
        entry = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
        world.docker("commit", "--change", entry, container, name)


@contextlib.contextmanager
def node_engine(world: World, image: str, *options: str) -> Iterator[str]:
    """Have a container of a node's image in which nothing but its own container engine runs."""
    container = world.docker("run", "--detach", "--privileged", *options, "--entrypoint=sleep", image, "infinity")
    try:
        world.docker("exec", "--detach", container, "containerd")
        for _ in range(300):
            if world.run("docker", "exec", container, "ctr", "version", check=False).returncode == 0:
                break
            time.sleep(0.2)
        yield container
    finally:
        world.docker("rm", "--force", "--volumes", container)


def put_images(world: World, container: str, images: Iterable[str]) -> None:
    """Put images of the world's engine into that of a node."""
    load = f"docker save {' '.join(images)} | docker exec -i {container} ctr -n k8s.io images import --no-unpack --all-platforms --digests -"
    world.run("sh", "-c", f"set -e; {load}")


def stop_engine(world: World, container: str) -> None:
    world.docker("exec", container, "sh", "-c", "kill $(pidof containerd); while pidof containerd; do sleep 0.1; done")
