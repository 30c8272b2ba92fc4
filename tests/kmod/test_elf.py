"""The reader of ELF files, beside pyelftools."""

from __future__ import annotations

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from fakes.samples import REAL_MODULES

from builder.kmod.elf import Elf


@pytest.mark.parametrize("name", ["ptemplate_core", "ptemplate_char"])
def test_agrees_with_pyelftools_about_real_modules(name: str) -> None:
    file = REAL_MODULES / f"{name}.ko"
    ours = Elf(file.read_bytes())
    with file.open("rb") as stream:
        theirs = ELFFile(stream)
        assert [section.name for section in ours.sections] == [section.name for section in theirs.iter_sections()]
        table = next(section for section in theirs.iter_sections() if isinstance(section, SymbolTableSection))
        names = [symbol.name for symbol in table.iter_symbols()]
        assert [symbol.name for symbol in ours.symbols] == names
        text = theirs.get_section_by_name(".modinfo")
        assert text is not None
        assert ours.section(".modinfo") == text.data()
