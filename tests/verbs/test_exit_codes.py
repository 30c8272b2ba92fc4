"""The codes that every verb has in common are those of the errors, and of the README."""

from __future__ import annotations

import re
from pathlib import Path

import click

from builder import errors
from builder.verbs.exit_codes import COMMON, with_exit_codes


def test_every_kind_of_error_that_ends_a_verb_is_told() -> None:
    kinds = [
        item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.KmodsmithError)
    ]
    of_cells = {failure.exit_code for failure in errors.FailureClass}
    assert {kind.exit_code for kind in kinds} - COMMON.keys() <= of_cells
    assert len(kinds) > 10


def test_verbs_below_a_verb_tell_them_too() -> None:
    group = click.Group("a", commands=[click.Command("b")])
    with_exit_codes(group)
    assert group.epilog == group.commands["b"].epilog
    assert "3 mistakes in versions.yaml" in (group.epilog or "")


def test_the_readme_has_every_code() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \| ", text, re.MULTILINE)
    assert COMMON.keys() <= {int(code) for row in rows for code in row.split(",")}
