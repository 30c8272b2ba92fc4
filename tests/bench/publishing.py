"""What publishing costs, with a real registry server on this machine: all kernels, nothing to do, and a large audit."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from integration.registry_server import RegistryServer, serve_registry

from bench.large_project import write_large_project
from bench.template import read_settings
from builder.digest import sha256_of
from builder.evidence.records import CellEvidence, CellOutcome, ModuleRecord
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_MANIFEST, dump, make_descriptor
from builder.plan.matrix import Selector
from builder.plan.planning import NO_BOOTS, plan_project
from builder.plan.project import open_project
from builder.publish.attachments import AttachmentWriter
from builder.publish.attest.facts import CellFacts
from builder.publish.attest.statements import CELL_PREDICATES, make_statements
from builder.publish.attester import Attester
from builder.publish.publishable import Statements
from builder.pullspec import parse_pullspec
from builder.registry.access import open_registries
from builder.registry.writer import Uploader
from builder.signing.image_key import open_image_signer

if TYPE_CHECKING:
    from builder.plan.decide import Decision

_ROOT = Path(__file__).parents[2]
_DRIVERS, _KERNELS = 10, 100
_IDLE_RUNS = 5


def measure_publishing(kernel_glob: str) -> dict[str, Any]:
    """Publish every kernel, signed; again with nothing to do; copy the same images with skopeo; audit 1,000 cells."""
    with tempfile.TemporaryDirectory(prefix="kmodsmith-publish-") as scratch:
        return _measure_cells(Path(scratch), kernel_glob) | {"audit": _measure_audit(Path(scratch))}


def _measure_cells(scratch: Path, kernel_glob: str) -> dict[str, Any]:
    folder = scratch / "cells"
    project = folder / "project"
    for name in ("kernel-module", "driver-container"):
        shutil.copytree(_ROOT / name, project / name)
    shutil.copy(_ROOT / "versions.lock.yaml", project)
    with serve_registry(folder) as server:
        _configure(project, _ROOT / "versions.yaml", server)
        select = ("--group", "debian", "--arch", "x86_64", "--kernel", kernel_glob)
        _run(project, "build", *select, "--boot", "never")
        published = _run(project, "publish", *select)
        cells = json.loads(published["out"])["cells"]
        uploads = Counter(re.findall(r"uploads/\S*digest=sha256%3A([0-9a-f]{64})\S* HTTP/1.1\" 201", (folder / "log").read_text()))  # fmt: skip
        base = _base_layer(server, cells)
        idle = [_run(project, "publish", *select)["wall_s"] for _ in range(_IDLE_RUNS)]
        skopeo_s = _copy_with_skopeo(server, folder, cells)
    return {
        "cells": len(cells),
        "server": server.kind,
        "publish_s": published["wall_s"],
        "bytes_sent": sum(cell["bytes_sent"] for cell in cells),
        "blobs_sent_twice": sum(number > 1 for number in uploads.values()),
        "base_uploads": uploads[base],
        "skopeo_copy_s": skopeo_s,
        "ratio_to_skopeo": round(published["wall_s"] / skopeo_s, 2),
        "nothing_to_do_median_s": round(statistics.median(idle), 3),
        "nothing_to_do_slowest_s": round(max(idle), 3),
    }


def _configure(project: Path, versions: Path, server: RegistryServer) -> None:
    """Give a project's drivers repositories, and images a signer."""
    key = project / "images.pem"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)]
    subprocess.run(make, check=True, capture_output=True)
    key.chmod(0o600)
    subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(project / "images.pub")], check=True)
    data = read_settings(versions)
    for driver in data["drivers"]:
        driver["image"] = f"{server.host}/drivers/{driver['name']}"
    data["registry"] = {"plain_http": [server.host], "auth_files": [str(server.auth_file(project))]}
    data["publish"] = {"signer": {"public_key": "images.pub", "key_file": "images.pem"}}
    data["build"] = {"boot": "never"}
    (project / "versions.yaml").write_text(yaml.safe_dump(data))


def _run(project: Path, *arguments: str, cache: Path | None = None) -> dict[str, Any]:
    environment = os.environ | ({"XDG_CACHE_HOME": str(cache)} if cache else {})
    argv = [sys.executable, "-m", "builder", "--project", str(project), *arguments, "--json"]
    started = time.monotonic()
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
    wall_s = round(time.monotonic() - started, 3)
    assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return {"wall_s": wall_s, "out": done.stdout}


def _base_layer(server: RegistryServer, cells: list[dict[str, Any]]) -> str:
    """Return the one layer that all images share."""
    import httpx

    layers = []
    for cell in cells:
        host, _, rest = cell["names"][0].partition("/")
        repository = rest.rpartition(":")[0]
        url = f"http://{host}/v2/{repository}/manifests/{cell['digest']}"
        manifest = httpx.get(url, auth=("user", "secret"), headers={"Accept": OCI_MANIFEST}).json()
        layers.append(manifest["layers"][0]["digest"])
    assert len(set(layers)) == 1, server
    return str(layers[0]).removeprefix("sha256:")


def _copy_with_skopeo(server: RegistryServer, folder: Path, cells: list[dict[str, Any]]) -> float:
    """Time what people write by hand: a loop over images, unsigned, nothing verified."""
    auth = str(server.auth_file(folder))
    started = time.monotonic()
    for number, cell in enumerate(cells):
        target = f"docker://{server.host}/by-hand/ptemplate:{number}"
        argv = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--dest-authfile", auth]
        subprocess.run([*argv, f"containers-storage:{cell['names'][0]}", target], check=True, capture_output=True)
    return round(time.monotonic() - started, 2)


def _measure_audit(scratch: Path) -> dict[str, Any]:
    """Audit 1,000 signed cells: on a machine that never saw them, and again."""
    folder = scratch / "audit"
    project = folder / "project"
    write_large_project(project, drivers=_DRIVERS, kernels=_KERNELS)
    with serve_registry(folder) as server:
        _configure(project, project / "versions.yaml", server)
        _fill(project)
        first = _run(project, "audit", "--group", "all", cache=folder / "fresh-cache")
        again = _run(project, "audit", "--group", "all", cache=folder / "fresh-cache")
        tags = json.loads(first["out"])["tags"]
    assert {row["drift"] for row in tags} == {"none"}
    return {
        "cells": len(tags),
        "server": server.kind,
        "without_cache_s": first["wall_s"],
        "with_cache_s": again["wall_s"],
    }


def _fill(folder: Path) -> None:
    """Put a small image for every cell into the registry, signed and attested by the program's own parts."""
    project = open_project(folder)
    decisions = plan_project(project, Selector(group="all"), boot=NO_BOOTS).plan.decisions
    registry = open_registries(project.config.registry, project.file.parent, folder / "cache").registry
    with closing(registry), open_image_signer(project.config) as signer:
        assert signer is not None
        uploader = Uploader(registry.transport)
        attester = Attester(AttachmentWriter(registry, uploader), signer)
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda decision: _put(uploader, attester, decision), decisions))


def _put(uploader: Uploader, attester: Attester, decision: Decision) -> None:
    name = parse_pullspec(decision.image)
    config, layer = dump({"config": {"Labels": {KEY_LABEL: decision.key}}}), decision.key.encode()
    for content in (config, layer):
        uploader.send_content(name, content)
    manifest = dump(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": make_descriptor("application/vnd.oci.image.config.v1+json", sha256_of(config), len(config)),
            "layers": [make_descriptor("application/vnd.oci.image.layer.v1.tar", sha256_of(layer), len(layer))],
            "annotations": {KEY_LABEL: decision.key},
        }
    )
    digest = sha256_of(manifest)
    cell = decision.cell
    evidence = CellEvidence(
        cell=cell.id, driver=cell.driver, kernel=cell.kernel.raw, key=decision.key, outcome=CellOutcome.BUILT, inputs={},
        run="bench", finished="2026-01-01T00:00:00Z", digest=digest,
        modules=(ModuleRecord(name="demo.ko", sha256="0" * 64, size=1),),
    )  # fmt: skip
    facts = CellFacts(
        evidence=evidence, boot=None, repository=f"{name.host}/{name.repository}", digest=digest, driver_version="1.0.0",
        arch="amd64", vendor="V", description="D", toolkit=(), base=(), builder="urn:bench", builder_version="0", recipe={},
    )  # fmt: skip
    uploader.send_manifest(name.at(digest), manifest, OCI_MANIFEST)
    attester.complete(
        name.at(digest), manifest, [decision.image], CELL_PREDICATES,
        lambda: Statements(by_kind=make_statements(facts), made=evidence.finished),
    )  # fmt: skip
    uploader.send_manifest(name, manifest, OCI_MANIFEST)
