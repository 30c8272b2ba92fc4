"""Pull secrets in files."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from builder.errors import UsageError
from builder.pullspec import parse_pullspec
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path


def test_the_longest_prefix_decides_and_the_first_file_wins(tmp_path: Path) -> None:
    def write(name: str, **auths: str) -> Path:
        entries = {key: {"auth": base64.b64encode(f"u:{value}".encode()).decode()} for key, value in auths.items()}
        (tmp_path / name).write_text(json.dumps({"auths": entries}))
        return tmp_path / name

    first = write("1", **{"quay.io": "host", "quay.io/org": "org", "https://index.docker.io/v1/": "hub"})
    second = write("2", **{"quay.io": "other", "quay.io/org/name": "name"})
    credentials = Credentials([first, second])
    found = {name: credentials.find(parse_pullspec(f"{name}:1")) for name in
        ("quay.io/x", "quay.io/org/x", "quay.io/org/name", "quay.io/org/name2", "quay.io/organ", "docker.io/a", "other.io/a")}  # fmt: skip
    assert found == {
        "quay.io/x": "u:host", "quay.io/org/x": "u:org", "quay.io/org/name": "u:name", "quay.io/org/name2": "u:org",
        "quay.io/organ": "u:host", "docker.io/a": "u:hub", "other.io/a": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"auths": []}', '{"auths": {"a": {"auth": "%"}}}', '{"auths": {"a": 1}}']
)
def test_a_file_that_holds_no_pull_secrets(tmp_path: Path, text: str) -> None:
    (tmp_path / "auth.json").write_text(text)
    with pytest.raises(UsageError, match="auth.json is not a file of pull secrets"):
        Credentials([tmp_path / "auth.json"])
