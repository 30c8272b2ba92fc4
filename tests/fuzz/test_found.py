"""Inputs that some parser took badly once: they are kept by ``nox -s fuzz`` and tried again here."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from fuzz.campaign import WroteOutsideError, keep_in, try_input
from fuzz.parsers import PARSERS

_FOUND = sorted(Path(__file__).parents[1].glob("fuzz/found/*/*.gz"))
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


def _write_outside(folder: Path, way: str) -> None:
    keep_in(folder / "own")
    outside = folder / "passwd"
    try:
        match way:
            case "open":
                outside.write_bytes(b"x")
            case "link":
                (folder / "own" / "link").symlink_to(folder)
                (folder / "own" / "link" / "passwd").write_bytes(b"x")
            case "rename":
                os.rename(folder / "own" / "file", outside)  # noqa: PTH104
            case "dots":
                os.close(os.open("../passwd", os.O_WRONLY | os.O_CREAT))
            case "inside":
                (folder / "own" / "passwd").write_bytes(b"x")
    except WroteOutsideError:
        os._exit(7)
    os._exit(0)


@pytest.mark.parametrize(("way", "code"), [("open", 7), ("link", 7), ("rename", 7), ("dots", 7), ("inside", 0)])
def test_the_campaign_notices_what_is_written_elsewhere(way: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").touch()
    child = multiprocessing.get_context("fork").Process(target=_write_outside, args=(tmp_path, way))
    child.start()
    child.join()
    assert child.exitcode == code
    assert (tmp_path / "passwd").exists() is False
