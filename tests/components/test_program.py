"""A component's program on this machine: with the packages of its lock, and nothing else of this machine's Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fakes.operator_program import OperatorProgram, write_operator

from builder.components.program import MODULE, open_program
from builder.errors import UsageError
from builder.plan.project import open_project

if TYPE_CHECKING:
    from pathlib import Path

    from builder.config.model.component import Component


@pytest.fixture
def component(project_dir: Path, operator_program: OperatorProgram) -> Component:
    write_operator(project_dir, operator_program)
    (found,) = open_project(project_dir, None).config.components
    return found


def test_it_runs_beside_the_packages_of_its_lock(
    tmp_path: Path,
    component: Component,
    operator_program: OperatorProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    program = open_program(component, tmp_path / "cache")
    assert (program.packages / "demo" / "__init__.py").is_file()
    assert program.run("explain", "n", environment={"KMOD_NAMESPACE": "o"}, timeout_s=10)
    assert operator_program.calls == [["explain", "n"]]
    said = operator_program.environment
    assert said == {
        "KMOD_NAMESPACE": "o",
        "PYTHONPATH": f"{program.packages}{os.pathsep}{component.source_dir}",
        "PYTHONPYCACHEPREFIX": str(program.packages.parent / "compiled"),
    }
    call = operator_program.tools.calls("python")[-1]
    assert call[:4] == ["-P", "-s", "-m", MODULE], "neither this folder nor what people installed"


def test_it_is_unpacked_once_and_anew_for_another_lock(
    tmp_path: Path,
    component: Component,
    operator_program: OperatorProgram,
) -> None:
    first = open_program(component, tmp_path / "cache")
    left = tmp_path / "cache" / "programs" / ".unpack-killed"
    left.mkdir()
    (first.packages / "mark").write_text("")
    assert open_program(component, tmp_path / "cache") == first
    assert (first.packages / "mark").is_file()
    assert not left.exists(), "what a killed run left is removed"
    assert component.wheels_file is not None
    component.wheels_file.write_text("")
    assert open_program(component, tmp_path / "cache").packages != first.packages


def test_what_is_no_program_is_told(tmp_path: Path, component: Component) -> None:
    with pytest.raises(UsageError, match="component operator is not made of operator/"):
        open_program(component.model_copy(update={"wheels": None}), tmp_path / "cache")
    (component.source_dir / MODULE / "__main__.py").unlink()
    with pytest.raises(UsageError, match="its source has no kmod_operator"):
        open_program(component, tmp_path / "cache")
