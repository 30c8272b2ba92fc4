from __future__ import annotations

from builder.sources.change import Change


def test_a_change_is_one_line_with_what_is_known_of_it() -> None:
    assert str(Change(kind="new kernel", subject="6.1.0-9-amd64")) == "new kernel 6.1.0-9-amd64"
    assert str(Change(kind="kernel gone", subject="a", detail="why")) == "kernel gone a: why"
