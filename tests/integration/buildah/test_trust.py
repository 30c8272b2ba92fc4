"""Strangers' files with the real tools: compiles that leave traps behind, and builds of pull requests."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
import yaml

from builder.sources.lock_file import read_lock

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_FOLDER = '"/out/opt/lib/modules/$KERNEL_FULL_VERSION"'
# What the build stage does last, and the code that its cell fails with.
_TRAPS = {
    "alias": (f"cd {_FOLDER} && ln -sf '{{victim}}' modules.alias", "result-link"),
    "folder": (f"mv {_FOLDER} /out/moved && ln -s '{{outside}}' {_FOLDER}", "result-link"),
    "module": (f"cd {_FOLDER}/extra && ln -sf '{{victim}}' ptemplate_core.ko", "module-not-a-file"),
    "pipe": ("mkfifo /out/firmware/pipe", "result-special"),
    "holes": ("truncate -s 4G /out/firmware/holes", "result-too-large"),
    "setuid": ("cp /bin/sh /out/sh && chmod 4755 /out/sh", "result-setuid"),
    "whiteout": ("touch /out/.wh.bin", "result-name"),
    "many": ("cd /out/firmware && seq 60000 | xargs touch", "result-too-large"),
}


def _kernel(project: Path) -> str:
    kernels = read_lock(project / "versions.lock.yaml").kernel_versions("debian")
    standard = [item.raw for item in kernels if item.series == "6.1" and item.variant == "standard"]
    return next(raw for raw in reversed(standard) if raw.endswith("-amd64"))


def test_traps_that_a_compile_leaves_catch_nothing(machine: Machine, project: Path, tmp_path: Path) -> None:
    outside, victim = tmp_path / "outside", tmp_path / "victim"
    outside.mkdir()
    victim.write_text("mine")
    text = (project / "driver-container" / "Containerfile").read_text()
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    template = settings["drivers"][0]
    settings["drivers"] = []
    for name, (script, _) in _TRAPS.items():
        step = f"RUN {script.format(victim=victim, outside=outside)}\n\nFROM scratch AS modules"
        (project / f"{name}.Containerfile").write_text(text.replace("FROM scratch AS modules", step, 1))
        settings["drivers"].append(
            deepcopy(template) | {"name": name, "containerfile": f"{name}.Containerfile", "compress": "xz"}
        )
    (project / "versions.yaml").write_text(yaml.safe_dump(settings))
    _, report = machine.build(project, "--kernel", _kernel(project))
    failures = {cell.partition("-")[0]: failure for failure in report["failures"] for cell in failure["cells"]}
    assert {name: failure["code"] for name, failure in failures.items()} == {
        name: code for name, (_, code) in _TRAPS.items()
    }
    assert (victim.read_text(), list(outside.iterdir())) == ("mine", [])
    assert not list((project / ".kmodsmith").glob("cell-*"))


def test_a_pull_request_is_built_without_trust(machine: Machine, project: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    settings["signers"] = {"vendor": {"certificate": "vendor.pem", "command": ["touch", str(trace)]}}
    settings["groups"]["laptop"] |= {"signers": ["vendor"], "signing": "production"}
    (project / "versions.yaml").write_text(yaml.safe_dump(settings))
    (project / ".kmodsmith").mkdir()
    cache = machine.with_environment({"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(tmp_path / "cache"))})
    code, report = cache.build(project, "--kernel", _kernel(project), "--untrusted")
    assert (code, report["counts"], trace.exists()) == (0, {"built": 1}, False)
    (cell,) = report["cells"]
    assert cell["image"].startswith("localhost/untrusted/ptemplate:")
    labels = json.loads(cache.buildah("inspect", "--type", "image", cell["image"]))["OCIv1"]["config"]["Labels"]
    assert (labels["io.kmodsmith.untrusted"], labels["io.kmodsmith.signed"]) == ("yes", "no")
    assert not list((project / ".kmodsmith").iterdir())
    done = cache.builder(project, "publish", "--untrusted")
    assert (done.returncode, "cannot be done with --untrusted" in done.stderr) == (2, True)
