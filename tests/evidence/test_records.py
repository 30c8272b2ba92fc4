"""What a boot test proved, and which word about a cell counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builder.evidence.records import BOOT_STRENGTHS, BootEvidence, boot_strength, is_strong_enough

_PASSED = BootEvidence(
    cell="demo/k", key="1", digest="sha256:1", passed=True, run="r", finished="2026-11-23T00:00:00Z", mode="secure",
    acceleration="tcg", enrolled="db", signed_by="signers", seconds=8.1,
)  # fmt: skip
_COPIES = replace(_PASSED, signed_by="throwaway")
_WITHOUT = replace(_PASSED, mode="plain", signed_by="nobody", wish="plain")


@pytest.mark.parametrize(
    ("earlier", "later", "counts"),
    [
        (_PASSED, _WITHOUT, False),
        (_PASSED, _COPIES, False),
        (_COPIES, _WITHOUT, False),
        (_WITHOUT, _COPIES, True),
        (_COPIES, _PASSED, True),
        (_PASSED, replace(_PASSED, run="s"), True),
        (_PASSED, replace(_WITHOUT, passed=False), True),
        (replace(_PASSED, passed=False), _WITHOUT, True),
        (_PASSED, replace(_WITHOUT, digest="sha256:2"), True),
        (_PASSED, replace(_WITHOUT, key="2"), True),
    ],
)
def test_a_weaker_pass_of_the_same_does_not_count_over_a_stronger_one(
    earlier: BootEvidence, later: BootEvidence, *, counts: bool
) -> None:
    assert later.counts_over(earlier) is counts
    assert later.counts_over(None)


@pytest.mark.parametrize(
    ("mode", "signed_by", "strength"),
    [
        ("secure", "signers", "signed"),
        ("secure", "throwaway", "secure"),
        ("secure", None, "secure"),
        ("plain", "signers", "any"),
        ("plain", "nobody", "any"),
        (None, "signers", "any"),
        ("Secure", "signers", "any"),
        ([], {}, "any"),
    ],
)
def test_a_boot_test_proves_what_it_was_made_with(mode: object, signed_by: object, strength: str) -> None:
    """Both words may come out of a statement that a stranger wrote."""
    assert boot_strength(mode, signed_by) == strength


def test_a_stronger_proof_serves_where_a_weaker_one_is_wanted() -> None:
    enough = {
        (strength, wanted)
        for strength in BOOT_STRENGTHS
        for wanted in BOOT_STRENGTHS
        if is_strong_enough(strength, wanted)
    }
    assert enough == {
        ("any", "any"), ("secure", "any"), ("secure", "secure"), ("signed", "any"), ("signed", "secure"), ("signed", "signed"),
    }  # fmt: skip
    with pytest.raises(ValueError, match="tuple"):
        is_strong_enough("unknown", "any")


@pytest.mark.parametrize(
    ("evidence", "wishes"),
    [
        (_PASSED, {"plain", "auto", "secure"}),
        (replace(_PASSED, mode="plain", wish="auto"), {"plain", "auto"}),
        (replace(_PASSED, mode="plain", wish="plain"), {"plain"}),
        (replace(_PASSED, mode="secure", wish="secure"), {"plain", "auto", "secure"}),
    ],
    ids=["auto was secure", "auto was plain", "plain", "secure"],
)
def test_what_auto_chose_is_the_strongest_that_the_kernel_can(evidence: BootEvidence, wishes: set[str]) -> None:
    assert {wish for wish in ("plain", "auto", "secure") if evidence.satisfies(wish)} == wishes
