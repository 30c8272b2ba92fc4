"""The verb audit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakes.bench import Bench
    from fakes.registry import FakeRegistry

_ONE = ("--kernel", "6.1.0-10-amd64")


def test_what_was_published_is_as_it_should_be_until_somebody_takes_it_away(
    bench: Bench, registry: FakeRegistry
) -> None:
    bench.build(*_ONE)
    assert bench.run("publish", *_ONE)[0] == 0
    code, out, err = bench.run("audit", *_ONE)
    assert (code, out) == (0, "1 tag: 1 as it should be\n"), err
    registry.manifests = {key: value for key, value in registry.manifests.items() if key[1] not in registry.final_tags}
    code, out, _ = bench.run("audit", "--json", *_ONE)
    assert (code, [tag["drift"] for tag in json.loads(out)["tags"]]) == (16, ["missing"])
    assert "1 missing" in bench.run("audit", *_ONE)[1]
