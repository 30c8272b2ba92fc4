"""The main job with the real buildah, the real archive and real kernels."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.locks import debian_of

from builder.kernel import parse_kernel_version
from builder.sources.debian.source import DebianSource
from builder.sources.lock_file import read_lock
from integration.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]


def _newest(project: Path, series: str, arch: str = "amd64") -> str:
    kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
    found = [
        kernel.raw
        for kernel in kernels
        if kernel.series == series and kernel.variant == "standard" and kernel.raw.endswith(arch)
    ]
    return found[-1]


def _toolkit(project: Path, raw: str) -> str:
    kernel = parse_kernel_version(raw)
    return DebianSource(
        locked=debian_of(read_lock(project / "versions.lock.yaml")), build_arch=kernel.arch
    ).toolkit_image(kernel)


def _edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


def _warnings(project: Path) -> list[str]:
    """Return what warns in logs; but that buildah sets arguments by itself, and then misses somebody who reads them."""
    lines = (line for log in (project / ".kmodsmith").rglob("build.log") for line in log.read_text().splitlines())
    return [line for line in lines if "warning" in line.lower() and "build args were not consumed" not in line]


def test_the_group_laptop_becomes_kmod_images(machine: Machine, project: Path) -> None:
    # Another source than that of other tests, so that nothing of it is in the store.
    (project / "kernel-module" / "laptop.h").write_text("\n")
    code, report = machine.build(project)
    assert code == 0, report["failures"]
    assert set(report["counts"]) == {"built"}
    assert {cell["variant"] for cell in report["cells"]} == {"standard", "rt", "cloud"}
    assert _warnings(project) == []
    for cell in report["cells"]:
        _check_image(machine, cell)
    before = machine.buildah("containers", "--json")
    code, again = machine.build(project)
    assert (code, set(again["counts"])) == (0, {"skipped"})
    assert machine.buildah("containers", "--json") == before


def _check_image(machine: Machine, cell: dict[str, Any]) -> None:
    """KMM's contract, read from the final image."""
    labels = json.loads(machine.buildah("inspect", "--type", "image", cell["image"]))["OCIv1"]["config"]["Labels"]
    assert labels["release"] == labels["io.kmodsmith.kernel"] == cell["kernel"]
    assert {"name", "vendor", "version", "release", "summary", "description", "maintainer"} <= labels.keys()
    assert labels["io.kmodsmith.cell.key"] == cell["key"]
    with machine.mounted(cell["image"]) as root:
        modules = root / "opt" / "lib" / "modules" / cell["kernel"]
        found = sorted(file.stem for file in modules.glob("extra/*.ko"))
        assert found == ["ptemplate_char", "ptemplate_core", "ptemplate_edu"]
        assert "alias pci:v00001234d000011E8sv*sd*bc*sc*i* ptemplate_edu" in (modules / "modules.alias").read_text()
        for module in modules.glob("extra/*.ko"):
            content = module.read_bytes()
            assert f"\0vermagic={cell['kernel']} ".encode() in content
            assert b"\0version=1.0.0\0" in content
        assert "ptemplate_char.ko: extra/ptemplate_core.ko" in (modules / "modules.dep").read_text()
        assert all((root / "bin" / tool).exists() for tool in ("sh", "mkdir", "cp"))
        assert list((root / "licenses").iterdir())
        assert not list(root.rglob("vmlinuz*"))
        said = subprocess.run(
            ["chroot", str(root), "/bin/sh", "-c", "mkdir /x && cp -R /opt /x && echo fine"],
            text=True,
            capture_output=True,
            check=False,
        )
        assert said.stdout == "fine\n"


def test_aarch64_is_cross_compiled_into_an_aarch64_image(machine: Machine, project: Path) -> None:
    kernel = _newest(project, "6.12", "arm64")
    code, report = machine.build(project, "--group", "debian", "--kernel", kernel)
    assert code == 0, report["failures"]
    image = json.loads(machine.buildah("inspect", "--type", "image", report["cells"][0]["image"]))
    assert image["OCIv1"]["architecture"] == "arm64"
    with machine.mounted(report["cells"][0]["image"]) as root:
        module = root / "opt" / "lib" / "modules" / kernel / "extra" / "ptemplate_core.ko"
        assert module.read_bytes()[18:20] == b"\xb7\x00"  # e_machine EM_AARCH64


def test_two_builds_from_clean_give_equal_digests(machine: Machine, project: Path) -> None:
    digests = []
    for _ in range(2):
        digests.append({cell["kernel"]: cell["digest"] for cell in machine.build(project, "--force")[1]["cells"]})
        shutil.rmtree(project / ".kmodsmith")
    assert digests[0] == digests[1]
    assert all(digest.startswith("sha256:") for digest in digests[0].values())


def test_one_containerfile_three_ways(machine: Machine, project: Path) -> None:
    """By kmodsmith, by hand in one build, and as KMM does: without context, from an archive at an address."""
    kernel = _newest(project, "6.1")
    _, report = machine.build(project, "--kernel", kernel)
    assert report["counts"].keys() <= {"built", "proven"}
    arguments = {"DTK_AUTO": _toolkit(project, kernel), "KERNEL_FULL_VERSION": kernel, "KERNEL_VERSION": kernel}
    arguments |= {"BASE_IMAGE": next(name for name in _names(machine) if "kmodsmith/base:x86_64" in name)}
    archive = shutil.make_archive(str(project / "source"), "gztar", project, "kernel-module")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(project)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        by_hand = _build_by_hand(machine, project / "kernel-module", arguments)
        digest = subprocess.check_output(["sha256sum", archive], text=True).split()[0]
        kmm = arguments | {"SOURCE": f"http://127.0.0.1:{server.server_port}/source.tar.gz"}
        (project / "empty").mkdir()
        assert _build_by_hand(machine, project / "empty", kmm | {"SOURCE_SHA256": digest}) == by_hand
        with pytest.raises(AssertionError, match="is not the file that was asked for"):
            _build_by_hand(machine, project / "empty", kmm | {"SOURCE_SHA256": "0" * 64})
    finally:
        server.shutdown()
        server.server_close()
    ours = f"localhost/ptemplate:1.0.0-{kernel}"
    for path in (f"opt/lib/modules/{kernel}/extra/ptemplate_core.ko", f"opt/lib/modules/{kernel}/modules.dep"):
        with machine.mounted(ours) as one, machine.mounted(by_hand) as other:
            assert (one / path).read_bytes() == (other / path).read_bytes()


def _names(machine: Machine) -> list[str]:
    return [name for image in json.loads(machine.buildah("images", "--json")) for name in image.get("names") or []]


def _build_by_hand(machine: Machine, context: Path, arguments: dict[str, str]) -> str:
    words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    file = str(ROOT / "driver-container" / "Containerfile")
    options = ["--isolation", "chroot", "--pull-never", "--layers=false", "--timestamp", "0", "--identity-label=false"]
    return machine.buildah("build", "-q", *options, *words, "-f", file, str(context)).strip()


def test_a_makefile_that_fails_on_one_series_only(machine: Machine, project: Path) -> None:
    _edit(
        project / "kernel-module" / "ptemplate_core.c",
        "struct ptemplate_buffer {",
        "#include <linux/version.h>\n#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)\n#error this driver does not know 6.12\n#endif\nstruct ptemplate_buffer {",
    )
    code, report = machine.build(project)
    assert code == 11
    assert report["counts"] == {"built": 3, "failed": 3}
    (failure,) = report["failures"]
    assert (failure["code"], len(failure["cells"])) == ("compiler-error", 3)
    assert "this driver does not know 6.12" in failure["detail"]
    assert failure["location"].startswith("ptemplate_core.c:")
    shown = machine.builder(project, "build").stdout
    assert shown.count("#error this driver does not know 6.12") == 1


def test_a_source_that_reaches_for_the_network(machine: Machine, project: Path) -> None:
    fetch = "modules: fetch\nfetch:\n\t@bash -c 'exec 3<>/dev/tcp/deb.debian.org/80' && echo REACHED\n.PHONY: fetch\n"
    with (project / "kernel-module" / "Makefile").open("a") as makefile:
        makefile.write(fetch)
    code, report = machine.build(project, "--kernel", _newest(project, "6.1"))
    assert (code, report["failures"][0]["code"]) == (11, "network-forbidden")
    assert "REACHED" not in machine.builder(project, "log").stdout


def test_a_module_that_is_promised_and_not_made(machine: Machine, project: Path) -> None:
    _edit(project / "versions.yaml", "ptemplate_char]", "ptemplate_char, ptemplate_more]")
    code, report = machine.build(project, "--kernel", _newest(project, "6.1"))
    assert (code, report["failures"][0]["code"]) == (11, "expected-module-missing")


def test_modules_by_pattern_and_some_that_may_be_missing(machine: Machine, project: Path) -> None:
    kernel = _newest(project, "6.1")
    _edit(
        project / "versions.yaml",
        "modules: [ptemplate_core, ptemplate_edu, ptemplate_char]",
        "modules: ['ptemplate_*', '?other']",
    )
    code, report = machine.build(project, "--kernel", kernel)
    assert code == 0, report["failures"]
    with machine.mounted(report["cells"][0]["image"]) as root:
        found = {file.name for file in root.glob("opt/lib/modules/*/extra/*.ko")}
    assert found == {"ptemplate_core.ko", "ptemplate_edu.ko", "ptemplate_char.ko"}
    _edit(project / "versions.yaml", "'?other'", "'other-*'")
    code, report = machine.build(project, "--kernel", kernel)
    assert (code, report["failures"][0]["code"]) == (11, "expected-module-missing")
    assert "other-*.ko" in report["failures"][0]["detail"]


def test_a_broken_toolkit_is_no_fault_of_the_driver(machine: Machine, project: Path) -> None:
    kernel = _newest(project, "6.1")
    machine.build(project, "--kernel", kernel)
    toolkit = _toolkit(project, kernel)
    container = machine.buildah("from", "--pull-never", toolkit).strip()
    machine.buildah("run", "--isolation", "chroot", container, "--", "rm", "-rf", f"/usr/src/linux-headers-{kernel}")
    machine.buildah("commit", "-q", container, toolkit)
    machine.buildah("rm", container)
    try:
        code, report = machine.build(project, "--kernel", kernel, "--force")
        assert (code, report["failures"][0]["code"]) == (10, "toolkit-incomplete")
    finally:
        machine.buildah("rmi", "-f", toolkit)
    assert machine.build(project, "--kernel", kernel, "--force")[1]["counts"] == {"built": 1}


def test_kill_9_in_the_middle(machine: Machine, project: Path) -> None:
    """Killed again and again, the run goes on where it was and leaves nothing running or mounted."""
    command = [sys.executable, "-m", "builder", "--project", str(project), "build", "--force", "--jobs", "2"]
    first = subprocess.Popen(command, env=machine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for_cells(project, 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(0.5)
    assert not _survivors(machine), "a compiler outlived the run"
    finished = _finished(project)
    code, report = machine.build(project)
    assert code == 0
    kernels = {cell["kernel"]: cell["status"] for cell in report["cells"]}
    assert all(kernels[kernel] == "skipped" for kernel in finished)
    assert set(machine.build(project)[1]["counts"]) == {"skipped"}
    assert json.loads(machine.buildah("containers", "--json") or "[]") in ([], None)
    assert not [name for name in _names(machine) if "kmodsmith/stage" in name or "kmodsmith-import" in name]
    assert not list((project / ".kmodsmith").glob("cell-*"))


def _wait_for_cells(project: Path, count: int) -> None:
    deadline = time.monotonic() + 300
    while len(_finished(project)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.7)  # into the next compile


def _finished(project: Path) -> set[str]:
    journal = project / ".kmodsmith" / "journal.jsonl"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return {json.loads(line)["kernel"] for line in lines if '"type":"cell"' in line and line.endswith("}")}


def _survivors(machine: Machine) -> list[str]:
    """Processes that still use this machine's container store."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                environment = (process / "environ").read_bytes()
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(machine.folder).encode() in environment and words:
                found.append(words)
    return found


def test_an_interrupt_stops_the_children_and_says_so(machine: Machine, project: Path) -> None:
    command = [sys.executable, "-m", "builder", "--project", str(project), "build", "--force"]
    process = subprocess.Popen(
        command, env=machine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    _wait_for_cells(project, 1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "what was finished is kept" in said
    assert not _survivors(machine)


@contextlib.contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_is_found_out_before(machine: Machine, project: Path, tmp_path: Path) -> None:
    with _small_disk(tmp_path / "small", "2m") as small:
        done = machine.builder(project, "--work-dir", str(small), "build", "--force")
    assert done.returncode == 6
    assert "not enough disk" in done.stderr


def test_a_disk_that_fills_up_is_the_infrastructures_fault(machine: Machine, project: Path, tmp_path: Path) -> None:
    """Room for toolkit and images, but not for what this driver's build writes: it writes where the store is."""
    ballast = "modules: fill\nfill:\n\tdd if=/dev/zero of=/out/ballast bs=1M count=4000\n.PHONY: fill\nmodules clean: need_kernel"
    _edit(project / "kernel-module" / "Makefile", "modules clean: need_kernel", ballast)
    _edit(project / "versions.yaml", "boot: never", "boot: never\n  retries: 1")
    kernel = _newest(project, "6.1")
    with _small_disk(tmp_path / "small", "2g") as small:
        storage = tmp_path / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{small}/graph"\nrunroot = "{small}/run"\n')
        there = machine.with_environment({"CONTAINERS_STORAGE_CONF": str(storage)})
        done = there.builder(project, "build", "--kernel", kernel, "--force", "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, report["failures"][0]["code"]) == (17, "disk-full")
        assert "trying again after disk-full" in done.stderr
        assert not list(small.glob("graph/kmodsmith-room-*")), "what filled the disk is cleared away"
        subprocess.run(["umount", f"{small}/graph/overlay"], check=False, capture_output=True)


def test_a_vendors_module_by_versions_yaml_alone(machine: Machine, project: Path) -> None:
    """A driver with its own Makefile and one with a dkms.conf, side by side with the sample."""
    _add_vendor_drivers(project)
    code, report = machine.build(project, "--kernel", _newest(project, "6.1"))
    assert code == 0, report["failures"]
    assert {cell["driver"] for cell in report["cells"]} == {"ptemplate", "own", "withdkms"}
    for driver, module in (("own", "vendor_own"), ("withdkms", "renamed")):
        image = next(cell["image"] for cell in report["cells"] if cell["driver"] == driver)
        with machine.mounted(image) as root:
            assert [file.name for file in root.glob("opt/lib/modules/*/extra/*.ko")] == [f"{module}.ko"]


_VENDOR_C = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("vendor");\n'


def _add_vendor_drivers(project: Path) -> None:
    own, dkms = project / "vendor", project / "dkms"
    for folder in (own / "src", dkms / "src"):
        folder.mkdir(parents=True)
    (own / "src" / "vendor_own.c").write_text(_VENDOR_C)
    (own / "src" / "Makefile").write_text("obj-m := vendor_own.o\n")
    own_makefile = "KDIR ?= /lib/modules/$(shell uname -r)/build\nall:\n\t$(MAKE) -C $(KDIR) M=$(CURDIR)/src\n"
    (own / "Makefile").write_text(own_makefile)
    (dkms / "src" / "vendor_dkms.c").write_text(_VENDOR_C)
    (dkms / "src" / "Makefile").write_text("obj-m := vendor_dkms.o\n")
    (dkms / "dkms.conf").write_text(
        'PACKAGE_NAME="vendor"\nPACKAGE_VERSION="3.1"\nMAKE[0]="make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build/src"\n'
        'BUILT_MODULE_NAME[0]="vendor_dkms"\nBUILT_MODULE_LOCATION[0]="src"\nDEST_MODULE_NAME[0]="renamed"\nDEST_MODULE_LOCATION[0]="/extra"\n'
    )
    for folder in (own, dkms):
        (folder / "LICENSE").write_text("GPL-2.0\n")
    labels = "    vendor: V\n    summary: S\n    description: D\n    maintainer: M\n"
    entries = f"  - name: own\n    version: 2.0.0\n    source: vendor\n    modules: [vendor_own]\n    make: make KDIR=$KERNEL_SRC_DIR\n{labels}"
    entries += f"  - name: withdkms\n    version: 3.1.0\n    source: dkms\n    dkms: dkms.conf\n{labels}"
    _edit(project / "versions.yaml", "\nsources:", f"{entries}\nsources:")


def test_ten_mistakes_at_once(machine: Machine, project: Path) -> None:
    from fakes.project import TEN_MISTAKES

    (project / "versions.yaml").write_text(TEN_MISTAKES)
    done = machine.builder(project, "build")
    assert done.returncode == 3
    assert "10 mistakes" in done.stderr
    assert "Traceback" not in done.stderr
