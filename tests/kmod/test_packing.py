"""Compressed modules: as they were, or refused."""

from __future__ import annotations

import gzip
import lzma

import pytest
from fakes.samples import Sample
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import FormatError
from builder.kmod import packing
from builder.kmod.packing import pack_module, unpack_module


@pytest.mark.parametrize("compression", ["xz", "zst", "gz"])
def test_compression_round_trip_and_damage(compression: str) -> None:
    data = Sample(filler=b"x" * 5000).write()
    packed = pack_module(data, compression)
    assert packed == pack_module(data, compression)
    assert unpack_module(packed, f"a/demo.ko.{compression}") == data
    with pytest.raises(FormatError, match=f"its {compression} compression is damaged"):
        unpack_module(packed[: len(packed) // 2], f"demo.ko.{compression}")
    with pytest.raises(FormatError, match="compression is damaged"):
        unpack_module(b"nonsense", f"demo.ko.{compression}")


def test_compressed_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_LARGEST_MODULE", 1 << 20)
    for data, suffix in (
        (gzip.compress(b"\0" * (4 << 20)), "gz"),
        (lzma.compress(b"\0" * (4 << 20)), "xz"),
        (pack_module(b"\0" * (4 << 20), "zst"), "zst"),
    ):
        with pytest.raises(FormatError, match="unpacks to more than 1 MiB"):
            unpack_module(data, f"demo.ko.{suffix}")


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.sampled_from(["xz", "zst", "gz"]), st.data())
def test_mutated_compression_is_read_or_refused(compression: str, data: st.DataObject) -> None:
    packed = bytearray(pack_module(Sample(exports={"a": 1}).write(), compression))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack_module(bytes(packed), f"x.ko.{compression}")
    except FormatError:
        return
