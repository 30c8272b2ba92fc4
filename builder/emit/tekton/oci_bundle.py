"""Tasks and Pipelines as OCI images, for who references them by digest and copies no file. Pure.

Format: Tekton bundle contract v0.1 (tektoncd/pipeline, docs/tekton-bundle-contracts.md): a layer for each object, an
archive of one file, with annotations that say what it is. Equal objects are equal bytes.
"""

from __future__ import annotations

import copy
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.digest import sha256_of
from builder.emit.tekton.pipelines import make_pipelines
from builder.emit.tekton.tasks import make_tasks
from builder.image.manifests import OCI_CONFIG, OCI_MANIFEST, dump, make_descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.emit.tekton.material import TektonFacts

_Dict = dict[str, Any]
# What a resolver reads of one bundle (MaximumBundleObjects of Tekton 1.0 and later).
MOST_OBJECTS = 20
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_SAYS = "dev.tekton.image"
_NO_TIME = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An image: its blobs by what they are, and the manifest that names them."""

    blobs: Sequence[bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        return sha256_of(self.manifest)


def make_bundle(objects: Sequence[Mapping[str, Any]]) -> Bundle:
    """Return a bundle of objects; where they will live, their namespace, is no part of it."""
    archives = [_archive(item) for item in objects]
    layers = [
        make_descriptor(_LAYER, sha256_of(content), len(content)) | {"annotations": _annotate(item)}
        for item, content in zip(objects, archives, strict=True)
    ]
    config = dump(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": _NO_TIME,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": make_descriptor(OCI_CONFIG, sha256_of(config), len(config)),
        "layers": layers,
        "annotations": {"org.opencontainers.image.created": _NO_TIME},
    }
    return Bundle(blobs=[*archives, config], manifest=dump(manifest))


def make_task_bundle(facts: TektonFacts) -> Bundle:
    """Return the bundle of all Tasks."""
    return make_bundle(list(make_tasks(facts).values()))


def make_pipeline_bundle(facts: TektonFacts, tasks: str) -> Bundle:
    """Return the bundle of all Pipelines; their Tasks are those of the bundle ``tasks``, a name by digest."""
    pipelines = [copy.deepcopy(item) for item in make_pipelines(facts).values()]
    for pipeline in pipelines:
        for task in (*pipeline["spec"]["tasks"], *pipeline["spec"].get("finally", [])):
            task["taskRef"] = refer_to(facts, tasks, "task", task["taskRef"]["name"])
    return make_bundle(pipelines)


def refer_to(facts: TektonFacts, bundle: str, kind: str, name: str) -> _Dict:
    """Return the reference to an object of a bundle, which Tekton's resolver fetches with the registry's Secret."""
    params = {"bundle": bundle, "kind": kind, "name": name, "secret": facts.settings.registry_secret}
    return {"resolver": "bundles", "params": [{"name": key, "value": value} for key, value in params.items()]}


def _annotate(item: Mapping[str, Any]) -> dict[str, str]:
    version = item["apiVersion"].rpartition("/")[2]
    name = item["metadata"]["name"]
    return {f"{_SAYS}.apiVersion": version, f"{_SAYS}.kind": item["kind"].lower(), f"{_SAYS}.name": name}


def _archive(item: Mapping[str, Any]) -> bytes:
    metadata = {key: value for key, value in item["metadata"].items() if key != "namespace"}
    content = dump({**item, "metadata": metadata})
    entry = tarfile.TarInfo(item["metadata"]["name"])
    entry.size, entry.mode = len(content), 0o444
    # One file, filled up to whole blocks, and two blocks that end the archive (pax(1), ustar).
    filled = content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)
    return entry.tobuf(tarfile.USTAR_FORMAT) + filled + b"\0" * (2 * tarfile.BLOCKSIZE)
