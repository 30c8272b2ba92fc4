"""Judges what is to be certified: images of the container store, of an OCI layout or of a registry, and bundles.

Of a registry, a layer that several images share is fetched once; nothing is believed that has not its digest.
"""

from __future__ import annotations

import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build.prove import read_image
from builder.certify.bundle import judge_bundle
from builder.certify.bundle_files import is_bundle, need_whole, read_bundle_folder, read_bundle_of
from builder.certify.container import ImagePlace, judge_image
from builder.components.planning import plan_components
from builder.errors import FormatError
from builder.host.progress import no_progress
from builder.image.contents import LayerCache, read_exported
from builder.image.labels import COMPONENT_LABEL
from builder.plan.decide import Action
from builder.plan.planning import NO_BOOTS, plan_project
from builder.publish.cells import name_cells
from builder.publish.published import LeftOutCell, read_published
from builder.publish.reading import settings_for
from builder.publish.verifier import LARGEST_BLOB
from builder.pullspec import parse_pullspec
from builder.registry.access import open_registries
from builder.registry.tags import Tags
from builder.store.images import hold_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.certify.policies import Certification, Policy
    from builder.components.decide import ComponentSelector
    from builder.host.progress import Progress
    from builder.image.contents import ImageContents
    from builder.plan.matrix import Selector
    from builder.plan.project import Project
    from builder.pullspec import Pullspec
    from builder.registry.manifest import Manifest
    from builder.registry.reader import Registry

REGISTRY = "docker://"
"""What the name of an image begins with that is read out of its registry (containers-transports(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What was judged, and what of the selection was not there to be judged."""

    certifications: tuple[Certification, ...]
    left_out: tuple[LeftOutCell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """Judges images one after another; layers that they share are read once."""

    policy: Policy | None
    layers: LayerCache = field(default_factory=LayerCache)

    def judge(
        self, image: ImageContents, place: ImagePlace, *, project: str = "", tags: Sequence[str] = ()
    ) -> Certification:
        if is_bundle(image) and self.policy is None:
            arch = str(image.config.get("architecture", ""))
            return judge_bundle(read_bundle_of(image), image.name, digest=image.digest, arch=arch, tags=tags)
        return judge_image(image, place, self.policy, project=project or _project_of(image), tags=tags)

    def read_remote(self, registry: Registry, name: Pullspec, manifest: Manifest) -> ImageContents:
        """Read an image of a registry by its digest: its configuration, and those of its layers that are not known."""
        if manifest.config is None:
            raise FormatError(f"{name} is a list of images, and one of them is needed")
        with tempfile.TemporaryDirectory(prefix="certify-") as scratch:
            folder = Path(scratch)
            (folder / "manifest.json").write_bytes(registry.manifest_bytes(name))
            config = registry.blob(name, manifest.config)
            (folder / manifest.config.digest.removeprefix("sha256:")).write_bytes(config)
            for layer in manifest.layers:
                file = folder / layer.digest.removeprefix("sha256:")
                if self.layers.get(layer.digest) is None and not file.exists():
                    registry.save_blob(name, layer, file, largest=LARGEST_BLOB)
            return read_exported(folder, str(name), self.layers)


def _project_of(image: ImageContents) -> str:
    """Return the driver or component that an image says it is."""
    label = image.labels.get(COMPONENT_LABEL, "")
    return label.partition("/")[0].rpartition("-")[0] if label else image.labels.get("name", "")


def certify_named(
    project: Project, names: Sequence[str], bundles: Sequence[Path], *, policy: Policy | None, plain_http: bool
) -> Certified:
    """Judge images by name, and bundles in folders.

    Args:
        project: gives registry settings and credentials; a versions.yaml is not needed.
        names: names in the container store, ``oci:FOLDER``, or ``docker://NAME`` of a registry.
        bundles: folders with ``manifests`` and ``metadata``.
        policy: which one; None for that which fits each image.
        plain_http: speak to the images' registries without TLS.

    Raises:
        UsageError: there is no such image or bundle.
        FormatError: it cannot be read.
        SourceError: a registry refuses, or gives no answer: then nothing is known.
    """
    judge = _Judge(policy=policy)
    found: list[Certification] = []
    for name in names:
        if name.startswith(REGISTRY):
            found += _certify_remote(project, judge, name.removeprefix(REGISTRY), plain_http=plain_http)
        elif name.startswith("oci:"):
            found.append(judge.judge(read_image(name, judge.layers), ImagePlace()))
        else:
            with hold_store():
                contents = read_image(name, judge.layers)
            found.append(judge.judge(contents, _place_of(name), tags=[name]))
    found += [judge_bundle(need_whole(read_bundle_folder(folder)), str(folder)) for folder in bundles]
    return Certified(certifications=tuple(found))


def _place_of(name: str) -> ImagePlace:
    """Return what a name in the container store says; an id says nothing."""
    try:
        place = parse_pullspec(name)
    except FormatError:
        return ImagePlace()
    return ImagePlace(repository=place.repository, tag="" if place.is_pinned else place.reference)


def _certify_remote(project: Project, judge: _Judge, text: str, *, plain_http: bool) -> Iterator[Certification]:
    name = parse_pullspec(text)
    with _open(project, name.host, plain_http=plain_http) as registry:
        manifest = registry.manifest(name)
        all_tags = Tags(registry.transport).list_tags(name) if _depends_on_tags(name) else None
        place = ImagePlace(repository=name.repository, tag="" if name.is_pinned else name.reference, all_tags=all_tags)
        members = [name.at(item.digest) for item in manifest.images.values()] if manifest.is_index else [name]
        if not members:
            raise FormatError(f"{name} is a list of images that names no platform")
        for member in members:
            own = registry.manifest(member)
            contents = judge.read_remote(registry, member.at(own.digest), own)
            yield judge.judge(replace(contents, name=str(member)), place, tags=[] if name.is_pinned else [str(name)])


def read_remote_image(project: Project, name: Pullspec, layers: LayerCache) -> ImageContents:
    """Return an image of a registry by its digest.

    Raises:
        FormatError: it is none, or a list of several.
        SourceError: the registry refuses, or gives no answer.
    """
    with _open(project, name.host, plain_http=False) as registry:
        return _Judge(policy=None, layers=layers).read_remote(registry, name, registry.manifest(name))


def _depends_on_tags(name: Pullspec) -> bool:
    return name.is_pinned or name.reference == "latest"


@contextmanager
def _open(project: Project, host: str, *, plain_http: bool) -> Iterator[Registry]:
    settings = settings_for(project, host, plain_http=plain_http)
    with closing(open_registries(settings, project.file.parent, project.cache_dir).registry) as registry:
        yield registry


def certify_built(
    project: Project,
    selector: Selector | None,
    components: ComponentSelector | None,
    *,
    policy: Policy | None,
    progress: Progress = no_progress,
) -> Certified:
    """Judge what is built of a project, as it lies in the container store; nothing is built for it.

    Args:
        project: its versions.yaml, lock and sources.
        selector: which cells; None for none.
        components: which component images; None for none.
        policy: which one; None for that which fits each image.
        progress: is told how many images were judged.

    Raises:
        FormatError: an image cannot be read.
        CommandError: the container store cannot.
    """
    judge = _Judge(policy=policy)
    wanted, left_out = list_built(project, selector, components)
    found = []
    with hold_store():
        for number, (stored, names, digest, owner) in enumerate(wanted, start=1):
            contents = replace(read_image(stored, judge.layers), name=names[0], digest=digest)
            found.append(judge.judge(contents, _place_of(names[0]), project=owner, tags=names))
            progress(number, len(wanted))
    return Certified(certifications=tuple(found), left_out=tuple(left_out))


_Wanted = tuple[str, tuple[str, ...], str, str]


def list_built(
    project: Project, selector: Selector | None, components: ComponentSelector | None
) -> tuple[list[_Wanted], list[LeftOutCell]]:
    """Return images as name in the store, names for people, digest in registries and owner; and what is not built."""
    wanted: list[_Wanted] = []
    left_out = []
    if selector is not None:
        names = name_cells(project, selector)
        for decision in plan_project(project, selector, boot=NO_BOOTS).plan.decisions:
            if decision.action is Action.SKIP and decision.digest:
                own = names[decision.cell.id].own
                wanted.append((decision.key_image, own, decision.digest, decision.cell.driver))
            elif not decision.is_left_out_for_good:
                left_out.append(LeftOutCell(cell=decision.cell.id, why=decision.explanation))
    if components is not None:
        for item in plan_components(project, components).plan.decisions:
            if item.action is Action.SKIP and item.inputs and item.digest:
                wanted.append((item.inputs.key_image, item.item.names, item.digest, item.item.declaration.name))
            else:
                left_out.append(LeftOutCell(cell=item.item.id, why=item.explanation))
    return wanted, left_out


def certify_published(
    project: Project, selector: Selector, *, policy: Policy | None, progress: Progress = no_progress
) -> Certified:
    """Judge published images of the selected cells, each by its digest as its registry has it.

    Arguments and errors are those of ``certify_built``, and those of ``read_published``.
    """
    judge = _Judge(policy=policy)
    published = read_published(project, selector)
    found = []
    for number, (cell, image) in enumerate(published.cells, start=1):
        name = parse_pullspec(f"{image.repository}@{image.digest}")
        tags = tuple(f"{image.repository}:{tag}" for tag in image.tags)
        with _open(project, name.host, plain_http=False) as registry:
            contents = judge.read_remote(registry, name, registry.manifest(name))
        place = ImagePlace(repository=name.repository, tag=image.tags[0] if image.tags else "")
        found.append(judge.judge(contents, place, project=cell.driver, tags=tags))
        progress(number, len(published.cells))
    return Certified(certifications=tuple(found), left_out=published.left_out)
