"""Brings plans and evidence into a registry, and back: OCI artefacts, named by digest, whatever else is there.

A plan has no tag, only its digest: who has that, has the very plan. Evidence is about a plan (its subject), and is
found by a tag that names the plan and who left it, because not every registry lists what refers to something.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.config.model.registry import RegistrySettings
from builder.digest import sha256_of
from builder.errors import FormatError, SourceError, UsageError
from builder.host.places import file_digest
from builder.image.manifests import EMPTY, EMPTY_TYPE, OCI_MANIFEST, dump, make_descriptor, parse_artifact
from builder.pullspec import parse_pullspec
from builder.registry.access import open_registries
from builder.registry.manifest import Descriptor
from builder.registry.writer import Uploader
from builder.shards.document import parse_plan
from builder.shards.evidence import parse_evidence
from builder.shards.snapshot import MOST_BYTES, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.image.manifests import ArtifactManifest, Entry
    from builder.plan.project import Project
    from builder.pullspec import Pullspec
    from builder.registry.reader import Registry
    from builder.shards.document import PlanDocument
    from builder.shards.evidence import ShardEvidence

PLAN_TYPE = "application/vnd.kmodsmith.plan.v1"
EVIDENCE_TYPE = "application/vnd.kmodsmith.evidence.v1"
_JSON, _TAR = "application/json", "application/vnd.oci.image.layer.v1.tar"
_TITLE = "org.opencontainers.image.title"
PLAN_FILE, PROJECT_FILE, EVIDENCE_FILE = "plan.json", "project.tar", "evidence.json"
_LARGEST_TEXT = 64 * 1024**2
GATE = "gate"
_SCHEME = "oci:"
_LARGEST_ARTIFACT_FILES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """A file of an artefact: its name there, its content on disk or in memory."""

    name: str
    content: bytes | Path
    media_type: str = _JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedPlan:
    """A plan that was read and checked: by digest, with its manifest's size, which evidence repeats."""

    name: Pullspec
    size: int
    document: PlanDocument
    project: Entry

    @property
    def subject(self) -> dict[str, object]:
        return make_descriptor(OCI_MANIFEST, self.name.reference, self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEvidence:
    """What a shard left behind, and where that is: by digest."""

    name: Pullspec
    evidence: ShardEvidence


def parse_repository(text: str) -> Pullspec:
    """Return a place for plans; UsageError where it is no repository's name, or names one image."""
    try:
        place = parse_pullspec(f"{text}:plans")
    except FormatError:
        raise UsageError(
            f"{text[:200]!r} is no repository of a registry", hint="write it without tag: quay.io/mycompany/plans"
        ) from None
    if place.host == "localhost":
        raise UsageError("'localhost/...' is this machine's container store, and plans go through a registry")
    return place


def parse_plan_name(text: str) -> Pullspec:
    """Return the name of a plan as ``plan --to`` tells it; UsageError where it is none, or not by digest."""
    try:
        name = parse_pullspec(text.strip().removeprefix(_SCHEME))
    except FormatError:
        name = None
    if name is None or not name.is_pinned:
        raise UsageError(
            f"{text[:200]!r} names no plan",
            hint="give what 'plan --to' told (PLAN_ARTIFACT): oci:REPOSITORY@sha256:...; a tag could be moved",
        )
    return name


def write_name(name: Pullspec) -> str:
    """Return the name of an artefact as pipelines pass it on (trusted artifacts: ``oci:REPOSITORY@DIGEST``)."""
    return f"{_SCHEME}{name}"


def evidence_tag(plan: str, who: str) -> str:
    """Return the tag under which the evidence of a shard, by its number, or of the gate is found."""
    return f"{plan.replace(':', '-')}.{who if who == GATE else f'shard-{who}'}"


class PlanRegistry:
    """Reads and writes plans and what was made of them in one repository.

    Args:
        registry: reads.
        uploader: writes.
        scratch: folder for what is too large for memory.
    """

    def __init__(self, registry: Registry, uploader: Uploader, scratch: Path) -> None:
        self._registry, self._uploader, self._scratch = registry, uploader, scratch

    def push_plan(self, place: Pullspec, document: PlanDocument, project: Path) -> Pullspec:
        """Bring a plan with its project (an archive) into a repository; returns its name by digest.

        Raises:
            SourceError: refused, or no answer.
        """
        content = document.write()
        if len(content) > _LARGEST_TEXT:
            raise UsageError(f"the plan would have {len(content)} bytes, and nobody reads more than {_LARGEST_TEXT}")
        files = [
            ArtifactFile(name=PLAN_FILE, content=content),
            ArtifactFile(name=PROJECT_FILE, content=project, media_type=_TAR),
        ]
        return self._push(place, PLAN_TYPE, files, subject=None)[0]

    def fetch_plan(self, name: Pullspec) -> FetchedPlan:
        """Read a plan; its project comes with ``lay_out_project``.

        Raises:
            SourceGoneError: there is none. SourceError: refused, no answer, or another content than its digest's.
            FormatError: it is no plan.
        """
        content = self._registry.manifest_bytes(name)
        try:
            manifest = parse_artifact(content)
            files = _files_of(manifest, PLAN_TYPE, PLAN_FILE, PROJECT_FILE)
            document = parse_plan(self._read(name, files[PLAN_FILE]))
        except FormatError as error:
            raise FormatError(f"{name}: {error.message}") from None
        return FetchedPlan(name=name, size=len(content), document=document, project=files[PROJECT_FILE])

    def lay_out_project(self, plan: FetchedPlan, folder: Path) -> Path:
        """Write the project of a plan below a folder, unless it is there; returns its root.

        Errors are those of ``fetch_plan``.
        """
        root = folder / plan.name.reference.replace(":", "-")
        if root.is_dir():
            return root
        with self._file() as archive:
            self._registry.save_blob(
                plan.name, Descriptor(plan.project.digest, plan.project.size), archive, largest=MOST_BYTES
            )
            try:
                return lay_out(archive, root)
            except FormatError as error:
                raise FormatError(f"{plan.name}: its project is not as it should be: {error.message}") from None

    def push_evidence(
        self, plan: FetchedPlan, who: str, evidence: ShardEvidence, more: Sequence[ArtifactFile] = ()
    ) -> Pullspec:
        """Leave evidence about a plan, in place of what the same shard left before. Errors: as ``push_plan``."""
        files = [ArtifactFile(name=EVIDENCE_FILE, content=evidence.write()), *more]
        name, manifest = self._push(plan.name, EVIDENCE_TYPE, files, subject=plan.subject)
        self._uploader.send_manifest(plan.name.at(evidence_tag(plan.name.reference, who)), manifest, OCI_MANIFEST)
        return name

    def find_evidence(self, plan: FetchedPlan, who: str) -> FoundEvidence | None:
        """Return what a shard left; None only if the registry says that there is nothing.

        Raises:
            SourceError: refused, or no answer: unknown is not absent (design, rule 4).
            FormatError: what is there is no evidence of it about this plan.
        """
        place = plan.name.at(evidence_tag(plan.name.reference, who))
        content = self._uploader.tags.read_manifest(place)
        if content is None:
            return None
        try:
            evidence = self._read_evidence(plan, place, content)
            _check_about(evidence, plan, who)
        except FormatError as error:
            raise FormatError(f"{place}: {error.message}") from None
        return FoundEvidence(name=place.at(sha256_of(content)), evidence=evidence)

    def read_files(self, found: FoundEvidence, *names: str) -> dict[str, bytes]:
        """Return files that lie beside evidence, by name; those that it does not have are left out.

        Raises: as ``find_evidence``.
        """
        manifest = parse_artifact(self._registry.manifest_bytes(found.name))
        files = _files_of(manifest, EVIDENCE_TYPE, EVIDENCE_FILE)
        return {name: self._read(found.name, files[name]) for name in names if name in files}

    def _read_evidence(self, plan: FetchedPlan, place: Pullspec, content: bytes) -> ShardEvidence:
        manifest = parse_artifact(content)
        files = _files_of(manifest, EVIDENCE_TYPE, EVIDENCE_FILE)
        if manifest.subject is None or manifest.subject.digest != plan.name.reference:
            raise FormatError("it is about something else than this plan")
        return parse_evidence(self._read(place, files[EVIDENCE_FILE]))

    def _push(
        self, place: Pullspec, kind: str, files: Sequence[ArtifactFile], *, subject: Mapping[str, object] | None
    ) -> tuple[Pullspec, bytes]:
        layers = [self._send(place, file) for file in files]
        self._uploader.send_content(place, EMPTY)
        manifest = dump(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": kind,
                "config": make_descriptor(EMPTY_TYPE, sha256_of(EMPTY), len(EMPTY)),
                "layers": layers,
                **({"subject": dict(subject)} if subject else {}),
            }
        )
        name = place.at(sha256_of(manifest))
        self._uploader.send_manifest(name, manifest, OCI_MANIFEST)
        if self._uploader.tags.resolve(name) != name.reference:
            raise SourceError(f"{name}: the registry took the manifest, and does not have it")
        return name, manifest

    def _send(self, place: Pullspec, file: ArtifactFile) -> dict[str, object]:
        if isinstance(file.content, bytes):
            digest, size = sha256_of(file.content), len(file.content)
            self._uploader.send_content(place, file.content)
        else:
            digest, size = _digest_of(file.content), file.content.stat().st_size
            self._uploader.send_blob(place, digest, file.content)
        return {**make_descriptor(file.media_type, digest, size), "annotations": {_TITLE: file.name}}

    def _read(self, name: Pullspec, entry: Entry) -> bytes:
        with self._file() as file:
            self._registry.save_blob(name, Descriptor(entry.digest, entry.size), file, largest=_LARGEST_TEXT)
            return file.read_bytes()

    @contextmanager
    def _file(self) -> Iterator[Path]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="artefact-") as folder:
            yield Path(folder, "blob")


@contextmanager
def open_plan_registry(project: Project, place: Pullspec, *, plain_http: bool = False) -> Iterator[PlanRegistry]:
    """Open the way to the repository of plans.

    The command line names it, so the machine's own pull secret for it is used, also where versions.yaml is not trusted:
    then nothing that versions.yaml says of registries counts. A machine that only fetches has no versions.yaml.

    Raises:
        UsageError: a file of pull secrets is not one.
    """
    known = project.file.is_file() and not project.untrusted
    settings = project.config.registry if known else RegistrySettings()
    if plain_http:
        settings = settings.without_tls(place.host)
    registry = open_registries(settings, project.file.parent, project.cache_dir).registry
    with closing(registry):
        yield PlanRegistry(registry, Uploader(registry.transport), project.work_dir)


def _check_about(evidence: ShardEvidence, plan: FetchedPlan, who: str) -> None:
    if (evidence.plan, evidence.who) != (plan.name.reference, who):
        raise FormatError(f"it says that it is that of {evidence.who!r} about {evidence.plan!r}")


def _files_of(manifest: ArtifactManifest, kind: str, *wanted: str) -> dict[str, Entry]:
    """Return the files of an artefact by name; FormatError where it is of another kind, lacks one, or has it twice."""
    if manifest.kind != kind:
        raise FormatError(f"it is {manifest.kind[:100]!r}, and {kind} is wanted")
    if len(manifest.layers) > _LARGEST_ARTIFACT_FILES:
        raise FormatError(f"it has {len(manifest.layers)} files, more than it may have")
    names = [layer.annotations.get(_TITLE, "") for layer in manifest.layers]
    if len(set(names)) != len(names) or not all(re.fullmatch(r"[a-z][a-z0-9.-]{0,63}", name) for name in names):
        raise FormatError("its files have no names, or the same ones")
    if missing := set(wanted) - set(names):
        raise FormatError(f"it has no {min(missing)}")
    return dict(zip(names, manifest.layers, strict=True))


def _digest_of(file: Path) -> str:
    return f"sha256:{file_digest(file)}"
