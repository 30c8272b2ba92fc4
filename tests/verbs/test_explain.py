"""The verb explain."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.operator_program import EXPLAINED, OperatorProgram, write_operator

if TYPE_CHECKING:
    from fakes.site import Site


@pytest.mark.parametrize(("state", "code"), [("Ready", 0), ("Waiting", 18), ("NoNode", 19)])
def test_its_exit_code_says_whether_the_node_has_its_drivers(
    state: str,
    code: int,
    site: Site,
    operator_program: OperatorProgram,
) -> None:
    write_operator(site.folder, operator_program)
    operator_program.says({**EXPLAINED, "drivers": [{**EXPLAINED["drivers"][0], "state": state}]})
    found, out, err = site.run("explain", "n0", "--from", str(site.folder))
    assert (found, out, err) == (code, "n0 has p 1.0.0.\nIt is well.\n", "")
    assert operator_program.calls[-1] == ["explain", "--json", "--driver=", f"--from={site.folder}", "--", "n0"]
    assert operator_program.environment["KMOD_NAMESPACE"] == "kmod-operator"
    found, answer = site.json("explain", "n0", "--driver", "p")
    assert (found, answer["node"], answer["drivers"][0]["state"]) == (code, "n0", state)


def test_what_the_program_refuses_is_a_sentence(site: Site, operator_program: OperatorProgram) -> None:
    write_operator(site.folder, operator_program)
    operator_program.refuses("the API server cannot be reached", 1)
    code, out, err = site.run("explain", "n0")
    assert (code, out, "error: the API server cannot be reached" in err) == (7, "", True)


def test_without_an_operator_it_says_what_to_do(site: Site) -> None:
    code, _, err = site.run("explain", "n0")
    assert (code, "versions.yaml has no operator" in err) == (2, True)


def test_it_runs_nothing_of_a_file_that_is_not_trusted(
    site: Site,
    operator_program: OperatorProgram,
) -> None:
    write_operator(site.folder, operator_program)
    code, _, err = site.run("explain", "n0", "--untrusted")
    assert (code, "cannot be done with --untrusted" in err, operator_program.calls) == (2, True, [])


def test_what_was_saved_has_to_be_there(site: Site) -> None:
    assert site.run("explain", "n0", "--from", "nowhere")[0] == 2


def test_the_answer_has_the_form_that_the_program_gives() -> None:
    """Both sides read and write the same names."""
    from kmod_operator.explaining import FORMAT, Explained
    from kmod_operator.rollout.explain import Explanation

    from builder.components.explain import ExplainedNode

    one = Explanation(state="Ready", sentences=("a",))
    said = Explained(node="n", kind="K", at=None, found={"p": one}).as_json()
    assert said["format"] == FORMAT
    found = ExplainedNode.model_validate(json.loads(json.dumps(said)))
    assert (found.is_ready, found.drivers[0].sentences) == (True, ("a",))
