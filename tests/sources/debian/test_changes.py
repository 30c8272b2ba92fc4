"""What people read of two answers of an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.locks import by_text, parsed
from fakes.project import make_source

from builder.sources.debian.changes import describe_changes

if TYPE_CHECKING:
    from builder.sources.debian.lock import LockedDebian

_OLD, _NEW = "6.1.0-9-amd64", "6.1.0-10-amd64"
_ONE = make_source(_OLD)


def _changed(**changes: Any) -> LockedDebian:
    return _ONE.model_copy(update={"kernels": parsed({_OLD: by_text(_ONE.kernels)[_OLD].model_copy(update=changes)})})


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, _ONE, [f"new kernel {_OLD}"]),
        (_ONE, _ONE, []),
        (_ONE, make_source(_NEW, _OLD), [f"new kernel {_NEW}"]),
        (_ONE, make_source(_NEW), [f"kernel gone {_OLD}: withdrawn", f"new kernel {_NEW}"]),
        (_ONE, _changed(package_version="2"), [f"kernel changed {_OLD}: headers 1 -> 2"]),
        (_ONE, _changed(image="image_2_amd64"), [f"kernel changed {_OLD}: boots image_2_amd64"]),
        (_changed(image="image_2_amd64"), _ONE, [f"kernel changed {_OLD}: boots nothing any more"]),
        (_ONE, _changed(package_version="2", image="image_2_amd64"), [f"kernel changed {_OLD}: headers 1 -> 2"]),
        (_ONE, _ONE.model_copy(update={"left_out": {"b": "why", "a": "why"}}), ["kernel left out a: why", "kernel left out b: why"]),
        (_ONE.model_copy(update={"left_out": {"a": "why"}}), _ONE.model_copy(update={"left_out": {"a": "why"}}), []),
        (_ONE.model_copy(update={"left_out": {"a": "why"}}), _ONE.model_copy(update={"left_out": {"a": "new"}}), ["kernel left out a: new"]),
    ],
)  # fmt: skip
def test_each_difference_is_told_once(before: LockedDebian | None, after: LockedDebian, said: list[str]) -> None:
    assert [str(change) for change in describe_changes(before, after, {_OLD: "withdrawn"})] == said


def test_packages_that_came_into_a_set_are_told_and_a_set_that_is_new_is_not() -> None:
    after = _ONE.model_copy(update={"package_sets": {"tools": ("gcc", "z_1", "a_1"), "more": ("gcc",)}})
    assert [str(change) for change in describe_changes(_ONE, after, {})] == ["packages changed tools: a_1, z_1"]
    assert describe_changes(after, _ONE, {}) == []
