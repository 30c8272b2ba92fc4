from __future__ import annotations

import json
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from fakes.debs import make_deb, make_member
from fakes.project import make_source

from builder.errors import NoPackagesError, SourceGoneError
from builder.kernel import Arch, parse_kernel_version
from builder.sources.debian.lock import name_further_set
from builder.sources.debian.source import DebianSource
from builder.sources.debian.toolkit import DebianToolkits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.tools import FakeTools

_RT = parse_kernel_version("6.1.0-10-rt-amd64")
_PLAIN = parse_kernel_version("6.1.0-10-amd64")
_CROSS = parse_kernel_version("6.12.5+deb12-arm64")
_TOOLCHAIN = "toolchain-x86_64-x86_64-gcc-12"


@pytest.fixture
def toolkits(tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> Iterator[DebianToolkits]:
    # 'pull' keeps a copy of the layout, so that a test can look into it.
    fake_tools.add(
        "buildah",
        f'case "$1" in images) echo "[]" ;; pull) mkdir -p {tmp_path}/pulled; for last; do :; done; cp -r "${{last#oci:}}" {tmp_path}/pulled/ ;; esac',
    )
    source = make_source(_RT.raw, _PLAIN.raw, _CROSS.raw)
    kernels = {
        raw: kernel.model_copy(update={"toolchains": {Arch.X86_64: _TOOLCHAIN}})
        for raw, kernel in source.kernels.items()
    }
    source = source.model_copy(
        update={"kernels": kernels, "package_sets": source.package_sets | {_TOOLCHAIN: ("gcc",)}}
    )
    fetched: list[str] = []

    def fetch(_self: object, package: Any) -> Path:
        fetched.append(package.url)
        return make_deb(tmp_path / package.sha256, (make_member(f"usr/share/{package.sha256}"), b"x"))

    monkeypatch.setattr("builder.sources.download.Downloads.fetch", fetch)
    made = DebianToolkits(
        DebianSource(locked=source, build_arch=Arch.X86_64), packages_dir=tmp_path / "cache", work_dir=tmp_path
    )
    made.fetched = fetched  # type: ignore[attr-defined]
    yield made
    made.close()


def _files(folder: Path) -> dict[str, tarfile.TarInfo]:
    """All members of the only pulled image, by path."""
    found: dict[str, tarfile.TarInfo] = {}
    for blob in sorted((folder / "pulled").glob("*/blobs/sha256/*")):
        if tarfile.is_tarfile(blob):
            with tarfile.open(blob) as archive:
                found |= {member.name: member for member in archive}
    return found


def _configs(folder: Path) -> list[dict[str, Any]]:
    blobs = [blob.read_bytes() for blob in (folder / "pulled").glob("*/blobs/sha256/*")]
    return [config for blob in blobs if blob.startswith(b'{"architecture"') and (config := json.loads(blob))]


def test_honours_the_contract_of_the_driver_toolkit(
    toolkits: DebianToolkits, tmp_path: Path, fake_tools: FakeTools
) -> None:
    name = toolkits.ensure(_RT)
    files = _files(tmp_path)
    assert files["usr/src/kernels/6.1.0-10-rt-amd64"].linkname == "../linux-headers-6.1.0-10-rt-amd64"
    assert files["usr/bin/gcc"].linkname == "gcc-12"
    assert "etc/driver-toolkit-release.json" in files
    (config,) = _configs(tmp_path)
    assert config["config"]["Labels"]["io.kmodsmith.kernel"] == _RT.raw
    assert config["config"]["Env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    tags = [call[2] for call in fake_tools.calls("buildah") if call[0] == "tag"]
    assert tags == [name]


def test_cross_toolkits_say_so_in_their_environment(toolkits: DebianToolkits, tmp_path: Path) -> None:
    toolkits.ensure(_CROSS)
    (config,) = _configs(tmp_path)
    assert config["architecture"] == "amd64"
    assert {"ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"} <= set(config["config"]["Env"])


def test_threads_share_the_work(toolkits: DebianToolkits, fake_tools: FakeTools) -> None:
    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(toolkits.ensure, [_PLAIN, _RT, _PLAIN, _RT]))
    assert len(names) == 2
    assert sum(call[0] == "pull" for call in fake_tools.calls("buildah")) == 2
    assert len(toolkits.fetched) == 3  # type: ignore[attr-defined]


def test_the_base_has_what_kmm_needs(toolkits: DebianToolkits, tmp_path: Path) -> None:
    toolkits.ensure_runtime(Arch.AARCH64)
    assert {"usr/bin/sh", "usr/bin/mkdir", "usr/bin/cp"} <= _files(tmp_path).keys()
    assert _configs(tmp_path)[0]["architecture"] == "arm64"


def test_a_failure_is_everybodys_and_can_be_tried_again(
    toolkits: DebianToolkits, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = __import__("builder.sources.download", fromlist=["Downloads"]).Downloads.fetch

    def gone(_self: object, _package: object) -> Path:
        raise SourceGoneError("gone")

    monkeypatch.setattr("builder.sources.download.Downloads.fetch", gone)
    for _ in range(2):
        with pytest.raises(SourceGoneError):
            toolkits.ensure(_PLAIN)
    monkeypatch.setattr("builder.sources.download.Downloads.fetch", good)
    assert toolkits.ensure(_PLAIN)


def test_what_is_there_is_not_made_again(toolkits: DebianToolkits, fake_tools: FakeTools) -> None:
    name = toolkits._parts.toolkit_image(_PLAIN)
    toolkits._present.add(name)
    assert toolkits.ensure(_PLAIN) == name
    assert toolkits.missing([_PLAIN, _RT]) == [_RT]
    assert toolkits.estimate_bytes([_PLAIN, _RT]) == (40, 20)
    assert not any(call[0] == "pull" for call in fake_tools.calls("buildah"))


def test_no_policy_of_the_machine_is_asked_about_our_own_toolkits(
    toolkits: DebianToolkits, tmp_path: Path, fake_tools: FakeTools
) -> None:
    """Hosts that let only signed images run refuse everything else, also what was packed here a moment ago."""
    toolkits.ensure(_PLAIN)
    pulled = [call for call in fake_tools.calls("buildah") if call[0] == "pull"]
    assert all(call[2:4] == ["--signature-policy", "policy.json"] for call in pulled)
    written = json.loads(next(tmp_path.glob("toolkits-*/policy.json")).read_text())
    assert written == {"default": [{"type": "insecureAcceptAnything"}]}


def test_build_packages_are_a_layer_of_an_image_of_their_own(
    toolkits: DebianToolkits, tmp_path: Path, fake_tools: FakeTools
) -> None:
    locked = toolkits._parts.locked
    locked.package_sets[f"{_TOOLCHAIN} with libxtables-dev"] = ("busybox",)
    name = toolkits.ensure(_PLAIN, ("libxtables-dev",))
    assert name.startswith(f"{toolkits._parts.toolkit_image(_PLAIN)}-")
    assert f"usr/share/{locked.packages['busybox'].sha256}" in _files(tmp_path)
    (config,) = _configs(tmp_path)
    assert len(config["rootfs"]["diff_ids"]) == 3, "toolchain, headers, packages"
    assert config["config"]["Labels"]["io.kmodsmith.toolkit.id"] == toolkits._parts.toolkit_id(_PLAIN)
    shutil.rmtree(tmp_path / "pulled")
    plain = toolkits.ensure(_PLAIN)
    assert plain == toolkits._parts.toolkit_image(_PLAIN)
    (other,) = _configs(tmp_path)
    assert other["rootfs"]["diff_ids"] == config["rootfs"]["diff_ids"][:2], "layers are shared"
    assert f"usr/share/{locked.packages['busybox'].sha256}" not in _files(tmp_path)
    tags = [call[-1] for call in fake_tools.calls("buildah") if call[0] == "tag"]
    assert tags == [name, plain]


def test_a_base_image_of_packages_is_the_small_one_and_a_layer_of_them(
    toolkits: DebianToolkits, tmp_path: Path
) -> None:
    parts = toolkits._parts
    sets = {**parts.locked.package_sets, name_further_set("runtime-x86_64", ["python3.11"]): ("gcc",)}
    source = DebianSource(locked=parts.locked.model_copy(update={"package_sets": sets}), build_arch=Arch.X86_64)
    made = DebianToolkits(source, packages_dir=tmp_path / "cache", work_dir=tmp_path)
    name = made.ensure_packages(Arch.X86_64, iter(["python3.11"]))
    assert name == source.package_image(Arch.X86_64, ["python3.11"])
    assert {"usr/bin/sh", f"usr/share/{source.locked.packages['gcc'].sha256}"} <= _files(tmp_path).keys()
    (config,) = _configs(tmp_path)
    assert (config["architecture"], len(config["rootfs"]["diff_ids"])) == ("amd64", 2)
    assert config["config"]["Labels"]["version"] == name.rpartition("-")[2]
    assert made.ensure_packages(Arch.X86_64, ["python3.11"]) == name
    assert len(list((tmp_path / "pulled").iterdir())) == 1, "and it is made once"
    made.close()


def test_without_packages_it_is_the_small_base_image(toolkits: DebianToolkits) -> None:
    assert toolkits.ensure_packages(Arch.AARCH64, ()) == toolkits.ensure_runtime(Arch.AARCH64)
    with pytest.raises(NoPackagesError, match="run 'nox -s discover'"):
        toolkits.ensure_packages(Arch.AARCH64, ("python3.11",))
