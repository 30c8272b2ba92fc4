"""Plans that come from a registry: what they say is checked before anything is done with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.plans import KEY, make_plan

from builder.errors import FormatError
from builder.kernel import Arch
from builder.shards.document import parse_plan


def test_a_plan_comes_back_as_it_went() -> None:
    plan = make_plan()
    assert parse_plan(plan.write()) == plan
    assert parse_plan(plan.write()).write() == plan.write()


def test_shards_are_found_by_what_they_make() -> None:
    plan = make_plan()
    assert [plan.shard_of(name) for name in ("demo-1/a", "demo-1/b", "plugin-1/x86_64", "other")] == [0, 1, 0, None]
    assert plan.numbers() == ["0", "1"]
    assert plan.numbers(Arch.AARCH64) == ["1"]
    assert plan.numbers(Arch.S390X) == []
    assert plan.keys == dict.fromkeys(("demo-1/a", "demo-1/b", "plugin-1/x86_64"), KEY)


def _edit(**changes: Any) -> bytes:
    data = json.loads(make_plan().write())
    for path, value in changes.items():
        target = data
        *words, last = path.split("__")
        for word in words:
            target = target[int(word) if word.isdecimal() else word]
        target[int(last) if last.isdecimal() else last] = value
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "Field required"),
        (_edit(format=2), "format"),
        (_edit(publish="maybe"), "publish"),
        (_edit(untrusted=True), "publish what is not trusted"),
        (_edit(boot="sometimes"), "boot"),
        (_edit(selection="few"), "selection"),
        (_edit(cells__0__key="../../x"), "key"),
        (_edit(cells__0__action="explode"), "action"),
        (_edit(cells__0__id=7), "id"),
        (_edit(cells__1__id="demo-1/a"), "a cell twice"),
        (_edit(shards__1__number=5), "not numbered from 0"),
        (_edit(shards__0__number=-1), "number"),
        (_edit(shards__0__arch="z80"), "arch"),
        (_edit(shards__0__predicted_s=-4), "predicted_s"),
        (_edit(shards__1__cells=["demo-1/a"]), "in two of its shards"),
        (_edit(shards__1__cells=["demo-1/stranger"]), "demo-1/stranger, which is not in the plan"),
        (_edit(cells__1__key=""), "has no key there"),
        (_edit(shards__0__components=["demo-1/b"]), "which is not in the plan"),
        (_edit(commits={"project": {"name": "project", "commit": "HEAD", "dirty": "no"}}), "commit"),
        (_edit(commits={"project": {"name": "project", "commit": "a" * 40, "dirty": "perhaps"}}), "dirty"),
        (_edit(shards=[{"number": 0, "arch": "x86_64"}] * 300), "shards"),
    ],
)
def test_what_is_no_plan_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(FormatError, match="it is no plan of kmodsmith") as caught:
        parse_plan(content)
    assert words in caught.value.message


@pytest.mark.parametrize("number", [-1, 2, 64])
def test_a_shard_that_is_not_there_is_told(number: int) -> None:
    with pytest.raises(FormatError, match=f"the plan has no shard {number}; it has 0 to 1"):
        make_plan().shard(number)


def test_a_plan_without_work_says_so() -> None:
    with pytest.raises(FormatError, match="nothing to do"):
        make_plan(shards=()).shard(0)
