"""A repository as a vendor forks it: the sample driver, what runs beside it, and documents that name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.sources.lock import Lock
from builder.sources.lock_file import write_lock
from fakes.git import GitRepository
from fakes.project import KERNELS, make_source

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = """\
# What is built.
drivers:
  # The sample driver. Replace it by yours.
  - name: ptemplate
    version: 1.0.0
    source: kernel-module
    modules: [ptemplate_core]
    vendor: Example Corp
    summary: Sample devices
    description: One module
    maintainer: Example Corp <drivers@example.com>

# Beside the driver, für alle.
components:
  - name: device-plugin
    version: 0.1.0
    source: operator
    containerfile: operator/Containerfile
    device_plugin: {driver: ptemplate, resource: drivers.example.com/ptemplate}
    vendor: Example Corp
    summary: Device plugin of the sample devices
    description: Tells kubelet which sample devices a node has
    maintainer: "Example Corp <drivers@example.com>"
  - name: operator
    version: 0.1.0
    source: operator
    containerfile: operator/Containerfile
    vendor: Example Corp
    summary: Operator of the sample drivers
    description: Brings drivers
    maintainer: Example Corp <drivers@example.com>

operator:
  component: operator
  group: drivers.example.com
  documentation: https://example.com/operator.md

sources:
  debian: {provider: debian}
groups:
  few: {source: debian, newest: true, arches: [x86_64]}
default_group: few
"""
DOCUMENT = """\
apiVersion: drivers.example.com/v1alpha1
metadata: {name: ptemplate}
index: {configMap: ptemplate-index}    # quay.io/mycompany/ptemplate:index
The class `null.drivers.example.com`; `operator/devices/ptemplate.py` is 50 lines; driver ptemplate_edu was bound.
"""
DRIVER_C = """\
// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
MODULE_LICENSE("GPL");
MODULE_VERSION("2.1");
MODULE_DESCRIPTION("A card");
"""
DRIVER = {"card.c": DRIVER_C, "Kbuild": "obj-m := card.o\n", "LICENSE": "GPL-2.0-only\n"}


def make_template(folder: Path) -> GitRepository:
    """Write it, and commit it."""
    repository = GitRepository(folder)
    for name, text in {
        "versions.yaml": VERSIONS,
        "README.md": "# kmodsmith\n",
        "LICENSE": "Apache-2.0\n",
        "docs/operator.md": DOCUMENT,
        "docs/versions-yaml.md": "such as drivers.example.com/ptemplate\n",
        "kernel-module/LICENSE": "GPL\n",
        "kernel-module/ptemplate_core.c": "int x;\n",
        "operator/Containerfile": "FROM scratch\n",
        "operator/devices/ptemplate.py": "ptemplate = 'drivers.example.com'\n",
        "driver-container/Containerfile": "FROM scratch\n",
    }.items():
        repository.write(name, text.encode())
    write_lock(Lock(sources={"debian": make_source(*KERNELS)}), folder / "versions.lock.yaml")
    repository.commit()
    return repository


def write_driver(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Write a vendor's source; its modules are those of ``DRIVER`` unless it is said which files there are."""
    for name, text in (DRIVER if files is None else files).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def all_files(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, but not what git and runs keep there."""
    return {
        name: file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not (name := file.relative_to(folder).as_posix()).startswith((".git/", ".kmodsmith/"))
    }
