from __future__ import annotations

import pytest
from fakes.project import KERNELS, make_source

from builder.errors import LockFileError
from builder.kernel import parse_kernel_version
from builder.sources.lock import Lock, format_rows, natural_key

_LOCK = Lock(sources={"debian": make_source(*KERNELS)})


def test_kernels_come_in_natural_order() -> None:
    assert [kernel.raw for kernel in _LOCK.kernel_versions("debian")][:2] == [
        "6.1.0-9-amd64",
        "6.1.0-10-amd64",
    ]


def test_release_keys_with_endless_numbers_are_put_in_order() -> None:
    assert natural_key("4.10") > natural_key("4.9")
    assert sorted(["9" * 5000, "1", "²"], key=natural_key)


def test_a_source_without_releases_says_so() -> None:
    source = _LOCK.sources["debian"]
    assert (source.node_kernel(parse_kernel_version(KERNELS[0])), list(source.list_releases())) == (None, [])
    with pytest.raises(LockFileError, match="no source 'debian' with releases"):
        _LOCK.node_kernel("debian", parse_kernel_version(KERNELS[0]))


def test_rows_are_one_line_each_and_none_is_an_empty_mapping() -> None:
    assert list(format_rows("kernels", [("a", {"b": 1})])) == ["    kernels:", '      a: {"b": 1}']
    assert list(format_rows("kernels", [])) == ["    kernels: {}"]
