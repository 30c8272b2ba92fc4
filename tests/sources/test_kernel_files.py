"""A kernel's facts, read from the files of a toolkit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.samples import (
    FLAGS,
    KERNEL,
    SYMVERS,
    make_facts,
    write_facts,
)

from builder.errors import FormatError
from builder.sources.kernel_files import read_kernel_facts

if TYPE_CHECKING:
    from pathlib import Path


def test_facts_from_a_folder(tmp_path: Path) -> None:
    write_facts(tmp_path)
    facts = read_kernel_facts(tmp_path, make_facts().kernel)
    assert facts.vermagic == f"{KERNEL} {FLAGS}"
    assert "usbcore" in facts.in_tree
    (tmp_path / "modules.builtin").write_text("kernel/drivers/gpio/gpio-lib.ko\n")
    assert "gpio_lib" in read_kernel_facts(tmp_path, make_facts().kernel).in_tree
    with pytest.raises(FormatError, match="belongs to kernel"):
        read_kernel_facts(tmp_path, make_facts("6.1.0-1-amd64").kernel)
    (tmp_path / "Module.symvers").write_text(SYMVERS + "garbage\n")
    with pytest.raises(FormatError, match=r"Module.symvers: line 8"):
        read_kernel_facts(tmp_path, make_facts().kernel)
    (tmp_path / "vermagic.h").unlink()
    with pytest.raises(FormatError, match="vermagic.h cannot be read|Module.symvers"):
        read_kernel_facts(tmp_path, make_facts().kernel)
