"""The verb doctor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.ready import add_all_tools

from builder.__main__ import run_cli
from builder.doctor.tools import TOOLS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from fakes.tools import FakeTools


def test_what_is_missing_is_an_exit_code_and_quiet_is_only_that(
    project_dir: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    monkeypatch.setattr("builder.doctor.examine.find_tool", shutil.which)
    monkeypatch.setattr("builder.store.jail.find_tool", shutil.which)
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir.parent / "cache"))
    arguments = ["--project", str(project_dir), "doctor"]
    assert run_cli([*arguments, "--json"]) == 6
    found = {item["name"]: item["status"] for item in json.loads(capsys.readouterr().out)}
    assert {found[tool.name] for tool in TOOLS if tool.name in found} == {"missing"}
    add_all_tools(fake_tools)
    run_cli([*arguments, "--quiet"])
    quiet = capsys.readouterr().out
    run_cli(arguments)
    assert "buildah" not in quiet
    assert "ok       buildah" in capsys.readouterr().out
