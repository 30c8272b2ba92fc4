"""Files that are left behind with evidence, and logs that come back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.plans import make_evidence

from builder.errors import FormatError
from builder.shards.attached import keep_logs, read_files_to_attach, read_logs
from builder.shards.evidence import EvidenceRow

if TYPE_CHECKING:
    from pathlib import Path

    from builder.shards.evidence import ShardEvidence


def _failed(log: str) -> ShardEvidence:
    row = EvidenceRow.model_validate(
        {"id": "demo-1/a", "status": "failed", "log": log,
         "failure": {"failure_class": "compile", "code": "compiler-error", "detail": "d"}}
    )  # fmt: skip
    return make_evidence(f"sha256:{'0' * 64}", cells=(row,))


def test_results_and_the_end_of_logs_are_left(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "junit.xml").write_text("<x/>")
    (tmp_path / "build.log").write_text("x" * 100_000 + "the end")
    files = {file.name: file.content for file in read_files_to_attach(tmp_path, _failed("build.log"))}
    assert set(files) == {"results.json", "junit.xml", "logs.json"}
    content = files["logs.json"]
    assert isinstance(content, bytes)
    (log,) = json.loads(content).values()
    assert (len(log), log[-7:]) == (64 * 1024, "the end")


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert read_files_to_attach(tmp_path, _failed("build.log")) == []


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "link", "folder", ""])
def test_a_log_that_is_somewhere_else_is_not_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "work"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to("../secret")
    assert read_logs(folder, _failed(name)) == {}


def test_logs_that_come_back_get_names_of_ours(tmp_path: Path) -> None:
    content = json.dumps({"../../escaped": "text", "b": 7}).encode()
    assert keep_logs(tmp_path, "evidence/0", content) == {"../../escaped": "evidence/0/0.log"}
    assert (tmp_path / "evidence" / "0" / "0.log").read_text() == "text"


def test_logs_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        keep_logs(tmp_path, "evidence/0", b"[]")
