"""What a node pulls of a driver on a base of UBI's size: as published, and as it would be with plain layers.

Both forms of the same images lie in a real registry, and nodes are container stores of their own: what CRI-O pulls by, too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakes.locks import debian_of
from integration.conftest import ROOT, Machine, copy_project, open_machine
from integration.registry.conftest import VendorSite
from integration.registry_server import serve_registry
from integration.vendor_base import make_vendor_base

from builder.kernel import Arch
from builder.sources.debian.kernels import read_busybox
from builder.sources.debian.parts import DebianParts
from builder.sources.download import Downloads
from builder.sources.lock_file import read_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

# ubi9/ubi of 2026 has 215 MB of files, ubi-minimal 100.
_BASE_BYTES = 215 * 10**6


def measure_pulls() -> dict[str, Any]:
    """Return the bytes that a node pulls: with nothing, with the base, and with the driver of the kernel before."""
    with tempfile.TemporaryDirectory(prefix="kmodsmith-pull-") as scratch:
        folder = Path(scratch)
        for name in ("machine", "ours", "theirs", "vendor"):
            (folder / name).mkdir()
        project = copy_project(folder)
        shutil.copy(ROOT / "versions.lock.yaml", project)
        with (
            open_machine(folder / "machine") as machine,
            serve_registry(folder / "ours") as ours,
            serve_registry(folder / "theirs") as theirs,
        ):
            site = VendorSite(machine, project, ours, theirs)
            base = make_vendor_base(theirs, folder / "vendor", _read_busybox(project, folder), bulk=_bulk())
            site.use(base, "drivers/pulled", "1.0.0")
            site.take_kernels(2)
            for verb in ("build", "publish"):
                code, results = site.run(verb)
                assert code == 0, results
            published = [str(cell["names"][0]) for cell in results["cells"]]
            plain = [_push_plain(site, name) for name in published]
            forms = {"packed": published, "plain": plain}
            return {
                "base_bytes": sum(base.layers.values()),
                **{form: _pull_all(site, base.pullspec, names, folder / form) for form, names in forms.items()},
            }


def _read_busybox(project: Path, folder: Path) -> bytes:
    locked = debian_of(read_lock(project / "versions.lock.yaml"))
    downloads = Downloads(folder / "packages")
    try:
        return read_busybox(DebianParts(locked=locked, build_arch=Arch.X86_64), Arch.X86_64, downloads)
    finally:
        downloads.close()


def _bulk() -> Iterator[Path]:
    """Yield programs and libraries of this machine: about as hard to pack as those of a base image."""
    left = _BASE_BYTES
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/bin", "/usr/share"):
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file() and not file.is_symlink() and (size := file.stat().st_size) <= left:
                left -= size
                yield file


def _push_plain(site: VendorSite, name: str) -> str:
    """Push an image as it was published before, with all of its layers unpacked."""
    target = name.replace("drivers/pulled", "drivers/plain")
    auth = str(site.ours.auth_file(site.folder / "ours"))
    with tempfile.TemporaryDirectory() as scratch:
        site.machine.buildah("push", "--quiet", "--disable-compression", name, f"dir:{scratch}/plain")
        argv = ["skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", "--authfile", auth]
        subprocess.run([*argv, f"dir:{scratch}/plain", f"docker://{target}"], check=True)
    return target


def _pull_all(site: VendorSite, base: str, names: list[str], folder: Path) -> dict[str, int]:
    """Return what nodes pull of the first image, by what they have, and of the second where they have the first."""
    for node in ("empty", "with-base"):
        (folder / node).mkdir(parents=True)
    with open_machine(folder / "empty") as empty, open_machine(folder / "with-base") as with_base:
        _pull(site, base, with_base)
        return {
            "nothing_there": _pull(site, names[0], empty),
            "base_there": _pull(site, names[0], with_base),
            "earlier_driver_there": _pull(site, names[1], with_base),
        }


def _pull(site: VendorSite, name: str, node: Machine) -> int:
    """Pull an image into a node's store; returns how many bytes of blobs the server gave, by its own log."""
    server, kind = (site.ours, "ours") if name.startswith(site.ours.host) else (site.theirs, "theirs")
    log = site.folder / kind / "log"
    before = len(log.read_text())
    node.buildah("pull", "--quiet", "--tls-verify=false", "--authfile", str(server.auth_file(node.folder)), name)
    given = re.findall(r'"GET /v2/\S+/blobs/\S+ HTTP/1.1" 200 (\d+)', log.read_text()[before:])
    return sum(map(int, given))
