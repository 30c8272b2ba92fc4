"""Signs module files, and the modules of images that exist; nothing is compiled: what the verb sign does."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build.assemble import read_image_id
from builder.build.fit_image import expected_modules, facts_from_lock, find_kernel
from builder.build.prove import prove_image, read_image, read_packed
from builder.errors import FormatError, UsageError
from builder.evidence.journal import make_run_id
from builder.host.locks import hold_project
from builder.host.places import replace_file
from builder.host.run import run
from builder.image.contents import LayerCache, list_modules
from builder.image.labels import (
    CELL_LABEL,
    DEVELOPMENT_LABEL,
    KEY_LABEL,
    ORIGIN_CELL_LABEL,
    ORIGIN_DIGEST_LABEL,
    SIGNED_LABEL,
    SIGNERS_LABEL,
)
from builder.kmod.finding import raise_findings
from builder.kmod.fit import check_signatures, place_modules
from builder.kmod.packing import is_module, pack_module, unpack_module
from builder.kmod.signature import split_signature
from builder.signing.access import open_signers
from builder.signing.certificates import check_certificate, read_named_identities
from builder.signing.log import SigningLog
from builder.signing.modules import SigningJob, read_file, sign_content
from builder.store.build import ImageBuild
from builder.store.images import STAGE_REPOSITORY, TOOLKIT_PREFIX, find_image, hold_store, remove_images, tag_image
from builder.store.result import File, make_result
from builder.store.result_folder import write_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.build.prove import Proof
    from builder.image.contents import ImageContents
    from builder.plan.project import Project
    from builder.signing.certificates import SignerIdentity


_RESIGN_CONTAINERFILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY --from=modules / /\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFile:
    """What happened to one module."""

    path: str
    status: str
    sha256: str


def sign_targets(
    project: Project, signers: Sequence[str], targets: Sequence[Path], *, replace: bool
) -> list[SignedFile]:
    """Sign module files, and all modules below folders, in place.

    Raises:
        SignerError: a signer may not or cannot sign.
        CellError: a module is signed by somebody else and ``replace`` is not given.
        FormatError: a file is no module.
    """
    files = sorted({file for target in targets for file in _modules_at(target)})
    with _signing(project, signers, cell="") as job:
        return [_sign_one(file, job, replace=replace) for file in files]


def _modules_at(target: Path) -> Iterator[Path]:
    if target.is_dir():
        yield from (file for file in target.rglob("*.ko*") if is_module(file.name) and not file.is_symlink())
    elif is_module(target.name):
        yield target.resolve()  # a link that somebody names is meant; one that is found is not
    else:
        raise UsageError(f"{target} is neither a module (.ko, .ko.xz, .ko.zst, .ko.gz) nor a folder")


@contextlib.contextmanager
def _signing(project: Project, names: Sequence[str], *, cell: str) -> Iterator[SigningJob]:
    """Open signers by name under the project's lock, after looking at their certificates."""
    identities = read_named_identities(project.config, names)
    now = datetime.now(UTC)
    for identity in identities:
        check_certificate(identity, now=now)
    log = SigningLog(project.work_dir / "signing.jsonl")
    run_id = make_run_id("sign-")
    with hold_project(project.work_dir), open_signers(project.config, identities) as opened:
        yield SigningJob(signers=opened, log=log, cell=cell, run=run_id)


def _sign_one(file: Path, job: SigningJob, *, replace: bool) -> SignedFile:
    data = read_file(file)
    signed, status = _sign_data(data, str(file), job, replace=replace)
    if signed is not None:
        replace_file(file, signed, mode=file.stat().st_mode & 0o777)
    placed, _ = place_modules([(str(file), signed or data)])
    return SignedFile(path=str(file), status=status, sha256=placed[0].sha256)


def _sign_data(data: bytes, path: str, job: SigningJob, *, replace: bool) -> tuple[bytes | None, str]:
    """Return a module with new signatures, or None where it has them already, and a word for what was done."""
    placed, findings = place_modules([(path, data)])
    if findings:
        raise FormatError(f"{path}: {findings[0].sentence}")
    if not check_signatures(placed, [signer.identity.expected for signer in job.signers]):
        return None, "signed already"
    signed = split_signature(unpack_module(data, path))
    status = "signed again" if signed.signers else "signed"
    content = signed.content if replace else unpack_module(data, path)
    result = sign_content(content, path, job)
    suffix = path[path.rfind(".ko") + 3 :].removeprefix(".")
    return (pack_module(result, suffix) if suffix else result), status


def sign_image(project: Project, signers: Sequence[str], image: str, tag: str, *, replace: bool) -> Proof:
    """Make an image with signed modules out of another one; nothing is compiled, and the result is proven.

    Raises: as ``sign_targets``; CellError also where the result does not fit its kernel, UsageError where ``tag`` is
        one of kmodsmith's own names.
    """
    if tag.startswith(TOOLKIT_PREFIX):
        raise UsageError(f"{tag}: names below {TOOLKIT_PREFIX} are given by builds only", hint="choose another --tag")
    project.work_dir.mkdir(parents=True, exist_ok=True)
    unproven = f"{STAGE_REPOSITORY}:{make_run_id('sign-')}"
    with ExitStack() as held:
        held.enter_context(hold_store())
        original = find_image(image)  # by id: what is read here is what modules are put onto
        packed, _ = read_packed(original.id, LayerCache(), project.packing)
        # What kept layers of a base is known by the digest that is on record.
        recorded = (item.digest for item in project.journal.cells.values() if item.stored == original.digest)
        contents = dataclasses.replace(packed, name=image, digest=next(recorded, packed.digest))
        kernel = find_kernel(contents)
        facts = facts_from_lock(project, kernel, held)
        scratch = Path(held.enter_context(tempfile.TemporaryDirectory(dir=project.work_dir, prefix="cell-")))
        with _signing(project, signers, cell=contents.labels.get(CELL_LABEL) or image) as job:
            files = [(file.path, file.content or b"") for file in list_modules(contents)]
            signed = [(path, _sign_data(data, path, job, replace=replace)[0] or data) for path, data in files]
            write_result(make_result((path, File(data)) for path, data in signed), tree := scratch / "modules")
            identities = [signer.identity for signer in job.signers]
        containerfile = scratch / "Containerfile"
        containerfile.write_text(_RESIGN_CONTAINERFILE)
        build = ImageBuild(
            context=tree, containerfile=containerfile, arguments={"BASE_IMAGE": original.id}, log_file=None,
            jail=project.jail,
        )  # fmt: skip
        labels = resigned_labels(contents, identities)
        held.callback(remove_images, [unproven])
        id_file = scratch / "image-id"
        run(build.assemble(tree, names=(unproven,), kernel=kernel, labels=labels, id_file=id_file)).check()
        image_id = read_image_id(id_file)
        proof = prove_image(
            read_image(image_id, LayerCache()),
            facts,
            expected=expected_modules(project, contents),
            signers=[identity.expected for identity in identities],
        )
        raise_findings(proof.findings)
        tag_image(image_id, tag)
    return proof


def resigned_labels(contents: ImageContents, identities: Sequence[SignerIdentity]) -> dict[str, str]:
    """Return the labels of an image with new signatures: who signed, and which image it was.

    It is no cell any more: the key of one says who signed. Labels of a base cannot be taken away, so they are emptied.
    """
    labels = {
        CELL_LABEL: "",
        KEY_LABEL: "",
        ORIGIN_DIGEST_LABEL: contents.digest,
        SIGNED_LABEL: "yes",
        SIGNERS_LABEL: ",".join(identity.certificate.fingerprint for identity in identities),
        DEVELOPMENT_LABEL: "yes" if any(item.is_development for item in identities) else "no",
    }
    if cell := contents.labels.get(CELL_LABEL) or contents.labels.get(ORIGIN_CELL_LABEL):
        labels[ORIGIN_CELL_LABEL] = cell
    return labels
