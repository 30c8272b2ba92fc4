from __future__ import annotations

import pytest

from builder.sources.losses import distrust


@pytest.mark.parametrize(
    ("missing", "known", "is_empty", "is_believed"),
    [
        (0, 0, True, True),
        (0, 500, False, True),
        (3, 4, False, True),
        (4, 5, False, False),
        (4, 39, False, False),
        (4, 40, False, True),
        (50, 500, False, True),
        (51, 500, False, False),
        (1, 1, True, False),
        (0, 5, True, True),
    ],
)
def test_few_may_leave_or_a_tenth_and_never_all(missing: int, known: int, is_empty: bool, is_believed: bool) -> None:
    assert (distrust(missing, known, "kernel", is_empty=is_empty, accept=False) == "") is is_believed
    assert distrust(missing, known, "kernel", is_empty=is_empty, accept=True) == "", "somebody looked"


def test_what_is_not_believed_is_told_with_the_way_out() -> None:
    sentence = distrust(7, 9, "release", accept=False)
    assert sentence.startswith("7 of the 9 releases that it had are not in its answer")
    assert sentence.endswith("say --accept-loss")
    assert distrust(1, 1, "kernel", is_empty=True, accept=False).startswith("its answer has none of the 1 kernel that")
