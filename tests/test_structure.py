"""The shape of the program, held by reading it: builder/README.md says the same in words."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_HOUSE = _ROOT / "builder"
# From the ground up: a package imports packages before it, and itself.
_PACKAGES = (
    "", "host", "kmod", "config", "image", "drivers", "store", "registry", "signing", "sources", "evidence", "plan",
    "boot", "doctor", "build", "components", "publish", "certify", "shards", "emit", "init", "show", "site", "verbs", "__main__",
)  # fmt: skip
# What a pure module may not name: the world, and time.
_WORLD = frozenset(
    [
        "asyncio",
        "ctypes",
        "fcntl",
        "glob",
        "httpx",
        "mmap",
        "multiprocessing",
        "os",
        "platform",
        "pty",
        "random",
        "resource",
        "secrets",
        "select",
        "shutil",
        "signal",
        "socket",
        "subprocess",
        "",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
    ]
)
_TOUCHING_CALLS = frozenset(
    [
        "exists",
        "glob",
        "is_dir",
        "is_file",
        "is_symlink",
        "iterdir",
        "lstat",
        "mkdir",
        "open",
        "read_bytes",
        "read_text",
        "readlink",
        "rename",
        "resolve",
        "rglob",
        "rmdir",
        "stat",
        "symlink_to",
        "touch",
        "unlink",
        "write_bytes",
        "write_text",
    ]
)
_STARTERS = re.compile(
    r"(subprocess|multiprocessing|pty|asyncio)(\.|$)|os\.(system|popen|exec\w*|spawn\w*|fork\w*|posix_spawn\w*)$"
)


def _name_of(file: Path) -> str:
    return ".".join(("builder", *file.relative_to(_HOUSE).with_suffix("").parts)).removesuffix(".__init__")


_MODULES = {_name_of(file): file for file in sorted(_HOUSE.rglob("*.py"))}


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_MODULES[module].read_text())


@functools.cache
def _nodes(module: str) -> tuple[ast.AST, ...]:
    """All of a module's tree: to walk one takes longer than what is looked for in it."""
    return tuple(ast.walk(_tree(module)))


@functools.cache
def _imports(module: str, *, as_it_runs: bool) -> frozenset[str]:
    """Return the modules that a module imports; where it runs, blocks for type checking do not count."""
    skipped = {
        id(node)
        for block in (_nodes(module) if as_it_runs else ())
        if isinstance(block, ast.If) and _dotted(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: set[str] = set()
    for node in _nodes(module):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{name.name}" for name in node.names} & _MODULES.keys()
            found |= inner or {node.module}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return frozenset(found)


def _dotted(node: ast.expr) -> str:
    """Return a name as it is written, with its dots: ``ast.unparse``, which is slow for whole modules, word by word."""
    words = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    words.append(node.id if isinstance(node, ast.Name) else ast.unparse(node))
    return ".".join(reversed(words))


def _floor(module: str) -> int:
    words = module.split(".")
    package = words[1] if len(words) > 2 or module == "builder.__main__" or module not in _MODULES else ""
    return _PACKAGES.index(package)


@functools.cache
def _is_pure(module: str) -> bool:
    """Tell what a module says of itself; every collection asks this of all, so those without the word are not parsed."""
    pure = re.compile(r"\bPure\.")
    return bool(pure.search(_MODULES[module].read_text()) and pure.search(ast.get_docstring(_tree(module)) or ""))


_PURE = tuple(module for module in _MODULES if _is_pure(module) and _MODULES[module].name != "__init__.py")


@pytest.mark.parametrize("module", [name for name, file in _MODULES.items() if file.name != "__init__.py"])
def test_a_package_imports_only_packages_below_it(module: str) -> None:
    imported = {name for name in _imports(module, as_it_runs=False) if name in _MODULES and name != "builder"}
    assert not {name for name in imported if _floor(name) > _floor(module)}


def test_no_module_imports_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for target in _imports(module, as_it_runs=False) & _MODULES.keys():
                visit(target, (*trail, module))
            done.add(module)

    for module in _MODULES:
        visit(module, ())


@functools.cache
def _attributes(module: str) -> frozenset[str]:
    return frozenset(_dotted(node) for node in _nodes(module) if isinstance(node, ast.Attribute))


def _starts_processes(module: str) -> bool:
    return any(map(_STARTERS.match, _imports(module, as_it_runs=True) | _attributes(module)))


def test_only_run_starts_processes() -> None:
    assert [module for module in _MODULES if _starts_processes(module)] == ["builder.host.run"]


def test_there_are_pure_modules() -> None:
    assert len(_PURE) > 60, "a docstring that lost its word is a module that nobody holds"


@pytest.mark.parametrize("module", _PURE)
def test_what_is_pure_touches_nothing(module: str) -> None:
    """Neither itself nor by what it imports: that is pure, too."""
    imported = _imports(module, as_it_runs=True)
    assert not {name for name in imported & _MODULES.keys() if not _is_pure(name) and name != "builder"}
    assert not imported & _WORLD
    assert not {name for name in _attributes(module) if name.startswith("sys.")} - {"sys.version_info"}
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in _nodes(module)
        if isinstance(node, ast.Call)
    }
    assert not called & _TOUCHING_CALLS


def test_nothing_but_the_entry_point_leaves_the_process() -> None:
    assert {module for module in _MODULES if "sys.exit" in _attributes(module)} == {"builder.__main__"}


def test_what_strangers_wrote_is_parsed_in_one_place() -> None:
    """JSON by ``foreign``, tar by ``archive``: they know the tricks. The others read what we ourselves wrote a moment before."""
    own = {
        "builder.foreign",
        "builder.publish.attest.sbom",
        "builder.show.matrix",
        "builder.signing.holder",
    }
    texts = {module: file.read_text() for module, file in _MODULES.items()}
    assert {module for module, text in texts.items() if "json.load" in text} == own
    openers = {module for module, text in texts.items() if "tarfile.open" in text or "TarInfo.frombuf" in text}
    writers = {"builder.image.layout", "builder.publish.airgap", "builder.store.compiled"}
    assert openers - writers == {"builder.image.archive"}


def test_the_readme_goes_from_every_word_to_its_package() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(\w+)/` \| [^|]+ \|$", (_HOUSE / "README.md").read_text(), re.MULTILINE)
    assert tuple(rows) == _PACKAGES[1:-1]
    assert {folder.name for folder in _HOUSE.iterdir() if (folder / "__init__.py").is_file()} == set(rows)


def test_every_package_says_what_lives_in_it() -> None:
    faces = {
        name: ast.get_docstring(_tree(name)) or "" for name, file in _MODULES.items() if file.name == "__init__.py"
    }
    assert not {name for name, text in faces.items() if len(text) < 20}
    assert not {name for name in faces if name != "builder" and _imports(name, as_it_runs=True)}, (
        "a face imports nothing"
    )


def test_one_word_is_one_type() -> None:
    """Two classes of one name are two meanings of one word; private ones are nobody's but their module's."""
    places: dict[str, list[str]] = {}
    for module in _MODULES:
        for node in _tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


# Modules with functions that need no test file of their name.
_WITHOUT_TESTS = frozenset(
    [
        "builder.__main__",  # tests/test_main.py: the name is that of the program
        "builder.emit.kmm.artefact",  # rows of a table, as the next
        "builder.emit.deviceplugin.artefact",
        "builder.emit.index.artefact",
        "builder.emit.monitoring.artefact",
        "builder.emit.nfd.artefact",
        "builder.emit.operator.artefact",
        "builder.emit.policy.artefact",
        "builder.emit.tekton.artefact",
        "builder.emit.kmm.problem",  # makes a warning of its arguments
        "builder.host.progress",  # does nothing
    ]
)


def _defines_functions(module: str) -> bool:
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in _nodes(module))


def _has_tests(module: str) -> bool:
    file = _MODULES[module].relative_to(_HOUSE)
    return (Path(__file__).parent / file.parent / f"test_{file.name}").is_file()


def test_every_module_with_logic_has_tests_of_its_name() -> None:
    without = {module for module in _MODULES if _defines_functions(module) and not _has_tests(module)}
    assert without == _WITHOUT_TESTS


def test_every_test_file_has_the_name_of_what_it_tests() -> None:
    """A file of tests for a module that is gone, or never was, is looked into by nobody."""
    across = {
        "verbs/test_outcomes.py",  # what all verbs do
        "verbs/test_runs.py",  # as above
        "sources/openshift/test_rows.py",  # a year of real releases, from discovery to the matrix
    }
    folders = set(_PACKAGES) - {"", "__main__"}
    found = {file for folder in folders for file in (Path(__file__).parent / folder).rglob("test_*.py")}
    names = {file.relative_to(Path(__file__).parent) for file in found}
    modules = {file.relative_to(_HOUSE) for file in _MODULES.values()}
    assert {str(name) for name in names if name.with_name(name.name.removeprefix("test_")) not in modules} == across


def test_real_tests_lie_with_the_tool_that_they_need() -> None:
    """A folder a tool: who has no QEMU, or changed how images are published, knows what to run."""
    root = Path(__file__).parent / "integration"
    folders = {file.relative_to(root).parts[:-1] for file in root.rglob("test_*.py")}
    assert folders == {
        ("archive",),
        ("buildah",),
        ("kind",),
        ("kind", "on_vm"),
        ("qemu",),
        ("registry",),
        ("site",),
        ("tekton",),
    }
    assert all(ast.get_docstring(ast.parse((root.joinpath(*folder) / "__init__.py").read_text())) for folder in folders)
