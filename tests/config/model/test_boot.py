"""Boot tests: what no guest can do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.project import VERSIONS_YAML
from fakes.versions_yaml import find_mistakes_in, load, with_line

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("driver", "boot: {allow: [{pattern: '.*', reason: r, expires: 2099-01-01}]}", "matches everything"),
        ("driver", "boot: {allow: [{pattern: '.', reason: r, expires: 2099-01-01}]}", "'.' matches everything"),
        ("driver", "boot: {allow: [{pattern: '.+', reason: r, expires: 2099-01-01}]}", "matches everything"),
        ("driver", "boot: {allow: [{pattern: '^[a-z]', reason: r, expires: 2099-01-01}]}", "matches everything"),
        ("driver", "boot: {allow: [{pattern: ': .*: ', reason: r, expires: 2099-01-01}]}", "matches everything"),
        ("driver", "boot: {files: [a/x, b/x], smoke_test: s}", "files has two that would both be x"),
        ("driver", "boot: {devices: [e1000]}", "'e1000' is no device that guests of boot tests can have: edu, pci-testdev are"),
        ("driver", "boot: {devices: [edo]}", "'edo' is no device that guests of boot tests can have: edu, pci-testdev are"),
        ("driver", "boot: {devices: [{a: 1}]}", "{'a': 1} is no device that guests of boot tests can have"),
        ("driver", "boot: {devices: edu}", "must be a list, not text: write [edu]"),
        ("driver", "boot: {devices: [edu, pci-testdev, edu]}", "devices has edu twice, and a guest gets one of each"),
        ("driver", "boot: {load: {demo: {expect: ENOENT, because: r}}}", "'ENOENT' is not allowed: did you mean 'ENODEV'?"),
        ("driver", "boot: {load: {demo: {expect: ENODEV}}}", "'because' is required and missing"),
        ("driver", "boot: {load: {demo: {expct: ENODEV, because: r}}}", "did you mean 'expect'?"),
        (
            "driver",
            "boot: {load: {demo: {expect: EIO, because: r}}, parameters: [{name: x, modules: {demo: a=1}, refused: true}]}",
            "parameters 'x' is to be refused by demo: it is refused anyway for want of hardware",
        ),
        ("driver", "boot: {parameters: [{name: x, modules: {demo: a}, refused: true, default: true}]}", "exclude each"),
        (
            "driver",
            "boot: {parameters: [{name: x, modules: {demo: a}, default: true}, {name: y, modules: {demo: b}, default: true}]}",
            "parameters has two sets that are the default",
        ),
        ("driver", "boot: {timeouts: {load: 99999999999999999999}}", "must be at most 86400, not 99999999999999999999"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "modules: [demo]",
            "modules: [demo]\n    boot: {parameters: [{name: x, modules: {demo: a=1, other: b=1}, refused: true}]}",
            "refused is about one module",
        ),
        (
            "modules: [demo]",
            'modules: [demo]\n    boot: {allow: [{pattern: "[", reason: r, expires: 2999-01-01}]}',
            "is not a regular expression",
        ),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))


@pytest.mark.parametrize(
    "pattern", ["kernel-warning: load char: .*char\\.c:7", "^kernel-oops: ", "(?i)a|x[0-9]", "max_dev=[0-9]+"]
)
def test_what_excuses_some_reports_is_taken(project_dir: Path, pattern: str) -> None:
    line = f"boot: {{allow: [{{pattern: {json.dumps(pattern)}, reason: r, expires: 2099-01-01}}]}}"
    assert load(project_dir, with_line("driver", line)).drivers[0].boot.allow[0].pattern == pattern
