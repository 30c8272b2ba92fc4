"""DKMS as on a user's machine: a Debian root with the headers of all kernels, in which each source is added and built."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from debian_root import run_mmdebstrap

from builder.host.locks import alone
from builder.sources.debian.deb import read_members
from vendors.sources import SUITES, VendorSource, lock_package, open_apt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.sources.debian.apt import Apt
    from builder.sources.download import Downloads

# What dkms's packages depend on beside dkms: read from the packages of both suites.
_PACKAGES = (
    "dkms", "bc", "bzip2", "gawk", "kmod", "libelf-dev", "libxtables-dev", "make", "patch", "perl", "pkg-config", "python3",
)  # fmt: skip
_MIRRORS = (
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian bookworm-updates main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
)
_ROOM = ("bwrap", "--unshare-all", "--die-with-parent", "--uid", "0", "--gid", "0")
_OVER_IT = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/lib/dkms", "--tmpfs", "/usr/src"]
_SOURCES_NEEDED = {"west-chamber-dkms": ("xtables-addons-dkms",)}
UNFINISHED = "unfinished"
_TIMEOUT_S = 1800
_SCRIPT = r"""
dkms=$1 folder=$2 kernel=$3
export LC_ALL=C
"$dkms" add "/usr/src/$folder" >/tmp/said 2>&1 || { cat /tmp/said; exit 90; }
id=$("$dkms" status | sed -n '1s/[,:] .*//p')
"$dkms" build "$id" -k "$kernel" >/tmp/said 2>&1
code=$?
if [ "$code" = 0 ]; then
    find /var/lib/dkms -path '*/module/*.ko*' | sed 's|.*/|module |'
else
    { cat /tmp/said; grep -hE '(error|Error|ERROR|No such|not found|undefined)' $(find /var/lib/dkms -name make.log); } 2>/dev/null | head -n 20
fi
exit "$code"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DkmsOutcome:
    """``verdict`` is ``built``, ``excluded`` or ``failed``; ``words`` are the modules or what it complained of."""

    verdict: str
    words: tuple[str, ...]


class DkmsRoom:
    """Made once for a set of kernels; each build has the sources read-only and a tree of its own."""

    def __init__(self, folder: Path, kernels: Sequence[str], downloads: Downloads) -> None:
        headers = [f"linux-headers-{kernel}" for kernel in kernels]
        key = hashlib.sha256(" ".join([*_PACKAGES, *headers]).encode()).hexdigest()[:12]
        self._root = folder / f"root-{key}"
        with alone(self._root):
            if not self._root.exists():
                _make_root(self._root, [*_PACKAGES, *headers])
            for suite in SUITES[1:]:
                _add_dkms(self._root, suite, open_apt(folder / "apt" / suite, suite), downloads)

    def build(self, source: VendorSource, kernel: str) -> DkmsOutcome:
        """Add and build one source for one kernel, as root of a room without network."""
        dkms = "/usr/sbin/dkms" if source.suite == SUITES[0] else f"/usr/sbin/dkms-{source.suite}"
        command = [*_ROOM, "--ro-bind", str(self._root), "/", *_OVER_IT]
        for header in sorted((self._root / "usr/src").iterdir()):
            command += ["--ro-bind", str(header), f"/usr/src/{header.name}"]
        # Of its own package, and of the one whose source it wants (a dependency of Debian's package).
        command += ["--ro-bind", str(source.folder), f"/usr/src/{source.name}", "--chdir", "/"]
        for needed in _SOURCES_NEEDED.get(source.package, ()):
            command += ["--ro-bind", str(source.folder.with_name(needed)), f"/usr/src/{needed.removesuffix('-dkms')}-0"]
        command += ["bash", "-c", _SCRIPT, "dkms", dkms, source.name, kernel]
        try:
            done = subprocess.run(
                command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=_TIMEOUT_S, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return DkmsOutcome(verdict=UNFINISHED, words=(f"not done after {_TIMEOUT_S} s",))
        verdict = {0: "built", 77: "excluded"}.get(done.returncode, "failed")
        lines = tuple(line.strip()[:300] for line in done.stdout.splitlines() if line.strip())
        return DkmsOutcome(verdict=verdict, words=tuple(line.removeprefix("module ") for line in lines))


def _make_root(root: Path, packages: Sequence[str]) -> None:
    fresh = root.with_name(f".{root.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    done = run_mmdebstrap(["--variant=minbase", f"--include={','.join(packages)}"], SUITES[0], fresh, _MIRRORS)
    if done.returncode:
        raise SystemExit(f"no root folder of Debian for dkms: {done.stderr[-3000:]}")
    fresh.rename(root)


def _add_dkms(root: Path, suite: str, apt: Apt, downloads: Downloads) -> None:
    """Put the dkms of another suite, which is a script, beside the root's own."""
    package = apt.packages(re.compile("dkms"))[-1]
    for member, content in read_members(downloads.fetch(lock_package(package))):
        if member.name.removeprefix("./") == "usr/sbin/dkms":
            file = root / "usr/sbin" / f"dkms-{suite}"
            file.write_bytes(content)
            file.chmod(0o755)
