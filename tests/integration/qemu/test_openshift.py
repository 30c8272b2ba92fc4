"""OpenShift in a box: a real registry with a password, real toolkits and operating systems of real kernels, a graph server.

Toolkits are laid out as Red Hat does; their kernels are Debian's, because those can be had without an account.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from fakes.locks import by_text, debian_of, openshift_of
from fakes.openshift_world import CONTENT, World
from programs import give_up

from builder.kernel import Arch
from builder.plan.project import open_project
from builder.sources.debian.deb import find_members
from builder.sources.debian.source import DebianSource
from builder.sources.download import Downloads
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock, write_lock
from integration.conftest import copy_project
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from builder.kernel import KernelVersion
    from builder.sources.debian.lock import LockedDebian
    from builder.sources.openshift.lock import LockedOpenShift
    from integration.conftest import Machine

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

# As openshift/driver-toolkit leaves it: one tree below /usr/src/kernels, build pointing at it, and the release file in a
# layer of its own at the end.
_TOOLKIT = """\
FROM {base}
RUN set -eu; tree=/usr/src/kernels/{kernel}; headers=/usr/src/linux-headers-{kernel}; lib=/lib/modules/{kernel}; \\
    rm "$tree"; cp -a "$(readlink -f "$lib/source")" "$tree"; rm -rf "$tree/scripts" "$tree/tools"; \\
    cp -aL "$headers/scripts" "$headers/tools" "$tree/"; \\
    cp -a "$headers/.config" "$headers/Module.symvers" "$headers/include" "$headers/arch" "$tree/"; \\
    if [ -f "$headers/vmlinux" ]; then cp "$headers/vmlinux" "$tree/"; fi; \\
    rm -rf "$lib/build" "$lib/source" "$lib/config" /usr/src/linux-headers-*; ln -s "$tree" "$lib/build"; \\
    cp "$tree/.config" "$lib/config"; rm /etc/driver-toolkit-release.json
RUN echo '{release}' >/etc/driver-toolkit-release.json
"""
_OS = """\
FROM {base}
COPY modules /usr/lib/modules/{kernel}
LABEL ostree.linux={kernel}
"""


@dataclass
class Box:
    """The pretended OpenShift, and a project that builds for it."""

    machine: Machine
    server: RegistryServer
    world: World
    project: Path
    kernels: list[KernelVersion]
    toolkits: dict[str, str] = field(default_factory=dict)
    systems: dict[str, str] = field(default_factory=dict)

    def release(self, version: str, *, toolkit: str, node: str) -> None:
        """Add a release to the registry and to the channel."""
        tags = {
            "rhel-coreos": self.systems[node],
            "rhel-coreos-extensions": self.world.extensions(),
            "driver-toolkit": self.toolkits[toolkit],
        }
        payload = self.world.release(version, tags)
        self.server.upload(self.world)
        self.world.promote(payload, version, "fast-4.17")

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        return self.machine.tell(self.project, *arguments)

    @property
    def locked(self) -> LockedOpenShift:
        return openshift_of(read_lock(self.project / "versions.lock.yaml"))

    def use_auth_file(self, file: Path) -> None:
        settings = yaml.safe_load((self.project / "versions.yaml").read_text())
        settings["registry"]["auth_files"] = [str(file)]
        (self.project / "versions.yaml").write_text(yaml.safe_dump(settings))


@contextlib.contextmanager
def serve_graph(world: World) -> Iterator[str]:
    """Answer as the update graph does; return its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            content = world.graph(query["channel"][0], query["arch"][0])
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/graph"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def box(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("box")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    lock = Lock(sources={"debian": debian_of(read_lock(project / "versions.lock.yaml"))})
    write_lock(lock, project / "versions.lock.yaml")
    plain = [
        kernel
        for kernel in lock.kernel_versions("debian")
        if kernel.arch is Arch.X86_64 and kernel.variant == "standard"
    ]
    kernels = [[kernel for kernel in plain if kernel.series == series][-1] for series in ("6.1", "6.12")]
    with serve_registry(folder) as server:
        world = World(host=server.host)
        with serve_graph(world) as graph:
            opened = Box(machine, server, world, project, kernels)
            for kernel in kernels:
                _add_images(opened, kernel, debian_of(lock), folder)
            _write_project(project, server, graph)
            yield opened


def _write_project(project: Path, server: RegistryServer, graph: str) -> None:
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    settings["sources"]["openshift"] = {"provider": "openshift", "channels": ["fast-4.17"], "graph": graph}
    settings["registry"] = {"plain_http": [server.host], "auth_files": [str(server.auth_file(project))]}
    settings["groups"] = {"box": {"source": "openshift"}}
    settings["default_group"] = "box"
    settings["drivers"][0]["version"] = "1.7.0"
    settings["build"] = {"boot": "changed"}
    (project / "versions.yaml").write_text(yaml.safe_dump(settings))


def _add_images(box: Box, kernel: KernelVersion, packages: LockedDebian, folder: Path) -> None:
    """Put toolkit and operating system of a kernel into the registry."""
    source = DebianSource(locked=packages, build_arch=Arch.X86_64)
    # A build for Debian brings Debian's toolkit into the store, to be laid out anew.
    box.machine.builder(
        box.project, "build", "--group", "laptop", "--kernel", kernel.raw, "--boot", "never", check=True
    )
    release = json.dumps({"KERNEL_VERSION": kernel.raw, "RT_KERNEL_VERSION": "", "RHEL_VERSION": "9.4"})
    text = _TOOLKIT.format(base=source.toolkit_image(kernel), kernel=kernel.raw, release=release)
    box.toolkits[kernel.raw] = _push(box, text, f"toolkit-{kernel.tag}", folder)
    downloads = Downloads(open_project(box.project).cache_dir / "packages")
    with contextlib.closing(downloads):
        package = downloads.fetch(packages.packages[packages.kernels[kernel].image])
    names = {f"boot/{name}-{kernel.raw}": name for name in ("vmlinuz", "config")}
    modules = folder / "modules"
    modules.mkdir(exist_ok=True)
    (modules / "kernel").mkdir(exist_ok=True)
    for path, content in find_members(package, names.__contains__, most=2).items():
        (modules / names[path]).write_bytes(content)
    text = _OS.format(base=source.base_image(Arch.X86_64), kernel=kernel.raw)
    box.systems[kernel.raw] = _push(box, text, f"os-{kernel.tag}", folder)


def _push(box: Box, containerfile: str, name: str, folder: Path) -> str:
    (folder / "Containerfile").write_text(containerfile)
    local = f"localhost/box/{name.lower()}:1"
    box.machine.buildah(
        "build", "--layers", "--isolation", "chroot", "--pull-never", "--tag", local, "--file", str(folder / "Containerfile"), str(folder)
    )  # fmt: skip
    digest = folder / "digest"
    to = f"docker://{box.server.host}/{CONTENT}:{name.lower()}"
    auth = str(box.server.auth_file(folder))
    box.machine.buildah("push", "--tls-verify=false", "--authfile", auth, "--digestfile", str(digest), local, to)
    box.machine.buildah("rmi", local)
    return f"{box.server.host}/{CONTENT}@{digest.read_text().strip()}"


def test_from_the_graph_to_booted_images(box: Box) -> None:
    """Discover, build, boot: by digest and with a password; then a new release, and an hour in which nothing happens."""
    first, second = (kernel.raw for kernel in box.kernels)
    box.release("4.17.1", toolkit=first, node=first)
    code, found = box.run("discover", "--source", "openshift")
    assert (code, found["problems"]) == (0, [])
    assert found["new_cells"] == [f"ptemplate-1.7.0/{first}"]
    assert 0 < found["bytes_per_release"] < 100_000, "no image is pulled to find out"
    kernel = by_text(box.locked.kernels)[first]
    assert (kernel.toolkit, kernel.image) == (box.toolkits[first], box.systems[first])
    assert [str(state) for state in box.locked.releases["4.17.1-x86_64"].states] == ["complete"]

    code, results = box.run("build", "--group", "box")
    assert code == 0, results
    assert [(cell["cell"], cell["status"]) for cell in results["cells"]] == [(f"ptemplate-1.7.0/{first}", "built")]
    assert results["cells"][0]["boot"]["passed"]
    code, results = box.run("boot", "--group", "box")
    assert (code, results["cells"][0]["status"]) == (0, "booted"), results
    names = box.machine.buildah("images", "--format", "{{.Name}}:{{.Tag}}")
    assert "stage" not in names, "of the operating system, nothing is left in the store"

    code, answer = box.run("upgrade-check", "4.17.1")
    assert (code, answer["ready"]) == (0, True), answer

    box.release("4.17.2", toolkit=second, node=second)
    box.release("4.17.3", toolkit=second, node=first)
    code, report = box.run("nightly", "--group", "box")
    assert (code, report["discovery"]["problems"]) == (0, []), report
    assert report["cells"] == {"built": 1, "skipped": 1}
    assert report["discovery"]["releases_read"] == 2, "what the lock knows is not read again"
    fresh = {row["kernel"]: row for row in report["freshness"]}
    assert fresh[first]["seen"] == "", "it was there before the first look"
    assert 0 < fresh[second]["hours"] < 0.5
    assert [str(state) for state in box.locked.releases["4.17.3-x86_64"].states] == ["toolkit-differs"]

    before = (box.project / "versions.lock.yaml").read_bytes()
    code, report = box.run("nightly", "--group", "box")
    assert (code, report["run"], report["cells"]) == (0, "", {"skipped": 2})
    assert (report["discovery"]["bytes_read"], report["discovery"]["changes"]) == (0, [])
    assert (box.project / "versions.lock.yaml").read_bytes() == before

    code, answer = box.run("upgrade-check", "4.17.3")
    assert code == 0, "keyed on the kernel, 4.17.1's image is the one"


def test_a_wrong_password_keeps_what_is_known_and_says_so(box: Box, tmp_path: Path) -> None:
    if not (box.project / "versions.lock.yaml").read_text().count("4.17.1-x86_64"):
        box.release("4.17.1", toolkit=box.kernels[0].raw, node=box.kernels[0].raw)
        box.run("discover", "--source", "openshift")
    before = box.locked
    box.use_auth_file(box.server.auth_file(tmp_path, "user:wrong"))
    try:
        environment = {"XDG_CACHE_HOME": str(tmp_path)}
        done = box.machine.with_environment(environment).builder(
            box.project, "discover", "--source", "openshift", "--refresh"
        )
        assert done.returncode == 7
        assert "the server refuses access (HTTP 401)" in done.stderr
        assert "the pull secret for it is wrong" in done.stderr
        assert "secret:wrong" not in done.stderr + done.stdout
        assert box.locked.kernels == before.kernels
        assert {release.problem for release in box.locked.releases.values()} == {"unreachable"}
    finally:
        box.use_auth_file(box.server.auth_file(box.project))  # not of this test: the next ones use it
    code, _ = box.run("discover", "--source", "openshift")
    assert (code, box.locked.kernels) == (0, before.kernels)
    assert {release.problem for release in box.locked.releases.values()} == {""}


def test_images_in_a_registry_are_found_there(box: Box, tmp_path: Path) -> None:
    """Exists, absent and unknown are three answers."""
    kernel = box.kernels[0]
    if f"4.17.1-{kernel.arch}" not in box.locked.releases:
        give_up("the release that the first test finds")
    settings = yaml.safe_load((box.project / "versions.yaml").read_text())
    settings["drivers"][0]["image"] = f"{box.server.host}/drivers/ptemplate"
    (box.project / "versions.yaml").write_text(yaml.safe_dump(settings))
    code, answer = box.run("upgrade-check", "4.17.1")
    assert (code, [row["presence"] for row in answer["images"]]) == (18, ["absent"])
    code, report = box.run("nightly")
    assert (code, {row["status"] for row in report["published"]}) == (0, {"published"}), report
    code, answer = box.run("upgrade-check", "4.17.1")
    assert (code, [row["presence"] for row in answer["images"]]) == (0, ["ready"])
    assert answer["images"][0]["digest"] in {row["digest"] for row in report["published"]}
    code, report = box.run("nightly")
    assert (code, {row["status"] for row in report["published"]}, report["run"]) == (0, {"there"}, "")
    box.use_auth_file(box.server.auth_file(tmp_path, "user:wrong"))
    code, answer = box.run("upgrade-check", "4.17.1")
    assert (code, [row["presence"] for row in answer["images"]]) == (18, ["unknown"])
    assert "refuses access" in answer["images"][0]["why"]
