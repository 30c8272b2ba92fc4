"""Our order of loading beside that of the real modprobe, on the same trees: made-up ones, and a kernel of the archive."""

from __future__ import annotations

import random
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.locks import by_text, debian_of
from fakes.samples import Sample
from programs import need

from builder.boot.load_order import LoadOrder, ModuleFacts, ModuleIndex, read_modprobe_files
from builder.boot.module_index import make_index
from builder.kmod.kernel_object import module_name
from builder.kmod.packing import is_module
from builder.sources.debian.deb import read_members
from builder.sources.download import Downloads
from builder.sources.kernels import is_of_modules
from builder.sources.lock_file import read_lock

if TYPE_CHECKING:
    from pathlib import Path

    from builder.boot.load_order import Load

pytestmark = pytest.mark.archive

_KERNEL = "6.12.5+deb12-amd64"


class _Tree:
    """A folder of modules with depmod's data, and the index that we make of the same files."""

    def __init__(self, root: Path, kernel: str, files: dict[str, bytes], config: dict[str, str] | None = None) -> None:
        need("modprobe")
        need("depmod")
        self._root, self._kernel = root, kernel
        self.folder = root / "lib" / "modules" / kernel
        for path, data in files.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            if not (self.folder / name).exists():
                (self.folder / name).write_bytes(b"")
        subprocess.run(["depmod", "-b", str(root), kernel], check=True, capture_output=True)
        self._config_dir = root / "modprobe.d"
        self._config_dir.mkdir()
        for name, text in (config or {}).items():
            (self._config_dir / name).write_text(text)
        self.config = read_modprobe_files({f"etc/modprobe.d/{n}": t.encode() for n, t in (config or {}).items()})
        self.index = make_index((path, data) for path, data in files.items() if is_of_modules(path))

    def modprobe(self, name: str) -> list[str]:
        """Return "MODULE OPTIONS" in the order of loading; a module that is named again is there by then."""
        command = ["modprobe", "--show-depends", "-d", self._root, "-S", self._kernel, "-C", self._config_dir, name]
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
        found: dict[str, str] = {}
        for line in done.stdout.splitlines():
            if match := re.match(r"insmod (\S+) ?(.*)", line):
                found.setdefault(module_name(match[1]), match[2].strip())
        return [f"{name} {options}".strip() for name, options in found.items()]

    def exact_index(self) -> ModuleIndex:
        """Return the index with every list of dependencies in depmod's order: of several right ones it takes one."""
        facts = []
        lines = (self.folder / "modules.dep").read_text().splitlines()
        depends = {module_name(line.partition(":")[0]): line.partition(":")[2].split() for line in lines}
        for module in self.index.modules.values():
            ordered = tuple(map(module_name, reversed(depends[module.name])))
            facts.append(replace(module, depends=ordered))
        return ModuleIndex(facts)


def _shown(loads: list[Load]) -> list[str]:
    return [f"{load.name} {load.options}".strip() for load in loads]


def _sample(name: str, *, depends: str = "", info: tuple[str, ...] = ()) -> bytes:
    """Write a module; depmod goes by symbols, not by what modinfo says."""
    imports = [f"of_{needed}" for needed in depends.split(",") if needed]
    exports = {f"of_{name}": 0x1}
    return Sample(name=name, depends=depends, modinfo=["license=GPL", *info], imports=imports, exports=exports).write()


_FILES = {
    "a.ko": _sample("a", depends="b", info=("softdep=pre: hash post: late",)),
    "b.ko": _sample("b", info=("softdep=pre: c-d", "softdep=pre: never")),
    "c_d.ko": _sample("c_d", info=("alias=other",)),
    "never.ko": _sample("never"),
    "late.ko": _sample("late", depends="c_d"),
    "hash_one.ko": _sample("hash_one", info=("alias=hash",)),
    "hash_two.ko": _sample("hash_two", info=("alias=ha*",)),
    "words.ko": _sample("words", info=("softdep=b pre: c_d gone",)),
    "blocked.ko": _sample("blocked", info=("alias=wanted",)),
    "circle.ko": _sample("circle", info=("softdep=pre: ring",)),
    "ring.ko": _sample("ring", info=("softdep=pre: circle post: b",)),
}
_CONFIG = {
    "a.conf": "# comment\nalias nick-name never\noptions c_d fast=1 \\\n  wide=2\noptions hash fill=3\nblacklist blocked\n",
    "z.conf": "softdep a pre: blocked\nsoftdep never pre: ring\noptions c-d last=4\n",
}


@pytest.mark.parametrize("first", ["nothing", "softdep a pre: wanted\n"], ids=["own", "configured"])
@pytest.mark.parametrize(
    "name",
    ["a", "b", "c-d", "other", "hash", "nick_name", "words", "blocked", "wanted", "circle", "ring", "never", "absent"],
)
def test_made_up_trees_are_loaded_as_modprobe_does(tmp_path: Path, name: str, first: str) -> None:
    config = {**_CONFIG, "b.conf": first} if first != "nothing" else _CONFIG
    tree = _Tree(tmp_path, _KERNEL, _FILES, config)
    order = LoadOrder(tree.exact_index(), tree.config)
    order.add(name)
    assert _shown(order.loads) == tree.modprobe(name)


@pytest.mark.parametrize("seed", range(40))
def test_random_trees_are_loaded_as_modprobe_does(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    names = [f"m{number}" for number in range(14)]
    files = {}
    for number, name in enumerate(names):
        depends = ",".join(dice.sample(names[:number], min(number, dice.randrange(3))))
        soft = [f"softdep={dice.choice(['pre', 'post'])}: {' '.join(dice.sample([*names, 'x1', 'gone'], 2))}"
                for _ in range(dice.randrange(3))]  # fmt: skip
        alias = [f"alias={dice.choice(['x1', 'x?', 'y'])}"] if dice.random() < 0.3 else []
        files[f"{name}.ko"] = _sample(name, depends=depends, info=(*soft, *alias))
    files["modules.order"] = "".join(f"{path}\n" for path in dice.sample(sorted(files), len(files))).encode()
    tree = _Tree(tmp_path, _KERNEL, files)
    index = tree.exact_index()
    for name in [*names, "x1", "y"]:
        order = LoadOrder(index)
        order.add(name)
        assert _shown(order.loads) == tree.modprobe(name), name
        from_modinfo = LoadOrder(tree.index)
        from_modinfo.add(name)
        assert sorted(_shown(from_modinfo.loads)) == sorted(_shown(order.loads)), name


def test_a_kernel_of_the_archive_is_loaded_as_modprobe_does(tmp_path: Path, lock_text: str) -> None:
    (tmp_path / "versions.lock.yaml").write_text(lock_text)
    locked = debian_of(read_lock(tmp_path / "versions.lock.yaml"))
    raw = [name for name in by_text(locked.kernels) if name.startswith("6.1.") and name.endswith("cloud-amd64")][-1]
    downloads = Downloads(tmp_path / "packages")
    package = downloads.fetch(locked.packages[by_text(locked.kernels)[raw].image])
    prefix = f"usr/lib/modules/{raw}/"
    members = read_members(package)
    files = {
        item.name.removeprefix(prefix): data for item, data in members if item.isreg() and is_of_modules(item.name)
    }
    downloads.close()
    tree = _Tree(tmp_path / "root", raw, files)
    index = tree.exact_index()
    soft = [module.name for module in index.modules.values() if module.softdeps]
    assert {"libcrc32c", "btrfs"} <= set(soft), "the kernels of Debian 12 have these"
    for name in [*soft, *(module_name(path) for path in files if is_module(path))][:400]:
        order = LoadOrder(index)
        order.add(name)
        assert _shown(order.loads) == tree.modprobe(name), name
        _check_order([load.name for load in order.loads], index)


def _check_order(names: list[str], index: ModuleIndex) -> None:
    facts: dict[str, ModuleFacts] = dict(index.modules)
    for place, name in enumerate(names):
        missing = set(facts[name].depends) - set(names[:place])
        assert not missing, f"{name} comes before {missing}"
