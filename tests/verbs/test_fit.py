"""The verb fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.bench import Bench

if TYPE_CHECKING:
    from fakes.bench import Bench


def test_the_proof_of_one_image_and_of_one_that_is_not_there(bench: Bench) -> None:
    bench.build()
    image = "localhost/demo:1.2.0-6.1.0-10-amd64"
    code, out, _ = bench.run("fit", image, "--json")
    proof = json.loads(out)
    assert (code, proof["fits"], [module["name"] for module in proof["modules"]]) == (0, True, ["demo.ko"])
    code, out, _ = bench.run("fit", image, "--module", "other")
    assert (code, "module-missing other.ko" in out) == (13, True)
    code, _, err = bench.run("fit", "localhost/nothing:1")
    assert (code, "the container store has no image localhost/nothing:1" in err) == (2, True)
