"""The operator's own program, as far as the builder sees it: what it is asked, and what it prints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from fakes.components import write_component
from fakes.wheels import lock_line, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

# A Python that is asked for packages by pip, and for the program.
_PYTHON = """
case " $* " in
*" kmod_operator "*)
  env | grep -E '^(PYTHON|KMOD_|KUBECONFIG|SECRET)' | sort >"{folder}/environment"
  cat "{folder}/err" >&2; cat "{folder}/out"; exit $(cat "{folder}/code") ;;
esac
while [ $# -gt 0 ]; do case "$1" in --dest) to=$2 ;; esac; shift; done
cp "{folder}"/*.whl "$to"
"""
EXPLAINED: dict[str, Any] = {
    "format": 1, "node": "n0", "kind": "KernelDriver", "at": None,
    "drivers": [{"name": "p", "state": "Ready", "sentences": ["n0 has p 1.0.0.", "It is well."]}],
}  # fmt: skip


@dataclass(frozen=True)
class OperatorProgram:
    """What the program prints from now on, and how it was called."""

    folder: Path
    tools: FakeTools

    def says(self, out: Any, err: str = "", code: int = 0) -> None:
        text = out if isinstance(out, str) else json.dumps(out)
        for name, content in (("out", text), ("err", err), ("code", str(code))):
            (self.folder / name).write_text(content)

    def refuses(self, words: str, code: int) -> None:
        self.says("", f'{{"level": "info"}}\n{json.dumps({"level": "error", "message": words})}\n', code)

    @property
    def calls(self) -> list[list[str]]:
        """Words behind the program's name, of each call."""
        calls = [call for call in self.tools.calls("python") if "kmod_operator" in call]
        return [call[call.index("kmod_operator") + 1 :] for call in calls]

    @property
    def environment(self) -> dict[str, str]:
        lines = (self.folder / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def operator_program(tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> OperatorProgram:
    folder = tmp_path / "program"
    make_wheel(folder)
    fake_tools.add("python", _PYTHON.format(folder=folder))
    for name in ("env", "grep", "sort", "cat", "cp"):
        if not (fake_tools.folder / name).exists():
            (fake_tools.folder / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setattr("sys.executable", str(fake_tools.folder / "python"))
    found = OperatorProgram(folder, fake_tools)
    found.says(EXPLAINED)
    return found


def write_operator(project: Path, program: OperatorProgram) -> None:
    """Give a project the component 'operator', and the operator's own words."""
    write_component(
        project, name="operator", wheels={"lock": "plugin/requirements.lock", "python": "3.11"}, image="quay.test/o/o"
    )
    (wheel,) = program.folder.glob("*.whl")
    (project / "plugin" / "requirements.lock").write_text(lock_line(wheel))
    module = project / "plugin" / "kmod_operator"
    module.mkdir(exist_ok=True)
    (module / "__main__.py").write_text("")
    said = {"component": "operator", "group": "drivers.example.com", "documentation": "https://example.com/o"}
    with (project / "versions.yaml").open("a") as stream:
        stream.write(f"operator: {json.dumps(said)}\n")
