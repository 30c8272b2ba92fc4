"""Third-party drivers as their vendors ship them: Debian's dkms packages, taken in by their dkms.conf alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.locks import debian_of

from builder.drivers.dkms import read_dkms_conf
from builder.errors import ConfigError
from builder.kernel import Arch, parse_kernel_version
from builder.kmod.finding import Check
from builder.kmod.fit import check_modules, place_modules
from builder.kmod.kernel_object import read_kernel_object
from builder.sources.debian.apt import Apt, Archive
from builder.sources.debian.deb import read_members
from builder.sources.debian.lock import LockedPackage
from builder.sources.download import Downloads
from builder.sources.kernel_files import read_kernel_facts
from builder.sources.lock_file import read_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from builder.kernel import KernelVersion
    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

# One module; several in one folder; several in several folders, with exports between them.
_BUILT = ("acpi-call-dkms", "gost-crypto-dkms", "jool-dkms")
_REFUSED = ("lttng-modules-dkms",)


# In-tree modules with a soft dependency; hardware that no guest has; the link of a merged cache; a mandatory parameter.
_BOOTED = {
    "nat-rtsp-dkms": {},
    "bbswitch-dkms": {"load": {"bbswitch": {"expect": "ENODEV", "because": "no Optimus graphics in a guest"}}},
    "rapiddisk-dkms": {},
    "lime-forensics-dkms": {
        "parameters": [{"name": "to nowhere", "default": True, "modules": {"lime": "path=/dev/null format=raw"}}]
    },
}
_EXCLUDED = "v4l2loopback-dkms"


def _unpack(folder: Path, names: Iterable[str] = _BUILT + _REFUSED) -> dict[str, Path]:
    """Fetch the packages and return the source folder of each."""
    archives = [Archive(url="http://deb.debian.org/debian", suites=("bookworm",))]
    apt = Apt(folder / "apt", Arch.X86_64, archives, Path("/usr/share/keyrings/debian-archive-keyring.gpg"))
    apt.update()
    downloads = Downloads(folder / "cache")
    found = {}
    for package in apt.packages(re.compile("|".join(names))):
        locked = LockedPackage(url=package.url, size=package.size, installed=package.installed, sha256=package.sha256)
        for member, content in read_members(downloads.fetch(locked)):
            if member.isreg() and member.name.startswith("usr/src/"):
                file = folder / package.name / Path(member.name).relative_to("usr/src")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                file.chmod(member.mode)
        found[package.name] = next((folder / package.name).iterdir())
    downloads.close()
    return found


def test_build_by_their_dkms_conf(machine: Machine, project: Path, tmp_path: Path) -> None:
    sources = _unpack(tmp_path)
    for name in _REFUSED:
        with pytest.raises(ConfigError, match="dkms.conf:28:"):
            read_dkms_conf(sources[name] / "dkms.conf")
    _add_drivers(project, {name: sources[name] for name in _BUILT}, {})
    kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
    kernel = next(item.raw for item in reversed(kernels) if item.series == "6.1" and item.raw.endswith("-amd64"))
    code, report = machine.build(project, "--kernel", kernel, "--driver", "*-dkms")
    assert code == 0, report["failures"]
    assert report["counts"] == {"built": len(_BUILT)}
    for cell in report["cells"]:
        wanted = {f"{module.name}.ko" for module in read_dkms_conf(sources[cell["driver"]] / "dkms.conf").modules}
        with machine.mounted(cell["image"]) as root:
            found = {file.name for file in root.glob("opt/lib/modules/*/extra/*.ko")}
            listed = subprocess.check_output(["ls", str(root / "licenses")], text=True)
            modules = [(file.relative_to(root).as_posix(), file.read_bytes()) for file in root.glob("opt/**/*.ko")]
        assert found == wanted
        assert listed
        _break(modules, parse_kernel_version(kernel))


def _add_drivers(project: Path, sources: Mapping[str, Path], boots: Mapping[str, object]) -> None:
    entries = ""
    for name, source in sources.items():
        (source / "LICENSE").write_text("see the package\n")
        entries += f"  - name: {name}\n    version: 1.0.0\n    source: {source}\n    dkms: dkms.conf\n"
        entries += "    vendor: V\n    summary: S\n    description: D\n    maintainer: M\n"
        entries += f"    boot: {json.dumps(boots.get(name, {}))}\n"
    file = project / "versions.yaml"
    file.write_text(file.read_text().replace("\nsources:", f"{entries}\nsources:", 1))


def test_boot_as_they_load_on_real_machines(machine: Machine, project: Path, tmp_path: Path) -> None:
    """Each of these was red once, for a reason that is none of the driver's."""
    sources = _unpack(tmp_path, _BOOTED)
    _add_drivers(project, sources, _BOOTED)
    kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
    kernel = [item.raw for item in kernels if item.series == "6.1" and re.search(r"-\d+-amd64$", item.raw)][-1]
    which = ("--group", "debian", "--kernel", kernel, "--driver", "*-dkms")
    code, report = machine.build(project, *which)
    assert (code, report["counts"]) == (0, {"built": len(_BOOTED)}), report["failures"]
    done = machine.builder(project, "boot", "--json", "--accel", "tcg", *which)
    booted = json.loads(done.stdout)
    assert (done.returncode, booted["counts"]) == (0, {"booted": len(_BOOTED)}), booted["failures"]
    boots = {cell["driver"]: cell["boot"] for cell in booted["cells"]}
    assert {boot["mode"] for boot in boots.values()} == {"secure"}
    assert all(boot["refusals"] for boot in boots.values()), "copies without the signature were refused"
    exercised = {name for name, boot in boots.items() if not any("not exercised" in note for note in boot["notes"])}
    assert exercised == {*_BOOTED} - {"bbswitch-dkms"}


def test_a_kernel_that_their_dkms_conf_excludes_under_a_condition(
    machine: Machine, project: Path, tmp_path: Path
) -> None:
    _add_drivers(project, _unpack(tmp_path, [_EXCLUDED]), {})
    kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
    kernel = [item.raw for item in kernels if item.series == "6.1" and item.raw.endswith("-cloud-amd64")][-1]
    for _ in range(2):
        code, report = machine.build(project, "--group", "debian", "--kernel", kernel, "--driver", _EXCLUDED)
        assert (code, report["counts"]) == (0, {"excluded": 1}), report["failures"]
        assert "REQUIRES CONFIG_VIDEO_DEV" in report["cells"][0]["explanation"]


def test_a_build_that_needs_packages_beside_the_toolkit(machine: Machine, project: Path, tmp_path: Path) -> None:
    """ipt-netflow's configure wants iptables, its headers and pkg-config, which no toolkit has."""
    name = "iptables-netflow-dkms"
    _add_drivers(project, _unpack(tmp_path, [name]), {})
    kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
    kernel = [item.raw for item in kernels if item.series == "6.1" and re.search(r"-\d+-amd64$", item.raw)][-1]
    which = ("--group", "debian", "--kernel", kernel, "--driver", name)
    code, report = machine.build(project, *which)
    assert (code, report["counts"]) == (11, {"failed": 1}), report["failures"]
    (without,) = report["cells"]
    file = project / "versions.yaml"
    wanted = "build_packages: [iptables, libxtables-dev, pkg-config]"
    text = file.read_text()
    file.write_text(text.replace("    dkms: dkms.conf\n", f"    dkms: dkms.conf\n    {wanted}\n"))
    code, report = machine.build(project, *which)
    assert (code, report["cells"][0]["reason"]) == (10, "no-build-packages")
    assert "iptables, libxtables-dev, pkg-config): run 'nox -s discover'" in report["cells"][0]["explanation"]

    code, discovered = machine.tell(project, "discover", "--source", "debian")
    assert code == 0, discovered
    locked = debian_of(read_lock(project / "versions.lock.yaml"))
    found = locked.package_sets["toolchain-x86_64-x86_64-gcc-12 with iptables, libxtables-dev, pkg-config"]
    names = {item.split("_")[0] for item in found}
    assert {"iptables", "libxtables-dev", "libxtables12", "pkg-config", "pkgconf"} <= names
    assert not names & {"gcc-12", "libc6", "make"}, "what the toolkit has is not there twice"

    code, report = machine.build(project, *which)
    assert code == 0, report["failures"]
    (cell,) = report["cells"]
    assert (cell["reason"], cell["status"]) == ("packages-changed", "built")
    assert "build packages changed: " in cell["explanation"]
    assert cell["inputs"]["toolkit"] == without["inputs"]["toolkit"]
    digests = {locked.packages[item].sha256 for item in found}
    assert {word.rpartition("@")[2] for word in cell["inputs"]["packages"].split()} == digests
    with machine.mounted(cell["image"]) as root:
        assert [item.name for item in root.glob("opt/lib/modules/*/extra/*.ko")] == ["ipt_NETFLOW.ko"]
        assert not [*root.rglob("*xtables*"), *root.rglob("*pkgconf*")], "in the compile only"
    assert machine.build(project, *which)[1]["counts"] == {"skipped": 1}
    assert not [
        line for line in machine.builder(project, "prune", "--dry-run").stdout.splitlines() if "toolkit" in line
    ]


def _break(modules: list[tuple[str, bytes]], kernel: KernelVersion) -> None:
    """What a vendor's own modules pass, each broken copy of them does not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folders = (cache / "kmodsmith" / "kernels").glob("*/utsrelease.h")
    folder = next(file.parent for file in folders if f'"{kernel}"' in file.read_text())
    facts = read_kernel_facts(folder, kernel)

    def codes(files: list[tuple[str, bytes]]) -> set[str]:
        placed, findings = place_modules(files)
        return {finding.check for finding in [*findings, *check_modules(placed, facts, expected=None)]}

    assert codes(modules) == set()
    path, data = modules[0]
    item = read_kernel_object(data, path)
    crc = next(crc for name, crc in item.versions.items() if name == "module_layout").to_bytes(8, "little")
    symbol = next(name.encode() for name in item.imports if data.count(b"\0" + name.encode() + b"\0"))
    vermagic = item.vermagic.encode()
    broken = {
        Check.WRONG_SYMBOL_VERSION: data.replace(crc, bytes([crc[0] ^ 1]) + crc[1:], 1),
        Check.WRONG_MACHINE: data[:18] + b"\xb7\x00" + data[20:],
        Check.NOT_RELOCATABLE: data[:16] + b"\x03\x00" + data[18:],
        Check.MODULE_UNREADABLE: data[: len(data) // 2],
        Check.SYMBOL_MISSING: data.replace(b"\0" + symbol + b"\0", b"\0" + symbol[:-1] + b"0\0"),
        Check.WRONG_KERNEL: data.replace(b"vermagic=6.1.0", b"vermagic=6.1.9"),
        Check.WRONG_VERMAGIC_FLAGS: data.replace(vermagic, vermagic.replace(b"SMP", b"UPP")),
        Check.LICENSE_MISSING: data.replace(b"\0license=", b"\0licence=").replace(b"license=", b"licence=", 1),
    }
    for check, changed in broken.items():
        assert changed != data, check
        assert check in codes([(path, changed), *modules[1:]]), check
    elsewhere = path.replace(str(kernel), "5.14.0-1.el9.x86_64")
    assert codes([(elsewhere, data), *modules[1:]]) == {Check.WRONG_FOLDER}
