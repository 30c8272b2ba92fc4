"""Inputs that some parser took badly once: they are kept by ``nox -s fuzz`` and tried again here."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from fuzz.campaign import try_input
from fuzz.parsers import PARSERS

_FOUND = sorted(Path(__file__).parent.glob("fuzz/found/*/*.gz"))
_PARSERS = {parser.name: parser for parser in PARSERS}


@pytest.mark.parametrize("file", _FOUND, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_what_failed_once_ends_in_a_sentence(file: Path, tmp_path: Path) -> None:
    started = time.process_time()
    _, fault = try_input(_PARSERS[file.parent.name], gzip.decompress(file.read_bytes()), tmp_path)
    assert not fault
    assert time.process_time() - started < 5.0


@pytest.mark.parametrize("name", _PARSERS)
def test_every_parser_takes_its_samples(name: str, tmp_path: Path) -> None:
    """An input that fails before it is changed would try nothing."""
    parser = _PARSERS[name]
    for number, sample in enumerate(parser.samples()):
        folder = tmp_path / str(number)
        folder.mkdir()
        _, fault = try_input(parser, sample, folder)
        assert not fault
