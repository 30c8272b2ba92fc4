"""Brings Tasks and Pipelines into a repository, as bundles, by digest: a tag could be moved, and nobody needs one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.emit.tekton.facts import make_tekton_facts
from builder.emit.tekton.oci_bundle import make_pipeline_bundle, make_task_bundle
from builder.errors import SourceError
from builder.image.manifests import OCI_MANIFEST
from builder.registry.access import open_registries
from builder.registry.writer import Uploader

if TYPE_CHECKING:
    from builder.emit.tekton.oci_bundle import Bundle
    from builder.plan.project import Project
    from builder.pullspec import Pullspec


@dataclass(frozen=True, slots=True, kw_only=True)
class SentBundles:
    """Names by digest."""

    tasks: str
    pipelines: str


def send_bundles(project: Project, place: Pullspec, *, plain_http: bool = False) -> SentBundles:
    """Bring both bundles into a repository, and have them there by digest; a second time does nothing.

    Raises:
        UsageError: versions.yaml has no 'tekton'.
        SourceError: the registry refuses, gives no answer, or does not have what it took.
    """
    facts = make_tekton_facts(project.config)
    settings = project.config.registry
    if plain_http:
        settings = settings.without_tls(place.host)
    registry = open_registries(settings, project.file.parent, project.cache_dir).registry
    with closing(registry):
        uploader = Uploader(registry.transport)
        tasks = _send(uploader, place, make_task_bundle(facts))
        pipelines = _send(uploader, place, make_pipeline_bundle(facts, tasks))
    return SentBundles(tasks=tasks, pipelines=pipelines)


def _send(uploader: Uploader, place: Pullspec, bundle: Bundle) -> str:
    for blob in bundle.blobs:
        uploader.send_content(place, blob)
    name = place.at(bundle.digest)
    if uploader.tags.resolve(name) != bundle.digest:
        uploader.send_manifest(name, bundle.manifest, OCI_MANIFEST)
        if uploader.tags.resolve(name) != bundle.digest:
            raise SourceError(f"{name}: the registry took the manifest, and does not have it")
    return str(name)
