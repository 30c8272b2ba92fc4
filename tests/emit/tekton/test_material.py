"""Names and times."""

from __future__ import annotations

import pytest
from fakes.tekton_facts import tekton_facts

from builder.emit.tekton.material import count_result, lane, minutes, named
from builder.kernel import Arch


@pytest.mark.parametrize(("number", "text"), [(1, "0h1m0s"), (60, "1h0m0s"), (10_080, "168h0m0s")])
def test_times_are_written_as_go_reads_them(number: int, text: str) -> None:
    assert minutes(number) == text


def test_names_are_those_of_the_settings() -> None:
    assert named(tekton_facts(name="drv"), "shard") == "drv-shard"
    assert [lane(arch) for arch in (Arch.X86_64, Arch.AARCH64)] == ["shards-amd64", "shards-arm64"]
    assert count_result(Arch.AARCH64) == "count-arm64"
