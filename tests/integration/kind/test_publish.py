"""The real verbs against the cluster's registry, with TLS of a private authority and a password; nodes pull what was published."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from builder.errors import FailureClass
from integration.conftest import Machine, copy_project
from integration.engines import Engines, build
from integration.kind.certificates import make_image_signer
from integration.kind.client import Client, wait_until
from integration.kind.debian import PROXY_PACKAGES, make_root
from integration.kind.node_image import import_image
from integration.kind.registry_in_cluster import push
from integration.kind.rollout import LABEL
from integration.kind.world import world_around_us

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.kind.cluster import Cluster
    from integration.kind.registry_in_cluster import Registry

pytestmark = pytest.mark.kind
_NAMESPACE = "ptemplate"
_PULL_SECRET = "ptemplate-pull"


@dataclass(frozen=True)
class _Site:
    """A project whose driver goes to the registry; ``machine`` is in the cluster's network, and trusts nobody there."""

    machine: Machine
    project: Path
    registry: Registry

    @property
    def trusting(self) -> Machine:
        return self.machine.with_environment({"SSL_CERT_FILE": str(self.registry.authority_file)})

    def emit(self, *arguments: str) -> dict[str, str]:
        code, emitted = self.trusting.tell(self.project, "emit", *arguments)
        assert code == 0
        files: dict[str, str] = emitted["files"]
        return files

    def use_password(self, content: str) -> None:
        (self.project / "auth.json").write_text(content)


@pytest.fixture(scope="module")
def site(machine: Machine, lock_text: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> _Site:
    """The sample driver, built for one kernel of Debian's archive, which only ``machine`` reaches."""
    folder = tmp_path_factory.mktemp("published")
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    known = yaml.safe_load(lock_text)["sources"]["debian"]["kernels"]
    kernel = next(name for name in sorted(known, reverse=True) if name.startswith("6.12.") and "-cloud-amd64" in name)
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    settings["drivers"][0] |= {
        "image": f"{registry.host}/drivers/ptemplate",
        "kmm": {"selector": {LABEL: "true"}, "pull_secret": _PULL_SECRET},
    }
    settings["registry"] = {"auth_files": ["auth.json"]}
    settings["publish"] = {"signer": make_image_signer(folder / "keys")}
    settings["groups"]["e2e"] = {"source": "debian", "kernels": [kernel]}
    settings["default_group"] = "e2e"
    (project / "versions.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(registry.auth_file, project / "auth.json")
    code, results = machine.build(project)
    assert code == 0, results
    return _Site(replace(machine, prefix=()), project, registry)


@pytest.fixture(scope="module")
def engines() -> Engines:
    """Built beyond the cluster's network, which does not reach Go's modules, where they are not kept."""
    world = world_around_us()
    prefix = world.beyond() if world else ()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*prefix, sys.executable, "-m", "integration.engines"], env=environment, check=True)
    return Engines(build())


@pytest.fixture(scope="module")
def published(site: _Site) -> dict[str, Any]:
    code, results = site.trusting.tell(site.project, "publish")
    assert code == 0, results
    (cell,) = results["cells"]
    found: dict[str, Any] = cell
    return found


def test_publish_wants_an_authority_that_it_knows(site: _Site) -> None:
    assert "certificate" in _why_not(site.machine, site.project)


def _why_not(machine: Machine, project: Path) -> str:
    """Return why the only cell is not published."""
    done = machine.builder(project, "publish", "--json")
    assert done.returncode == FailureClass.PUBLISH.exit_code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_publish_wants_the_password(site: _Site, registry: Registry) -> None:
    site.use_password(json.dumps({"auths": {registry.host: {"auth": "dXNlcjp3cm9uZw=="}}}))
    try:
        assert "refuses access" in _why_not(site.trusting, site.project)
    finally:
        site.use_password(registry.auth_file.read_text())


def test_it_is_published_once(site: _Site, published: dict[str, Any]) -> None:
    code, results = site.trusting.tell(site.project, "publish")
    assert (code, results["cells"][0]["status"], results["cells"][0]["digest"]) == (0, "there", published["digest"])
    code, verified = site.trusting.tell(
        site.project, "verify", published["names"][0], "--without", "boot", "--without", "module-signature"
    )
    assert (code, verified["digest"]) == (0, published["digest"])


@pytest.fixture(scope="module")
def client(cluster: Cluster, registry: Registry, site: _Site, published: dict[str, Any]) -> Iterator[Client]:
    """The driver's namespace with its pull secret, as ``emit kmm`` writes them."""
    files = site.emit("kmm", "--flavour", "upstream")
    namespace = yaml.safe_load(files["ptemplate/00-namespace.yaml"])
    cluster.client.apply(namespace)
    for secret in yaml.safe_load_all(files["ptemplate/20-secrets.example.yaml"]):
        secret["stringData"] = {".dockerconfigjson": registry.pull_secret}
        cluster.client.apply(secret)
    yield cluster.client
    cluster.client.delete(namespace)


def test_nodes_pull_by_digest_what_was_published(
    cluster: Cluster, client: Client, site: _Site, published: dict[str, Any]
) -> None:
    """The image that the Module names, on each node, with the modules of the kernel that it is for."""
    index = json.loads(site.emit("kmm", "--flavour", "upstream")["ptemplate/images.json"])
    ((kernel, entry),) = index["kernels"].items()
    assert entry["image"] == f"{site.registry.host}/drivers/ptemplate@{published['digest']}"
    for number, node in enumerate(cluster.nodes):
        pod = _pod(f"pulls-{number}", node, entry["image"], f"ls /opt/lib/modules/{kernel}/extra")
        client.apply(pod)
        wait_until(lambda pod=pod: _phase(client, pod) == "Succeeded", seconds=120, what="the pull")  # type: ignore[misc]
        assert {"ptemplate_core.ko", "ptemplate_char.ko"} <= set(_log(client, pod).split())
        (state,) = client.get("v1", "Pod", pod["metadata"]["name"], _NAMESPACE)["status"]["containerStatuses"]
        assert published["digest"] in state["imageID"]


def test_nodes_do_not_pull_without_the_secret(
    cluster: Cluster, client: Client, published: dict[str, Any], site: _Site
) -> None:
    image = f"{site.registry.host}/drivers/ptemplate@{published['digest']}"
    pod = _pod("no-secret", cluster.nodes[0], image, "true")
    del pod["spec"]["imagePullSecrets"]
    client.apply(pod)
    wait_until(lambda: _waits_for(client, pod) in {"ErrImagePull", "ImagePullBackOff"}, what="that it is refused")
    client.delete(pod)


def test_nfd_gets_the_modules_of_this_registry(site: _Site, published: dict[str, Any]) -> None:
    rule = yaml.safe_load(site.emit("nfd", "--flavour", "upstream")["ptemplate/nodefeaturerule.yaml"])
    assert rule["spec"]["rules"][0]["labels"] == {LABEL: "true"}
    (fits,) = rule["spec"]["rules"][0]["matchAny"]
    assert fits["matchFeatures"][0]["feature"] == "pci.device"
    assert published["kernel"].replace("+", "_") in json.dumps(rule)


@pytest.fixture(scope="module")
def unsigned(cluster: Cluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Something of somebody who may write into the same repository, and has no key."""
    assert cluster.world is not None
    folder = tmp_path_factory.mktemp("unsigned")
    image = import_image(
        cluster.world,
        "kmodsmith-e2e-unsigned:1",
        {},
        base=make_root("extract", PROXY_PACKAGES),
        links={"bin/sh": "bash"},
    )
    archive = folder / "unsigned.tar"
    cluster.world.docker("save", f"--output={archive}", image)
    return f"{registry.host}/drivers/ptemplate@{push(registry, archive, 'drivers/ptemplate:unsigned')}"


def test_the_policy_takes_what_was_published_and_nothing_else(
    site: _Site,
    published: dict[str, Any],
    unsigned: str,
    engines: Engines,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By containers/image, the engine of podman and CRI-O, with the files as they are emitted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(site.registry.authority_file))
    policy, registries = _write_policy(site, tmp_path)
    asked = [published["names"][0], unsigned]
    answers = engines.judge(policy, registries, site.registry.auth_file, *asked)
    assert [answer["allowed"] for answer in answers] == [True, False], answers
    assert "no signature exists" in answers[1]["why"]


def test_containerd_of_these_nodes_asks_no_policy(
    cluster: Cluster, client: Client, site: _Site, unsigned: str, tmp_path: Path
) -> None:
    """What the policy refuses runs there, with the policy in its place: containerd reads none. docs/e2e.md says so."""
    assert cluster.world is not None
    policy, registries = _write_policy(site, tmp_path)
    node = cluster.nodes[-1]
    cluster.world.docker("cp", policy, f"{node}:/etc/containers/policy.json")
    cluster.world.docker("cp", registries, f"{node}:/etc/containers/registries.d")
    pod = _pod("unsigned", node, unsigned, "echo runs")
    try:
        client.apply(pod)
        wait_until(lambda: _phase(client, pod) == "Succeeded", seconds=120, what="what nobody refused")
        assert _log(client, pod) == "runs\n"
        # Its own way since 2.0 is a program in this folder, asked of images that the transfer service pulls. kind's
        # configuration (discard_unpacked_layers) has images pulled past that service, so there is nobody to ask.
        listed = cluster.world.run("docker", "exec", node, "ls", "/opt/containerd/image-verifier/bin", check=False)
        assert listed.returncode != 0, "nodes have a verifier: say what it does of this image"
    finally:
        client.delete(pod)
        cluster.world.docker("exec", node, "rm", "-rf", "/etc/containers/policy.json", "/etc/containers/registries.d")


def _write_policy(site: _Site, folder: Path) -> tuple[Path, Path]:
    files = site.emit("policy")
    registries = folder / "registries.d"
    registries.mkdir()
    (registries / "vendor.yaml").write_text(files["registries.d.yaml"])
    policy = folder / "policy.json"
    policy.write_text(files["policy.json"])
    return policy, registries


def _pod(name: str, node: str, image: str, script: str) -> dict[str, Any]:
    spec = {
        "nodeName": node,
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": image, "imagePullPolicy": "Always", "command": ["sh", "-c", script]}],
        "imagePullSecrets": [{"name": _PULL_SECRET}],
        "tolerations": [{"operator": "Exists"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": _NAMESPACE}, "spec": spec}


def _phase(client: Client, pod: dict[str, Any]) -> str:
    return str(client.get("v1", "Pod", pod["metadata"]["name"], _NAMESPACE)["status"]["phase"])


def _waits_for(client: Client, pod: dict[str, Any]) -> str:
    found = client.get("v1", "Pod", pod["metadata"]["name"], _NAMESPACE)
    (state,) = found["status"]["containerStatuses"]
    return str(state["state"].get("waiting", {}).get("reason", ""))


def _log(client: Client, pod: dict[str, Any]) -> str:
    return client.text(f"/api/v1/namespaces/{_NAMESPACE}/pods/{pod['metadata']['name']}/log")
