"""The operator: names that its objects can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.versions_yaml import find_mistakes, load, write_operator

if TYPE_CHECKING:
    from pathlib import Path


def test_an_operator_s_defaults(project_dir: Path) -> None:
    write_operator(project_dir)
    operator = load(project_dir).operator
    assert operator is not None
    assert (operator.kind, operator.plural_name, operator.name) == ("KernelDriver", "kerneldrivers", "kmod-operator")
    assert (operator.namespace_name, operator.drivers, operator.channel) == ("kmod-operator", (), "stable")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drivers": ["demo", "demo"]}, "drivers names one twice"),
        ({"group": "example"}, "operator.group"),
        ({"group": "Drivers.example.com"}, "operator.group"),
        ({"group": f"{'a.' * 95}example"}, "operator.group"),
        ({"group": f"{'a' * 63}.{'b' * 63}.{'c' * 62}"}, "operator.group"),
        ({"kind": "kernelDriver"}, "operator.kind"),
        ({"kind": "K" * 60}, "operator.kind"),
        ({"plural": "kernel-drivers"}, "operator.plural"),
        ({"documentation": "docs/operator.md"}, "operator.documentation"),
        ({"documentation": "https://example.com/d#part"}, "operator.documentation"),
        ({"channel": "Stable"}, "operator.channel"),
        ({"pull_secret": "a_b"}, "operator.pull_secret"),
        ({"image": "quay.test/org/operator"}, "operator.image: is not a known key"),
    ],
)
def test_an_operator_that_cannot_be_is_told(project_dir: Path, changes: dict[str, Any], words: str) -> None:
    write_operator(project_dir, **changes)
    assert any(words in mistake for mistake in find_mistakes(project_dir)), find_mistakes(project_dir)
