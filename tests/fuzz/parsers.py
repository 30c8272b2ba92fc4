"""Every parser of what others wrote: good samples of its input, how hostile ones are made of them, and how it is run."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import functools
import gzip
import hashlib
import io
import json
import lzma
import re
import shlex
import sqlite3
import struct
import tarfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from fakes.bundle import CRD_FILE, CSV_FILE, bundle_files
from fakes.components import make_component_evidence
from fakes.git import copy_step, delta, insert_step
from fakes.nfd_facts import PCI_ALIASES, STRANGE_ALIASES, USB_ALIASES, nfd_facts
from fakes.operator_facts import operator_facts
from fakes.project import KERNELS, VERSIONS_YAML, make_source
from fakes.registry import FakeRegistry, digest_of, pretend_registry
from fakes.samples import FACT_FILES, KERNEL, LABELS, SYMVERS, Sample
from fakes.wheels import PURE, make_wheel
from kmod_operator.deviceplugin.checkpoint import read_checkpoint
from kmod_operator.devices.model import is_device_id
from kmod_operator.devices.ptemplate import PtemplateDevices
from kmod_operator.dra.claims import ClaimError, ClaimName, read_allocation
from kmod_operator.dra.pool import Pool, plan_writes, slice_name
from kmod_operator.index.reading import IndexProblem, read_index
from kmod_operator.index.registry import FetchError, check_secret, find_blob
from kmod_operator.rollout.template import TemplateError, read_templates
from pydantic import ValidationError

from builder.boot.bzimage import unpack_kernel
from builder.boot.console import Transcript
from builder.boot.devices import DEVICES, claim_devices
from builder.boot.load_order import LoadOrder, ModuleFacts, ModuleIndex, read_modprobe_files
from builder.boot.qmp import Conversation
from builder.boot.script import OwnModule, make_script
from builder.boot.secure_boot import read_kernel_signers
from builder.boot.verdict import Ending, judge_boot
from builder.certify.bundle import judge_bundle
from builder.certify.bundle_files import make_bundle
from builder.certify.checklist import read_checklist
from builder.components.wheel_lock import read_wheel_lock
from builder.components.wheels import Wheel, unpack_wheels
from builder.config.load import load_config
from builder.config.model.boot import AllowedMessage, BootTest
from builder.config.model.driver import Driver
from builder.config.pkcs11_uri import parse_pkcs11_uri
from builder.config.tag_rules import check_tag_rule, image_names
from builder.config.yamlfile import read_documents
from builder.drivers.dkms import read_dkms_conf
from builder.drivers.git_formats import apply_delta, choose_remote, parse_commit_tree, parse_settings, parse_tree
from builder.drivers.git_objects import ObjectStore
from builder.emit.kmm.lint import choose_images, lint
from builder.emit.kmm.version import Flavour, KmmVersion
from builder.emit.nfd.facts import parse_modules_alias
from builder.emit.nfd.files import emit_nfd
from builder.emit.operator.templates import make_templates
from builder.errors import Failure, FailureClass, FormatError, KmodsmithError, LockFileError
from builder.evidence.clusters import cluster
from builder.evidence.compile_log import classify_compile_log
from builder.evidence.journal import Journal
from builder.evidence.records import (
    BootEvidence,
    CellEvidence,
    CellOutcome,
    ComponentEvidence,
    FileRecord,
    ModuleRecord,
    PublishEvidence,
    WheelRecord,
)
from builder.host.masking import mask_secrets
from builder.host.run import Command
from builder.image.contents import ImageContents, LayerCache, list_modules, read_exported, read_oci_layout
from builder.image.contract import check_certified, check_packages
from builder.image.depmod import check_depmod_data
from builder.image.layer import read_layer_files
from builder.image.leaks import find_leaks
from builder.image.manifests import OCI_MANIFEST, make_artifact, make_index, parse_artifact, parse_index, referrer_of
from builder.image.overlay import ImageFile
from builder.image.rpm_database import read_rpm_packages
from builder.init.draft import emit_config
from builder.init.guess import draft_driver
from builder.init.known import Wish
from builder.init.look import SourceLook
from builder.kernel import Arch, parse_kernel_version
from builder.kmod.kernel_facts import evaluate_vermagic
from builder.kmod.kernel_object import read_kernel_object
from builder.kmod.packing import unpack_module
from builder.kmod.signature import append_signature, parse_certificate, split_signature
from builder.kmod.symvers import KernelSymbols
from builder.publish.airgap import AirgapLoader, _unpack
from builder.publish.attest.attached import attach_statement, make_attestation_image, parse_attestation_image
from builder.publish.attest.bundle import (
    make_statement,
    open_bundle,
    open_envelope,
    rewrite_envelope,
    sign_envelope,
    sign_statement,
)
from builder.publish.attest.component_statements import (
    ComponentFacts,
    make_component_provenance,
    make_component_test_result,
)
from builder.publish.attest.simple_signing import (
    ImageSignature,
    make_payload,
    make_signature_image,
    parse_payload,
    parse_signature_image,
)
from builder.publish.attester import read_bundled
from builder.publish.index_document import INDEX_TYPE, LARGEST_INDEX, find_envelope, open_index, read_made, read_payload
from builder.publish.reading import read_tag
from builder.publish.verifier import Verifier
from builder.pullspec import parse_pullspec
from builder.registry.credentials import Credentials
from builder.registry.tags import Tags
from builder.registry.writer import Uploader
from builder.show.lint import emit_choices, emit_lint, emit_lint_json
from builder.show.matrix import emit_kernel_table, emit_release_table
from builder.show.proof import emit_signing_log
from builder.signing.backends.key import KeyRequest
from builder.signing.backends.table import choose_backend
from builder.signing.certificates import SignerIdentity, check_certificate, may_sign_code
from builder.signing.log import SigningLog
from builder.signing.public_key import parse_public_key
from builder.sources.debian.apt import Apt
from builder.sources.debian.deb import find_members, read_members
from builder.sources.kernel_files import read_kernel_facts
from builder.sources.listing import View, list_kernels, list_notes, list_releases
from builder.sources.lock import Lock
from builder.sources.lock_file import format_lock, read_lock
from builder.sources.openshift.payload import (
    kernel_of_labels,
    parse_extensions,
    parse_graph,
    parse_labels,
    parse_package_list,
    parse_toolkit_release,
)
from builder.sources.openshift.payload import parse_payload as parse_release_payload
from builder.sources.provider import Opening
from builder.sources.release import ReleaseState
from builder.sources.table import PROVIDERS
from builder.store.cached_compiler import check_entry, read_statistics
from builder.store.compile_cache import read_list
from builder.store.compiled import CompiledResults
from fuzz import mutate

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from builder.registry.reader import Registry

_TESTS = Path(__file__).parent.parent
_DATA = _TESTS / "data"
_HERE = Path(__file__).parent
_NAME = parse_pullspec("quay.test/org/drv:1")
_PIN = "quay.test/a/b@sha256:" + "1" * 64
_DIGEST = "sha256:" + "2" * 64
_X86 = "5.14.0-427.68.1.el9_4.x86_64"
_KERNEL = parse_kernel_version(KERNEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """What takes hostile bytes. ``run`` gets them and an empty folder; a KmodsmithError is a good answer."""

    name: str
    samples: Callable[[], Sequence[bytes]]
    make: Callable[[random.Random, Sequence[bytes]], bytes]
    run: Callable[[bytes, Path], object]


def _dump(*data: object) -> Callable[[], Sequence[bytes]]:
    return lambda: [json.dumps(item).encode() for item in data]


def _files(*patterns: str) -> Callable[[], Sequence[bytes]]:
    @functools.cache
    def read() -> Sequence[bytes]:
        return [file.read_bytes() for pattern in patterns for file in sorted(_DATA.glob(pattern))]

    return read


def _json(name: str, run: Callable[[bytes, Path], object], *samples: object) -> Parser:
    return Parser(name=name, samples=_dump(*samples), make=mutate.json_input, run=run)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


# Registries


def _descriptor(content: bytes = b"x", **more: object) -> dict[str, Any]:
    kind = "application/vnd.oci.image.layer.v1.tar"
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content), **more}


_MANIFEST = {
    "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": _descriptor(b"{}"), "layers": [_descriptor(), _descriptor(b"y")],
    "annotations": {"io.kmodsmith.cell.key": "k" * 64}, "subject": _descriptor(), "artifactType": "application/x",
}  # fmt: skip
_INDEX = {
    "schemaVersion": 2,
    "manifests": [
        _descriptor(platform={"os": "linux", "architecture": "amd64"}, annotations={"a": "b"}, artifactType="t"),
        _descriptor(b"y", platform={"os": "linux", "architecture": "arm64", "variant": "v8"}),
    ],
}
_CONFIG = {
    "architecture": "amd64", "os": "linux", "config": {"Labels": {**LABELS, "ostree.linux": _X86}, "Env": ["PATH=/bin"]},
    "rootfs": {"type": "layers", "diff_ids": [_DIGEST]}, "history": [{"created_by": "x"}],
}  # fmt: skip
_GOOD = json.dumps(_MANIFEST).encode()


class _Server:
    """A registry that gives these answers, each once, and then says 404."""

    def __init__(self, *answers: httpx.Response) -> None:
        self._answers = list(answers)

    def __call__(self, _: httpx.Request) -> httpx.Response:
        answer = self._answers.pop(0) if self._answers else httpx.Response(404)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))


def _registry(folder: Path, *answers: httpx.Response) -> Registry:
    secrets = folder / "auth.json"
    secrets.write_text('{"auths": {"quay.test": {"auth": "dTpw"}}}')
    return pretend_registry(_Server(*answers), folder / "cache", secrets)


def _ok(content: bytes) -> httpx.Response:
    return httpx.Response(200, content=content)


def _challenge(value: bytes = b'Bearer realm="https://quay.test/token",service="s"') -> httpx.Response:
    return httpx.Response(401, headers=[(b"WWW-Authenticate", value)])


def _run_manifest(data: bytes, folder: Path) -> None:
    registry = _registry(folder, _ok(data))
    manifest = registry.manifest(_NAME)
    _registry(folder).image(_NAME.at(manifest.digest), "amd64")


def _run_headers(data: bytes, folder: Path) -> None:
    """Lines of headers as those of every answer, with a status in the first line; all kinds of requests."""
    first, *lines = data.split(b"\n")
    status = int(first) if first.isdigit() and 100 <= int(first[:4]) < 600 else 202
    headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    headers = [(name, value) for name, value in headers if re.fullmatch(rb"[A-Za-z-]+", name)]
    answers = [httpx.Response(status, headers=headers, content=b'{"tags": ["a"]}') for _ in range(4)]
    blob = folder / "blob"
    blob.write_bytes(b"content")
    digest = digest_of(b"content")
    requests: list[Callable[[Uploader, Registry], object]] = [
        lambda uploader, _: uploader.tags.list_tags(_NAME),
        lambda uploader, _: uploader.tags.read_referrers(_NAME.at(_DIGEST)),
        lambda uploader, _: uploader.send_manifest(_NAME, b"{}", OCI_MANIFEST),
        lambda uploader, _: uploader.send_blob(_NAME, digest, blob),
        lambda _, registry: registry.manifest(_NAME),
    ]
    problems: list[Exception] = []
    for request in requests:
        registry = (
            _registry(folder, httpx.Response(404), *answers) if request is requests[3] else _registry(folder, *answers)
        )
        try:
            request(Uploader(registry.transport), registry)
        except KmodsmithError as error:
            problems.append(error)
    if problems:
        raise problems[len(data) % len(problems)]


def _run_referrers(data: bytes, folder: Path) -> None:
    """A list of referrers, each of which is an artefact that this very data is, too."""
    server = FakeRegistry()
    server.faults.append(lambda request: _ok(data) if "/referrers/" in request.url.path else None)
    server.manifests |= {("org/drv", digest_of(b"x")): data, ("org/drv", digest_of(b"y")): data}
    _, _, attachments = server.open(folder / "cache")
    image = _NAME.at(_DIGEST)
    read_bundled(attachments, image, attachments.referrers(image), [_key()])


def _run_artifact(data: bytes, folder: Path) -> None:
    parse_artifact(data)
    referrer_of(data)
    server = FakeRegistry()
    listed = make_index([{"mediaType": OCI_MANIFEST, "digest": digest_of(data), "size": len(data)}])
    server.faults.append(lambda request: _ok(listed) if "/referrers/" in request.url.path else None)
    server.manifests["org/drv", digest_of(data)] = data
    _, _, attachments = server.open(folder / "cache")
    attachments.referrers(_NAME.at(_DIGEST))


def _run_tag(data: bytes, folder: Path) -> None:
    """A tag whose configuration is the data."""
    server = FakeRegistry()
    config = server.put_blob("org/drv", data)
    server.put_manifest("org/drv", {"mediaType": OCI_MANIFEST, "config": config, "layers": []}, "1")
    registry, uploader, _ = server.open(folder / "cache")
    read_tag(registry, uploader.tags, _NAME)
    labels, _ = parse_labels(data)
    kernel_of_labels(labels, Arch.X86_64)


def _run_auth_file(data: bytes, folder: Path) -> None:
    (folder / "auth.json").write_bytes(data)
    Credentials([folder / "auth.json"]).find(_NAME)


# What is signed


@functools.cache
def _private() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0xC0FFEE, ec.SECP256R1())  # no secret: for samples only


@functools.cache
def _public_pem() -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _private().public_key().public_bytes(serialization.Encoding.PEM, form)


@functools.cache
def _key() -> Any:
    return parse_public_key(_public_pem())


def _sign(content: bytes) -> bytes:
    return _private().sign(content, ec.ECDSA(hashes.SHA256()))


def _bundle(statement: bytes) -> bytes:
    return sign_statement(statement, _key(), _sign)


_STATEMENT = make_statement("quay.test/org/drv", _DIGEST, "https://slsa.dev/provenance/v1", {"a": {"b": 1}})
_PREDICATE = {
    "buildDefinition": {
        "buildType": "urn:kmodsmith:build:cell:1", "externalParameters": {"kernel": KERNEL, "arch": "amd64"},
        "internalParameters": {"cellKey": "", "toolkitId": ""},
    },
    "runDetails": {"builder": {"id": "urn:b"}},
    "components": [{"type": "device-driver", "name": "a.ko", "hashes": [{"alg": "SHA-256", "content": "0" * 64}]}],
    "result": "PASSED", "passedTests": ["fit", "module-signature", "boot"], "failedTests": [],
    "configuration": [{"name": "fit", "annotations": {"kernel": KERNEL}}],
}  # fmt: skip


def _run_predicate(data: bytes, folder: Path) -> None:
    """What a signed statement says, read as each of the three kinds that ``verify`` looks into."""
    server = FakeRegistry()
    statement = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "x",
            "subject": [{"name": "n", "digest": {"sha256": "0" * 64}}],
        }
    )
    found = open_bundle(_bundle(statement[:-1].encode() + b', "predicate": ' + data + b"}"), [_key()])

    class Stub(Verifier):
        def _open(self, image: Any, predicate: str) -> Any:
            return found

    registry, _, attachments = server.open(folder)
    verifier = Stub(registry, attachments, [_key()])
    contents = _contents({"opt/lib/modules/k/a.ko": b"x"})
    image = _NAME.at(_DIGEST)
    verifier._look(image, "x", lambda: verifier._verify_provenance(image, contents, "linux/amd64"))
    verifier._look(image, "x", lambda: verifier._verify_sbom(image, contents))
    verifier._look(image, "x", lambda: verifier._verify_tests(image, contents))
    _raise_first([check.finding for check in verifier._checks if not check.passed])


def _raise_first(findings: Sequence[str]) -> None:
    if findings:
        raise FormatError(findings[0])


def _signature_image() -> bytes:
    made = [
        ImageSignature(digest_of(b"p"), 1, b"signature", (("a", "b"),)),
        ImageSignature(digest_of(b"q"), 1, b"other"),
    ]
    return make_signature_image(made)[0]


def _attestation_image() -> bytes:
    return make_attestation_image([attach_statement("https://kind", content) for content in (b"p", b"q")])[0]


def _contents(files: dict[str, bytes]) -> ImageContents:
    kept = {
        path: ImageFile(path=path, mode=0o644, size=len(content), is_file=True, content=content)
        for path, content in files.items()
    }
    return ImageContents(name="x", digest=_DIGEST, config=_CONFIG, layers=(), files=kept)


# Files of the project and the work folder


def _journal() -> Sequence[bytes]:
    module = ModuleRecord(name="a.ko", sha256="0" * 64, size=1, aliases=("pci:*",), depends=("b",))
    failure = Failure(failure_class=FailureClass.COMPILE, code="c", detail="d")
    cell = CellEvidence(
        cell="c", driver="d", kernel=KERNEL, key="k", outcome=CellOutcome.BUILT, inputs={"a": "b"}, run="r", finished="f",
        timings={"compile": 1.5}, modules=(module,), firmware=(FileRecord(path="p", sha256="0", size=1),), signers=("s",),
        failure=failure,
    )  # fmt: skip
    boot = BootEvidence(
        cell="c", key="k", digest=_DIGEST, passed=True, run="r", finished="f", mode="secure", acceleration="tcg",
        enrolled="e", signed_by="signers", seconds=1.0, refusals=("x",), allowed=("y",),
    )  # fmt: skip
    publish = PublishEvidence(cell="c", key="k", name="n", digest=_DIGEST, run="r", finished="f")
    rows: list[dict[str, Any]] = [
        {"type": "cell", **asdict(cell)},
        {"type": "boot", **asdict(boot)},
        {"type": "publish", **asdict(publish)},
        {"type": "component", **asdict(make_component_evidence(failure=failure))},
    ]
    return [b"\n".join(json.dumps(row).replace('{"type": "', '{"type":"', 1).encode() for row in rows)]


def _component_facts(evidence: ComponentEvidence) -> ComponentFacts:
    return ComponentFacts(
        evidence=evidence, repository="quay.test/a/b", digest=_DIGEST, name="n", version="1", arch="amd64", vendor="V",
        description="D", containerfile="c", target="", base=(), build=(), builder="urn:b", builder_version="0",
    )  # fmt: skip


def _run_journal(data: bytes, folder: Path) -> None:
    (folder / "journal.jsonl").write_bytes(data)
    journal = Journal(folder / "journal.jsonl")
    for cell in journal.cells.values():
        assert all(isinstance(item, str) for item in (cell.cell, cell.kernel, cell.digest, *cell.inputs.values()))
        assert all(isinstance(module.name, str) for module in cell.modules)
        str(cell.failure.failure_class if cell.failure else "")
        sum(cell.timings.values())
    for boot in journal.boots.values():
        assert isinstance(boot.passed, bool)
        ", ".join(boot.refusals + boot.allowed)
    for image in journal.components.values():
        make_component_test_result(_component_facts(image))
        make_component_provenance(_component_facts(image))
        str(image.failure.failure_class if image.failure else "")
        sum(image.timings.values())
    for name, published in journal.published.items():
        assert isinstance(published.digest + name, str)
    journal.note("began", x=1)
    Journal(folder / "journal.jsonl")


_ENTRY = {
    "time": "2026-01-01T00:00:00Z", "run": "r", "cell": "c", "module": "a.ko", "algorithm": "sha256", "digest": "0" * 64,
    "signed_sha256": "0" * 64, "signer": "s", "certificate": "0" * 64, "development": "no", "previous": "0" * 64,
}  # fmt: skip


def _run_signing_log(data: bytes, folder: Path) -> None:
    (folder / "log").write_bytes(_chained(data))
    emit_signing_log(SigningLog(folder / "log").read())


def _chained(data: bytes) -> bytes:
    """Repair the chain where lines are objects, so that hostile entries are reached."""
    previous, lines = "0" * 64, []
    for line in data.splitlines():
        repaired = re.sub(rb'"previous": ?"[0-9a-f]*"', b'"previous":"%b"' % previous.encode(), line)
        lines.append(repaired)
        previous = hashlib.sha256(repaired).hexdigest()
    return b"\n".join(lines) + b"\n"


@functools.cache
def _locks() -> Sequence[bytes]:
    debian = format_lock(Lock(sources={"debian": make_source(*KERNELS)})).encode()
    whole = yaml.load((_TESTS.parent / "versions.lock.yaml").read_bytes(), Loader=yaml.CSafeLoader)
    found = [debian]
    for name, source in whole["sources"].items():
        if source["provider"] == "debian":
            continue
        kernels = dict(list(source["kernels"].items())[:3])
        wanted = {
            f"{version}-{raw.rpartition('.')[2].partition('+')[0]}"
            for raw, row in kernels.items()
            for version in row["releases"]
        }
        releases = {key: row for key, row in source["releases"].items() if key in wanted}
        pullspec = f"quay.io/x/y@sha256:{'0' * 64}"
        releases[min(releases)]["disputed"] = [pullspec]
        withdrawal = {
            "since": "2026-01-01T00:00:00Z",
            "channels": ["fast-4.18"],
            "payload": pullspec,
            "toolkits": [pullspec],
        }
        more = {"kernels": kernels, "releases": releases, "withdrawn": {"4.18.0-rc.1-x86_64": withdrawal}}
        found.append(json.dumps({"format": 1, "sources": {name: {**source, **more}}}).encode())
    return found


_WHEEL_LOCK = (
    "# made by uv\n"
    f"demo==1.0 \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{'2' * 64}\n    # via nobody\n"
    f"other==2!1.0+x ; python_version < '3.12' and (sys_platform == 'linux' or extra == 'a') --hash=sha256:{'3' * 64}\n"
).encode()


def _run_wheel_lock(data: bytes, folder: Path) -> None:
    (folder / "requirements.lock").write_bytes(data)
    for requirement in read_wheel_lock(folder / "requirements.lock"):
        for arch in Arch:
            requirement.is_for(arch, "3.9")


def _wheels() -> Sequence[bytes]:
    points = {"entry_points.txt": b"[console_scripts]\ndemo = demo:main\n"}
    with TemporaryDirectory() as folder:
        return [
            make_wheel(Path(folder)).read_bytes(),
            make_wheel(
                Path(folder), files={"a/b.so": b"x", "demo-1.0.data/scripts/old": b"#!python\n"}, info=points
            ).read_bytes(),
        ]


def _run_wheel(data: bytes, folder: Path) -> None:
    file = folder / PURE
    file.write_bytes(data)
    wheel = Wheel(record=WheelRecord(name="demo", version="1.0", file=PURE, sha256=""), file=file)
    unpack_wheels([wheel], folder / "tree")
    found = [path for path in folder.rglob("*") if path != file and not path.is_relative_to(folder / "tree")]
    assert not found
    assert not [path for path in (folder / "tree").rglob("*") if path.is_symlink() or path.stat().st_mode & 0o7000]


def _run_lock(data: bytes, folder: Path) -> None:
    (folder / "versions.lock.yaml").write_bytes(data)
    lock = read_lock(folder / "versions.lock.yaml")
    for name in lock.sources:
        lock.kernel_versions(name)
    now = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    emit_kernel_table(list_kernels(lock, View()), now=now)
    emit_release_table(list_releases(lock, View()), now=now)
    list_releases(lock, View(states=tuple(ReleaseState)))
    list_notes(lock, View())
    format_lock(lock)
    for name, locked in lock.sources.items():
        source = PROVIDERS[locked.provider].open(Opening(name=name, locked=locked, build_arch=Arch.X86_64))
        for kernel in locked.kernels:
            for ask in (source.toolkit_id, source.toolkit_inputs, source.boot_id):
                with contextlib.suppress(LockFileError):
                    ask(kernel)
            with contextlib.suppress(LockFileError):
                source.build_packages(kernel, ("libxtables-dev",))
                source.compile_image(kernel, ("libxtables-dev",))


def _versions_yaml() -> Sequence[bytes]:
    real = (_TESTS.parent / "versions.yaml").read_bytes()
    more = """
signers: {a: {certificate: a.pem, key_file: a.key}, b: {certificate: b.pem, pkcs11: "pkcs11:object=x?module-path=/x.so"}}
registry: {auth_files: [a], mirrors: [{source: quay.io/a, mirrors: [m.test/b]}], plain_http: ["localhost:5000"], timeout: 5}
exclude: [{kernel: "6.1*", reason: r}]
known_bad: [{kernel: "6.1*", reason: r, owner: o, expires: 2099-01-01}]
known_problems: [{code: no-toolkit, about: "6.1*", reason: r, owner: o, expires: 2099-01-01}]
build: {jobs: 2, boot: changed}
publish: {tags: [version-kernel, "{version}-{kernel_noarch}"], signer: {public_key: a.pub, key_file: a.key}}
"""
    driver = VERSIONS_YAML.replace(
        "    vendor: V",
        "    boot: {smoke_test: t.sh, files: [demo.c], parameters: [{name: p, modules: {demo: 'a=1'}}], allow: [{pattern: x, "
        "reason: r, expires: 2099-01-01}]}\n    kmm: {loading_order: [a, demo], selector: {a: b}, tolerations: [{key: x}]}\n"
        "    firmware: [f.bin]\n    build_args: {A: b}\n    reuse: [{kernel: '*', compiled_for: 6.1.0-9-amd64, reason: r}]\n    vendor: V",
    )
    return [VERSIONS_YAML.encode(), (driver + more).encode(), real]


def _run_versions_yaml(data: bytes, folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "demo.c").write_text("")
    (folder / "src" / "LICENSE").write_text("GPL")
    (folder / "driver-container").mkdir()
    (folder / "driver-container" / "Containerfile").write_text("FROM scratch")
    (folder / "versions.yaml").write_bytes(data)
    load_config(folder / "versions.yaml", today=dt.date(2026, 11, 1))


_DKMS = b"""PACKAGE_NAME="drv"
PACKAGE_VERSION="1.2"
BUILT_MODULE_NAME[0]="drv"
BUILT_MODULE_LOCATION[0]="src/"
DEST_MODULE_LOCATION[0]="/extra"
MAKE[0]="make -C ${kernel_source_dir} M=$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build modules"
MAKE_MATCH[1]="^(2\\.6\\.(9|1[0-9])|[3-9])"
MAKE[1]='make old'
BUILD_EXCLUSIVE_KERNEL="^(5|6)\\..*"
BUILD_EXCLUSIVE_ARCH="x86_64"
AUTOINSTALL=yes
A=(one two 'th ree'); B="${A[1]:-none}"
if [ "$kernelver" != x ]; then C=1; else C=2; fi
"""


def _run_dkms(data: bytes, folder: Path) -> None:
    (folder / "dkms.conf").write_bytes(data)
    recipe = read_dkms_conf(folder / "dkms.conf")
    for raw in (KERNEL, _X86):
        recipe.excludes(parse_kernel_version(raw))
    assert recipe.command is not None


_MAKEFILE = b"""ifneq ($(KERNELRELEASE),)
obj-m := drv.o $(MORE) sub/
drv-objs := a.o \\
  b.o
obj-$(CONFIG_DRV) += other.o
else
export MORE ?= x.o
KDIR ?= /lib/modules/$(shell uname -r)/build
modules clean:
\t$(MAKE) -C $(KDIR) M=$(CURDIR) CONFIG_DRV=m $@
endif
"""
_C_SOURCE = b"""// SPDX-License-Identifier: GPL-2.0-only
#define VERSION "1." __stringify(MINOR)
#define MINOR 2 /* x */
static int __init drv_init(void) { if (!card) { return -ENODEV; } return 0; }
static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1234, MINOR) }, {} };
MODULE_DEVICE_TABLE(pci, ids);
MODULE_FIRMWARE("a/b.bin"); MODULE_VERSION(VERSION); MODULE_LICENSE("GPL"); MODULE_DESCRIPTION("A \\"card\\"" " more");
"""


def _draft_of(name: str, text: str) -> None:
    """What was read is written, and read again, as it will stand in versions.yaml."""
    is_c = name.endswith(".c")
    look = SourceLook(
        folder_name="drv-1.0", names=("drv.c", name), makefiles={} if is_c else {name: text},
        c_files={name: text} if is_c else {}, words={}, built={},
    )  # fmt: skip
    draft = draft_driver(look, Wish(vendor="V"))
    (driver,) = yaml.safe_load(emit_config(replace(draft, source="drv")))["drivers"]
    Driver.model_validate({key: tuple(item) if isinstance(item, list) else item for key, item in driver.items()})


def _run_makefile(data: bytes, _folder: Path) -> None:
    _draft_of("Makefile", data.decode(errors="replace"))


def _run_c_source(data: bytes, _folder: Path) -> None:
    _draft_of("drv.c", data.decode(errors="replace"))


_KMM = [
    f"""apiVersion: kmm.sigs.x-k8s.io/v1beta1
kind: Module
metadata: {{name: drv, namespace: drivers}}
spec:
  selector: {{feature.node.kubernetes.io/drv: "true"}}
  moduleLoader:
    serviceAccountName: drv
    container:
      version: "1"
      imagePullPolicy: IfNotPresent
      inTreeModulesToRemove: [a, b]
      build: {{dockerfileConfigMap: {{name: cm}}, secrets: [{{name: s}}]}}
      sign: {{certSecret: {{name: c}}, keySecret: {{name: k}}, filesToSign: [/opt/a.ko]}}
      modprobe: {{moduleName: drv, dirName: /opt, modulesLoadingOrder: [drv, other], parameters: [a=1], args: {{load: [x]}}}}
      kernelMappings:
        - {{literal: {_X86}, containerImage: "{_PIN}"}}
        - {{regexp: '^5\\.14\\.0-427\\.[0-9.]+\\.el9_4\\.x86_64$', containerImage: "quay.io/a:${{KERNEL_FULL_VERSION}}"}}
  devicePlugin: {{container: {{image: "{_PIN}", volumeMounts: [{{name: v, mountPath: /x}}]}}, volumes: [{{name: v}}]}}
  tolerations: [{{key: a, operator: Equal, value: b, effect: NoSchedule}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: cm}}
data: {{dockerfile: x}}
""".encode()
]


def _run_kmm(data: bytes, folder: Path) -> None:
    (folder / "module.yaml").write_bytes(data)
    documents = read_documents(folder / "module.yaml")
    result = lint(documents, KmmVersion("2.6"), Flavour("openshift"))
    choices = choose_images(documents, [_X86, KERNEL])
    emit_choices(choices)
    emit_lint(result).encode()
    emit_lint_json(result, choices)


def _run_aliases(data: bytes, folder: Path) -> None:
    for name, content in emit_nfd(nfd_facts(*parse_modules_alias(data)), Flavour.UPSTREAM).files.items():
        (folder / name).write_text(content)
        (document,) = read_documents(folder / name)
        assert isinstance(document.data, dict)
        assert document.data["kind"] in {"NodeFeatureRule", "NodeFeature"}, "an alias says nothing but itself"


# Kernels, modules, toolkits


def _modules() -> Sequence[bytes]:
    real = sorted((_DATA / "modules").rglob("*.ko"))[:2]
    made = [Sample(exports={"a": 1}).write(), Sample(bits=32, machine=40).write(), Sample(extended=True).write()]
    return [*made, *(file.read_bytes() for file in real)]


@functools.cache
def _certificate() -> Any:
    return parse_certificate((_HERE / "samples" / "certificate.pem").read_bytes())


def _certificates() -> Sequence[bytes]:
    return [(_HERE / "samples" / "certificate.pem").read_bytes(), _certificate().der]


def _run_certificate(data: bytes, _: Path) -> None:
    certificate = parse_certificate(data)
    identity = SignerIdentity(name="s", certificate=certificate, algorithm="sha256")
    str(
        (
            certificate.subject,
            certificate.identity,
            certificate.fingerprint,
            certificate.is_rsa,
            identity.is_development,
        )
    )
    may_sign_code(certificate.x509)
    certificate.accepts(b"signature", bytes(32), "sha256")
    check_certificate(identity, now=dt.datetime(2026, 6, 1, tzinfo=dt.UTC))


def _pkcs7() -> Sequence[bytes]:
    one = (_certificate(), "sha256", b"s" * 256)
    return [append_signature(b"", [one])[:-40], append_signature(b"", [one, one])[:-40]]


def _run_module_signature(data: bytes, _: Path) -> None:
    trailer = struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, len(data)) + b"~Module signature appended~\n"
    split_signature(b"module" + data + trailer)
    split_signature(data + b"~Module signature appended~\n")


def _run_key_file(data: bytes, folder: Path) -> None:
    (folder / "key").write_bytes(data)
    (folder / "key").chmod(0o600)
    words = KeyRequest(signer="release", way="key_file", place=str(folder / "key"), passphrase="x").words()
    request = KeyRequest.of_words(words)
    choose_backend(request.way, request.content).open(request).sign(bytes(32), "sha256")


def _key_files() -> Sequence[bytes]:
    private = _private().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return [private]


_COSIGN = {
    "kdf": {"name": "scrypt", "params": {"N": 16, "r": 8, "p": 1}, "salt": "AAAA"},
    "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
    "ciphertext": base64.b64encode(bytes(48)).decode(),
}  # fmt: skip


def _run_cosign_key(data: bytes, folder: Path) -> None:
    begin, end = (
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        b"\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
    )
    _run_key_file(begin + base64.b64encode(data) + end, folder)


def _run_symvers(data: bytes, _: Path) -> None:
    symbols = KernelSymbols(data.decode(errors="backslashreplace"))
    for line in _text(data).split("\n")[:200]:
        symbols.find(line.split("\t")[1] if "\t" in line else line)


def _run_headers_of_kernel(data: bytes, _: Path) -> None:
    headers = _text(data).split("=====")
    evaluate_vermagic(['#define UTS_RELEASE "6.1"\n', *headers], frozenset({"CONFIG_SMP"}))


def _run_kernel_facts(data: bytes, folder: Path) -> None:
    version = f'#define UTS_RELEASE "{KERNEL}"\n'
    for name, text in {**FACT_FILES, "utsrelease.h": version, "Module.symvers": SYMVERS}.items():
        (folder / name).write_text(text)
    for listed, part in zip(("modules.builtin", "modules.dep", "auto.conf"), data.split(b"====="), strict=False):
        (folder / listed).write_bytes(part)
    read_kernel_facts(folder, _KERNEL)


def _run_depmod(data: bytes, _: Path) -> None:
    good = {"modules.dep": b"extra/demo.ko:\n", "modules.dep.bin": b"x"}
    check_depmod_data({"modules.dep": data, "modules.dep.bin": data}, good, "opt/lib/modules/k")


def _bzimage(payload: bytes) -> bytes:
    image = bytearray(0x400 + 512)
    image[0x1F1] = 1
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, 0x20F)
    struct.pack_into("<II", image, 0x248, 16, len(payload))
    place = 2 * 512 + 16
    return bytes(image[:place]).ljust(place, b"\0") + payload


def _bzimages() -> Sequence[bytes]:
    elf = b"\x7fELF" + bytes(3000)
    return [_bzimage(pack(elf)) for pack in (lzma.compress, lambda data: gzip.compress(data, mtime=0))]


def _pe() -> Sequence[bytes]:
    """A PE image with one certificate in its table."""
    table = pkcs7.serialize_certificates([_certificate().x509], serialization.Encoding.DER)
    image = bytearray(512)
    image[:2] = b"MZ"
    struct.pack_into("<I", image, 0x3C, 0x80)
    image[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<H", image, 0x98, 0x20B)
    struct.pack_into("<II", image, 0x98 + 112 + 32, 512, 8 + len(table))
    return [bytes(image) + struct.pack("<IHH", 8 + len(table), 0x200, 2) + table]


def _packed_modules() -> Sequence[bytes]:
    module = Sample().write()
    return [lzma.compress(module), gzip.compress(module, mtime=0), module]


def _run_packing(data: bytes, _: Path) -> None:
    problems = []
    for suffix in (".ko.xz", ".ko.gz", ".ko.zst", ".ko"):
        try:
            unpack_module(data, f"a{suffix}")
        except FormatError as error:
            problems.append(error.message)
    _raise_first(problems)


# Archives


def _tar(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


_RELEASE = "etc/driver-toolkit-release.json"


def _layers() -> Sequence[bytes]:
    modules = {
        f"opt/lib/modules/{KERNEL}/extra/demo.ko": Sample().write(),
        f"opt/lib/modules/{KERNEL}/modules.dep": b"x",
    }
    return [_tar({_RELEASE: b"{}", "var/lib/dpkg/status": b"Package: a\n", **modules})]


def _run_layer(data: bytes, _: Path) -> None:
    pieces = (data[start : start + 65536] for start in range(0, len(data), 65536))
    read_layer_files(pieces, {_RELEASE, "a"}, digest=digest_of(data), size=len(data))


def _run_image(data: bytes, folder: Path) -> None:
    """An image with this layer, as ``verify`` and ``fit`` read it."""
    config = json.dumps(_CONFIG).encode()
    for content in (data, config):
        (folder / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    manifest = {"config": _descriptor(config), "layers": [_descriptor(data)]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    _look_into(read_exported(folder, "image", LayerCache()))


def _look_into(image: ImageContents) -> None:
    for module in list_modules(image):
        assert module.path
    for path in ("bin/sh", "usr/bin/cp", "etc/os-release"):
        image.find(path)
    list(image.below("licenses"))
    list(check_packages(image))
    list(check_certified(image))


def _run_image_parts(data: bytes, folder: Path) -> None:
    """The data as manifest, as configuration, and as the index of a layout."""
    problems = []
    layer = _layers()[0]
    for content in (data, layer):
        (folder / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    manifest = json.dumps({"config": _descriptor(data), "layers": [_descriptor(layer)]}).encode()
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "index.json").write_bytes(data)
    for content in (data, manifest):
        (folder / "manifest.json").write_bytes(content)
        try:
            _look_into(read_exported(folder, "image", LayerCache()))
        except FormatError as error:
            problems.append(error.message)
    try:
        read_oci_layout(folder, "image", LayerCache())
    except FormatError as error:
        problems.append(error.message)
    _raise_first(problems)


def _run_deb(data: bytes, folder: Path) -> None:
    file = folder / "a.deb"
    file.write_bytes(data)
    with (folder / "sum").open("wb") as out:
        for _, content in read_members(file):
            out.write(content[:1])
    find_members(file, lambda path: path.endswith("demo.ko"), most=1)


def _index_of_bundle(content: bytes, role: str = "image") -> dict[str, Any]:
    notes = {"io.kmodsmith.bundle.role": role, "io.kmodsmith.bundle.of": f"quay.test/org/drv@{digest_of(content)}",
             "org.opencontainers.image.ref.name": "quay.test/org/drv:1.0"}  # fmt: skip
    return {"mediaType": OCI_MANIFEST, "digest": digest_of(content), "size": len(content), "annotations": notes}


_BUNDLED = json.dumps({"config": _descriptor(b"{}"), "layers": [_descriptor(b"layer")]}).encode()


def _bundles() -> Sequence[bytes]:
    index = json.dumps({"schemaVersion": 2, "manifests": [_index_of_bundle(_BUNDLED)]}).encode()
    blobs = {f"blobs/sha256/{digest_of(item).removeprefix('sha256:')}": item for item in (_BUNDLED, b"{}", b"layer")}
    return [_tar({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs})]


def _run_bundle(data: bytes, folder: Path) -> None:
    (folder / "b.tar").write_bytes(data)
    (folder / "blobs").mkdir()
    _unpack(folder / "b.tar", folder / "blobs")


def _run_bundle_parts(data: bytes, folder: Path) -> None:
    """The data as index of a bundle, and as each kind of manifest in it."""
    problems = []
    artifact = make_artifact("application/x", b"layer", subject=_descriptor(), annotations={"a": "b"})
    for number, (index, content) in enumerate(
        [(data, _BUNDLED)]
        + [
            (json.dumps({"manifests": [_index_of_bundle(data, role)]}).encode(), data)
            for role in ("image", "list", "signatures", "attestation", "statements")
        ]
    ):
        blobs = {
            f"blobs/sha256/{digest_of(item).removeprefix('sha256:')}": item
            for item in (content, artifact, b"{}", b"layer", b"x", b"y", b"p")
        }
        file = folder / f"{number}.tar"
        file.write_bytes(_tar({"index.json": index, **blobs}))
        _, uploader, attachments = FakeRegistry().open(folder / f"cache-{number}")
        (folder / f"blobs-{number}").mkdir()
        try:
            AirgapLoader(uploader, attachments, folder / f"blobs-{number}").load(file, "mirror.test/site")
        except KmodsmithError as error:
            problems.append(error.message)
    _raise_first(problems)


_GIT_SETTINGS = (
    b'[core]\n\tworktree = ../x\n[remote "origin"]\n\turl = https://u:p@git.test/org/drv.git ; x\n\tfetch = "a\\n"\n'
)
_GIT_TREE = b"100644 a.c\0" + b"1" * 20 + b"40000 sub\0" + b"2" * 20


def _run_git_settings(data: bytes, _: Path) -> None:
    url = choose_remote(list(parse_settings(data.decode(errors="surrogateescape"))))
    if url and ("@" in url or not url.isprintable()):
        raise ValueError(url)


def _run_git_delta(data: bytes, _: Path) -> None:
    with contextlib.suppress(FormatError):
        apply_delta(b"base" * 9, data)
    parse_tree(data, 20)


def _git_files() -> Sequence[bytes]:
    """Return an index and its pack in one, with the length of the index before."""
    folder = Path(__file__).parent.parent / "data" / "git"
    index, pack = (next(folder.glob(f"pack-*.{kind}")).read_bytes() for kind in ("idx", "pack"))
    return [struct.pack(">I", len(index)) + index + pack]


def _run_git_files(data: bytes, folder: Path) -> None:
    size = int.from_bytes(data[:4], "big") % (len(data) + 1)
    packs = folder / "objects" / "pack"
    packs.mkdir(parents=True)
    (packs / f"pack-{'a' * 40}.idx").write_bytes(data[4 : 4 + size])
    (packs / f"pack-{'a' * 40}.pack").write_bytes(data[4 + size :])
    store = ObjectStore(folder / "objects")
    tree = parse_commit_tree(store.read("9e774b3e377981c614992d03d1aaa77c3b411d15", "commit"))
    for entry in parse_tree(store.read(tree, "tree"), 20):
        store.read(entry.id, "tree")


def _run_kept_result(data: bytes, folder: Path) -> None:
    (folder / "kept").mkdir()
    (folder / "kept" / f"key-{hashlib.sha256(data).hexdigest()}.tar").write_bytes(data)
    CompiledResults(folder / "kept").restore("key")


# Databases and lists of packages


def _rpm_header(name: bytes) -> bytes:
    header = struct.pack(">II", 2, 64) + struct.pack(">IIII", 63, 7, 0, 16) + struct.pack(">IIII", 1000, 6, 16, 1)
    return header + bytes(16) + name + b"\0"


_CHECKLIST = f"""questions:
  firmware:
    evidence: [{{image: 'quay.io/a/b@sha256:{"a" * 64}', says: none}}]
  kubelet: {{answer: x, by: Jo, on: 2026-11-01, valid_days: 30}}
  appearance: {{}}
""".encode()


def _run_checklist(data: bytes, folder: Path) -> None:
    (folder / "checklist.yaml").write_bytes(data)
    read_checklist(folder / "checklist.yaml", today=dt.date(2026, 11, 27))


def _run_operator_bundle(data: bytes, _: Path) -> None:
    """The data as each file of a bundle."""
    for name in bundle_files():
        judge_bundle(make_bundle({**bundle_files(), name: data}, [], []), "x")


@functools.cache
def _rpm_databases() -> Sequence[bytes]:
    """A good database, and others whose ``Packages`` is a trap."""
    good = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)"
    endless = "WITH RECURSIVE c(blob) AS (SELECT x'00' UNION ALL SELECT blob FROM c) SELECT blob FROM c"
    schemas = [
        [good],
        [f"CREATE VIEW Packages AS {endless}"],
        ["CREATE VIEW Packages AS SELECT zeroblob(900000000) AS blob"],
        [
            "CREATE TABLE t (x)",
            "INSERT INTO t VALUES (1)",
            "CREATE VIEW Packages AS SELECT randomblob(400000000) AS blob FROM t",
        ],
        [
            "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, x, blob AS (zeroblob(900000000 + x)))",
            "INSERT INTO Packages (x) VALUES (1)",
        ],
        ["CREATE TABLE Packages (blob TEXT)", "INSERT INTO Packages VALUES ('x'), (5), (NULL), (1.5)"],
        ["CREATE VIEW p AS SELECT * FROM Packages", "CREATE VIEW Packages AS SELECT * FROM p"],
    ]
    found = []
    for statements in schemas:
        connection = sqlite3.connect(":memory:")
        for statement in statements:
            connection.execute(statement)
        if statements == [good]:
            rows = [(_rpm_header(f"package-{number}".encode() * 40),) for number in range(30)]
            connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [*rows, (_rpm_header(b"x" * 9000),)])
        connection.commit()
        found.append(connection.serialize())
        connection.close()
    return found


def _rpm_input(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """Mostly the good database with changed bytes; now and then one of the traps, changed or not."""
    if chance.random() < 0.8:
        return mutate.bytes_input(chance, samples[:1])
    trap = chance.choice(samples[1:])
    return trap if chance.random() < 0.5 else mutate.bytes_input(chance, [trap])


_PACKAGES = b"""Package: linux-headers-6.1.0-9-amd64
Version: 6.1.27-1
Architecture: amd64
Installed-Size: 400
Depends: linux-headers-6.1.0-9-common (= 6.1.27-1), linux-kbuild-6.1, linux-compiler-gcc-12-x86
Filename: pool/main/l/linux/linux-headers_6.1.27-1_amd64.deb
Size: 1000
SHA256: 0000000000000000000000000000000000000000000000000000000000000000

Package: linux-kbuild-6.1
Version: 6.1.27-1
Architecture: amd64
Description: x
 continued
 .
Filename: pool/main/l/linux/linux-kbuild_6.1.27-1_amd64.deb
Size: 1000
SHA256: 1111111111111111111111111111111111111111111111111111111111111111
"""


def _run_packages(data: bytes, folder: Path) -> None:
    (folder / "index").write_bytes(data)

    class Stub(Apt):
        def _indexes(self) -> list[tuple[str, str]]:
            return [("http://deb.test/debian", str(folder / "index"))]

    Stub(folder, Arch.X86_64, [], folder / "keyring").packages(re.compile("linux-.*"))


def _run_dpkg_status(data: bytes, _: Path) -> None:
    findings = list(check_packages(_contents({"var/lib/dpkg/status": data, "var/lib/rpm/rpmdb.sqlite": data})))
    _raise_first([finding.sentence for finding in findings])


# What guests and compilers say

_WORDS = [f"{number:016x}" for number in range(1000)]
_MONITOR = b"""{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}
{"return": {}, "id": 1}
{"return": {}, "id": 2}
{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "DEVICE_DELETED", "data": {"path": "/machine/peripheral/edu"}}
{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "DEVICE_DELETED", "data": {"device": "edu", "path": "/x"}}
{"id": 3, "error": {"class": "GenericError", "desc": "Bus 'port-edu' not found"}}
"""


def _run_console(data: bytes, _: Path) -> None:
    transcript = Transcript(_WORDS)
    for line in _text(data).split("\n"):
        transcript.feed(line)
    settings = BootTest.model_validate({"repeat": 20})
    script = make_script((OwnModule(name="bad_oops"),), settings, in_tree=(), is_enforced=True, has_test=True)
    for ending in Ending:
        judge_boot(transcript, script.steps, ending)


_EDU_TABLE = {"bad_oops": ["pci:v00001234d000011E8sv*sd*bc*sc*i*"]}


def _run_device_console(data: bytes, _: Path) -> None:
    """A guest with a device, of which the text is what it found."""
    settings = BootTest.model_validate({"devices": ("edu",)})
    claims = claim_devices(settings.devices, _EDU_TABLE)
    script = make_script((OwnModule(name="bad_oops"),), settings, claims=claims, is_enforced=False, has_test=False)
    words = iter(_WORDS)
    transcript = Transcript(_WORDS)
    for step in script.steps:
        for text in (f"begin {step.number}", f"device {_text(data)[:500]}", f"end {step.number} 0"):
            transcript.feed(f"[ 1.0] kmodsmith {next(words)} {text}")
    judge_boot(transcript, script.steps, Ending.FINISHED)


def _run_monitor(data: bytes, _: Path) -> None:
    """What QEMU says on its monitor while it is told to take a device away and give it back."""
    conversation = Conversation()
    conversation.unplug("edu")
    conversation.plug(DEVICES["edu"].arguments)
    for line in data.splitlines(keepends=True):
        conversation.take(line)
        conversation.next_line()


def _run_device_table(data: bytes, _: Path) -> None:
    claim_devices(("edu",), {"demo": _text(data).split("\n")})


def _run_allowed(data: bytes, _: Path) -> None:
    """A pattern of versions.yaml, searched in what a boot test finds."""
    try:
        allowed = AllowedMessage(pattern=_text(data), reason="r", expires=dt.date(2099, 1, 1))
    except ValidationError as error:
        raise FormatError(str(error.errors()[0]["msg"])[:300]) from None
    transcript = Transcript(_WORDS)
    lines = [*(_DATA / "consoles" / "oops.log").read_text().splitlines(), f"[ 9.9] WARNING: {'a' * 5000}!"]
    for line in lines:
        transcript.feed(line)
    script = make_script((OwnModule(name="bad_oops"),), BootTest(), in_tree=(), is_enforced=True, has_test=True)
    judge_boot(transcript, script.steps, Ending.DIED, allow=[allowed])


_MODPROBE_FILES = (
    b'alias nick-* a\noptions a-b x=1 \\\n y="2 3"\nblacklist c\nsoftdep a pre: b nick-x post: c gone\nsoftdep [a-c]* pre: a\n',
    b"softdep a pre: b\nsoftdep b pre: c post: a\nsoftdep c pre: a\ninstall x /bin/true\n",
)


def _run_modprobe_files(data: bytes, _: Path) -> None:
    """A file of modprobe.d in an image, and what is loaded because of it."""
    config = read_modprobe_files({"etc/modprobe.d/a.conf": data, "lib/modprobe.d/n.conf": data})
    names = [*"abc", *(f"m{number}" for number in range(50))]
    modules = [ModuleFacts(name=name, aliases=("nick-x", "n*")) for name in names]
    order = LoadOrder(ModuleIndex(modules), config)
    for name in ("a", "nick-x"):
        order.add(name)
    assert len(order.loads) <= len(names)


def _run_build_log(data: bytes, _: Path) -> None:
    found = classify_compile_log(_text(data), exit_explanation="ended with exit code 1")
    cluster({"a": found, "b": found})


# Names


def _run_names(data: bytes, _: Path) -> None:
    """One line of text as every kind of name that comes out of somebody's answer or file."""
    text = _text(data)
    problems = []
    for parse in (_as_kernel, parse_pullspec, _as_tag_rule, parse_pkcs11_uri):
        try:
            parse(text)
        except KmodsmithError as error:
            problems.append(error.message)
    _raise_first(problems[len(text) % 4 :])


def _as_kernel(text: str) -> None:
    kernel = parse_kernel_version(text)
    str((kernel.sort_key, kernel.noarch, kernel.tag))


def _as_tag_rule(text: str) -> None:
    check_tag_rule(text)
    image_names("quay.test/a", "drv", "1.0.0", _KERNEL, [text])


def _names() -> Sequence[bytes]:
    names = [
        _X86, f"{_X86}+rt", *KERNELS, _PIN, "docker.io/library/debian:bookworm-slim", "{version}-{kernel}", "{version}-{kernel_noarch}",
        "pkcs11:token=t;object=o;id=%01;type=private?module-path=/usr/lib/x.so&pin-source=file:/pin",
    ]  # fmt: skip
    return [name.encode() for name in names]


def _run_leaks(data: bytes, _: Path) -> None:
    find_leaks(data, "root/.netrc")
    find_leaks(data * 20, "usr/lib/x")


def _secrets() -> Sequence[bytes]:
    pem = b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 64 + b"\n-----END PRIVATE KEY-----\n"
    auths = b'{"auths": {"quay.io": {"auth": "dXNlcjpwYXNzd29yZA=="}}}'
    return [
        pem,
        auths,
        b"\x30\x82\x01\x00\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" + bytes(300),
    ]


def _run_command_words(data: bytes, _: Path) -> None:
    """What people see of a command of these words: the same whatever a secret is, and quoted for a shell."""
    text = _text(data)
    words = text.split("\n")
    assert tuple(shlex.split(str(Command(argv=("tool", *words))))) == ("tool", *mask_secrets(words))
    assert mask_secrets([f"--build-arg=DB_PASSWORD={text}."]) == ("--build-arg=DB_PASSWORD=***",)
    assert mask_secrets([json.dumps({"password": text})]) == ('{"password": ***',)
    assert mask_secrets([f"https://u:{text}@host"])[0] in {"https://***@host", "https://***"}


def _command_words() -> Sequence[bytes]:
    arguments = ["BUILD_COMMAND=make V=1", f"BUILD_COMMAND=make {'password' * 100}", f"DTK_AUTO={_PIN}"]
    return [
        "\n".join(["--build-arg", *arguments, "--creds", "u:p", "https://u:it's@host/x", '{"auth": "dTpw"}']).encode(),
        b"-H\nAuthorization: Bearer x\n--env=DB_PASSWORD=a b\nsh -c 'login --pin \"1 2\"'\n--volume\n/run/auth:/auth",
    ]


def _run_toolkit_release(data: bytes, _: Path) -> None:
    for arch in (Arch.X86_64, Arch.AARCH64):
        try:
            parse_toolkit_release(data, arch=arch, release="4.18.1")
        except FormatError:
            if arch is Arch.AARCH64:
                raise


def _payloads() -> Sequence[bytes]:
    tags = [
        {
            "name": name,
            "from": {"kind": "DockerImage", "name": _PIN},
            "annotations": {"io.openshift.build.versions": "machine-os=9.6.1-0"},
        }
        for name in (
            "rhel-coreos",
            "rhel-coreos-extensions",
            "driver-toolkit",
            "machine-os-content",
            "rhel-coreos-8",
            "rhel-coreos-8-extensions",
        )
    ]
    return [json.dumps({"metadata": {"name": "4.12.1"}, "spec": {"tags": tags}}).encode()]


def _graph() -> dict[str, Any]:
    node = {
        "version": "4.18.1",
        "payload": _PIN,
        "metadata": {"io.openshift.upgrades.graph.release.channels": "fast-4.18,eus-4.18"},
    }
    return {"version": 1, "nodes": [node, {**node, "version": "4.18.2"}], "edges": [[0, 1]], "conditionalEdges": []}


_bytes, _lines, _tars = mutate.bytes_input, mutate.text_input, mutate.tar_input


def _run_checkpoint(data: bytes, _: Path) -> None:
    """What kubelet keeps has no promised form: anything else is "not known", never an error."""
    found = read_checkpoint(data, "x.example/a")
    if found is not None and not all(isinstance(name, str) for name in found):
        raise AssertionError(f"names of devices are text, not {found}")


_CLAIM = {
    "metadata": {"name": "c", "uid": "u"},
    "status": {
        "allocation": {
            "devices": {"results": [{"request": "a/b", "driver": "d.example.com", "pool": "worker", "device": "x"}]}
        }
    },
}


_INDEX_PAYLOAD = json.dumps(
    {
        "format": 1, "driver": "drv", "made": "2026-11-27T07:00:00Z", "releases": {"4.18.1-x86_64": [KERNEL]},
        "images": {"1.0.0": {KERNEL: {"image": f"quay.test/org/drv@{_DIGEST}", "arch": "amd64", "signedBy": ["5" * 64]}}},
    }
).encode()  # fmt: skip
_INDEX_MANIFEST = make_artifact(
    INDEX_TYPE, _INDEX_PAYLOAD, subject=None, annotations={"org.opencontainers.image.created": "2026-11-27T07:00:00Z"}
)


def _run_index(data: bytes, _: Path) -> None:
    """What a vendor's index says, for both readers of it: as an envelope, as what is signed, as a manifest."""
    for read in (find_envelope, read_made, read_payload, lambda content: open_index(content, [_key()])):
        with contextlib.suppress(FormatError):
            read(data)
    signed = [sign_envelope(data, _sign, kind=INDEX_TYPE)] if len(data) < LARGEST_INDEX else []
    for envelope in (data, *signed):
        with contextlib.suppress(IndexProblem):
            read_index(envelope, [_public_pem().decode()])
    with contextlib.suppress(FetchError):
        find_blob(data, "quay.test/org/drv:index")


def _run_templates(data: bytes, _: Path) -> None:
    with contextlib.suppress(TemplateError):
        read_templates(data)


def _run_pull_secret(data: bytes, _: Path) -> None:
    with contextlib.suppress(FetchError):
        check_secret(data, "quay.test/org/drv:index")


def _run_claim(data: bytes, _: Path) -> None:
    """What the API server says of a claim ends in devices with names, or in a sentence for the pod."""
    with contextlib.suppress(ClaimError, ValueError, RecursionError):  # the last two are this reader's
        found = read_allocation(json.loads(data), ClaimName(namespace="n", name="c", uid="u"), "d.example.com")
        if any("/" in one.request for one in found):
            raise AssertionError(f"kubelet knows no alternatives of a request: {found}")


_POOL = Pool(driver="d.example.com", node="worker", node_uid="u")
_OFFERED = [{"name": "x", "taints": [{"key": "d.example.com/unhealthy", "value": "true", "effect": "NoSchedule"}]}]


def _slices() -> list[dict[str, Any]]:
    (item,) = plan_writes([], _OFFERED, _POOL).create
    item["spec"]["devices"][0]["taints"][0]["timeAdded"] = "now"
    return [item, {"metadata": {"name": "of-somebody"}, "spec": item["spec"]}]


def _run_slices(data: bytes, _: Path) -> None:
    """Whatever slices say, one pass sets them right, and the next has nothing to do."""
    try:
        stored: Any = json.loads(data)
        names = [one["metadata"]["name"] for one in stored]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    if not isinstance(stored, list) or not all(isinstance(name, str) for name in names):
        return
    writes = plan_writes(stored, _OFFERED, _POOL)
    left = {one["metadata"]["name"]: one for one in stored if one["metadata"]["name"] not in writes.delete}
    left |= {one["metadata"]["name"]: one for one in (*writes.replace, *writes.create)}
    if set(left) != {slice_name(_POOL, 0)} or plan_writes(list(left.values()), _OFFERED, _POOL):
        raise AssertionError(f"slices are not right after a pass: {left}")


def _run_sysfs(data: bytes, folder: Path) -> None:
    """A driver's answers, and the names of its devices, are whatever its author made of them."""
    place = folder / "sys" / "class" / "ptemplate" / "ptemplate-0"
    (place / "device").mkdir(parents=True, exist_ok=True)
    (place / "dev").write_bytes(data)
    (place / "device" / "numa_node").write_bytes(data)
    source = PtemplateDevices(folder)
    for device in source.discover():
        source.check(device)
        source.describe(device)
    is_device_id(data.decode(errors="surrogateescape"))


_POD_DEVICES = {
    "Data": {
        "PodDeviceEntries": [
            {"PodUID": "p", "ContainerName": "main", "ResourceName": "x.example/a", "DeviceIDs": {"-1": ["a", "b"]}},
            {"PodUID": "q", "ContainerName": "main", "ResourceName": "x.example/a", "DeviceIDs": ["c"]},
        ],
        "RegisteredDevices": {"x.example/a": ["a", "b", "c"]},
    },
    "Checksum": 1,
}
PARSERS: tuple[Parser, ...] = (
    _json("kubelet-checkpoint", _run_checkpoint, _POD_DEVICES),
    _json("resource-claim", _run_claim, _CLAIM),
    _json("resource-slices", _run_slices, _slices()),
    Parser(name="sysfs", samples=lambda: (b"241:0\n", b"-1\n"), make=mutate.text_input, run=_run_sysfs),
    _json("manifest", _run_manifest, _MANIFEST, _INDEX),
    _json("image-configuration", _run_tag, _CONFIG),
    _json(
        "auth-file",
        _run_auth_file,
        {"auths": {"quay.io": {"auth": "dTpw"}, "https://index.docker.io/v1/": {"username": "u", "password": "p"}}},
    ),
    _json(
        "token",
        lambda data, folder: _registry(folder, _challenge(), _ok(data), _ok(_GOOD)).manifest(_NAME),
        {"token": "t", "access_token": "t", "expires_in": 60},
    ),
    Parser(
        name="challenge",
        make=_lines,
        samples=lambda: [
            b'Bearer realm="https://quay.test/token",service="s",scope="repository:a:pull"',
            b'Basic realm="x"',
        ],
        run=lambda data, folder: _registry(
            folder, _challenge(data.replace(b"\n", b" ")), _ok(b'{"token": "t"}'), _ok(_GOOD)
        ).manifest(_NAME),
    ),
    Parser(
        name="answer-headers",
        make=_lines,
        run=_run_headers,
        samples=lambda: [
            b"307\nLocation: https://cdn.test/x",
            b"200\nLink: </v2/org/drv/tags/list?n=1>; rel=next",
            b"503\nRetry-After: 7",
            b"202\nLocation: /v2/org/drv/blobs/uploads/1?a=b\nRange: 0-4\nContent-Length: 15",
            b"201\nDocker-Content-Digest: sha256:0",
        ],
    ),
    _json(
        "tags",
        lambda data, folder: Tags(_registry(folder, _ok(data)).transport).list_tags(_NAME),
        {"name": "org/drv", "tags": ["a", "b"]},
    ),
    _json(
        "referrers",
        _run_referrers,
        {
            "schemaVersion": 2,
            "manifests": [
                _descriptor(
                    artifactType="application/vnd.dev.sigstore.bundle.v0.3+json",
                    annotations={"dev.sigstore.bundle.predicateType": "x"},
                ),
                _descriptor(b"y"),
            ],
        },
    ),
    _json("artefact", _run_artifact, _MANIFEST),
    _json("index", lambda data, _: parse_index(data), _INDEX),
    Parser(
        name="signature-image",
        samples=lambda: [_signature_image()],
        make=mutate.json_input,
        run=lambda data, _: parse_signature_image(data),
    ),
    Parser(
        name="attestation-image",
        samples=lambda: [_attestation_image()],
        make=mutate.json_input,
        run=lambda data, _: (parse_attestation_image(data), make_attestation_image([], data)),
    ),
    Parser(
        name="simple-signing",
        samples=lambda: [make_payload("quay.test/org/drv:1", _DIGEST)],
        make=mutate.json_input,
        run=lambda data, _: parse_payload(data),
    ),
    Parser(
        name="sigstore-bundle",
        make=mutate.json_input,
        run=lambda data, _: open_bundle(data, [_key()]),
        samples=lambda: [
            sign_statement(_STATEMENT, _key(), lambda _: b"signature"),
            sign_statement(b"{}", _key(), lambda _: b"s"),
        ],
    ),
    Parser(
        name="statement-envelope",
        make=mutate.json_input,
        run=lambda data, _: (rewrite_envelope(data), open_envelope(data, [_key()])),
        samples=lambda: [sign_envelope(_STATEMENT, _sign), sign_envelope(b"{}", lambda _: b"s")],
    ),
    Parser(
        name="driver-index",
        make=mutate.json_input,
        run=_run_index,
        samples=lambda: [_INDEX_PAYLOAD, sign_envelope(_INDEX_PAYLOAD, _sign, kind=INDEX_TYPE), _INDEX_MANIFEST],
    ),
    Parser(
        name="operator-templates",
        make=mutate.json_input,
        run=_run_templates,
        samples=lambda: [json.dumps(make_templates(operator_facts())).encode()],
    ),
    Parser(
        name="pull-secret",
        make=mutate.json_input,
        run=_run_pull_secret,
        samples=lambda: [
            b'{"auths":{"quay.test":{"auth":"dXNlcjpzZWNyZXQ="}}}',
            b'{"auths":{"https://quay.test/v1/":{"username":"u","password":"p"}}}',
        ],
    ),
    Parser(
        name="statement",
        samples=lambda: [_STATEMENT],
        make=mutate.json_input,
        run=lambda data, _: open_bundle(_bundle(data), [_key()]),
    ),
    _json("predicate", _run_predicate, _PREDICATE),
    _json("graph", lambda data, _: parse_graph(data), _graph()),
    Parser(
        name="image-references",
        samples=_payloads,
        make=mutate.json_input,
        run=lambda data, _: parse_release_payload(data),
    ),
    _json(
        "toolkit-release",
        _run_toolkit_release,
        {"KERNEL_VERSION": _X86, "RT_KERNEL_VERSION": f"{_X86}+rt", "RHEL_VERSION": "9.4"},
    ),
    _json(
        "package-list",
        lambda data, _: parse_package_list(data, Arch.X86_64),
        {
            "rpmdb.pkglist": [
                ["kernel-core", "0", "5.14.0", "570.1.1.el9_6", "x86_64"],
                ["bash", "0", "5", "1", "x86_64"],
            ]
        },
    ),
    _json(
        "extensions",
        lambda data, _: parse_extensions(data, Arch.X86_64),
        {"kernel-rt-core": f"x:{_X86}", "kernel-64k-core": f"x:{_X86}"},
    ),
    Parser(name="journal", samples=_journal, make=mutate.lines_input, run=_run_journal),
    Parser(
        name="signing-log",
        samples=lambda: [json.dumps(_ENTRY).encode() + b"\n" + json.dumps(_ENTRY).encode()],
        make=mutate.lines_input,
        run=_run_signing_log,
    ),
    Parser(name="lock", samples=_locks, make=mutate.yaml_input, run=_run_lock),
    Parser(name="wheel-lock", samples=lambda: [_WHEEL_LOCK], make=_lines, run=_run_wheel_lock),
    Parser(name="wheel", samples=_wheels, make=mutate.zip_input, run=_run_wheel),
    Parser(name="versions-yaml", samples=_versions_yaml, make=mutate.yaml_input, run=_run_versions_yaml),
    Parser(name="kmm-lint", samples=lambda: _KMM, make=mutate.yaml_input, run=_run_kmm),
    Parser(
        name="modules-alias",
        samples=lambda: [
            "".join(f"alias {alias} drv\n" for alias in (*PCI_ALIASES, *USB_ALIASES, *STRANGE_ALIASES)).encode()
        ],
        make=_lines,
        run=_run_aliases,
    ),
    Parser(name="git-settings", samples=lambda: [_GIT_SETTINGS], make=_lines, run=_run_git_settings),
    Parser(name="git-files", samples=_git_files, make=_bytes, run=_run_git_files),
    Parser(
        name="git-delta",
        samples=lambda: [delta(b"base" * 9, copy_step(3, 20), insert_step(b"new"), size=23), _GIT_TREE],
        make=_bytes,
        run=_run_git_delta,
    ),
    Parser(name="makefile", samples=lambda: [_MAKEFILE], make=_lines, run=_run_makefile),
    Parser(name="c-source", samples=lambda: [_C_SOURCE], make=_lines, run=_run_c_source),
    Parser(name="dkms-conf", samples=lambda: [_DKMS], make=_lines, run=_run_dkms),
    Parser(name="kernel-module", samples=_modules, make=_bytes, run=lambda data, _: read_kernel_object(data, "a.ko")),
    Parser(name="module-packing", samples=_packed_modules, make=_bytes, run=_run_packing),
    Parser(name="module-signature", samples=_pkcs7, make=_bytes, run=_run_module_signature),
    Parser(name="certificate", samples=_certificates, make=_bytes, run=_run_certificate),
    Parser(
        name="public-key",
        samples=lambda: [_public_pem(), _key().der],
        make=_bytes,
        run=lambda data, _: parse_public_key(data).accepts(b"s", b"c"),
    ),
    Parser(name="key-file", samples=_key_files, make=_bytes, run=_run_key_file),
    _json("cosign-key", _run_cosign_key, _COSIGN),
    Parser(name="symvers", samples=lambda: [SYMVERS.encode()], make=_lines, run=_run_symvers),
    Parser(
        name="kernel-headers",
        samples=lambda: [(FACT_FILES["arch-vermagic.h"] + "=====" + FACT_FILES["vermagic.h"]).encode()],
        make=_lines,
        run=_run_headers_of_kernel,
    ),
    Parser(
        name="kernel-lists",
        samples=lambda: [
            b"kernel/a.ko\nkernel/b.ko\n=====kernel/a.ko: kernel/b.ko\n=====CONFIG_SMP=y\nCONFIG_MODVERSIONS=y\n"
        ],
        make=_lines,
        run=_run_kernel_facts,
    ),
    Parser(
        name="depmod", samples=lambda: [b"extra/demo.ko: kernel/a.ko\nhost/a.ko:\n# x\n"], make=_lines, run=_run_depmod
    ),
    Parser(name="bzimage", samples=_bzimages, make=_bytes, run=lambda data, _: unpack_kernel(data)),
    Parser(name="pe-signature", samples=_pe, make=_bytes, run=lambda data, _: read_kernel_signers(data)),
    Parser(name="layer", samples=_layers, make=_tars, run=_run_layer),
    Parser(name="image", samples=_layers, make=_tars, run=_run_image),
    _json("image-parts", _run_image_parts, _MANIFEST, _CONFIG, {"manifests": [_descriptor()]}),
    Parser(
        name="deb",
        samples=lambda: [_tar({"./boot/vmlinuz": b"k", f"./lib/modules/{KERNEL}/demo.ko": b"m"})],
        make=mutate.deb_input,
        run=_run_deb,
    ),
    Parser(name="bundle", samples=_bundles, make=mutate.plain_tar_input, run=_run_bundle),
    _json(
        "bundle-parts",
        _run_bundle_parts,
        {"manifests": [_index_of_bundle(_BUNDLED)]},
        json.loads(_BUNDLED),
        _MANIFEST,
        _INDEX,
    ),
    Parser(
        name="kept-result",
        samples=lambda: [_tar({"./modules/extra/demo.ko": Sample().write(), "./modules/modules.dep": b"x"})],
        make=mutate.plain_tar_input,
        run=_run_kept_result,
    ),
    _json(
        "compile-cache-list",
        lambda data, _: read_list(data),
        {"format": 1, "driver": "demo", "entries": {f"d6/{'a' * 31}": {"sha256": "0" * 64, "size": 7, "used": 1}}},
    ),
    Parser(
        name="compile-cache-entry",
        samples=lambda: [b"d6/" + b"a" * 31 + b"\n\xcc\xac\x01"],
        make=_bytes,
        run=lambda data, _: check_entry(_text(data.partition(b"\n")[0]), data.partition(b"\n")[2]),
    ),
    Parser(
        name="compile-cache-statistics",
        samples=lambda: [b"# a.c\ndirect_cache_hit\n# b.c\ncache_miss\n"],
        make=_lines,
        run=lambda data, _: read_statistics(data),
    ),
    Parser(name="checklist", samples=lambda: [_CHECKLIST], make=_lines, run=_run_checklist),
    _json(
        "operator-bundle",
        _run_operator_bundle,
        yaml.safe_load(bundle_files()[CSV_FILE]),
        yaml.safe_load(bundle_files()[CRD_FILE]),
    ),
    Parser(
        name="operator-bundle-text", samples=lambda: [*bundle_files().values()], make=_lines, run=_run_operator_bundle
    ),
    Parser(name="rpm-database", samples=_rpm_databases, make=_rpm_input, run=lambda data, _: read_rpm_packages(data)),
    Parser(
        name="dpkg-status",
        samples=lambda: [b"Package: bash\nStatus: install ok installed\n\nPackage: linux-image-6.1\n"],
        make=_lines,
        run=_run_dpkg_status,
    ),
    Parser(name="packages-index", samples=lambda: [_PACKAGES], make=_lines, run=_run_packages),
    Parser(name="console", samples=_files("consoles/*.log"), make=_lines, run=_run_console),
    Parser(
        name="device-console",
        samples=lambda: [b"0000:01:00.0 1234:11e8 bad_oops bad_oops", b"0000:01:00.0 1234:11e8 - -"],
        make=_lines,
        run=_run_device_console,
    ),
    Parser(name="monitor", samples=lambda: [_MONITOR], make=_lines, run=_run_monitor),
    Parser(
        name="device-table",
        samples=lambda: ["\n".join([*PCI_ALIASES, *USB_ALIASES, *STRANGE_ALIASES]).encode()],
        make=_lines,
        run=_run_device_table,
    ),
    Parser(
        name="allowed-message",
        samples=lambda: [b"kernel-warning: .*a+$", b"(a|aa)+$", b"^(KERNEL|oops)[- ]x{1,3}\\d"],
        make=_lines,
        run=_run_allowed,
    ),
    Parser(name="modprobe-files", samples=lambda: list(_MODPROBE_FILES), make=_lines, run=_run_modprobe_files),
    Parser(name="build-log", samples=_files("logs/*.log"), make=_lines, run=_run_build_log),
    Parser(name="names", samples=_names, make=_lines, run=_run_names),
    Parser(name="command-words", samples=_command_words, make=_lines, run=_run_command_words),
    Parser(name="secrets", samples=_secrets, make=_bytes, run=_run_leaks),
)
