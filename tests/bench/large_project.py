"""Writes a project of synthetic cells, drivers times kernels: large_project.py FOLDER DRIVERS KERNELS."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.project import VERSIONS_YAML, make_source

from builder.sources.lock import Lock
from builder.sources.lock_file import write_lock

DRIVERS = 10
KERNELS = 1000


def write_large_project(folder: Path, *, drivers: int = DRIVERS, kernels: int = KERNELS) -> None:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "LICENSE").write_text("GPL\n")
    (folder / "driver-container").mkdir()
    (folder / "driver-container" / "Containerfile").write_text("FROM scratch\n")
    head, _, rest = VERSIONS_YAML.partition("  - name: demo\n")
    entry = rest[: rest.index("sources:")]
    entries = "".join(f"  - name: demo-{number}\n{entry}" for number in range(drivers))
    text = head + entries + rest[rest.index("sources:") :].replace("default_group: few", "default_group: all")
    (folder / "versions.yaml").write_text(text)
    names = [f"6.{1 + number // 100}.0-{number}-amd64" for number in range(kernels)]
    write_lock(Lock(sources={"debian": make_source(*names)}), folder / "versions.lock.yaml")


if __name__ == "__main__":
    write_large_project(Path(sys.argv[1]), drivers=int(sys.argv[2]), kernels=int(sys.argv[3]))
