from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.dkms import DkmsModule, DkmsRecipe, read_dkms_conf
from builder.errors import ConfigError
from builder.kernel import parse_kernel_version

if TYPE_CHECKING:
    from pathlib import Path

_CONF = """\
# a comment
PACKAGE_NAME="demo"
PACKAGE_VERSION=1.2
MAKE[0]="make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build KVER=$kernelver"
CLEAN="$(anything goes here) `too`"
BUILT_MODULE_NAME[0]="one"
BUILT_MODULE_LOCATION[0]="src/"
DEST_MODULE_LOCATION[0]="/extra"
BUILT_MODULE_NAME[1]='two'
DEST_MODULE_NAME[1]="second"
DEST_MODULE_LOCATION[1]=/kernel/drivers
AUTOINSTALL="yes"
"""


def _read(folder: Path, text: str) -> DkmsRecipe:
    (folder / "dkms.conf").write_text(text)
    return read_dkms_conf(folder / "dkms.conf")


def test_reads_names_command_and_modules(tmp_path: Path) -> None:
    recipe = _read(tmp_path, _CONF)
    assert (recipe.name, recipe.version) == ("demo", "1.2")
    assert (
        recipe.command
        == 'make KERNELRELEASE="$KERNEL_FULL_VERSION" -C $KERNEL_SRC_DIR M=$PWD KVER=$KERNEL_FULL_VERSION'
    )
    assert recipe.modules == (
        DkmsModule(built_file="src/one.ko", name="one"),
        DkmsModule(built_file="two.ko", name="second"),
    )


def test_defaults_of_dkms(tmp_path: Path) -> None:
    recipe = _read(tmp_path, 'PACKAGE_NAME=demo\nPACKAGE_VERSION=1\nDEST_MODULE_LOCATION="/x"\n')
    assert recipe.command.startswith('make -C "$KERNEL_SRC_DIR" M="$PWD"')
    assert recipe.modules == (DkmsModule(built_file="demo.ko", name="demo"),)


def test_continuation_and_quotes_over_lines(tmp_path: Path) -> None:
    recipe = _read(tmp_path, "PACKAGE_NAME=d\nBUILT_MODULE_NAME=d\nMAKE=\"make \\\n  all 'A=b c'\"\n")
    assert recipe.command.split() == ["make", 'KERNELRELEASE="$KERNEL_FULL_VERSION"', "all", "'A=b", "c'"]


def test_exclusives(tmp_path: Path) -> None:
    recipe = _read(tmp_path, _CONF + 'BUILD_EXCLUSIVE_KERNEL="^6\\.1\\."\nBUILD_EXCLUSIVE_ARCH="x86_64"\n')
    assert recipe.excludes(parse_kernel_version("6.1.0-9-amd64")) is None
    assert "kernels like" in str(recipe.excludes(parse_kernel_version("6.12.5+deb12-amd64")))
    assert "architectures like" in str(recipe.excludes(parse_kernel_version("6.1.0-9-arm64")))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('MAKE="make $(nproc)"', "dkms.conf:1:1: at MAKE cannot be known without running it"),
        ("MAKE=`evil`", "cannot be known without running it"),
        ("if [ -e x ]; then MAKE=make; fi", "dkms.conf:1:1: cannot be known"),
        ("for i in 1 2; do BUILT_MODULE_NAME[$i]=x; done", "cannot be known"),
        ("source ./other.conf", "cannot be known"),
        ("BUILT_MODULE_NAME=(a b)", "array literal"),
        ('PATCH[0]="fix.patch"', "patches are applied by dkms alone"),
        ('BUILT_MODULE_LOCATION[0]="../../etc"', "is no usable path"),
        ('BUILT_MODULE_NAME[0]="a b; rm"', "is no usable path"),
    ],
)
def test_what_only_a_shell_could_know_is_refused(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(
            tmp_path,
            f"{line}\nPACKAGE_NAME=d\n" + ("" if "BUILT_MODULE_NAME" in line else "BUILT_MODULE_NAME[0]=d\n"),
        )
    assert words in caught.value.message


def test_nothing_is_executed(tmp_path: Path) -> None:
    _read(tmp_path, _CONF + f"REMAKE_INITRD=$(touch {tmp_path}/executed)\n")
    assert not (tmp_path / "executed").exists()


def test_no_module_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no module is named"):
        _read(tmp_path, "PACKAGE_NAME=d\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_dkms_conf(tmp_path / "none")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.sampled_from(list("MAKE=\"'$(){}[]0\\\n #abP;`")), max_size=120))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    try:
        _read(tmp_path, _CONF + text)
    except ConfigError as error:
        assert error.mistakes
