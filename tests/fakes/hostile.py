"""Changes that strangers make: to a project, and to bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import strategies as st

from fakes.signers import certify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def replacing(old: str, new: str) -> Callable[[Path], None]:
    """A project whose versions.yaml has other words."""

    def change(project: Path) -> None:
        file = project / "versions.yaml"
        file.write_text(file.read_text().replace(old, new, 1))

    return change


def adding(text: str) -> Callable[[Path], None]:
    return replacing("default_group", text + "default_group")


def linking(place: str, target: str) -> Callable[[Path], None]:
    """A project with a link in place of something."""

    def change(project: Path) -> None:
        if (project / place).is_dir():
            (project / place).rename(project / "moved")
        (project / place).unlink(missing_ok=True)
        (project / place).symlink_to(target)

    return change


def make_hostile(project: Path, outside: Path) -> Path:
    """Let versions.yaml name signers whose commands leave a trace, and pull secrets; returns the trace."""
    trace = outside / "trace"
    (project / "vendor.pem").write_bytes(certify().x509.public_bytes(Encoding.PEM))
    command = json.dumps(["sh", "-c", f"echo ran >{trace}"])
    wanted = "{source: debian, newest: true, signing: production, signers: [vendor],"
    replacing("{source: debian, newest: true,", wanted)(project)
    adding(f"signers: {{vendor: {{certificate: vendor.pem, command: {command}}}}}\n")(project)
    adding(f"registry: {{auth_files: [{outside / 'absent.json'}]}}\n")(project)
    return trace


def change_bytes(data: st.DataObject, content: bytes) -> bytes:
    """Return content in which up to four bytes are others."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    return bytes(changed)
