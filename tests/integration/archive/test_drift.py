"""What became of symbols between two real kernels whose interface differs, as drift tells it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from builder.sources.lock_file import read_lock

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

# 6.12 made a macro of vmalloc (memory allocation profiling) and an inline function of fwnode_handle_put; __class_create
# is gone altogether.
_SOURCE = """\
#include <linux/device.h>
#include <linux/module.h>
#include <linux/property.h>
#include <linux/vmalloc.h>
static struct class *class;
static void *memory;
static int __init tiny_init(void)
{
	memory = vmalloc(64);
	class = class_create(THIS_MODULE, "tiny");
	return 0;
}
static void __exit tiny_exit(void)
{
	class_destroy(class);
	fwnode_handle_put(NULL);
	vfree(memory);
}
module_init(tiny_init);
module_exit(tiny_exit);
MODULE_LICENSE("GPL");
"""
_DRIVER = """
  - name: tiny
    version: 1.0.0
    source: tiny
    modules: [tiny]
    make: make -C $KERNEL_SRC_DIR M=$PWD modules
    vendor: V
    summary: S
    description: D
    maintainer: M
"""


def test_what_a_symbol_became_is_read_from_the_later_kernels_headers(machine: Machine, project: Path) -> None:
    source = project / "tiny"
    source.mkdir()
    for name, text in {"tiny.c": _SOURCE, "Kbuild": "obj-m := tiny.o\n", "LICENSE": "GPL\n"}.items():
        (source / name).write_text(text)
    file = project / "versions.yaml"
    file.write_text(file.read_text().replace("\nsources:", f"{_DRIVER}\nsources:", 1))
    kernels = [item.raw for item in read_lock(project / "versions.lock.yaml").kernel_versions("debian")]
    before = [raw for raw in kernels if re.fullmatch(r"6\.1\.0-\d+-amd64", raw)][-1]
    after = [raw for raw in kernels if re.fullmatch(r"6\.12\.\d+\+deb12-amd64", raw)][-1]
    which = ("--group", "debian", "--driver", "tiny")
    code, report = machine.build(project, *which, "--kernel", before)
    assert code == 0, report["failures"]
    code, drifts = machine.tell(project, "drift", before, after, *which)
    assert code == 0
    gone = {row["symbol"]: row["header"] for row in drifts["tiny"] if row["change"] == "no longer exported"}
    assert gone == {
        "__class_create": "",
        "fwnode_handle_put": "an inline function in include/linux/property.h",
        "vmalloc": "a macro in include/linux/vmalloc.h",
    }
    assert [row["change"] for row in drifts["tiny"]][: len(gone)] == ["no longer exported"] * len(gone)
    shown = machine.builder(project, "drift", before, after, *which).stdout
    assert f"compared are binaries: the symbols that built modules use (tiny for {before})" in shown
