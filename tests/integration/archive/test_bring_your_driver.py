"""docs/bring-your-driver.md, word by word: its files, its commands, and what comes out."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from integration.conftest import ROOT, Machine
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_BLOCK = re.compile(
    r"<!-- (?P<kind>file|drivers|run)(?:: (?P<name>\S+))? -->\n```\w+\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_NOX = re.compile(r"pipx run nox -s (\S+)(?: -- (.*?))?\s*(?:#.*)?")
_DRIVERS = ("greeter", "acpi-call", "acmenic")


@dataclass
class _Reader:
    """Somebody who does what the page says, on one kernel, with a registry in the place of quay.io."""

    machine: Machine
    project: Path
    server: RegistryServer

    def read(self, text: str) -> dict[str, list[str]]:
        """Follow the page; return what each command printed, by its verb."""
        said: dict[str, list[str]] = {}
        for block in _BLOCK.finditer(text):
            match block["kind"]:
                case "file":
                    file = self.project / block["name"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(block["text"])
                case "drivers":
                    self._add_driver(block["text"])
                case "run":
                    for line in block["text"].splitlines():
                        verb, output = self._run(line)
                        said.setdefault(verb, []).append(output)
        return said

    def _add_driver(self, text: str) -> None:
        file = self.project / "versions.yaml"
        entry = text.replace("quay.io/", f"{self.server.host}/")
        file.write_text(file.read_text().replace("\nsources:", f"\n{entry}\nsources:", 1))

    def _run(self, line: str) -> tuple[str, str]:
        if line == "buildah login quay.io":
            settings = {"plain_http": [self.server.host], "auth_files": [str(self.server.auth_file(self.project))]}
            self._change({"registry": settings})
            return "login", ""
        if not (match := _NOX.fullmatch(line)):
            return "", subprocess.run(
                line, shell=True, cwd=self.project, check=True, capture_output=True, text=True
            ).stdout
        words = shlex.split(match[2] or "")
        words = [self._name_image(word) if word.startswith("quay.io/") else word for word in words]
        home = {"HOME": str(self.machine.folder / "home")}
        done = self.machine.with_environment(home).builder(self.project, match[1], *words, cwd=self.project)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if match[1] == "keys":
            self._follow_advice(done.stdout)
        return match[1], done.stdout

    def _name_image(self, word: str) -> str:
        """Put a tag that there is where the page says KERNEL."""
        repository, _, begin = word.removeprefix("quay.io/").removesuffix("KERNEL").partition(":")
        return f"{self.server.host}/{repository}:{next(tag for tag in self.tags(repository) if tag.startswith(begin))}"

    def tags(self, repository: str) -> list[str]:
        answer = httpx.get(f"http://{self.server.host}/v2/{repository}/tags/list", auth=("user", "secret"))
        return list(answer.json()["tags"])

    def _follow_advice(self, output: str) -> None:
        """Write into versions.yaml what ``keys`` says."""
        advice = output.partition("For versions.yaml:\n")[2].partition("\nand in each group")[0]
        changes = yaml.safe_load(advice)
        self._change(changes)
        if "signers" in changes:
            settings = yaml.safe_load((self.project / "versions.yaml").read_text())
            self._change(
                {"groups": {name: group | {"signers": ["development"]} for name, group in settings["groups"].items()}}
            )

    def _change(self, changes: dict[str, object]) -> None:
        file = self.project / "versions.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))


def test_the_page_leads_from_c_to_published_images(machine: Machine, project: Path, tmp_path: Path) -> None:
    file = project / "versions.yaml"
    text = (
        file.read_text()
        .replace("boot: never", "boot: changed")
        .replace("newest: true", "kernels: ['6.12.*-cloud-amd64']\n    newest: true")
    )
    file.write_text(text)
    with serve_registry(tmp_path) as server:
        reader = _Reader(machine, project, server)
        said = reader.read((ROOT / "docs" / "bring-your-driver.md").read_text())
        tags = {name: reader.tags(f"mycompany/{name}") for name in _DRIVERS}
    versions = {"greeter": "1.0", "acpi-call": "1.2.2", "acmenic": "2.3.0"}
    for name, version in versions.items():
        assert any(tag.startswith(f"{version}-6.12.") for tag in tags[name]), tags
    results = json.loads((project / ".kmodsmith" / "results.json").read_text())
    assert {cell["driver"] for cell in results["cells"]} == {*_DRIVERS}
    assert all(name in "".join(said["publish"]) for name in _DRIVERS)
    assert "acme_sensor: not exercised: no hardware" in (project / ".kmodsmith" / "journal.jsonl").read_text()
    text = "".join(file.read_text() for file in (project / "deploy" / "kmm").rglob("*.yaml"))
    for name in _DRIVERS:
        assert f"{server.host}/mycompany/{name}@sha256:" in text
    assert "firmwarePath: /firmware" in text
