"""The sample driver's guards, on the two forms that class_create() has in the kernels of RHEL 9.2 to 10.2."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fakes.locks import debian_of

from builder.sources.debian.source import DebianSource
from builder.sources.debian.toolkit import DebianToolkits
from builder.sources.lock_file import read_lock
from integration.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

# include/linux/device/class.h of RHEL 9.2 (5.14, as mainline until 6.3) and of RHEL 9.4 and 10 (as mainline from 6.4).
_OLDER = """
struct class *__class_create(struct module *owner, const char *name, struct lock_class_key *key);
#define class_create(owner, name) ({ static struct lock_class_key __key; __class_create(owner, name, &__key); })
"""
_NEWER = "struct class *class_create(const char *name);\n"
_COMMON = "#define THIS_MODULE ((struct module *)0)\nstruct module; struct class; struct lock_class_key { int x; };\n"
_USER = '#include "ptemplate_compat.h"\nstruct class *f(void);\nstruct class *f(void) { return ptemplate_class_create("x"); }\n'


@pytest.mark.parametrize(
    ("header", "fits"), [(_OLDER, True), (_NEWER, True), ("struct class *class_create(int, int);\n", False)]
)
def test_the_guard_fits_each_form(
    machine: Machine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, fits: bool
) -> None:
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", machine.environment["CONTAINERS_STORAGE_CONF"])
    source = debian_of(read_lock(project / "versions.lock.yaml"))
    kernel = read_lock(project / "versions.lock.yaml").kernel_versions("debian")[0]
    toolkits = DebianToolkits(
        DebianSource(locked=source, build_arch=kernel.arch),
        packages_dir=tmp_path / "cache" / "packages",
        work_dir=tmp_path,
    )
    with machine.mounted(toolkits.ensure(kernel)) as root:
        folder = root / "guard"
        (folder / "linux").mkdir(parents=True)
        (folder / "linux" / "device.h").write_text(_COMMON + header)
        (folder / "ptemplate_compat.h").write_text((ROOT / "kernel-module" / "ptemplate_compat.h").read_text())
        (folder / "user.c").write_text(_USER)
        command = ["chroot", str(root), "gcc", "-Wall", "-Werror", "-fsyntax-only", "-I/guard", "/guard/user.c"]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
    toolkits.close()
    assert (done.returncode == 0) is fits, done.stderr
