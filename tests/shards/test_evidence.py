"""Evidence as it travels."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.plans import make_evidence

from builder.errors import FormatError
from builder.shards.evidence import parse_evidence

_PLAN = f"sha256:{'b' * 64}"


def test_evidence_comes_back_as_it_went() -> None:
    evidence = make_evidence(_PLAN)
    assert parse_evidence(evidence.write()) == evidence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "format"),
        ({"plan": "latest"}, "plan"),
        ({"exit_code": 256}, "exit_code"),
        ({"exit_code": "none"}, "exit_code"),
        ({"cells": "all"}, "cells"),
        ({"cells": [{"id": "a"}]}, "status"),
        ({"cells": [{"id": "a", "status": "built", "digest": "x"}]}, "digest"),
        ({"cells": [{"id": "a", "status": "built", "duration_s": -1}]}, "duration_s"),
        ({"cells": [{"id": "a", "status": "failed", "failure": {"failure_class": "luck", "code": "c", "detail": "d"}}]}, "failure_class"),
        ({"wall_s": 1e400}, "JSON"),
    ],
)  # fmt: skip
def test_what_is_no_evidence_is_refused(changes: dict[str, Any], words: str) -> None:
    data = json.loads(make_evidence(_PLAN).write()) | changes
    with pytest.raises(FormatError, match="it is no evidence of a shard") as caught:
        parse_evidence(json.dumps(data).encode())
    assert words in caught.value.message


def test_what_a_registry_says_steers_no_terminal() -> None:
    said = "\x1b]52;c;cm0=\x07"
    row = {"id": said, "status": said, "why": said, "log": said, "failure": {"failure_class": "compile", "code": said, "detail": said}}  # fmt: skip
    data = json.loads(make_evidence(_PLAN).write()) | {"error": said, "cells": [row], "components": [row]}
    evidence = parse_evidence(json.dumps(data).encode())
    assert "\\x1b" in evidence.error
    assert b"\\u001b" not in evidence.write()
