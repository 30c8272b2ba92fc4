"""The script that does with a dkms.conf what dkms does, run by bash as in the container of a compile."""

from __future__ import annotations

import os
import shlex
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.archive  # a process

_SCRIPT = files("builder.drivers").joinpath("run_dkms.sh").read_text()
_V4L2 = """
PACKAGE_NAME="v4l2loopback"
PACKAGE_VERSION="0.12.7"
if [ -f $kernel_source_dir/.config ]; then
    . $kernel_source_dir/.config
    if ! { echo "$kernelver"; echo 5.18; } | sort -V -C; then
        if [ "${CONFIG_VIDEO_DEV:-n}" = "n" ]; then
            BUILD_EXCLUSIVE_KERNEL="REQUIRES CONFIG_VIDEO_DEV"
        fi
    fi
fi
"""


def _run(
    folder: Path, conf: str, mode: str = "check", *, config: str = "", kernel: str = "6.1.0-9-amd64"
) -> tuple[int, str]:
    (folder / "dkms.conf").write_text(conf)
    (folder / "headers").mkdir(exist_ok=True)
    (folder / "headers" / ".config").write_text(config)
    script = _SCRIPT.replace("/var/lib/dkms", str(folder / "tree")).replace("/usr/src", str(folder / "usr"))
    (folder / "usr").mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"], "KERNEL_FULL_VERSION": kernel, "KERNEL_SRC_DIR": str(folder / "headers"),
    }  # fmt: skip
    command = ["bash", "-c", script, "run-dkms", mode, "./dkms.conf"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("conf", "config", "reason"),
    [
        (_V4L2, "CONFIG_VIDEO_DEV=m\n", ""),
        (_V4L2, "", "BUILD_EXCLUSIVE_KERNEL 'REQUIRES CONFIG_VIDEO_DEV' does not match 6.1.0-9-amd64"),
        ('BUILD_EXCLUSIVE_CONFIG="!CONFIG_RT CONFIG_A"\n', "CONFIG_A=y\n# CONFIG_RT is not set\n", ""),
        (
            'BUILD_EXCLUSIVE_CONFIG="!CONFIG_RT"\n',
            "CONFIG_RT=y\n",
            "BUILD_EXCLUSIVE_CONFIG !CONFIG_RT: the kernel has it",
        ),
        ('BUILD_EXCLUSIVE_CONFIG="CONFIG_A"\n', "CONFIG_AB=y\n", "CONFIG_A: the kernel does not have it"),
        ("BUILD_EXCLUSIVE_KERNEL_MIN=6.10\n", "", "is older than BUILD_EXCLUSIVE_KERNEL_MIN 6.10"),
        ("BUILD_EXCLUSIVE_KERNEL_MIN=5.9\n", "", ""),
        ("BUILD_EXCLUSIVE_KERNEL_MAX=5.19\n", "", "is newer than BUILD_EXCLUSIVE_KERNEL_MAX 5.19"),
        ('BUILD_EXCLUSIVE_ARCH="aarch64|i.86"\n', "", "does not match x86_64"),
    ],
)
def test_a_kernel_is_excluded_as_dkms_excludes_it(tmp_path: Path, conf: str, config: str, reason: str) -> None:
    code, out = _run(tmp_path, conf, config=config)
    assert code == (77 if reason else 0)
    assert reason in out
    assert out.startswith("driver-container: dkms excludes this kernel: ") == bool(reason)


_COMPUTED = """
PACKAGE_NAME=many
PACKAGE_VERSION=1
i=0
for name in one two; do
    BUILT_MODULE_NAME[$((i))]=$name
    BUILT_MODULE_LOCATION[$((i))]=sub/
    i=$((i + 1))
done
DEST_MODULE_NAME[1]=second
PRE_BUILD="prepare.sh a"
MAKE[0]="make never"
MAKE[1]="make M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build one"
MAKE_MATCH[1]="^6\\."
"""


def _prepare(folder: Path, *made: str) -> None:
    (folder / "sub").mkdir()
    (folder / "prepare.sh").write_text("#!/bin/sh\necho prepared $1\n")
    (folder / "prepare.sh").chmod(0o755)
    rules = " ".join(f"&& touch sub/{name}.ko" for name in made)
    (folder / "make").write_text(f'#!/bin/sh\necho made "$@" {rules}\n')
    (folder / "make").chmod(0o755)


def test_what_is_computed_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare(tmp_path, "one", "two", "left-over")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    code, out = _run(tmp_path, _COMPUTED, "run")
    assert code == 0, out
    assert out.splitlines() == ["prepared a", f"made KERNELRELEASE=6.1.0-9-amd64 M={tmp_path}/tree/many/1/build one"]
    assert sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.ko")) == ["one.ko", "second.ko"]
    assert (tmp_path / "tree" / "many" / "1" / "build").resolve() == tmp_path


def test_all_modules_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare(tmp_path, "other")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    code, out = _run(tmp_path, _COMPUTED, "run")
    assert code == 3
    assert "driver-container: expected module was not built: one.ko two.ko; built: ./sub/other.ko" in out


def test_a_make_that_fails_and_patches_fail(tmp_path: Path) -> None:
    assert _run(tmp_path, f"PACKAGE_NAME=x\nMAKE={shlex.quote('exit 5')}\n", "run")[0] == 5
    code, out = _run(tmp_path, "PACKAGE_NAME=x\nPATCH[0]=a.patch\n", "run")
    assert (code, "PATCH of ./dkms.conf is not followed" in out) == (3, True)
