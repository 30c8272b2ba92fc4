"""The shape of the program, held by reading its imports."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).parent.parent / "builder"
# design.md: read -> decide -> act -> tell. What decides and what tells touches nothing.
_PURE = (
    "kernel",
    "matrix",
    "plan",
    "result",
    "blame",
    "failure",
    "compile_result",
    "image_build",
    "emit/table",
    "emit/report",
    "emit/junit",
    "emit/reference",
    "emit/proof",
    "emit/matrix",
    "emit/publish",
    "emit/policy",
    "emit/kmm",
    "emit/lint",
    "attest/bundle",
    "attest/facts",
    "attest/oci",
    "attest/public_key",
    "attest/sbom",
    "attest/simple_signing",
    "attest/statements",
    "kmm/container",
    "kmm/fields",
    "kmm/lint",
    "kmm/mapping",
    "kmm/problem",
    "kmm/regexp",
    "kmm/rules",
    "kmm/schema",
    "kmm/version",
    "publish/result",
    "archive",
    "digest",
    "foreign",
    "progress",
    "pullspec",
    "tags",
    "layer",
    "overlay",
    "survey",
    "sources/changes",
    "sources/payload",
    "sources/releases",
    "finding",
    "fit",
    "compat",
    "leaks",
    "pkcs11_uri",
    "module/elf",
    "module/kernel_object",
    "module/packing",
    "module/signature",
    "module/symvers",
    "boot/bzimage",
    "boot/confine",
    "boot/console",
    "boot/initramfs",
    "boot/script",
    "boot/splats",
    "boot/verdict",
)
_TOUCHING = {
    "run",
    "store",
    "workflow",
    "cli",
    "toolkit",
    "download",
    "apt",
    "build",
    "compile",
    "assemble",
    "project",
    "host",
    "image_files",
    "extract",
    "result_folder",
    "compiled",
    "kernel_facts",
    "keyholder",
    "prove",
    "sign",
    "signer",
    "stages",
    "registry",
    "upload",
    "publish",
    "kmm_facts",
    "policy_facts",
    "web",
    "pull",
    "discovery",
    "nightly",
    "upgrade",
}


@functools.cache
def _imports(file: Path) -> set[str]:
    """Modules imported when the file is; blocks for type checking only do not count."""
    tree = ast.parse(file.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def test_only_run_starts_processes() -> None:
    starters = {"subprocess", "os.system", "pty", "multiprocessing"}
    users = [file.name for file in _PACKAGE.rglob("*.py") if _imports(file) & starters]
    assert users == ["run.py"]


@pytest.mark.parametrize("module", _PURE)
def test_deciding_and_telling_touch_nothing(module: str) -> None:
    imports = _imports(_PACKAGE / f"{module}.py")
    allowed = {"builder.run.Command"} | ({"builder.run"} if module == "image_build" else set())
    touched = {name for name in imports - allowed if name.startswith("builder.") and name.split(".")[1] in _TOUCHING}
    assert not touched


def test_no_module_imports_in_a_circle() -> None:
    edges = {
        f"builder.{'.'.join(file.relative_to(_PACKAGE).with_suffix('').parts)}": _imports(file)
        for file in _PACKAGE.rglob("*.py")
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for target in edges[module] & edges.keys():
                visit(target, (*trail, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def test_nothing_but_the_entry_point_leaves_the_process() -> None:
    for file in _PACKAGE.rglob("*.py"):
        if file.name != "__main__.py":
            assert "sys.exit" not in file.read_text(), file


def test_what_strangers_wrote_is_parsed_in_one_place() -> None:
    """JSON by ``foreign``, tar by ``archive``: they know the tricks. The others read what this machine itself said."""
    own = {
        "foreign",
        "attest/sbom",
        "boot/acceleration",
        "boot/machine",
        "emit/matrix",
        "keyholder",
        "locks",
        "signer",
        "store",
    }
    texts = {str(file.relative_to(_PACKAGE).with_suffix("")): file.read_text() for file in _PACKAGE.rglob("*.py")}
    assert {name for name, text in texts.items() if "json.load" in text} <= own
    openers = {name for name, text in texts.items() if "tarfile.open" in text or "TarInfo.frombuf" in text}
    assert openers == {"archive", "compiled", "oci", "publish/bundle"}, "all but the first write only"
