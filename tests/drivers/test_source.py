from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from builder.config.load import load_config
from builder.drivers.source import DriverSource, read_driver, read_drivers
from builder.errors import ConfigError, UsageError
from builder.kernel import parse_kernel_version

if TYPE_CHECKING:
    from pathlib import Path

    from builder.config.model.driver import Driver

_KERNEL = parse_kernel_version("6.1.0-10-amd64")
_DKMS = "PACKAGE_NAME=demo\nPACKAGE_VERSION=1.2.0\nBUILT_MODULE_NAME=core\nBUILT_MODULE_LOCATION=src\nDEST_MODULE_NAME=demo\nDEST_MODULE_LOCATION=/updates\n"


@pytest.fixture
def declaration(project_dir: Path) -> Driver:
    return load_config(project_dir / "versions.yaml", today=date(2026, 11, 23)).drivers[0]


def _with(declaration: Driver, **changes: Any) -> DriverSource:
    return read_driver(declaration.model_copy(update=changes))


def _dkms(declaration: Driver, text: str) -> DriverSource:
    (declaration.source_dir / "dkms.conf").write_text(text)
    return _with(declaration, dkms="dkms.conf", modules=())


def test_a_driver_is_its_declaration_and_its_files(declaration: Driver) -> None:
    found = read_driver(declaration)
    assert found.declaration is declaration
    assert (found.command, found.modules, found.module_names) == ("make modules", ("demo",), ("demo",))
    assert {file.path for file in found.tree.files} == {"demo.c", "LICENSE"}
    assert (found.may_exclude, found.open_question, found.excludes(_KERNEL)) == (False, "", None)


def test_a_dkms_conf_says_command_and_modules_unless_versions_yaml_does(declaration: Driver) -> None:
    found = _dkms(declaration, _DKMS)
    assert (found.modules, found.module_names) == (("src/core.ko:demo",), ("demo",))
    assert found.command.startswith("make KERNELRELEASE=")
    named = _with(declaration, dkms="dkms.conf", modules=("other",))
    assert named.modules == ("other",)


def test_a_dkms_conf_excludes_kernels(declaration: Driver) -> None:
    found = _dkms(declaration, f"{_DKMS}BUILD_EXCLUSIVE_KERNEL='^5'\n")
    assert "does not match 6.1.0-10-amd64" in str(found.excludes(_KERNEL))
    assert not found.may_exclude, "nothing is asked of a compile"


def test_only_a_dkms_conf_that_is_run_may_exclude_in_a_compile(declaration: Driver) -> None:
    assert _dkms(declaration, f"{_DKMS}BUILD_EXCLUSIVE_CONFIG=CONFIG_PCI\n").may_exclude
    asked = _dkms(declaration, f"{_DKMS}if [ -e /x ]; then BUILD_EXCLUSIVE_KERNEL='^5'; fi\n")
    assert asked.may_exclude
    assert "is set under a condition" in asked.open_question


def test_a_dkms_conf_that_has_to_be_run_is_run(declaration: Driver) -> None:
    found = _dkms(declaration, _DKMS.replace("PACKAGE_VERSION=1.2.0", "PACKAGE_VERSION=$(cat VERSION)"))
    assert (found.may_exclude, found.module_names) == (True, None)


def test_a_dkms_conf_that_is_wrong_is_refused(declaration: Driver) -> None:
    with pytest.raises(ConfigError, match="PACKAGE_NAME is missing"):
        _dkms(declaration, "PACKAGE_VERSION=1\nBUILT_MODULE_NAME=a\n")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "1.2.1"}, {"make": "make all"}, {"modules": ("demo", "more")}, {"firmware": ("demo.c",)},
        {"licenses": ("demo.c",)}, {"vendor": "W"}, {"summary": "T"}, {"description": "E"}, {"maintainer": "N"},
        {"build_args": {"A": "b"}}, {"name": "domo"},
    ],
)  # fmt: skip
def test_all_that_goes_into_the_build_is_in_the_digest(declaration: Driver, changes: dict[str, Any]) -> None:
    assert _with(declaration, **changes).recipe_digest != read_driver(declaration).recipe_digest


@pytest.mark.parametrize("changes", [{"compress": "xz"}, {"image": "quay.test/a"}, {"base_image": "x@sha256:1"}])
def test_what_does_not_go_into_the_compile_is_not(declaration: Driver, changes: dict[str, Any]) -> None:
    assert _with(declaration, **changes).recipe_digest == read_driver(declaration).recipe_digest


def test_the_digest_stays_what_it_was(declaration: Driver) -> None:
    """Every cell's key is made of it: another one has everything built again."""
    assert read_driver(declaration).recipe_digest == "d0e86c762b068cb4db5e13d2c506234de84c71424992b3cec4521ca831e6db55"


def test_build_arguments_say_what_the_containerfile_needs(declaration: Driver) -> None:
    found = _with(declaration, build_args={"EXTRA": "x"}, firmware=("a.bin", "b.bin"))
    arguments = found.build_arguments(_KERNEL, toolkit_image="t", base_image="b")
    assert arguments["KERNEL_VERSION"] == arguments["KERNEL_FULL_VERSION"] == "6.1.0-10-amd64"
    assert (arguments["DTK_AUTO"], arguments["BASE_IMAGE"]) == ("t", "b")
    assert (arguments["FIRMWARE"], arguments["EXTRA"], arguments["MODULES"]) == ("a.bin b.bin", "x", "demo")


def test_what_only_the_boot_test_reads_is_staged_beside(declaration: Driver, tmp_path: Path) -> None:
    (declaration.source_dir / "smoke.sh").write_text("exit 0\n")
    found = _with(declaration, boot=declaration.boot.model_copy(update={"smoke_test": "./smoke.sh"}))
    staged = found.stage(tmp_path / "stage")
    assert staged.driver is found
    assert sorted(file.name for file in staged.context.iterdir()) == ["LICENSE", "demo.c"]
    assert [file.name for file in staged.tests.iterdir()] == ["smoke.sh"]
    assert staged.containerfile.read_text() == "FROM scratch\n"
    (declaration.source_dir / "smoke.sh").write_text("exit 1\n")
    assert _with(declaration, boot=found.declaration.boot).tree.digest == found.tree.digest


def test_a_containerfile_that_changed_since_is_not_staged(declaration: Driver, tmp_path: Path) -> None:
    found = read_driver(declaration)
    declaration.containerfile_file.write_text("FROM other\n")
    with pytest.raises(UsageError, match=r"Containerfile changed while it was being read"):
        found.stage(tmp_path / "stage")


def test_the_digest_of_a_dkms_driver_stays_what_it_was(declaration: Driver) -> None:
    (declaration.source_dir / "dkms.conf").write_text(_DKMS)
    found = _with(declaration, dkms="dkms.conf", modules=(), build_args={"A": "b"}, firmware=("x",))
    assert found.recipe_digest == "a10a51fde0a7fe0fb1cca2bc7dc7010954adf6ef659955397ae7398fd2063e73"


def test_mistakes_of_several_dkms_conf_come_at_once(declaration: Driver) -> None:
    first, second = declaration.source_dir / "first.conf", declaration.source_dir / "second.conf"
    first.write_text("PACKAGE_NAME=a\n")
    second.write_text(_DKMS + "PATCH[0]=x\n")
    drivers = [
        declaration.model_copy(update={"name": file.stem, "dkms": file.name, "modules": ()}) for file in (first, second)
    ]
    with pytest.raises(ConfigError) as raised:
        read_drivers([*drivers, declaration])
    assert {mistake.file for mistake in raised.value.mistakes} == {first, second}
    assert "give 'make' and 'modules'" in str(raised.value.hint)
    assert list(read_drivers([declaration])) == ["demo"]
