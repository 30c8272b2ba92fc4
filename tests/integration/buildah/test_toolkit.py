"""DebianToolkits from the real archive: the Driver Toolkit's contract, digests, and shared layers."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from fakes.locks import debian_of

from builder.kernel import Arch, parse_kernel_version
from builder.sources.debian.source import DebianSource
from builder.sources.debian.toolkit import DebianToolkits
from builder.sources.lock_file import read_lock

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]


@pytest.fixture
def opened(machine: Machine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DebianToolkits:
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", machine.environment["CONTAINERS_STORAGE_CONF"])
    return _open(project, tmp_path)


def _open(project: Path, tmp_path: Path) -> DebianToolkits:
    source = debian_of(read_lock(project / "versions.lock.yaml"))
    return DebianToolkits(
        DebianSource(locked=source, build_arch=Arch.X86_64),
        packages_dir=tmp_path / "cache" / "packages",
        work_dir=tmp_path,
    )


@pytest.mark.parametrize("variant", ["standard", "rt"])
def test_keeps_the_contract(machine: Machine, opened: DebianToolkits, project: Path, variant: str) -> None:
    kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
    kernel = next(item for item in reversed(kernels) if item.variant == variant and item.arch is Arch.X86_64)
    with machine.mounted(opened.ensure(kernel)) as root:
        release = json.loads((root / "etc" / "driver-toolkit-release.json").read_text())
        assert release["KERNEL_VERSION"] == kernel.raw
        assert release["RT_KERNEL_VERSION"] == (kernel.raw if variant == "rt" else "")
        checks = f"cd /usr/src/kernels/{kernel.raw} && test -x scripts/sign-file && test -f Module.symvers && gcc --version && depmod --version && test -f /lib/modules/{kernel.raw}/build/.config"
        said = subprocess.run(["chroot", str(root), "sh", "-ec", checks], text=True, capture_output=True, check=False)
        assert said.returncode == 0, said.stderr
    opened.close()


def test_two_makings_give_one_digest_and_layers_are_shared(
    machine: Machine, opened: DebianToolkits, project: Path, tmp_path: Path
) -> None:
    kernels = [
        item
        for item in read_lock(project / "versions.lock.yaml").kernel_versions("debian")
        if item.series == "6.1" and item.arch is Arch.X86_64
    ]
    standard = next(item for item in reversed(kernels) if item.variant == "standard")
    cloud = parse_kernel_version(standard.raw.replace("-amd64", "-cloud-amd64"))
    first = _describe(machine, opened.ensure(standard))
    other = _describe(machine, opened.ensure(cloud))
    assert first[1][:-1] == other[1][:-1], "toolchain, kbuild and common headers are the same layers"
    machine.buildah("rmi", "-f", opened.ensure(standard))
    again = _open(project, tmp_path)
    assert _describe(machine, again.ensure(standard)) == first
    opened.close()
    again.close()


def _describe(machine: Machine, image: str) -> tuple[str, list[str]]:
    told = json.loads(machine.buildah("inspect", "--type", "image", image))
    return told["FromImageDigest"], told["OCIv1"]["rootfs"]["diff_ids"]


def test_apt_in_a_debian_image_finds_what_apt_on_the_host_finds(
    machine: Machine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of hosts without apt: the same commands in an image, which is made here from Debian packages."""
    import re
    from pathlib import Path as HostPath

    from builder.sources.debian import apt as apt_module
    from builder.sources.debian.apt import Apt, Archive
    from builder.sources.download import Downloads

    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", machine.environment["CONTAINERS_STORAGE_CONF"])
    archives = [Archive(url="http://deb.debian.org/debian", suites=("bookworm",))]
    keyring = HostPath("/usr/share/keyrings/debian-archive-keyring.gpg")
    downloads = Downloads(tmp_path / "cache")
    host = Apt(tmp_path / "host", Arch.X86_64, archives, keyring)
    host.update()
    names = re.compile("linux-headers-6.1.*-amd64")
    on_host = host.packages(names)
    image = _make_apt_image(machine, host, downloads, tmp_path)
    downloads.close()
    monkeypatch.setattr(apt_module, "find_tool", lambda name: None if name == "apt-get" else name)
    contained = Apt(tmp_path / "contained", Arch.X86_64, archives, keyring, image=image)
    contained.update()
    assert contained.packages(names) == on_host != []
    monkeypatch.undo()
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", machine.environment["CONTAINERS_STORAGE_CONF"])
    wanted = host.resolve(["make"])
    monkeypatch.setattr(apt_module, "find_tool", lambda name: None if name == "apt-get" else name)
    assert contained.resolve(["make"]) == wanted


class _Mirror(BaseHTTPRequestHandler):
    """A mirror whose address has characters that apt escapes in the names of its files; the real one has the files."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.path.replace("/my_debian~mirror", "http://deb.debian.org/debian", 1))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_mirror_whose_address_apt_escapes(tmp_path: Path) -> None:
    import re
    from pathlib import Path as HostPath

    from builder.sources.debian.apt import Apt, Archive

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/my_debian~mirror"
    keyring = HostPath("/usr/share/keyrings/debian-archive-keyring.gpg")
    apt = Apt(tmp_path, Arch.X86_64, [Archive(url=url, suites=("bookworm",))], keyring)
    try:
        apt.update()
    finally:
        server.shutdown()
        server.server_close()
    found = apt.packages(re.compile("linux-headers-6.1.*-amd64"))
    assert found
    assert all(package.url.startswith(f"{url}/pool/main/l/linux/") for package in found)
    assert apt.resolve(["make"])[-1].url.startswith(f"{url}/pool/")


def _make_apt_image(machine: Machine, apt: object, downloads: object, folder: Path) -> str:
    from builder.image.layout import LayerEntry, write_image, write_layer
    from builder.sources.debian.apt import Apt
    from builder.sources.debian.deb import read_members
    from builder.sources.debian.lock import LockedPackage
    from builder.sources.debian.toolkit import _root_entries
    from builder.sources.download import Downloads

    assert isinstance(apt, Apt)
    assert isinstance(downloads, Downloads)
    packages = apt.resolve(["apt", "bash", "dash", "coreutils", "gpgv"])
    files = [
        downloads.fetch(LockedPackage(url=item.url, size=item.size, installed=item.installed, sha256=item.sha256))
        for item in packages
    ]
    entries = [*_root_entries(), LayerEntry(path="etc/resolv.conf", content=b"")]
    layer = write_layer(folder / "apt.tar", (item for file in files for item in read_members(file)), entries)
    write_image(
        folder / "apt-image", [layer], arch="amd64", environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, labels={}
    )
    subprocess.run(
        ["buildah", "pull", "-q", "oci:apt-image"], cwd=folder, env=machine.environment, check=True, capture_output=True
    )
    return "localhost/apt-image:latest"
