"""The shape of what runs in clusters, held by reading it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2] / "operator" / "kmod_operator"
_FILES = [file for file in sorted(_ROOT.rglob("*.py")) if file.parent.name != "kubelet_api"]
_WORLD = {"asyncio", "os", "pathlib", "socket", "subprocess", "tempfile", "threading", "time", "logging"}


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("file", _FILES, ids=lambda file: str(file.relative_to(_ROOT)))
def test_nothing_forgets_that_it_was_cancelled(file: Path) -> None:
    """Before Python 3.12 ``asyncio.wait_for`` does, where what it waits for comes at the same moment."""
    assert "wait_for(" not in file.read_text(), "asyncio.timeout() does the same, and does not"


@pytest.mark.parametrize("file", _FILES, ids=lambda file: str(file.relative_to(_ROOT)))
def test_it_stands_alone_and_keeps_its_words(file: Path) -> None:
    imports = _imports(file)
    assert not {name for name in imports if name.partition(".")[0] == "builder"}, "it is another distribution"
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    assert docstring, "it says what it is"
    if "Pure." in docstring:
        assert not {name.partition(".")[0] for name in imports} & _WORLD
    if any(name.startswith("grpclib") for name in imports):
        assert file.name == "rpc.py", "one module knows of gRPC"
    if any(name.startswith(("lightkube", "httpx2", "msgspec")) for name in imports):
        known = file.name in {"api.py", "client.py", "opened.py"} or file == _ROOT / "index" / "registry.py"
        assert known, "one module of a package knows of each protocol"
    if any(name.startswith("cryptography") for name in imports):
        assert file == _ROOT / "index" / "keys.py", "one module knows of signatures"
    beneath = {
        "kubernetes": ("node", "deviceplugin", "devices", "dra", "cluster", "rollout", "index"),
        "rollout": ("node", "deviceplugin", "devices", "dra", "cluster", "kubernetes"),
        "cluster": ("node", "deviceplugin", "devices", "dra"),
        "devices": ("node", "deviceplugin", "dra"),
        "node": ("deviceplugin", "dra"),
        "deviceplugin": ("dra",),
        "dra": ("deviceplugin",),
    }
    for above in beneath.get(file.parent.name, ()):
        assert not {name for name in imports if name.startswith(f"kmod_operator.{above}")}, (
            f"it knows nothing of {above}/"
        )
