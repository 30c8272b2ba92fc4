"""What a node pulls of a driver on a base of UBI's size: as published, and as it would be with plain layers.

Both forms of the same images lie in a real registry, and skopeo pulls them as a node does, which keeps blobs by digest.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakes.locks import debian_of
from integration.conftest import ROOT, copy_project, open_machine
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
    site.machine.buildah(
        "push", "--quiet", "--disable-compression", "--tls-verify=false", "--authfile", auth, name, f"docker://{target}"
    )
    return target


def _pull_all(site: VendorSite, base: str, names: list[str], folder: Path) -> dict[str, int]:
    """Return what nodes pull of the first image, by what they have, and of the second where they have the first."""
    folder.mkdir()
    empty = _pull(site, names[0], folder / "empty")
    _pull(site, base, folder / "with-base")
    return {
        "nothing_there": empty,
        "base_there": _pull(site, names[0], folder / "with-base"),
        "earlier_driver_there": _pull(site, names[1], folder / "with-base"),
    }


def _pull(site: VendorSite, name: str, node: Path) -> int:
    """Pull an image onto a node; returns how many bytes of blobs the server gave, by its own log."""
    node.mkdir(exist_ok=True)
    server, kind = (site.ours, "ours") if name.startswith(site.ours.host) else (site.theirs, "theirs")
    log = site.folder / kind / "log"
    before = len(log.read_text())
    argv = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--authfile", str(server.auth_file(node))]
    argv += ["--dest-shared-blob-dir", str(node / "blobs"), f"docker://{name}", f"oci:{node / 'image'}"]
    subprocess.run(argv, check=True)
    given = re.findall(r'"GET /v2/\S+/blobs/\S+ HTTP/1.1" 200 (\d+)', log.read_text()[before:])
    return sum(map(int, given))
