"""The benchmark: kmod images against DKMS and bare make, side by side on the same kernels; and what idling costs.

    nox -s bench                       three rounds on all x86-64 kernels of the lock
    nox -s bench -- --rounds 1 --kernel '6.12*'
    nox -s bench -- --cold             also a cold start with an empty store and cache

Every figure is measured in this run; ratios are taken round by round, because the speed of a shared machine drifts.
Results go to tests/bench/results/ as JSON and Markdown, with the machine and the date.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml
from fakes.locks import debian_of
from vendors.sources import SUITES, fetch_sources

from bench.cells import measure_cells
from bench.compile_cache import PACKAGES, Vendor, measure_compile_cache
from bench.discovery import measure_discovery
from bench.publishing import measure_publishing
from bench.pulling import measure_pulls
from bench.sharding import read_times, simulate
from bench.template import read_settings
from builder.boot.kernel_image import SourceKernels, unpacked_kernel
from builder.build.fit_image import open_source_facts
from builder.build.prove import read_image
from builder.config.model.debian import DebianKernels
from builder.image.contents import LayerCache, list_modules
from builder.image.layout import write_image, write_layer
from builder.kernel import Arch, parse_kernel_version
from builder.kmod.fit import check_modules, place_modules
from builder.plan.matrix import Selector
from builder.plan.planning import plan_project
from builder.plan.project import open_project
from builder.signing.create import create_development_key
from builder.sources.debian.apt import Apt, Archive
from builder.sources.debian.deb import read_members
from builder.sources.debian.kernels import PackagedKernels
from builder.sources.debian.lock import LockedPackage
from builder.sources.debian.parts import DebianParts
from builder.sources.debian.toolkit import _toolchain_entries
from builder.sources.download import Downloads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from builder.kernel import KernelVersion
    from builder.plan.project import Project

_ROOT = Path(__file__).parents[2]
_BOX = "localhost/kmodsmith-bench-import:latest"

_DKMS = """
set -eu
dkms build DRIVER -k "$1" >/dev/null 2>&1   # makes DKMS's signing key, not counted
dkms remove DRIVER --all >/dev/null 2>&1; dkms add DRIVER >/dev/null
start=$(date +%s%N)
for kernel in "$@"; do dkms build DRIVER -k "$kernel" >/dev/null 2>&1 || { echo "dkms failed for $kernel"; exit 1; }; done
end=$(date +%s%N)
ls /var/lib/dkms/DRIVER/*/*/module/*.ko | wc -l
echo $((end - start))
"""
_MAKE = """
set -eu
for kernel in "$@"; do cp -r "/usr/src/FOLDER" "/tmp/make-$kernel"; done
start=$(date +%s%N)
printf '%s\\n' "$@" | xargs -P "$(nproc)" -I@@ make -s COMMAND >/tmp/make.log 2>&1 || { tail -20 /tmp/make.log; exit 1; }
end=$(date +%s%N)
ls /tmp/make-*/*.ko | wc -l
echo $((end - start))
"""
# What a vendor's dkms.conf has made, on all cores, as it would be typed.
_VENDOR_MAKE = """
set -eu
kernel=$1; cp -r "/usr/src/FOLDER" "/tmp/make-$kernel"; cd "/tmp/make-$kernel"
export KERNEL_FULL_VERSION="$kernel" KERNEL_SRC_DIR="/lib/modules/$kernel/build" MAKEFLAGS="-j$(nproc)"
start=$(date +%s%N)
sh -euc 'COMMAND' >/tmp/make.log 2>&1 || { tail -20 /tmp/make.log; exit 1; }
end=$(date +%s%N)
find . -name '*.ko' | wc -l
echo $((end - start))
"""
_VENDOR_DKMS = """
set -eu
dkms remove DRIVER --all >/dev/null 2>&1 || true
dkms add DRIVER >/dev/null
start=$(date +%s%N)
dkms build DRIVER -k "$1" >/dev/null 2>&1 || { echo "dkms failed for $1"; exit 1; }
end=$(date +%s%N)
find /var/lib/dkms -path '*/module/*.ko' | wc -l
echo $((end - start))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A driver that is built in three ways: ``modules`` are so many, ``make`` is the bare command, @@ the kernel."""

    name: str
    version: str
    folder: Path
    modules: int
    make: str

    def script(self, text: str) -> str:
        text = text.replace("DRIVER", f"{self.name}/{self.version}").replace("COMMAND", self.make)
        return text.replace("FOLDER", f"{self.name}-{self.version}")


_SAMPLE = Subject(
    name="ptemplate", version="1.0.0", folder=_ROOT / "kernel-module", modules=3,
    make="-C /tmp/make-@@ KERNEL_FULL_VERSION=@@",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kernel", default="*", help="glob over kernels")
    parser.add_argument(
        "--only",
        help="one part: cold, against, against_evdi, cells, vendors, idle, plan_10000, plan_100000, proof, boot, discover, "
        "publish, pull or shards",
    )
    parser.add_argument("--times", type=Path, help="measured times of pods, for shards: tests/bench/sharding.py")
    parser.add_argument("--package", action="append", help="for 'vendors': one of them only, or another one")
    parser.add_argument("--cold", action="store_true", help="also measure a start from nothing")
    options = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "cold": lambda: measure_cold(options.kernel),
        "against": lambda: measure_against(options.kernel, options.rounds),
        "against_evdi": lambda: measure_evdi(options.kernel, options.rounds),
        "cells": lambda: measure_cells(build, options.kernel, options.rounds),
        "idle": lambda: measure_idle(options.kernel),
        "vendors": lambda: measure_vendors(options.rounds, options.package or PACKAGES),
        "plan_10000": lambda: measure_large_plan(10, 1000),
        "plan_100000": lambda: measure_large_plan(20, 5000),
        "proof": lambda: measure_proof(options.kernel),
        "boot": lambda: measure_boot(options.kernel),
        "discover": measure_discovery,
        "publish": lambda: measure_publishing(options.kernel),
        "pull": measure_pulls,
    }
    if options.times:
        parts["shards"] = lambda: simulate(read_times(options.times))
    for name, measure in parts.items():
        if options.only in {None, name} and (name != "cold" or options.cold or options.only):
            write_results({"machine": describe_machine(), name: measure()})


def describe_machine() -> dict[str, Any]:
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "buildah": subprocess.check_output(["buildah", "--version"], text=True).strip(),
    }


def build(
    *arguments: str,
    environment: dict[str, str] | None = None,
    work_dir: Path | None = None,
    project: Path = _ROOT,
    prefix: Sequence[str] = (),
    errors: int | IO[str] = subprocess.DEVNULL,
) -> dict[str, Any]:
    command = [*prefix, sys.executable, "-m", "builder", "--project", str(project)]
    command += ["--work-dir", str(work_dir)] if work_dir else []
    verb, *options = arguments if arguments[:1] == ("boot",) else ("build", "--boot", "never", *arguments)
    command += [verb, "--group", "debian", "--arch", "x86_64", "--json", *options]
    started, used = time.monotonic(), processor_time()
    done = subprocess.run(
        command,
        cwd=_ROOT,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=errors,
        check=True,
    )
    seconds = {"process_s": time.monotonic() - started, "cpu_s": processor_time() - used}
    return {**seconds, **json.loads(done.stdout)}


def processor_time() -> float:
    """Return the processor seconds of all processes that were started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_evdi(kernel_glob: str, rounds: int) -> dict[str, Any]:
    """Do the same with a vendor's driver of one module and 16 files, on kernels that its version knows."""
    glob = kernel_glob if kernel_glob != "*" else "6.1.*-amd64"
    with tempfile.TemporaryDirectory(prefix="kmodsmith-evdi-") as scratch:
        folder = Path(scratch)
        downloads = Downloads(open_project(_ROOT).cache_dir / "packages")
        source = next(item for item in fetch_sources(folder, ["evdi-dkms"], downloads) if item.suite == SUITES[0])
        project = folder / "project"
        project.mkdir()
        shutil.copytree(source.folder, project / "evdi")
        shutil.copytree(_ROOT / "driver-container", project / "driver-container")
        shutil.copy(_ROOT / "versions.lock.yaml", project)
        data = read_settings(_ROOT / "versions.yaml")
        own = ("vendor", "summary", "description", "maintainer")
        words = {key: value for key, value in data["drivers"][0].items() if key in own}
        data["drivers"] = [words | {"name": "evdi", "version": source.version, "source": "evdi", "dkms": "dkms.conf"}]
        (project / "versions.yaml").write_text(yaml.safe_dump(data))
        subject = Subject(
            name="evdi", version=source.version, folder=source.folder, modules=1,
            make="-C /lib/modules/@@/build M=/tmp/make-@@ KERNELRELEASE=@@ DKMS_BUILD=1",
        )  # fmt: skip
        return measure_against(glob, rounds, subject, project)


def measure_vendors(rounds: int, packages: Sequence[str]) -> dict[str, Any]:
    """Build somebody's drivers for a new kernel: with the compile cache, without it, with DKMS and with make."""
    found = {}
    for package in packages:
        with contextlib.ExitStack() as held:
            found[package] = measure_compile_cache(build, _Others(held).measure, rounds, package)
    return found


class _Others:
    """DKMS and make for a vendor's driver, in a container that is made when it is first asked for."""

    def __init__(self, held: ExitStack) -> None:
        self._held = held
        self._container = ""

    def measure(self, vendor: Vendor, kernel: str) -> dict[str, float]:
        project = open_project(vendor.project)
        driver = project.drivers[vendor.source.name]
        subject = Subject(
            name=vendor.source.package.removesuffix("-dkms"), version=vendor.source.version,
            folder=vendor.source.folder, modules=0, make=driver.command.replace("'", "'\\''"),
        )  # fmt: skip
        if not self._container:
            self._container = make_box(project, [parse_kernel_version(kernel)], subject)
            for words in (["rm", self._container], ["rmi", _BOX]):
                self._held.callback(subprocess.run, ["buildah", *words], check=False, capture_output=True)
            run_in(self._container, subject.script(_VENDOR_DKMS), kernel)  # makes DKMS's signing key
        run_in(self._container, "rm -rf /tmp/make-*")
        figure = {}
        for name, script in (("dkms_s", _VENDOR_DKMS), ("make_s", _VENDOR_MAKE)):
            os.sync()
            count, nanoseconds = run_in(self._container, subject.script(script), kernel).split()[-2:]
            assert int(count) >= 1
            figure[name] = int(nanoseconds) / 1e9
        return figure


def measure_against(kernel_glob: str, rounds: int, subject: Subject = _SAMPLE, folder: Path = _ROOT) -> dict[str, Any]:
    """Build all kernels as kmod images, with DKMS one after another, and with make on all cores."""
    project = open_project(folder)
    build("--kernel", kernel_glob, project=folder)
    planned = plan_project(project, Selector(group="debian", kernels=(kernel_glob,), arches=(Arch.X86_64,)))
    kernels = [decision.cell.kernel for decision in planned.plan.decisions]
    container = make_box(project, kernels, subject)
    figures: list[dict[str, float]] = []
    try:
        for number in range(rounds):
            os.sync()  # what was written before must not be paid for by who comes next
            ours = build("--kernel", kernel_glob, "--force", project=folder)
            assert ours["counts"] == {"built": len(kernels)}
            figure = {"kmodsmith_s": ours["process_s"], "dkms_s": run_in_box(container, _DKMS, kernels, subject)}
            figure["kmodsmith_cpu_s"] = ours["cpu_s"]
            before = processor_time()
            figure["make_s"] = run_in_box(container, _MAKE, kernels, subject)
            figure["make_cpu_s"] = processor_time() - before
            run_in(container, subject.script("rm -rf /tmp/make-*; dkms remove DRIVER --all; dkms add DRIVER"))
            figures.append({name: round(seconds, 2) for name, seconds in figure.items()})
            print(f"round {number + 1}: {figures[-1]}", flush=True)
    finally:
        subprocess.run(["buildah", "rm", container], check=False, stdout=subprocess.DEVNULL)
        subprocess.run(["buildah", "rmi", _BOX], check=False, stdout=subprocess.DEVNULL)
    return {
        "driver": f"{subject.name} {subject.version}",
        "kernels": len(kernels),
        "rounds": figures,
        "ratio_to_dkms": _median_ratio(figures, "dkms_s"),
        "ratio_to_make": _median_ratio(figures, "make_s"),
        "cpu_ratio_to_make": _median_ratio(figures, "make_cpu_s", "kmodsmith_cpu_s"),
    }


def _median_ratio(figures: list[dict[str, float]], other: str, ours: str = "kmodsmith_s") -> float:
    return round(statistics.median(figure[ours] / figure[other] for figure in figures), 3)


def make_box(project: Project, kernels: list[KernelVersion], subject: Subject = _SAMPLE) -> str:
    """Start a container that has the toolchain, the headers of all kernels, DKMS and the driver's source."""
    source = debian_of(project.lock)
    parts = DebianParts(locked=source, build_arch=Arch.X86_64)
    names = [parts.toolkit_packages(kernel) for kernel in kernels]
    toolchain = names[0][0]
    headers = dict.fromkeys(name for layers in names for layer in layers[1:] for name in layer)
    downloads = Downloads(project.cache_dir / "packages")
    with tempfile.TemporaryDirectory(dir=project.work_dir) as scratch:
        tools = [downloads.fetch(source.packages[name]) for name in toolchain] + [downloads.fetch(_find_dkms(project))]
        layers = [
            write_layer(
                Path(scratch, "tools.tar"),
                (item for deb in tools for item in read_members(deb)),
                _toolchain_entries("12", None),
            ),
            write_layer(
                Path(scratch, "headers.tar"),
                (item for name in headers for item in read_members(downloads.fetch(source.packages[name]))),
            ),
        ]
        image = Path(scratch, "kmodsmith-bench-import")
        write_image(image, layers, arch="amd64", environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, labels={})
        subprocess.run(
            ["buildah", "pull", "-q", f"oci:{image.name}"], cwd=scratch, check=True, stdout=subprocess.DEVNULL
        )
    container = subprocess.check_output(["buildah", "from", "--pull-never", _BOX], text=True).strip()
    subprocess.run(
        ["buildah", "copy", "-q", container, str(subject.folder), f"/usr/src/{subject.name}-{subject.version}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    run_in(container, subject.script("mkdir -p /var/lib/dkms; dkms add DRIVER"))
    return container


def _find_dkms(project: Project) -> LockedPackage:
    import re

    settings = project.config.sources["debian"]
    assert isinstance(settings, DebianKernels)
    archives = [Archive(url=archive.url, suites=archive.suites) for archive in settings.archives]
    apt = Apt(project.cache_dir / "apt" / "bench", Arch.X86_64, archives, Path(settings.keyring))
    apt.update()
    package = apt.packages(re.compile("dkms"))[-1]
    return LockedPackage(url=package.url, size=package.size, installed=package.installed, sha256=package.sha256)


def run_in(container: str, script: str, *arguments: str) -> str:
    command = [
        "buildah",
        "run",
        "--isolation",
        "chroot",
        container,
        "--",
        "sh",
        "-c",
        script,
        "bench",
        *arguments,
    ]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the benchmark's own script failed:\n{done.stdout}")
    return done.stdout


def run_in_box(container: str, script: str, kernels: list[KernelVersion], subject: Subject) -> float:
    """Run a script that prints how many modules it made and how long it took in nanoseconds."""
    os.sync()
    count, nanoseconds = run_in(container, subject.script(script), *(kernel.raw for kernel in kernels)).split()[-2:]
    assert int(count) == subject.modules * len(kernels), f"{count} modules for {len(kernels)} kernels"
    return int(nanoseconds) / 1e9


def measure_idle(kernel_glob: str) -> dict[str, Any]:
    """Time a build that has nothing to do."""
    runs = [build("--kernel", kernel_glob) for _ in range(5)]
    assert all(set(run["counts"]) == {"skipped"} for run in runs)
    return {
        "cells": sum(runs[0]["counts"].values()),
        "median_s": round(statistics.median(run["process_s"] for run in runs), 3),
    }


def measure_proof(kernel_glob: str) -> dict[str, Any]:
    """Time fit, sign and verify: of each cell in a signed build one after another, and of 1,000 modules."""
    with tempfile.TemporaryDirectory(prefix="kmodsmith-proof-") as scratch:
        project = Path(scratch)
        for name in ("kernel-module", "driver-container"):
            shutil.copytree(_ROOT / name, project / name)
        shutil.copy(_ROOT / "versions.lock.yaml", project)
        create_development_key(
            "bench", key_folder=project / "keys", certificate_folder=project / "keys", kind="rsa", now=datetime.now(UTC)
        )
        data = read_settings(_ROOT / "versions.yaml")
        data["signers"] = {"bench": {"certificate": "keys/bench.pem", "key_file": "keys/bench.key"}}
        data["groups"]["debian"] |= {"signers": ["bench"], "signing": "required"}
        (project / "versions.yaml").write_text(yaml.safe_dump(data))
        build("--kernel", kernel_glob, project=project)  # extracts each kernel's facts, once and for all
        build("--kernel", kernel_glob, "--force", "--jobs", "1", project=project)
        lines = (project / ".kmodsmith" / "journal.jsonl").read_text().splitlines()
        cells = [json.loads(line) for line in lines if '"type":"cell"' in line]
        cells = cells[len(cells) // 2 :]
        beyond = sorted(sum(cell["timings"][stage] for stage in ("fit", "sign", "verify")) for cell in cells)
        image = sorted(cell["timings"]["compile"] + cell["timings"]["assemble"] for cell in cells)
        many = _time_modules(open_project(project), kernel_glob)
    return {
        "cells": len(cells),
        "image_build_median_s": round(statistics.median(image), 3),
        "fit_sign_verify_median_s": round(statistics.median(beyond), 3),
        "fit_sign_verify_slowest_s": round(beyond[-1], 3),
        **many,
    }


def measure_boot(kernel_glob: str) -> dict[str, Any]:
    """Boot every kernel with the sample driver's test: all at once as a build does, and one after another."""
    cells = build("--kernel", kernel_glob)["cells"]
    fetch_kernels(open_project(_ROOT), [parse_kernel_version(cell["kernel"]) for cell in cells])
    together = build("boot", "--kernel", kernel_glob)
    assert together["counts"] == {"booted": len(cells)}
    alone: dict[str, Any] = {}
    for name, *how in (("from_reset", "secure", "--from-reset"), ("secure", "secure"), ("plain", "plain")):
        report = build("boot", "--kernel", kernel_glob, "--jobs", "1", "--mode", *how)
        assert report["counts"] == {"booted": len(cells)}
        seconds = sorted(cell["boot"]["seconds"] for cell in report["cells"])
        alone[f"{name}_median_s"] = round(statistics.median(seconds), 2)
        alone[f"{name}_slowest_s"] = round(seconds[-1], 2)
    alone["secure_of_from_reset"] = round(alone["secure_median_s"] / alone["from_reset_median_s"], 2)
    return {
        "kernels": len(cells),
        "acceleration": sorted({cell["boot"]["acceleration"] for cell in together["cells"]}),
        "modes": sorted({cell["boot"]["mode"] for cell in together["cells"]}),
        "wall_s": round(together["process_s"], 1),
        **alone,
    }


def fetch_kernels(project: Project, kernels: list[KernelVersion]) -> None:
    """Have every kernel's image in the cache: what is measured is booting, not the network."""
    downloads = Downloads(project.cache_dir / "packages")
    parts = DebianParts(locked=debian_of(project.lock), build_arch=project.build_arch)
    images = PackagedKernels(parts, folder=project.cache_dir / "boot", downloads=downloads)
    for kernel in kernels:
        unpacked_kernel(SourceKernels(images).of(kernel))
    downloads.close()


def _time_modules(project: Project, kernel_glob: str) -> dict[str, Any]:
    """Check 1,000 modules in this process, each against its own kernel, whose facts are read once."""
    selector = Selector(group="debian", kernels=(kernel_glob,), arches=(Arch.X86_64,))
    with ExitStack() as held:
        facts = open_source_facts(project, "debian", held)
        cache = LayerCache()
        images = [
            (decision.cell.kernel, list_modules(read_image(decision.key_image, cache)))
            for decision in plan_project(project, selector).plan.decisions
        ]
        started = time.monotonic()
        checked = 0
        while checked < 1000:
            kernel, files = images[checked // 31 % len(images)]
            placed, findings = place_modules((file.path, file.content or b"") for file in files)
            findings += check_modules(placed, facts.of(kernel), expected=None)
            assert not findings
            checked += len(placed)
        return {"modules": checked, "modules_s": round(time.monotonic() - started, 2)}


def measure_cold(kernel_glob: str) -> dict[str, Any]:
    """Build everything with an empty container store, package cache and work folder."""
    with tempfile.TemporaryDirectory(prefix="kmodsmith-cold-") as scratch:
        storage = Path(scratch, "storage.conf")
        storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{scratch}/graph"\nrunroot = "{scratch}/run"\n')
        environment = {"CONTAINERS_STORAGE_CONF": str(storage), "XDG_CACHE_HOME": f"{scratch}/cache"}
        started = datetime.now(UTC)
        report = build("--kernel", kernel_glob, environment=environment, work_dir=Path(scratch, "work"))
        lines = Path(scratch, "work", "journal.jsonl").read_text().splitlines()
        finished = sorted(json.loads(line)["finished"] for line in lines if '"type":"cell"' in line)
        first = datetime.fromisoformat(finished[0])
        store = subprocess.run(["du", "-sm", f"{scratch}/graph"], check=True, stdout=subprocess.PIPE, text=True)
        result = {
            "cells": len(finished),
            "first_image_s": round((first - started).total_seconds()),
            "all_s": round(report["process_s"], 1),
            "store_mib": int(store.stdout.split()[0]),
        }
        subprocess.run(["umount", f"{scratch}/graph/overlay"], check=False, stderr=subprocess.DEVNULL)
    return result


def measure_large_plan(drivers: int, kernels: int) -> dict[str, Any]:
    """Plan so many cells in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        writer = str(Path(__file__).with_name("large_project.py"))
        subprocess.run([sys.executable, writer, scratch, str(drivers), str(kernels)], check=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        command = ["/usr/bin/env", sys.executable, "-m", "builder", "--project", scratch, "plan", "--json"]
        process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE)
        output, _ = process.communicate()
        wall_s = time.monotonic() - started
        status = json.loads(output)["counts"]
        peak = _peak_memory([sys.executable, "-m", "builder", "--project", scratch, "plan", "--json"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime
    return {"counts": status, "wall_s": round(wall_s, 2), "peak_mb": peak, "cpu_s_two_runs": round(cpu_s, 2)}


def _peak_memory(command: list[str]) -> int:
    """Return the peak resident memory of a command in MB, as the kernel accounted it."""
    script = "import os,resource,subprocess,sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    return int(subprocess.check_output([sys.executable, "-c", script, *command], cwd=_ROOT, text=True))


def write_results(part: dict[str, Any]) -> None:
    """Write a part of the results as soon as it is measured, beside the other parts of the same day."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{datetime.now(UTC):%Y-%m-%d}.json"
    earlier = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(earlier | part, indent=2) + "\n")
    print(json.dumps(part, indent=2), f"written to {file.relative_to(_ROOT)}", sep="\n", flush=True)


if __name__ == "__main__":
    main()
