"""What a guest gets of a driver's source."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from builder.boot.cell import read_test_files
from builder.boot.script import TEST_NAME
from builder.config.load import load_config
from builder.config.model.boot import BootTest
from builder.drivers.source import read_driver
from builder.errors import CellError, FailureClass

if TYPE_CHECKING:
    from pathlib import Path


_TODAY = date(2026, 11, 23)


def test_a_guest_gets_no_file_of_the_host(project_dir: Path, outside: Path, tmp_path: Path) -> None:
    """A link of the source, changed after versions.yaml was checked, read a key into the guest and its log."""
    source = project_dir / "src"
    (source / "test.sh").write_text("#!/bin/sh\n")
    (source / "data").symlink_to(outside / "secret")
    driver = load_config(project_dir / "versions.yaml", today=_TODAY).drivers[0]
    driver = driver.model_copy(update={"boot": BootTest(smoke_test="test.sh")})
    staged = read_driver(driver).stage(tmp_path / "sources")
    assert read_test_files(staged) == {TEST_NAME: b"#!/bin/sh\n"}
    assert (staged.context / "data").readlink() == outside / "secret"
    for boot in (BootTest(smoke_test="data"), BootTest(smoke_test="test.sh", files=("data",))):
        staged = read_driver(driver.model_copy(update={"boot": boot})).stage(tmp_path / "sources")
        with pytest.raises(CellError, match="data, which versions.yaml names for the boot test, leads out") as caught:
            read_test_files(staged)
        assert (caught.value.failure.failure_class, caught.value.failure.code) == (FailureClass.BOOT, "test-unreadable")
