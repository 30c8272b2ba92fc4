"""The verb bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.registry import FakeRegistry

_ONE = ("--kernel", "6.1.0-10-amd64")


def test_what_is_published_goes_into_one_file(bench: Bench, registry: FakeRegistry, tmp_path: Path) -> None:
    bench.build(*_ONE)
    assert bench.run("publish", *_ONE)[0] == 0
    file = tmp_path / "bundle.tar"
    code, out, err = bench.run("bundle", *_ONE, "--output", str(file), "--json")
    assert code == 0, err
    report = json.loads(out)
    assert ([image["name"] for image in report["images"]], report["left_out"]) == (
        ["quay.test/demo:1.2.0-6.1.0-10-amd64"],
        [],
    )
    assert file.stat().st_size > report["bytes"] > 0
    code, out, _ = bench.run("bundle", *_ONE, "--output", str(file))
    assert (code, f"{file}: 1 name," in out.replace("\n", " ")) == (0, True)
