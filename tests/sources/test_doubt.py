from __future__ import annotations

from builder.sources.doubt import Doubt, summarize


def test_what_is_wrong_with_hundreds_has_one_cause_and_one_line() -> None:
    sentences = {
        "4.17.1": f"quay.test/a@sha256:{'1' * 64}: HTTP 403", "4.17.2": f"quay.test/a@sha256:{'2' * 64}: HTTP 403",
        "fast-4.18": "it has no releases", "4.17.3": f"quay.test/a@sha256:{'3' * 64}: HTTP 403",
    }  # fmt: skip
    doubts = [Doubt(code=None, subject=subject, sentence=sentence) for subject, sentence in sentences.items()]
    assert summarize(doubts) == [
        "4.17.1 and 2 more: quay.test/a@sha256:...: HTTP 403",
        "fast-4.18: it has no releases",
    ]
    assert summarize([]) == []
