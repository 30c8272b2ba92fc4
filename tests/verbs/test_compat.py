"""The verb compat."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakes.bench import Bench

_ONE = ("--kernel", "6.1.0-10-amd64")


def test_verdicts_for_people_and_for_programs(bench: Bench) -> None:
    bench.build(*_ONE)
    code, out, _ = bench.run("compat", *_ONE)
    assert (code, "no symbol is in the way" in out) == (0, True)
    (verdict,) = json.loads(bench.run("compat", "--json", *_ONE)[1])["demo"]
    assert (verdict["compiled_for"], verdict["loads"]) == ("6.1.0-10-amd64", True)
