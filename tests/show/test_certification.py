from __future__ import annotations

from typing import Any

from rich.console import Console

from builder.certify.policies import Certification, CheckState, CheckVerdict, Policy, PolicyCheck
from builder.publish.published import LeftOutCell
from builder.show.certification import emit_certification_summary, emit_certifications


def _verdict(check: PolicyCheck, state: CheckState, sentence: str = "s") -> CheckVerdict:
    return CheckVerdict(check=check, state=state, sentence=sentence)


def _item(name: str, *checks: CheckVerdict) -> Certification:
    return Certification(
        subject=name, digest="sha256:a", arch="amd64", policy=Policy.ROOT, because="why", checks=checks
    )


_GOOD = _verdict(PolicyCheck.HAS_LICENSE, CheckState.PASSED, "/licenses/GPL")
_BAD = _verdict(PolicyCheck.LAYER_COUNT, CheckState.FAILED, "it has [41] layers")
_OPEN = _verdict(PolicyCheck.BASED_ON_UBI, CheckState.NOT_JUDGED)


def _print(*arguments: Any) -> str:
    console = Console(width=120, record=True, file=None)
    with console.capture() as captured:
        console.print(emit_certifications(*arguments))
    return captured.get()


def test_of_one_image_every_check_is_shown() -> None:
    text = _print([_item("a", _GOOD, _BAD, _OPEN)])
    assert "policy root: why" in text
    assert [line.split()[:2] for line in text.splitlines() if "s" in line][-3:] == [
        ["passed", "HasLicense"],
        ["failed", "LayerCountAcceptable"],
        ["not-judged", "BasedOnUbi"],
    ]
    assert "[41]" in text


def test_of_many_what_they_share_is_shown_once() -> None:
    text = _print(
        [_item(f"image-{number}", _GOOD, _BAD, _OPEN) for number in range(5)], [LeftOutCell(cell="c", why="w")]
    )
    assert text.count("it has [41] layers") == 1
    assert "image-0, image-1, image-2 and 2 more" in text
    assert text.count("refused") == 5
    assert "not judged: c: w" in text


def test_what_is_not_enforced_is_called_so() -> None:
    text = _print([_item("a", _verdict(PolicyCheck.SCC_IN_CSV, CheckState.ERROR))])
    assert "error, not enforced" in text


def test_the_summary_never_hides_what_is_not_judged() -> None:
    text = emit_certification_summary([_item("a", _GOOD, _OPEN)])
    assert "none would be refused" in text
    assert "only Red Hat or a cluster can tell: BasedOnUbi" in text
    assert "1 would be refused" in emit_certification_summary([_item("a", _BAD), _item("b", _GOOD)])
