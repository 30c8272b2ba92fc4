"""One plan over two machines, each with a store and a work folder of its own, and a registry between them: real tools all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from programs import give_up

from integration.conftest import ROOT, Machine, copy_project, open_machine
from integration.faulty_proxy import FaultyProxy, serve_faults
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.buildah, pytest.mark.archive]

_KERNELS = ("--kernel", "6.12*")
_PATIENCE_S = 600


@dataclass(frozen=True)
class _Relay:
    """A project on a laptop, two machines that have nothing but a registry, and a proxy that can take that away."""

    laptop: Machine
    machines: tuple[Machine, Machine]
    proxy: FaultyProxy
    project: Path

    @property
    def folder(self) -> Path:
        return self.project.parent

    def use(self, version: str, source: str = "") -> None:
        """Declare a version of the driver; ``source`` is put at the head of one of its files."""
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["drivers"][0] |= {"version": version, "image": f"{self.proxy.host}/drivers/ptemplate"}
        settings["registry"] = {"plain_http": [self.proxy.host]}
        settings["publish"] = {"signer": {"public_key": "keys/images.pub", "key_file": str(self.folder / "images.key")}}
        file.write_text(yaml.safe_dump(settings))
        code = next((self.project / "kernel-module").rglob("ptemplate_char*.c"))
        text = code.read_text().partition("/* from here on */\n")
        code.write_text(f"{source}/* from here on */\n{text[2] or text[0]}")

    def plan(self, *more: str) -> dict[str, Any]:
        results = self.folder / "results"
        code, told = self.laptop.tell(
            self.project,
            "plan",
            *_KERNELS,
            "--to",
            f"{self.proxy.host}/plans",
            "--shards",
            "2",
            "--results",
            str(results),
            *more,
        )
        assert code == 0, told
        assert (results / "PLAN_ARTIFACT").read_text() == told["artifact"]
        return dict(told)

    def words(self, number: int, verb: str, plan: str, *more: str) -> list[str]:
        """Return a command as a pod runs it: in an empty folder, with a work folder of its own."""
        empty = self.folder / f"pod-{number}"
        empty.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "builder", "--project", str(empty), "--work-dir", str(empty / "work"), verb]
        return [*command, "--plan", plan, "--plain-http", "--json", *more]

    def run(self, number: int, verb: str, plan: str, *more: str) -> tuple[int, dict[str, Any], str]:
        machine = self.machines[number % 2]
        done = subprocess.run(
            self.words(number, verb, plan, *more), env=machine.environment, text=True, capture_output=True, check=False, timeout=900
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.fixture(scope="module")
def relay(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Relay]:
    if os.geteuid() != 0:
        give_up("root for overlay storage")
    folder = tmp_path_factory.mktemp("relay")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    with (
        serve_registry(folder) as server,
        serve_faults(server.host) as proxy,
        open_machine(tmp_path_factory.mktemp("machine-0")) as first,
        open_machine(tmp_path_factory.mktemp("machine-1")) as second,
    ):
        auth = {"REGISTRY_AUTH_FILE": str(RegistryServer(proxy.host, "proxy").auth_file(folder))}
        ours = [item.with_environment(auth) for item in (machine, first, second)]
        made = ours[0].builder(project, "keys", "create", "--images", "--folder", str(folder))
        assert made.returncode == 0, made.stderr
        yield _Relay(ours[0], (ours[1], ours[2]), proxy, project)


@pytest.fixture
def site(relay: _Relay) -> Iterator[_Relay]:
    yield relay
    relay.proxy.fault = lambda _: False


def _digests(told: dict[str, Any]) -> dict[str, str]:
    return {cell["cell"]: cell["digest"] for cell in told["cells"]}


def _wait_for(site: _Relay, process: subprocess.Popen[bytes], words: str) -> None:
    """Wait until a request of this kind was seen, or the process ended."""
    deadline = time.monotonic() + _PATIENCE_S
    before = len(site.proxy.requests)
    while process.poll() is None and time.monotonic() < deadline:
        if any(words in request for request in site.proxy.requests[before:]):
            return
        time.sleep(0.05)


def test_two_machines_make_what_the_laptop_makes_and_a_kill_costs_little(site: _Relay) -> None:
    site.use("3.0.0")
    planned = site.plan()
    assert [len(shard["cells"]) > 0 for shard in planned["shards"]] == [True, True]
    assert site.plan()["artifact"] == planned["artifact"]
    plan = planned["artifact"]

    process = subprocess.Popen(
        site.words(0, "shard", plan, "--shard", "0", "--jobs", "1"), env=site.machines[0].environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    _wait_for(site, process, "PUT /v2/drivers/ptemplate/manifests/3.0.0-")
    assert process.poll() is None, "it must have been at work"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, told, err = site.run(10, "gate", plan)
    assert code in {17, 20}, told
    assert "shard 0 left no evidence" in err

    code, told, err = site.run(0, "shard", plan, "--shard", "0")
    assert code == 0, err
    code, _, err = site.run(1, "shard", plan, "--shard", "1")
    assert code == 0, err
    code, told, err = site.run(10, "gate", plan)
    assert code == 0, err

    laptop = site.laptop.tell(site.project, "build", *_KERNELS)
    assert laptop[0] == 0
    assert _digests(told) == _digests(laptop[1])
    assert {cell["cell"]: cell["key"] for cell in told["cells"]} == {
        cell["cell"]: cell["key"] for cell in laptop[1]["cells"]
    }
    code, published = site.laptop.tell(site.project, "publish", *_KERNELS)
    assert (code, {cell["status"] for cell in published["cells"]}) == (0, {"there"}), "nothing is left for the laptop"
    image = f"{site.proxy.host}/drivers/ptemplate@{next(iter(_digests(told).values()))}"
    verified = site.laptop.builder(site.project, "verify", image, "--without", "boot", "--without", "module-signature")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_machine_that_has_nothing_makes_nothing_twice(site: _Relay) -> None:
    """After the test before: everything is published, so the plan is empty, and its gate green."""
    site.use("3.0.0")
    told = site.plan()
    assert told["shards"] == []
    assert (site.folder / "results" / "count").read_text() == "0"
    code, told, err = site.run(10, "gate", told["artifact"])
    assert code == 0, err
    assert {cell["status"] for cell in told["cells"]} == {"skipped"}


def test_a_cell_that_does_not_compile_is_told_once_by_the_gate(site: _Relay) -> None:
    site.use(
        "3.0.1", "#include <linux/kconfig.h>\n#if IS_ENABLED(CONFIG_PREEMPT_RT)\n#error not for real time\n#endif\n"
    )
    planned = site.plan()
    plan = planned["artifact"]
    codes = [site.run(number, "shard", plan, "--shard", str(number))[0] for number in range(2)]
    assert sorted(codes) == [0, 11]
    code, told, err = site.run(10, "gate", plan)
    assert code == 11, err
    assert [cell["kernel"] for cell in told["cells"] if cell["status"] == "failed"] == [
        cell["kernel"] for cell in told["cells"] if "-rt-" in cell["kernel"]
    ]
    assert "not for real time" in told["failures"][0]["detail"]
    junit = (site.folder / "pod-10" / "work" / "junit.xml").read_text()
    assert junit.count("<failure") == 1


def test_a_registry_that_goes_away_makes_nothing_green(site: _Relay) -> None:
    site.use("3.0.2")
    plan = site.plan()["artifact"]

    def break_pushes(request: Any) -> bool:
        if request.command != "PUT" or "/drivers/" not in request.path:
            return False
        request.answer(503, b"")
        return True

    def refuse_all(request: Any) -> bool:
        request.answer(503, b"")
        return True

    site.proxy.fault = break_pushes
    code, told, err = site.run(0, "shard", plan, "--shard", "0")
    assert code == 16, err
    site.proxy.fault = refuse_all
    assert site.run(1, "shard", plan, "--shard", "1")[0] == 7
    assert site.run(10, "gate", plan)[0] == 7
    site.proxy.fault = lambda _: False
    code, told, err = site.run(10, "gate", plan)
    assert code not in {0, 1}
    assert {cell["status"] for cell in told["cells"]} == {"failed"}
    for number in range(2):
        code, _, err = site.run(number, "shard", plan, "--shard", str(number))
        assert code == 0, err
    assert site.run(10, "gate", plan)[0] == 0


@contextlib.contextmanager
def _sidecar(site: _Relay, *arguments: str) -> Iterator[tuple[Path, list[str]]]:
    """Serve keys as the sidecar of a pod does; gives the socket, and what it told when it has ended."""
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kms-") as folder:
        place = Path(folder, "sock")
        command = [sys.executable, "-m", "builder", "keys", "serve", "--socket", str(place), *arguments]
        process = subprocess.Popen(
            command, env=site.machines[0].environment, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["serving"] == str(place)
        yield place, told
        process.terminate()
        out, _ = process.communicate(timeout=60)
        told += out.splitlines()
        assert process.returncode == 0


def test_a_sidecar_signs_what_a_shard_builds(site: _Relay) -> None:
    """Neither key lies where versions.yaml says that it does while the shard is at work; the laptop has them there again."""
    site.use("3.0.3")
    made = site.laptop.builder(site.project, "keys", "create", "--folder", str(site.folder))
    assert made.returncode == 0, made.stderr
    key = site.folder / "development.key"
    file = site.project / "versions.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["signers"] = {"vendor": {"certificate": "certificates/development.pem", "key_file": str(key)}}
    settings["groups"]["laptop"]["signers"] = ["vendor"]
    settings["groups"] = {"laptop": settings["groups"]["laptop"]}
    file.write_text(yaml.safe_dump(settings))
    kernel = ("--kernel", "6.12*cloud*")
    code, planned = site.laptop.tell(site.project, "plan", *kernel, "--to", f"{site.proxy.host}/plans")
    assert code == 0, planned
    plan = planned["artifact"]

    code, _, err = site.run(0, "gate", plan)
    assert code == 17
    hidden = {name: name.rename(name.with_suffix(".hidden")) for name in (key, site.folder / "images.key")}
    code, _, err = site.run(0, "shard", plan, "--shard", "0")
    assert (code, "cannot be read" in err) == (9, True), (
        "without a sidecar nothing is signed, and nothing is made unsigned"
    )
    with _sidecar(site, "--key", f"vendor={hidden[key]}", "--images", str(hidden[site.folder / "images.key"])) as (
        place,
        told,
    ):
        machine = site.machines[0].with_environment({"KMODSMITH_KEY_SOCKET": str(place)})
        signing = replace(site, machines=(machine, machine))
        code, shard, err = signing.run(0, "shard", plan, "--shard", "0")
        assert code == 0, err
        code, gate, err = signing.run(10, "gate", plan)
        assert code == 0, err
    for name, place in hidden.items():
        place.rename(name)
    signed = [json.loads(line) for line in told]
    assert {line["signer"] for line in signed if "signed" in line} == {"vendor", "of images"}
    assert not any("refused" in line for line in signed)
    assert key.read_text().splitlines()[1] not in "".join(told)
    laptop = site.laptop.tell(site.project, "build", *kernel)
    assert laptop[0] == 0
    assert _digests(gate) == _digests(shard) == _digests(laptop[1]), "signed elsewhere, and the same bytes"
