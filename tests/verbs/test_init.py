"""The verb init."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.template import make_template, write_driver

from builder.__main__ import run_cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    write_driver(tmp_path / "driver")
    return make_template(tmp_path / "fork").top


def _run(fork: Path, *arguments: str) -> int:
    words = ["--vendor", "My Company", "--source", str(fork.parent / "driver"), *arguments]
    return run_cli(["--project", str(fork), "init", *words])


def test_a_fork_is_begun_and_told(fork: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(fork, "--domain", "My.com", "--image", "quay.io/my/driver") == 0
    out = capsys.readouterr().out
    assert "driver 2.1: the sample driver's place is taken" in out
    assert "drivers.my.com/driver" in (fork / "versions.yaml").read_text()
    assert _run(fork, "--json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "unchanged"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--name", "My Driver"), "cannot be the name of a driver"),
        (("--name", "x" * 40), "cannot be the name of a driver"),
        (("--domain", "mycompany"), "is no domain"),
        (("--domain", "a..b"), "is no domain"),
        (("--image", "driver"), "--image: "),
        (("--image", "quay.io/my/driver:1"), "its tag comes from"),
        (("--vendor", " "), "--vendor is empty"),
        (("--vendor", "a\x1bb"), "not printable"),
        (("--source", "/nowhere"), "does not exist"),
    ],
)
def test_what_cannot_stand_where_it_would_is_told_first(
    fork: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    before = (fork / "versions.yaml").read_text()
    assert _run(fork, *arguments) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert (fork / "versions.yaml").read_text() == before


def test_what_is_not_kept_is_not_changed(fork: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fork / "versions.yaml").write_text((fork / "versions.yaml").read_text() + "# mine\n")
    assert _run(fork) == 2
    assert "hint: commit them first" in capsys.readouterr().err
    assert _run(fork, "--dry-run") == 0
    assert "nothing was written" in capsys.readouterr().out
    assert _run(fork, "--force") == 0
