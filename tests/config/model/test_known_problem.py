"""Problems that are no news: one that fits everything would hide what is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.versions_yaml import find_mistakes_in, load, with_line

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{code: malformed, about: '4.18.3*', reason: r, owner: o, expires: 2020-01-01}", ""),
        ("{code: malformd, about: x, reason: r, owner: o, expires: 2027-01-01}", "'malformd' is not allowed: did you mean 'malformed'?"),
        ("{code: defect, about: x, reason: r, owner: o, expires: 2027-01-01}", "'defect' is not allowed"),
        ("{code: malformed, about: '*', reason: r, owner: o, expires: 2027-01-01}", "'*' fits everything, so that nothing new of this kind"),
        ("{code: malformed, about: '**?', reason: r, owner: o, expires: 2027-01-01}", "fits everything"),
        ("{code: malformed, about: '', reason: r, owner: o, expires: 2027-01-01}", "known_problems[0].about"),
        ("{code: malformed, about: 4.18, reason: r, owner: o, expires: 2027-01-01}", "must be text, but YAML reads 4.18 as a number"),
        ("{code: malformed, about: x, reason: r, expires: 2027-01-01}", "'owner' is required and missing"),
        ("{code: malformed, about: x, owner: o, expires: 2027-01-01}", "'reason' is required and missing"),
        ("{code: malformed, about: x, reason: r, owner: o}", "'expires' is required and missing"),
        ("{code: malformed, about: x, reason: r, owner: o, expires: soon}", "must be a date such as 2027-03-31"),
        ("{code: malformed, abuot: x, about: x, reason: r, owner: o, expires: 2027-01-01}", "is not a known key: did you mean 'about'?"),
    ],
)  # fmt: skip
def test_known_problems(project_dir: Path, entry: str, expected: str) -> None:
    """One that has expired is no mistake of the file: it only counts no more."""
    text = with_line("end", f"known_problems: [{entry}]")
    if not expected:
        (known,) = load(project_dir, text).known_problems
        assert (known.code, known.owner) == ("malformed", "o")
        return
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, text)), find_mistakes_in(
        project_dir, text
    )
