from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, ValidationError

from builder.config.parsed import ParsedKernel  # noqa: TC001 - pydantic reads annotations
from builder.kernel import parse_kernel_version

_RAW = "5.14.0-427.68.1.el9_4.x86_64+rt"


class _File(BaseModel):
    rows: dict[ParsedKernel, int] = {}
    one: ParsedKernel | None = None


def test_text_is_a_kernel_from_there_on_and_text_again_when_it_is_written() -> None:
    found = _File.model_validate({"rows": {_RAW: 1}, "one": _RAW})
    assert found.rows == {parse_kernel_version(_RAW): 1}
    assert (found.one, found.one and found.one.series) == (parse_kernel_version(_RAW), "5.14.0-el9_4")
    assert json.loads(found.model_dump_json()) == {"rows": {_RAW: 1}, "one": _RAW}
    assert _File.model_validate(found.model_dump()) == found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"rows": {"6.1": 1}}, "'6.1' is not a kernel version"),
        ({"one": 6.1}, "6.1 is not a kernel version, which is text"),
        ({"one": ["a"]}, "['a'] is not a kernel version"),
        ({"one": "{0}" * 3}, "is not a kernel version"),
    ],
)
def test_what_is_no_kernel_is_refused_with_a_sentence(content: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _File.model_validate(content)
    assert words in caught.value.errors()[0]["msg"]
