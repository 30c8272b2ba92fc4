"""A machine on which everything is there that builds need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


def add_all_tools(tools: FakeTools, version: str = "1.33.7", store: str = "overlay /var/x") -> None:
    tools.add("buildah", f'case "$1" in --version) echo "buildah version {version}" ;; info) echo "{store}" ;; esac')
    for name in ("newuidmap", "depmod", "true"):
        tools.add(name)
    for name in ("setpriv", "bwrap"):
        tools.add(name, 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    tools.add("unshare", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')


def trust_everybody(root: Path) -> None:
    (root / "etc/ssl/certs").mkdir(parents=True)
    (root / "etc/ssl/certs/ca-certificates.crt").touch()
