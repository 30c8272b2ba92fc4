"""What is written into versions.yaml is what was meant, whatever stands in it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builder.init.draft import comment_line, emit_config, emit_driver, flow_list, scalar
from builder.init.known import DriverDraft, Guess, OpenQuestion

_DRAFT = DriverDraft(
    name="drv", version="1.0", vendor="V: #1", maintainer="V <a@b>", summary="It's [odd]", description="yes",
    modules=("a", "?b", "probe-*"), make="make X=$KERNEL_SRC_DIR", firmware=("firmware/a.bin",), licenses=("COPYING",),
    image="quay.io/v/drv", smoke_test="t.sh", devices=("edu",), source="drv",
    guesses=(Guess(key="version", value="1.0", why="a\nb: c"),),
    questions=(OpenQuestion(key="boot.load", text="does\nit?\x1b[31m", stands="x"),),
)  # fmt: skip


def test_an_entry_says_what_the_draft_says() -> None:
    text = emit_driver(_DRAFT)
    (entry,) = yaml.safe_load(text)
    assert entry == {
        "name": "drv", "version": "1.0", "source": "drv", "modules": ["a", "?b", "probe-*"],
        "make": "make X=$KERNEL_SRC_DIR", "firmware": ["firmware/a.bin"], "licenses": ["COPYING"],
        "image": "quay.io/v/drv", "vendor": "V: #1", "summary": "It's [odd]", "description": "yes",
        "maintainer": "V <a@b>", "boot": {"smoke_test": "t.sh", "devices": ["edu"]},
    }  # fmt: skip
    assert "# a b: c" in text
    assert "#   boot.load: does it?\\x1b[31m" in text
    assert all(line.startswith(("  - ", "    ")) for line in text.splitlines())


def test_a_whole_file_is_one() -> None:
    data = yaml.safe_load(emit_config(_DRAFT))
    assert [driver["name"] for driver in data["drivers"]] == ["drv"]
    assert data["default_group"] in data["groups"]


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=200))
def test_any_text_of_one_line_stays_itself(text: str) -> None:
    text = " ".join(text.split()) or "x"
    written = scalar(text)
    assert yaml.safe_load(f"k: {written}\n") == {"k": text}
    assert yaml.safe_load(f"k: {flow_list([text, 'b'])}\n") == {"k": [text, "b"]}


@pytest.mark.parametrize("word", ["yes", "1.0", "?b", "a,b", "null", "0x1", "a: b", "'", "#x"])
def test_words_in_a_list_are_words(word: str) -> None:
    assert yaml.safe_load(flow_list([word])) == [word]


def test_comments_stay_comments() -> None:
    assert comment_line("a\nb\x00\u2028c") == "# a b\\x00\\u2028c"
    assert len(comment_line("x" * 1000)) < 170
