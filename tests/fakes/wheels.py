"""Python packages, made in memory, and a pip that serves them from a folder."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from fakes.tools import FakeTools

FILES: Mapping[str, bytes] = {"demo/__init__.py": b"answer = 42\n"}
PURE = "demo-1.0-py3-none-any.whl"
# Copies what lies in its index; 'says' is what it prints before it fails.
_PIP = """
while [ $# -gt 0 ]; do case "$1" in --dest) to=$2 ;; esac; shift; done
if [ -f "{index}/says" ]; then cat "{index}/says" >&2; exit 1; fi
cp "{index}"/*.whl "$to"
"""


def make_wheel(
    folder: Path,
    name: str = PURE,
    files: Mapping[str, bytes] = FILES,
    *,
    info: Mapping[str, bytes] | None = None,
    record: str | None = None,
) -> Path:
    """Write a wheel; ``info`` are further files of its dist-info, ``record`` its RECORD where that is to be wrong."""
    project, version = name.split("-")[:2]
    place = f"{project}-{version}.dist-info"
    content = {
        **files,
        f"{place}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n".encode(),
        f"{place}/WHEEL": b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **{f"{place}/{key}": value for key, value in (info or {}).items()},
    }
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in content.items()]
    content[f"{place}/RECORD"] = ("\n".join([*rows, f"{place}/RECORD,,"]) if record is None else record).encode()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return folder / name


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def lock_line(file: Path) -> str:
    """Return the line of a lock that names a wheel."""
    name, version = file.name.split("-")[:2]
    return f"{name}=={version} --hash=sha256:{sha256(file)}\n"


@dataclass(frozen=True)
class Index:
    """An index of Python packages, and what pip was asked for."""

    folder: Path
    tools: FakeTools

    def fail(self, words: str) -> None:
        (self.folder / "says").write_text(words)

    @property
    def calls(self) -> list[list[str]]:
        return self.tools.calls("python")


def pretend_index(folder: Path, tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Let pip copy what lies in a folder."""
    folder.mkdir()
    tools.add("python", _PIP.format(index=folder))
    monkeypatch.setattr("sys.executable", str(tools.folder / "python"))
    return Index(folder, tools)
