"""Somebody's drivers for a new kernel: with what the kernel before it left in the compile cache, without, by DKMS, by make.

Seconds of a shared machine drift, so each round does all four one after another, and what counts are ratios of one
round; the seconds of processors that the stage compile took are measured beside those of the clock.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from vendors.sources import SUITES, fetch_sources

from bench.template import read_settings
from builder.kernel import Variant
from builder.plan.project import open_project
from builder.sources.download import Downloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from vendors.sources import VendorSource

    from builder.kernel import KernelVersion

_ROOT = Path(__file__).parents[2]
# Of one file, of dozens, of more than a hundred.
PACKAGES = ("v4l2loopback-dkms", "jool-dkms", "lttng-modules-dkms")
_KEPT = ("packages", "kernels", "ccache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A vendor's driver as a project of its own, with a cache that only this measurement uses."""

    source: VendorSource
    project: Path
    cache: Path
    files: int


def make_vendor(folder: Path, package: str) -> Vendor:
    """Make a project of a package of the Debian archive."""
    cache = open_project(_ROOT).cache_dir
    source = next(
        item for item in fetch_sources(folder, [package], Downloads(cache / "packages")) if item.suite == SUITES[0]
    )
    project = folder / "project"
    project.mkdir()
    shutil.copytree(source.folder, project / source.name, symlinks=True)
    shutil.copytree(_ROOT / "driver-container", project / "driver-container")
    shutil.copy(_ROOT / "versions.lock.yaml", project)
    data = read_settings(_ROOT / "versions.yaml")
    own = ("vendor", "summary", "description", "maintainer")
    words = {key: value for key, value in data["drivers"][0].items() if key in own}
    entry = {"name": source.name, "version": source.version, "source": source.name, "dkms": "dkms.conf"}
    data["drivers"] = [words | entry | ({"licenses": [_licence(source.folder)]} if _licence(source.folder) else {})]
    data["build"] = {"boot": "never", "compile_cache_check": 0}
    (project / "versions.yaml").write_text(yaml.safe_dump(data))
    own_cache = folder / "cache" / "kmodsmith"
    own_cache.mkdir(parents=True)
    for name in _KEPT:
        (cache / name).mkdir(exist_ok=True)
        (own_cache / name).symlink_to(cache / name)
    files = sum(1 for _ in source.folder.rglob("*.c"))
    return Vendor(source=source, project=project, cache=own_cache.parent, files=files)


def _licence(folder: Path) -> str:
    return next((name for name in ("copyright", "COPYING", "LICENSE") if (folder / name).is_file()), "")


def find_last_two(kernels: list[KernelVersion]) -> tuple[str, str]:
    """Return the two newest kernels of the oldest series that differ by one release."""
    series = kernels[0].series
    standard = [item.raw for item in kernels if item.series == series and item.variant is Variant.STANDARD]
    found = [raw for raw in standard if raw.endswith("amd64")][-2:]
    return found[0], found[1]


def measure_compile_cache(
    build: Callable[..., dict[str, Any]], others: Callable[[Vendor, str], dict[str, float]], rounds: int, package: str
) -> dict[str, Any]:
    """Measure one driver; ``build`` builds a kernel of a project, ``others`` what DKMS and make take for it."""
    with tempfile.TemporaryDirectory(prefix="kmodsmith-cache-") as scratch:
        vendor = make_vendor(Path(scratch), package)
        kernels = open_project(_ROOT).lock.kernel_versions("debian")
        older, newer = find_last_two(list(kernels))

        def build_one(kernel: str, *options: str) -> dict[str, Any]:
            report = build(
                "--kernel", kernel, "--force", *options, project=vendor.project,
                environment={"XDG_CACHE_HOME": str(vendor.cache)},
            )  # fmt: skip
            (cell,) = report["cells"]
            assert cell["status"] == "built", cell
            return {**cell, "process_s": report["process_s"]}

        for kernel in (older, newer):  # toolkits are made, and nothing of that is counted
            build_one(kernel, "--compile-cache", "off")
        figures = []
        for number in range(rounds):
            shutil.rmtree(vendor.cache / "kmodsmith" / "compile-cache", ignore_errors=True)
            without = build_one(newer, "--compile-cache", "off")
            first = build_one(older)
            cached = build_one(newer)
            assert cached["digest"] == without["digest"], "the same module with and without"
            figure = {
                "without_s": without["timings"]["compile"], "without_cpu_s": without["cpu"]["compile"],
                "first_s": first["timings"]["compile"], "first_cpu_s": first["cpu"]["compile"],
                "cached_s": cached["timings"]["compile"], "cached_cpu_s": cached["cpu"]["compile"],
                "cell_without_s": without["process_s"], "cell_cached_s": cached["process_s"],
                **others(vendor, newer),
            }  # fmt: skip
            figures.append({name: round(value, 2) for name, value in figure.items()})
            print(f"{package} round {number + 1}: {figures[-1]}", flush=True)
        use = cached["compile_cache"] or {}
        return {
            "driver": f"{vendor.source.name} {vendor.source.version}",
            "c_files": vendor.files,
            "kernels": [older, newer],
            "hits": use.get("hits", 0),
            "compiles": use.get("hits", 0) + use.get("misses", 0),
            "rounds": figures,
            "ratio_cpu_cached_to_without": _ratio(figures, "cached_cpu_s", "without_cpu_s"),
            "ratio_cpu_first_to_without": _ratio(figures, "first_cpu_s", "without_cpu_s"),
            "ratio_cached_to_without": _ratio(figures, "cached_s", "without_s"),
            "ratio_cell_cached_to_dkms": _ratio(figures, "cell_cached_s", "dkms_s"),
            "ratio_cell_cached_to_make": _ratio(figures, "cell_cached_s", "make_s"),
            "ratio_cell_without_to_dkms": _ratio(figures, "cell_without_s", "dkms_s"),
            "ratio_cell_without_to_make": _ratio(figures, "cell_without_s", "make_s"),
        }


def _ratio(figures: list[dict[str, float]], ours: str, other: str) -> float | None:
    found = [item[ours] / item[other] for item in figures if item.get(other)]
    return round(statistics.median(found), 3) if found else None
