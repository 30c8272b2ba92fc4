"""A vendor's project whose pipelines run in the cluster: builder image, registry, git and archive are real, and near.

The project on this side is the laptop: what the cluster makes is compared with what it makes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml

from integration.conftest import ROOT, Machine, copy_project
from integration.kind.certificates import make_image_signer
from integration.kind.client import Client, Refused, wait_until
from integration.kind.served_in_cluster import ARCHIVE, Served

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from integration.kind.registry_in_cluster import Registry

NAMESPACE = "e2e-pipelines"
TEKTON = "tekton.dev/v1"
_AUTHORITIES = "trusted"
_PATIENCE_S = 1500.0
_BUILDER = "builder"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that ended: its condition, how its tasks ended (by name in the pipeline), and its name."""

    name: str
    status: str
    reason: str
    message: str
    tasks: Mapping[str, list[str]]
    results: Mapping[str, str]

    @property
    def is_green(self) -> bool:
        return self.status == "True"


@dataclass(frozen=True, kw_only=True)
class PipelineSite:
    """The project, what stands around it, and the cluster."""

    project: Path
    laptop: Machine
    registry: Registry
    served: Served
    client: Client
    builder: str

    def change(self, **said: Any) -> None:
        """Change ``versions.yaml``: keys of the first driver, or of ``tekton`` and others where their value is a dict."""
        file = self.project / "versions.yaml"
        settings = yaml.safe_load(file.read_text())
        for key, value in said.items():
            if isinstance(value, dict):
                settings[key] = settings.get(key, {}) | value
            else:
                settings["drivers"][0][key] = value
        file.write_text(yaml.safe_dump(settings, sort_keys=False))

    def forget_source(self, name: str) -> None:
        """Take a kernel source out of the project, with the groups that are made of it."""
        for file in (self.project / "versions.yaml", self.project / "versions.lock.yaml"):
            known = yaml.safe_load(file.read_text())
            known["sources"].pop(name, None)
            if "groups" in known:
                known["groups"] = {key: group for key, group in known["groups"].items() if group["source"] != name}
            file.write_text(yaml.safe_dump(known, sort_keys=False))

    def forget_kernel(self, beginning: str) -> str:
        """Take the group's kernel of this name out of the lock, as it was before that appeared; returns the whole lock."""
        file = self.project / "versions.lock.yaml"
        kept = file.read_text()
        known = yaml.safe_load(kept)
        settings = yaml.safe_load((self.project / "versions.yaml").read_text())
        (name,) = [item for item in settings["groups"]["e2e"]["kernels"] if item.startswith(beginning)]
        del known["sources"]["debian"]["kernels"][name]
        file.write_text(yaml.safe_dump(known, sort_keys=False))
        return kept

    def commit(self) -> str:
        """Write the pipelines, commit all, and bring it to where pods fetch it; returns the commit."""
        done = self.laptop.builder(self.project, "emit", "tekton", "--output", str(self.project))
        assert done.returncode == 0, done.stderr
        git = ["git", "-C", str(self.project), "-c", "user.name=e2e", "-c", "user.email=e2e@example.com"]
        git += ["-c", "safe.directory=*"]
        for words in (["add", "--all"], ["commit", "--quiet", "--allow-empty", "--message", "state"]):
            subprocess.run([*git, *words], check=True)
        subprocess.run([*git, "push", "--quiet", "--force", str(self.served.repository), "HEAD:main"], check=True)
        return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    def push(self) -> str:
        """Bring what is in the folder now, and was not emitted, to another branch; returns it."""
        git = ["git", "-C", str(self.project), "-c", "user.name=e2e", "-c", "user.email=e2e@example.com"]
        git += ["-c", "safe.directory=*"]
        subprocess.run([*git, "commit", "--quiet", "--all", "--message", "a change"], check=True)
        subprocess.run([*git, "push", "--quiet", "--force", str(self.served.repository), "HEAD:change"], check=True)
        subprocess.run([*git, "reset", "--quiet", "--hard", "HEAD~1"], check=True)
        return "change"

    def apply(self) -> None:
        """Apply what was emitted, in the order of its kustomization; a webhook on a busy machine may need a second try."""
        folder = self.project / "pipelines"
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
            for item in yaml.safe_load_all((folder / name).read_text()):
                wait_until(partial(self.client.apply, item), what=f"{item['kind']} {item['metadata']['name']}")

    def add_secrets(self) -> None:
        """Make the Secrets and the authorities as docs/tekton.md has people make them."""
        keys = {"images.pem": (self.project.parent / "keys" / "image.pem").read_bytes()}
        auth = {".dockerconfigjson": self.registry.pull_secret.encode()}
        for name, kind, data in (
            ("kmodsmith-registry", "kubernetes.io/dockerconfigjson", auth),
            ("kmodsmith-signing", "Opaque", keys),
        ):
            encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
            self.client.apply(_object("Secret", name) | {"type": kind, "data": encoded})
        bundle = self.registry.authority_file.read_text()
        self.client.apply(_object("ConfigMap", _AUTHORITIES) | {"data": {"ca-bundle.crt": bundle}})

    def start(self, word: str = "build", *, is_strict: bool = True, **params: Any) -> str:
        """Create a run as it was emitted, and return its name; unknown fields are refused, as by kubectl."""
        run = yaml.safe_load((self.project / "pipelines" / "runs" / f"{word}.yaml").read_text())
        run["spec"]["params"] = [
            *(run["spec"].get("params") or []),
            *({"name": key.replace("_", "-"), "value": value} for key, value in params.items()),
        ]
        if is_strict:
            return str(self.client.create(run)["metadata"]["name"])
        answer = self.client.http.post(self.client.path(TEKTON, "PipelineRun", NAMESPACE), json=run)
        assert answer.is_success, answer.text
        return str(answer.json()["metadata"]["name"])

    def start_nightly(self, name: str) -> str:
        """Create the Job of the nightly's CronJob by hand, wait until it started a run, and return the run's name."""
        cron = self.client.get("batch/v1", "CronJob", "kmodsmith-nightly", NAMESPACE)
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NAMESPACE}}
        self.client.create(job | {"spec": cron["spec"]["jobTemplate"]["spec"]})

        def started() -> str:
            chosen = f"batch.kubernetes.io/job-name={name}"
            for pod in self.client.find("v1", "Pod", NAMESPACE, labelSelector=chosen):
                if pod["status"]["phase"] == "Succeeded":
                    said = self.client.text(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/log")
                    return said.strip().rpartition("/")[2]
            return ""

        return wait_until(started, seconds=300, what=f"the run of {name}")

    def start_task(self, task: str, **params: str) -> str:
        """Create a TaskRun as a pipeline would, and return its name."""
        settings = yaml.safe_load((self.project / "pipelines" / "runs" / "build.yaml").read_text())["spec"]
        (lane,) = settings["taskRunSpecs"]
        spec = {
            "taskRef": {"name": task},
            "serviceAccountName": lane["serviceAccountName"],
            "podTemplate": lane["podTemplate"],
            "params": [{"name": key, "value": value} for key, value in params.items()],
        }
        run = {
            "apiVersion": TEKTON,
            "kind": "TaskRun",
            "metadata": {"generateName": f"{task}-", "namespace": NAMESPACE},
        }
        return str(self.client.create(run | {"spec": spec})["metadata"]["name"])

    def plan(self) -> str:
        """Plan on the laptop, and return the plan's name."""
        code, told = self.laptop.tell(self.project, "plan", "--to", f"{self.registry.host}/plans", "--shards", "2")
        assert code == 0, told
        return str(told["artifact"])

    def kill_pod(self, name: str) -> str:
        """Take a pod away without a word to it, as where its node is lost; returns its uid."""
        uid = str(self.client.get("v1", "Pod", name, NAMESPACE)["metadata"]["uid"])
        path = f"{self.client.path('v1', 'Pod', NAMESPACE, name)}?gracePeriodSeconds=0"
        assert self.client.http.request("DELETE", path).is_success
        return uid

    def forget(self, repository: str, tag: str, digest: str) -> None:
        """Have the registry lose an image: its tag, and the manifest."""
        place = (
            self.registry.folder / "data" / "docker" / "registry" / "v2" / "repositories" / repository / "_manifests"
        )
        shutil.rmtree(place / "tags" / tag)
        shutil.rmtree(place / "revisions" / "sha256" / digest.partition(":")[2])

    def wait(self, name: str, *, seconds: float = _PATIENCE_S) -> Run:
        """Wait until a run ended."""

        def ended() -> dict[str, Any] | None:
            found = self.client.get(TEKTON, "PipelineRun", name, NAMESPACE)
            conditions = found.get("status", {}).get("conditions", [])
            return found if conditions and conditions[0]["status"] != "Unknown" else None

        found = wait_until(ended, seconds=seconds, what=f"the end of {name}")
        assert found is not None
        (condition,) = found["status"]["conditions"]
        tasks: dict[str, list[str]] = {}
        for item in self.task_runs(name):
            word = item["metadata"]["labels"]["tekton.dev/pipelineTask"]
            (of_task,) = item["status"]["conditions"]
            tasks.setdefault(word, []).append(of_task["reason"])
        return Run(
            name=name, status=condition["status"], reason=condition["reason"], message=condition["message"], tasks=tasks,
            results={item["name"]: item["value"] for item in found["status"].get("results", [])},
        )  # fmt: skip

    def carry_out(self, word: str = "build", **params: Any) -> Run:
        return self.wait(self.start(word, **params))

    def task_runs(self, name: str, task: str = "") -> list[dict[str, Any]]:
        """Return the TaskRuns of a run, or those of one of its tasks."""
        chosen = f"tekton.dev/pipelineRun={name}" + (f",tekton.dev/pipelineTask={task}" if task else "")
        return self.client.find(TEKTON, "TaskRun", NAMESPACE, labelSelector=chosen)

    def times(self, name: str) -> dict[str, Any]:
        """Return what a run took, for tests/bench/sharding.py: seconds of pods beside their work, and of the work.

        A pod's time is from the creation of its TaskRun to its end; what its shard told of itself is taken off.
        """
        shards = [self._evidence(item) for item in self.task_runs(name, "shards-amd64")]
        rows = [row for _, evidence in shards for row in evidence["cells"]]
        ((plan, _),) = [(_lasted(item), item) for item in self.task_runs(name, "plan")]
        ((gate, _),) = [(_lasted(item), item) for item in self.task_runs(name, "gate")]
        toolkits = [row["timings"].get("toolkit", 0.0) for row in rows]
        return {
            "pod": [round(_lasted(item) - evidence["wall_s"], 1) for item, evidence in shards],
            "toolkit": toolkits,
            "cell": [round(row["duration_s"] - spent, 1) for row, spent in zip(rows, toolkits, strict=True)],
            "plan": plan,
            "gate": gate,
        }

    def _evidence(self, task_run: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        told = {item["name"]: item["value"] for item in task_run["status"]["results"]}
        name = told["EVIDENCE_ARTIFACT"].removeprefix("oci:")
        manifest = json.loads(self.laptop_skopeo("inspect", "--raw", f"docker://{name}").stdout)
        (layer,) = [
            item
            for item in manifest["layers"]
            if item["annotations"]["org.opencontainers.image.title"] == "evidence.json"
        ]
        digest = layer["digest"].partition(":")[2]
        blob = self.registry.folder / "data" / "docker" / "registry" / "v2" / "blobs" / "sha256" / digest[:2] / digest
        return task_run, json.loads((blob / "data").read_text())

    def log(self, name: str, task: str) -> str:
        """Return what the containers of a task said."""
        text = []
        for item in self.task_runs(name, task):
            pod = item["status"].get("podName")
            for step in item["status"].get("steps", []):
                with contextlib.suppress(Refused):
                    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"
                    text.append(self.client.text(path, container=step["container"]))
        return "\n".join(text)

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository of the registry; none where there is no such."""
        done = self.laptop_skopeo("list-tags", f"docker://{self.registry.host}/{repository}")
        return sorted(json.loads(done.stdout)["Tags"]) if done.returncode == 0 else []

    def digest(self, name: str) -> str:
        """Return the digest of an image of the registry."""
        done = self.laptop_skopeo("inspect", "--format", "{{.Digest}}", f"docker://{self.registry.host}/{name}")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def laptop_skopeo(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        known = [f"--cert-dir={self.registry.authority}", f"--authfile={self.registry.auth_file}"]
        return subprocess.run(["skopeo", verb, *known, *words], check=False, capture_output=True, text=True)


def _lasted(task_run: dict[str, Any]) -> float:
    """Return the seconds between the creation of a TaskRun and its end."""
    began = datetime.fromisoformat(task_run["metadata"]["creationTimestamp"])
    return (datetime.fromisoformat(task_run["status"]["completionTime"]) - began).total_seconds()


def _object(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}}


def make_builder_image(
    machine: Machine, lock_text: str, registry: Registry, folder: Path, *, is_locked: bool = False
) -> str:
    """Build kmodsmith's own image by its own verbs, publish it, and return its name by digest.

    The archive is asked for the image's packages, unless the lock has them.
    """
    project = copy_project(folder)
    (project / "versions.lock.yaml").write_text(lock_text)
    shutil.copytree(ROOT / "builder", project / "builder", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", project)
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    components = yaml.safe_load((ROOT / "versions.yaml").read_text())["components"]
    (component,) = [item for item in components if item["name"] == _BUILDER]
    image = f"{registry.host}/vendor/{_BUILDER}"
    settings["components"] = [component | {"arches": ["x86_64"], "image": image}]
    (project / "versions.yaml").write_text(yaml.safe_dump(settings))
    if not is_locked:
        done = machine.builder(project, "discover", "--source", "debian")
        assert done.returncode == 0, done.stderr
    code, results = machine.build(project, "--component", _BUILDER)
    assert code == 0, results
    assert results["components"][0]["self_test"]["outcome"] == "passed"
    inside = replace(machine, prefix=()).with_environment(trusting(registry))
    code, published = inside.tell(project, "publish", "--component", _BUILDER)
    assert code == 0, published
    return f"{image}@{published['components'][0]['digest']}"


def trusting(registry: Registry) -> dict[str, str]:
    """Return the variables by which a machine trusts the registry, and is let in."""
    return {"SSL_CERT_FILE": str(registry.authority_file), "REGISTRY_AUTH_FILE": str(registry.auth_file)}


def make_site(
    machine: Machine,
    lock_text: str,
    registry: Registry,
    served: Served,
    client: Client,
    builder: str,
    folder: Path,
    *,
    kernels: list[str],
) -> PipelineSite:
    """Make a project with the sample driver for a few kernels, and bring its pipelines into the cluster."""
    project = copy_project(folder)
    # Packages are those of the archive, under the address that pods reach: identities are by digest.
    (project / "versions.lock.yaml").write_text(lock_text.replace(ARCHIVE, served.archive))
    settings = yaml.safe_load((project / "versions.yaml").read_text())
    settings["drivers"][0]["image"] = f"{registry.host}/drivers/ptemplate"
    signer = make_image_signer(folder / "keys")
    shutil.copy(signer["public_key"], project / "images.pub")
    settings["publish"] = {"signer": signer | {"public_key": "images.pub"}}
    suites = {"debian": ["bookworm", "bookworm-updates"], "debian-security": ["bookworm-security"]}
    archives = [{"url": f"{served.archive}/{name}", "suites": words} for name, words in suites.items()]
    settings["sources"]["debian"]["archives"] = archives
    settings["groups"]["e2e"] = {"source": "debian", "kernels": kernels}
    settings["default_group"] = "e2e"
    settings["tekton"] = {
        "builder": builder,
        "repository": f"{registry.host}/plans",
        "source": served.source,
        "namespace": NAMESPACE,
        "isolation": "privileged",
        "authorities": _AUTHORITIES,
        "group": "e2e",
        "shards": 2,
        "resources": {"cpu": "500m", "memory": "2Gi", "disk": "10Gi"},
    }
    settings["build"] = settings.get("build", {}) | {"compile_memory": 1536}
    (project / "versions.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (project / ".gitignore").write_text(".kmodsmith/\n")
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    laptop = replace(machine, prefix=()).with_environment(trusting(registry))
    site = PipelineSite(
        project=project, laptop=laptop, registry=registry, served=served, client=client, builder=builder
    )
    site.commit()
    for item in yaml.safe_load_all((project / "pipelines" / "namespace.yaml").read_text()):
        client.apply(item)
    site.add_secrets()
    site.apply()
    return site


def newest(lock_text: str, *patterns: str) -> list[str]:
    """Return the newest kernel of the lock for each pattern of its name."""
    known = sorted(yaml.safe_load(lock_text)["sources"]["debian"]["kernels"], reverse=True)
    return [next(name for name in known if all(word in name for word in pattern.split("*"))) for pattern in patterns]


@contextlib.contextmanager
def without(registry: Registry) -> Iterator[None]:
    """Have no registry until the end of the block; it comes back with all that it had."""
    registry.kill()
    try:
        yield
    finally:
        registry.start()
