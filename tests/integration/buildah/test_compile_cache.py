"""The compile cache with the real ccache, the real buildah and real kernels: what it saves, and whom it does not believe."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from builder.kernel import KernelVersion, Variant
from builder.sources.lock_file import read_lock

if TYPE_CHECKING:
    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_FILES = 7
_C_FILE = """\
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/netdevice.h>

int demo_{number}(struct net_device *device)
{{
	WARN_ON(!device);
	pr_info("%s of {number}\\n", netdev_name(device));
	return {number};
}}
"""
_MAIN = """\
#include <linux/module.h>

static int __init demo_init(void)
{
	return 0;
}

static void __exit demo_exit(void)
{
}

module_init(demo_init);
module_exit(demo_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("demo");
MODULE_VERSION("1");
"""
_MAKEFILE = """\
obj-m := demo.o
demo-y := main.o {objects}

modules:
	{before}
	$(MAKE) -C /lib/modules/$(KERNEL_FULL_VERSION)/build M=$(CURDIR) modules
"""


class Case:
    """A driver of several files, two kernels that differ by one release, and a cache of its own."""

    def __init__(self, machine: Machine, project: Path, cache: Path) -> None:
        self.project, self.cache = project, cache / "kmodsmith" / "compile-cache"
        shared = Path.home() / ".cache" / "kmodsmith"
        (cache / "kmodsmith").mkdir(parents=True)
        for name in ("packages", "kernels"):  # known by digest, and nothing of it is what is tried here
            (shared / name).mkdir(parents=True, exist_ok=True)
            (cache / "kmodsmith" / name).symlink_to(shared / name)
        self.machine = machine.with_environment({"XDG_CACHE_HOME": str(cache)})
        kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
        self.kernels = [item.raw for item in kernels if _is_one(item)][-2:]
        self.driver()
        data = yaml.safe_load((project / "versions.yaml").read_text())
        words = {key: data["drivers"][0][key] for key in ("vendor", "summary", "description", "maintainer")}
        words |= {"name": "demo", "version": "1.0.0", "source": "demo", "modules": ["demo"]}
        data["drivers"] = [words]
        data["build"] = {"compile_cache_check": 0, "boot": "never"}
        (project / "versions.yaml").write_text(yaml.safe_dump(data))

    def driver(self, before: str = "true") -> None:
        folder = self.project / "demo"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        numbers = range(1, _FILES)
        for number in numbers:
            (folder / f"part{number}.c").write_text(_C_FILE.format(number=number))
        (folder / "main.c").write_text(_MAIN)
        (folder / "LICENSE").write_text("GPL-2.0\n")
        objects = " ".join(f"part{number}.o" for number in numbers)
        (folder / "Makefile").write_text(_MAKEFILE.format(objects=objects, before=before))

    def build(self, kernel: str, *options: str, code: int = 0) -> dict[str, Any]:
        """Build a cell anew and return its result."""
        select = ("--group", "debian", "--kernel", kernel, "--force", *options)
        done, report = self.machine.build(self.project, *select)
        assert done == code, report
        (cell,) = report["cells"]
        return dict(cell)

    def lists(self) -> list[Path]:
        return sorted(self.cache.glob("*/entries.json"))

    def entries(self) -> dict[str, Any]:
        (file,) = self.lists()
        return dict(json.loads(file.read_text())["entries"])


def _is_one(kernel: KernelVersion) -> bool:
    return kernel.series == "6.1" and kernel.variant is Variant.STANDARD and kernel.raw.endswith("-amd64")


@pytest.fixture
def case(machine: Machine, project: Path, tmp_path: Path) -> Case:
    return Case(machine, project, tmp_path / "cache")


def test_the_next_kernel_hits_and_modules_are_the_same_with_and_without(case: Case) -> None:
    older, newer = case.kernels
    without = [case.build(kernel, "--compile-cache", "off") for kernel in (older, newer)]
    assert [cell["compile_cache"] for cell in without] == [None, None]
    first = case.build(older)
    assert first["compile_cache"] | {"kept": 0} == {
        "hits": 0, "misses": _FILES + 1, "kept": 0, "damaged": 0, "refused": "", "checked": "",
    }  # fmt: skip
    assert first["compile_cache"]["kept"] >= _FILES
    second = case.build(newer)
    assert second["compile_cache"]["hits"] >= _FILES, second["compile_cache"]
    again = case.build(newer, "--compile-cache", "check")
    assert again["compile_cache"]["checked"] == "equal"
    assert again["compile_cache"]["misses"] == 0
    digests = [cell["digest"] for cell in without]
    assert [first["digest"], second["digest"], again["digest"]] == [*digests, digests[1]]


def test_a_poisoned_entry_is_found_and_not_used(case: Case) -> None:
    kernel = case.kernels[-1]
    honest = case.build(kernel)["digest"]
    spoiled = 0
    for entry in case.entries().values():
        (file,) = case.cache.glob(f"*/{entry['sha256']}")
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        spoiled += 1
    cell = case.build(kernel)
    assert (cell["compile_cache"]["damaged"], cell["compile_cache"]["hits"], cell["digest"]) == (spoiled, 0, honest)
    assert case.build(kernel)["compile_cache"]["damaged"] == 0


def test_who_can_change_the_list_as_well_is_found_by_compiling_again(case: Case) -> None:
    """An entry of ccache's own making, under the key of another: a whole entry, and in the list by its digest."""
    kernel = case.kernels[-1]
    honest = case.build(kernel)["digest"]
    before = case.entries()
    case.driver()
    part = case.project / "demo" / "part1.c"
    part.write_text(part.read_text().replace("return 1;", "return 666;"))
    (lane,) = case.lists()
    elsewhere = case.cache.parent / "elsewhere"
    lane.parent.rename(elsewhere)
    case.build(kernel)
    evil = case.entries()
    (other,) = case.lists()
    new = [evil[name] for name in evil.keys() - before.keys()]
    old = list(before.keys() - evil.keys())
    assert new
    assert old
    for entry in new:
        shutil.copy(other.parent / entry["sha256"], elsewhere)
    shutil.rmtree(other.parent)
    elsewhere.rename(lane.parent)
    largest = max(new, key=lambda entry: int(entry["size"]))
    victim = max(old, key=lambda name: int(before[name]["size"]))
    text = json.loads(lane.read_text())
    text["entries"][victim] = largest | {"used": before[victim]["used"]}
    lane.write_text(json.dumps(text))
    case.driver()
    poisoned = case.build(kernel)
    assert poisoned["digest"] != honest, "what the jail and the list cannot tell: whoever may write there builds, too"
    checked = case.build(kernel, "--compile-cache", "check")
    assert (checked["compile_cache"]["checked"], checked["digest"]) == ("differs", honest)
    assert not case.lists()
    assert case.build(kernel)["digest"] == honest


_HOSTILE = {
    "links": "ln -s /etc/passwd {new}/x; mkdir -p {new}/00; ln -s ../../.. {new}/00/y; mkfifo {new}/00/z",
    "names": "mkdir -p {new}/00; echo x >{new}/00/..x; echo evil >{new}/evil; printf 'x' >{new}/00/" + "a" * 31,
    "holes": "mkdir -p {new}/00; truncate -s 100G {new}/00/" + "a" * 31,
    "many": "mkdir -p {new}/00; cd {new}/00; seq 60000 | xargs touch",
    "known": "rm -rf {known}/* 2>/dev/null; mkdir -p {known}/00; echo x >{known}/00/y; chmod 000 {known}",
    "scripts": "rm -rf {own}/* 2>/dev/null; ln -s /etc/passwd {own}/statistics",
}


@pytest.mark.parametrize("kind", _HOSTILE)
def test_whatever_a_compile_does_in_its_cache_nothing_leaves_it(case: Case, kind: str) -> None:
    kernel = case.kernels[-1]
    places = {name: f"/var/cache/kmodsmith/{name}" for name in ("known", "new", "own")}
    case.driver(before="(" + _HOSTILE[kind].format(**places) + ") || true")
    first = case.build(kernel)
    lane = case.lists()[0].parent if case.lists() else None
    kept = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in lane.iterdir()} if lane else {}
    assert all(name in {digest, "entries.json"} for name, digest in kept.items())
    assert "/etc/passwd" not in json.dumps(first["compile_cache"]) or first["compile_cache"]["kept"] == 0
    assert case.build(kernel, "--compile-cache", "check")["digest"] == first["digest"]


def test_drivers_and_pull_requests_do_not_reach_each_others_entries(case: Case) -> None:
    kernel = case.kernels[-1]
    trusted = case.build(kernel)
    before = {file: file.read_bytes() for file in case.cache.rglob("*") if file.is_file()}
    untrusted = case.build(kernel, "--untrusted")
    assert untrusted["compile_cache"]["hits"] >= _FILES, "it may read what trusted compiles of the same source left"
    main = case.project / "demo" / "main.c"
    main.write_text(main.read_text() + "/* pull request */\n")
    changed = case.build(kernel, "--untrusted")
    assert changed["compile_cache"]["hits"] == 0, "another source is another lane"
    assert changed["compile_cache"]["kept"] > 0
    assert {file: file.read_bytes() for file in case.cache.rglob("*") if file.is_file()} == before
    case.driver()
    assert case.build(kernel, "--compile-cache", "check")["digest"] == trusted["digest"]


def test_where_the_pod_is_the_room(case: Case) -> None:
    kernel = case.kernels[-1]
    in_a_room = case.build(kernel, "--compile-cache", "off")["digest"]
    case.machine = case.machine.with_environment({"KMODSMITH_JAIL": "pod"})
    without = case.build(kernel, "--compile-cache", "off")["digest"]
    assert without == in_a_room, "an image does not tell where it was made"
    assert case.build(kernel)["digest"] == without
    again = case.build(kernel)
    assert (again["digest"], again["compile_cache"]["misses"]) == (without, 0)
