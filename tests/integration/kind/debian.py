"""What nodes have of Debian: root folders as archives, made once and kept."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

from debian_root import COMMAND, run_mmdebstrap

from builder.host.locks import alone
from integration.kind.make import BuildError, Say, cache_dir, minutes, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Its systemd is the last that runs on machines with the older control groups.
_SUITE = "bookworm"
NODE_PACKAGES = (
    "bash", "ca-certificates", "conntrack", "containernetworking-plugins", "crun", "curl", "e2fsprogs", "ethtool", "iproute2",
    "iptables", "jq", "kmod", "libseccomp2", "mount", "nftables", "pigz", "procps", "runc", "socat", "systemd", "util-linux",
)  # fmt: skip
PROXY_PACKAGES = ("bash", "coreutils", "iptables", "kmod", "nftables")
_UNREAD = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def make_root(variant: str, packages: Sequence[str], tell: Say = say) -> Path:
    """Return an archive of a root folder with packages; ``variant`` is one of mmdebstrap's."""
    arguments = [f"--variant={variant}", f"--include={','.join(packages)}"]
    arguments += [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNREAD]
    key = hashlib.sha256("\n".join([*COMMAND, *arguments, _SUITE]).encode()).hexdigest()[:16]
    folder = cache_dir() / f"root-{variant}-{key}"
    with alone(folder):
        if not folder.is_dir():
            _make_archive(arguments, folder, tell)
    return folder / "root.tar"


def _make_archive(arguments: list[str], folder: Path, tell: Say) -> None:
    begun = time.monotonic()
    tell("fetching packages of Debian")
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    done = run_mmdebstrap(arguments, _SUITE, fresh / "root.tar")
    if done.returncode:
        raise BuildError(f"no root folder of Debian: {done.stderr[-3000:]}")
    fresh.rename(folder)
    tell(f"fetched packages of Debian in {minutes(time.monotonic() - begun)}")
