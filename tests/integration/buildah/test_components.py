"""Component images with the real buildah: the device plugin for two architectures, and a vendor's library in C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from programs import need

from builder.errors import FailureClass
from integration.conftest import ROOT, Machine, copy_project
from integration.registry_server import serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_WORDS = {
    "vendor": "Example Corp", "summary": "a test", "description": "a test", "maintainer": "Example <x@example.com>",
}  # fmt: skip
_LIBRARY = """\
ARG BUILD_IMAGE
ARG BASE_IMAGE
FROM ${BUILD_IMAGE} AS build
COPY hello.c /src/
RUN mkdir -p /out/usr/bin && gcc -O2 -static -o /out/usr/bin/hello /src/hello.c
FROM scratch AS result
COPY --from=build /out /
FROM ${BASE_IMAGE}
COPY --from=licenses / /licenses/
COPY --from=result / /
USER 65532
CMD ["/usr/bin/hello"]
"""
_HELLO = """\
#include <stdio.h>
#include <unistd.h>
int main(int count, char **words) { printf("hello from %d\\n", (int)getuid()); return count > 1 ? words[1][0] - '0' : 0; }
"""


class _Site:
    """A project with two components; its lock has their packages."""

    def __init__(self, machine: Machine, project: Path) -> None:
        self.machine = machine
        self.project = project

    def build(self, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        code, results = self.machine.build(self.project, *(arguments or ("--component", "*")))
        return code, {item["component"]: item for item in results["components"]}

    def edit(self, name: str, **changes: Any) -> None:
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        (component,) = [item for item in settings["components"] if item["name"] == name]
        component.update(changes)
        file.write_text(yaml.safe_dump(settings))

    def containerfile(self, text: str) -> None:
        (self.project / "library" / "Containerfile").write_text(text)


@pytest.fixture(scope="module")
def site(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> _Site:
    need("qemu-aarch64-static")
    project = copy_project(tmp_path_factory.mktemp("components"))
    (project / "versions.lock.yaml").write_text(lock_text)
    shutil.copytree(ROOT / "operator", project / "operator")
    shutil.copy(ROOT / "LICENSE", project)
    (project / "library").mkdir()
    (project / "library" / "Containerfile").write_text(_LIBRARY)
    (project / "library" / "hello.c").write_text(_HELLO)
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    declared = yaml.safe_load((ROOT / "versions.yaml").read_text())["components"]
    settings["components"] = [
        *(item for item in declared if not item.get("on_request")),  # kmodsmith's own image is large
        {
            "name": "hello", "version": "2.1", "source": "library", "containerfile": "library/Containerfile",
            "build_packages": ["gcc", "libc6-dev"], "self_test": ["/usr/bin/hello"], **_WORDS,
        },
    ]  # fmt: skip
    (project / "versions.yaml").write_text(yaml.safe_dump(settings))
    done = machine.builder(project, "discover", "--source", "debian")
    assert done.returncode == 0, done.stderr
    assert "image packages runtime-aarch64 with python3.11" in done.stdout
    return _Site(machine, project)


def test_they_are_built_proven_and_started(site: _Site) -> None:
    code, built = site.build()
    assert code == 0, [item["failure"] for item in built.values()]
    assert {name: item["status"] for name, item in built.items()} == {
        "device-plugin-0.1.0/x86_64": "built", "device-plugin-0.1.0/aarch64": "built", "hello-2.1/x86_64": "built",
        "operator-0.1.0/x86_64": "built", "operator-0.1.0/aarch64": "built",
    }  # fmt: skip
    assert {name: (item["self_test"]["outcome"], item["self_test"]["by"]) for name, item in built.items()} == {
        "device-plugin-0.1.0/x86_64": ("passed", "native"),
        "device-plugin-0.1.0/aarch64": ("passed", "qemu-user"),
        "operator-0.1.0/x86_64": ("passed", "native"),
        "operator-0.1.0/aarch64": ("passed", "qemu-user"),
        "hello-2.1/x86_64": ("passed", "native"),
    }
    log = (site.project / ".kmodsmith" / built["hello-2.1/x86_64"]["log"]).read_text()
    assert "hello from 65532" in log, "as the image's own user"
    described = json.loads(site.machine.buildah("inspect", "--type", "image", "localhost/hello:2.1-amd64"))
    labels = described["OCIv1"]["config"]["Labels"]
    assert (labels["name"], labels["version"], labels["vendor"]) == ("hello", "2.1", "Example Corp")
    described = json.loads(site.machine.buildah("inspect", "--type", "image", "localhost/operator:0.1.0-amd64"))
    config = described["OCIv1"]["config"]
    assert (config["User"], config["Cmd"]) == ("65532", ["operator"])
    with site.machine.mounted("localhost/device-plugin:0.1.0-amd64") as root:
        assert (root / "licenses" / "LICENSE").stat().st_size
        assert not [file for file in root.rglob("*.pyc") if "kmod-operator" in str(file)]


def test_the_second_run_does_nothing_and_a_forced_one_makes_the_same(site: _Site) -> None:
    code, again = site.build()
    assert (code, {item["status"] for item in again.values()}) == (0, {"skipped"})
    _, forced = site.build("--component", "*", "--force")
    assert {name: item["digest"] for name, item in forced.items()} == {
        name: item["digest"] for name, item in again.items()
    }
    left = site.machine.buildah("images", "--format", "{{.Name}}")
    assert "stage" not in left


def test_cells_and_components_are_selected_apart(site: _Site) -> None:
    code, planned = site.machine.tell(site.project, "plan")
    assert code == 0
    assert planned["cells"]
    assert len(planned["components"]) == 5
    assert not site.machine.tell(site.project, "plan", "--driver", "ptemplate")[1]["components"]
    assert not site.machine.tell(site.project, "plan", "--component", "hello")[1]["cells"]


@pytest.mark.parametrize(
    ("changes", "containerfile", "code", "words"),
    [
        ({"self_test": ["/usr/bin/hello", "3"]}, _LIBRARY, "self-test-failed", "hello from 65532"),
        ({"self_test": ["/usr/bin/absent"]}, _LIBRARY, "tool-missing", "/usr/bin/absent"),
        ({}, f"{_LIBRARY}RUN true\n", "last-stage-runs", "copying alone"),
        ({}, _LIBRARY.replace("COPY --from=licenses / /licenses/\n", ""), "licenses-folder-empty", "licence"),
        ({}, _LIBRARY.replace("/src/hello.c", "-include absent.h /src/hello.c"), "missing-header", "absent.h"),
        ({}, _LIBRARY.replace("hello.c /src/", "absent.c /src/"), "containerfile", "absent.c"),
        ({}, f"{_LIBRARY}ADD https://pypi.org/robots.txt /\n", "containerfile", "no build has a network"),
        (
            {},
            _LIBRARY.replace("RUN mkdir", "ADD https://pypi.org/robots.txt /src/\nRUN mkdir"),
            "containerfile",
            "network",
        ),
        ({"target": "nowhere"}, _LIBRARY, "containerfile", "nowhere"),
    ],
)
def test_what_is_wrong_is_said_and_gets_no_name(
    site: _Site, changes: dict[str, Any], containerfile: str, code: str, words: str
) -> None:
    file = site.project / "versions.yaml"
    before = file.read_text()
    site.edit("hello", version="2.2", **changes)
    site.containerfile(containerfile)
    try:
        exit_code, results = site.build("--component", "hello")
        failure = results["hello-2.2/x86_64"]["failure"]
        assert exit_code == FailureClass(failure["failure_class"]).exit_code
        assert words in f"{failure['location']} {failure['detail']}", failure
        assert failure["code"] == code, failure
        named = site.machine.buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()
        assert "localhost/hello:2.1-amd64" in named, "others have the store, too, and names like any"
        assert "localhost/hello:2.2-amd64" not in named
    finally:
        file.write_text(before)
        site.containerfile(_LIBRARY)


def test_killed_at_any_moment_it_goes_on(site: _Site) -> None:
    site.edit("hello", version="2.3")
    command = [sys.executable, "-m", "builder", "--project", str(site.project), "build", "--component", "hello"]
    for pause in (0.8, 1.6, 2.4, 3.2):
        process = subprocess.Popen(
            command, env=site.machine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )  # fmt: skip
        time.sleep(pause)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    code, results = site.build("--component", "hello")
    assert code == 0, results
    assert results["hello-2.3/x86_64"]["status"] in {"built", "skipped", "tagged", "proven"}
    assert "stage" not in site.machine.buildah("images", "--format", "{{.Name}}")
    assert not site.machine.buildah("containers", "--quiet").strip()


@pytest.fixture(scope="module")
def published(site: _Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The repository of the device plugin in a registry, and signed."""
    folder = tmp_path_factory.mktemp("registry")
    key = folder / "images.pem"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)]
    subprocess.run(make, check=True, capture_output=True)
    key.chmod(0o600)
    subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(folder / "images.pub")], check=True)
    with serve_registry(folder) as server:
        repository = f"{server.host}/vendor/device-plugin"
        site.edit("device-plugin", image=repository)
        settings = yaml.safe_load((site.project / "versions.yaml").read_text())
        settings["registry"] = {"plain_http": [server.host], "auth_files": [str(server.auth_file(folder))]}
        settings["publish"] = {"signer": {"public_key": str(folder / "images.pub"), "key_file": str(key)}}
        (site.project / "versions.yaml").write_text(yaml.safe_dump(settings))
        yield repository


def test_they_are_published_as_a_list_signed_and_verified(site: _Site, published: str) -> None:
    assert site.build("--component", "device-plugin")[0] == 0
    code, first = site.machine.tell(site.project, "publish", "--component", "device-plugin")
    assert (code, {item["status"] for item in first["components"]}) == (0, {"published"})
    code, second = site.machine.tell(site.project, "publish", "--component", "device-plugin")
    assert (code, {item["status"] for item in second["components"]}) == (0, {"there"})
    assert sum(item["blobs_sent"] + item["attached"] for item in second["components"]) == 0
    code, verified = site.machine.tell(site.project, "verify", f"{published}:0.1.0")
    assert code == 0, verified
    names = {check["name"] for check in verified["checks"]}
    assert {"signature", "list", "provenance", "bill of materials", "tests"} <= names


def test_another_image_does_not_take_its_tag(site: _Site, published: str) -> None:
    assert published
    (site.project / "operator" / "kmod_operator" / "more.py").write_text('"""Another source."""\n')
    try:
        assert site.build("--component", "device-plugin")[0] == 0
        code, results = site.machine.tell(site.project, "publish", "--component", "device-plugin")
        assert code == FailureClass.PUBLISH.exit_code
        assert {item["status"] for item in results["components"]} == {"conflict"} | {"waiting"}
    finally:
        (site.project / "operator" / "kmod_operator" / "more.py").unlink()
