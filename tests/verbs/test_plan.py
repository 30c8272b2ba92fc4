"""The verb plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.bench import Bench

if TYPE_CHECKING:
    from fakes.bench import Bench
    from fakes.components import Parts


def test_plan_table_and_json_agree(bench: Bench) -> None:
    code, out, _ = bench.run("plan")
    assert code == 0
    assert "4 cells: 4 to build; no recorded timings to predict from" in out
    bench.build()
    plan = json.loads(bench.run("plan", "--json", "--group", "all")[1])
    assert plan["counts"] == {"build": 2, "skip": 4}
    assert plan["predicted_s"] is not None


@pytest.mark.parametrize(
    ("arguments", "cells", "images"),
    [
        ((), 4, 1),
        (("--component", "plugin"), 0, 1),
        (("--component", "p*", "--arch", "aarch64"), 0, 0),
        (("--driver", "demo"), 4, 0),
        (("--kernel", "6.12*"), 1, 0),
        (("--variant", "rt"), 1, 0),
        (("--group", "few"), 4, 0),
        (("--arch", "x86_64"), 4, 1),
    ],
)
def test_cells_and_component_images_by_what_was_named(
    parts: Parts, arguments: tuple[str, ...], cells: int, images: int
) -> None:
    code, out, err = parts.bench.run("plan", "--json", *arguments)
    assert code == 0, err
    plan = json.loads(out)
    assert (len(plan["cells"]), len(plan["components"])) == (cells, images)
    table = parts.bench.run("plan", *arguments)[1]
    assert ("plugin-0.1.0/x86_64" in table, "1 component image: 1 to build" in table) == (bool(images), bool(images))
    assert ("cells: " in table or "cell: " in table) is (not any(word == "--component" for word in arguments))


@pytest.mark.parametrize("option", ["--kernel", "--driver", "--variant", "--group"])
@pytest.mark.parametrize("verb", ["plan", "build", "publish"])
def test_component_images_have_no_kernels(parts: Parts, verb: str, option: str) -> None:
    value = {"--kernel": "6*", "--driver": "demo", "--variant": "rt", "--group": "few"}[option]
    code, _, err = parts.bench.run(verb, "--component", "plugin", option, value)
    assert code == 2
    assert f"--component and {option} exclude each other" in err


def test_a_component_that_does_not_exist_is_told(parts: Parts) -> None:
    code, _, err = parts.bench.run("plan", "--component", "nobody")
    assert code == 2
    assert "no component is called 'nobody'" in err
    assert "versions.yaml has: plugin" in err


def test_force_is_for_component_images_too(parts: Parts) -> None:
    parts.offer()
    parts.build()
    (image,) = json.loads(parts.bench.run("plan", "--json", "--component", "*")[1])["components"]
    assert (image["action"], image["reason"]) == ("skip", "up-to-date")
    (image,) = json.loads(parts.bench.run("plan", "--json", "--component", "*", "--force")[1])["components"]
    assert (image["action"], image["reason"]) == ("build", "forced")


def test_a_quote_is_a_table_and_json_and_stands_alone(bench: Bench) -> None:
    code, out, _ = bench.run("plan", "--quote")
    assert code == 0
    assert "driver (few): one more for the 4 kernels" in out
    found = json.loads(bench.run("plan", "--quote", "--json", "--group", "all")[1])["quotes"]
    assert [item["addition"] for item in found] == ["driver", "channel", "architecture"]
    for more in (("--force",), ("--kernel", "6.1*"), ("--to", "localhost:1/plans"), ("--boot", "never")):
        code, _, err = bench.run("plan", "--quote", *more)
        assert code == 2, more
        assert "--quote is about a whole group" in err
