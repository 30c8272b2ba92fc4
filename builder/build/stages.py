"""Stages used alone, and the comparisons that rest on them: prove an image, sign files or an image, compare kernels."""

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
from builder.build.equipment import open_facts, open_toolkits
from builder.build.prove import prove_image, read_image
from builder.errors import FormatError, LockFileError, UsageError
from builder.evidence.journal import make_run_id
from builder.host.locks import hold_project
from builder.host.places import replace_file
from builder.host.run import run
from builder.image.contents import LayerCache, list_modules
from builder.image.labels import (
    CELL_LABEL,
    DEVELOPMENT_LABEL,
    KERNEL_LABEL,
    KEY_LABEL,
    MODULE_ROOT,
    ORIGIN_CELL_LABEL,
    ORIGIN_DIGEST_LABEL,
    SIGNED_LABEL,
    SIGNERS_LABEL,
)
from builder.kernel import parse_kernel_version
from builder.kmod.compat import find_drift, judge
from builder.kmod.finding import raise_findings
from builder.kmod.fit import ExpectedSigner, check_signatures, place_modules
from builder.kmod.kernel_facts import read_kernel_facts
from builder.kmod.packing import is_module, pack_module, unpack_module
from builder.kmod.signature import split_signature
from builder.plan.planning import NO_BOOTS, plan_project
from builder.signing.access import check_certificate, open_signers, read_certificate, read_named_identities
from builder.signing.modules import SigningJob, SigningLog, read_file, sign_content
from builder.store.build import ImageBuild
from builder.store.images import STAGE_REPOSITORY, TOOLKIT_PREFIX, find_image, hold_store, remove_images, tag_image
from builder.store.result import File, make_result
from builder.store.result_folder import write_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.build.prove import Proof
    from builder.image.contents import ImageContents
    from builder.kernel import KernelVersion
    from builder.kmod.compat import Drift, Verdict
    from builder.kmod.fit import PlacedModule
    from builder.kmod.kernel_facts import KernelFacts
    from builder.plan.decide import Decision
    from builder.plan.matrix import Selector
    from builder.plan.project import Project
    from builder.signing.access import SignerIdentity
    from builder.sources.kernel_files import FactsOfKernels

_RESIGN_CONTAINERFILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY --from=modules / /\n"


def fit_image(
    project: Project,
    image: str,
    *,
    kernel_files: Path | None,
    modules: Sequence[str],
    certificates: Sequence[Path],
) -> Proof:
    """Prove one image, of this project or from anywhere.

    Args:
        project: gives kernels, drivers and signers; only its lock is needed where ``kernel_files`` is not given.
        image: name in the container store, or ``oci:FOLDER``.
        kernel_files: a folder with the kernel's files (see ``read_kernel_facts``) instead of its toolkit.
        modules: names that must be there; default: what the image's driver says in versions.yaml.
        certificates: certificates that must have signed; default: those of versions.yaml that the image's labels name.

    Raises:
        UsageError: the image does not say for which kernel it is.
    """
    with ExitStack() as held:
        held.enter_context(hold_store())
        contents = read_image(image, LayerCache())
        kernel = find_kernel(contents)
        if kernel_files is not None:
            facts = read_kernel_facts(kernel_files, kernel)
        else:
            facts = _facts_from_lock(project, kernel, held)
        return prove_image(
            contents,
            facts,
            expected=modules or _expected_modules(project, contents),
            signers=_expected_signers(project, contents, certificates),
        )


def find_kernel(contents: ImageContents) -> KernelVersion:
    """Return the kernel that an image is for: by its label, else by the folder that its modules lie in.

    Raises:
        UsageError: there is no label, and not exactly one folder.
    """
    label = contents.labels.get(KERNEL_LABEL)
    paths = (path.removeprefix(f"{MODULE_ROOT}/") for path in contents.files if path.startswith(f"{MODULE_ROOT}/"))
    folders = {folder for folder, separator, _ in (path.partition("/") for path in paths) if separator}
    if not label and len(folders) != 1:
        found = (
            f"its modules lie in {len(folders)} kernels' folders" if folders else f"it has nothing in /{MODULE_ROOT}"
        )
        raise UsageError(
            f"{contents.name} does not say for which kernel it is: no label io.kmodsmith.kernel, and {found}"
        )
    return parse_kernel_version(label or folders.pop())


def _facts_from_lock(project: Project, kernel: KernelVersion, held: ExitStack) -> KernelFacts:
    for name, source in project.lock.sources.items():
        if kernel.raw in source.kernels:
            return open_source_facts(project, name, held).of(kernel)
    raise LockFileError(
        f"no kernel source of versions.lock.yaml has kernel {kernel}",
        hint="give the kernel's files with --kernel-files, or run 'nox -s discover'",
    )


def open_source_facts(project: Project, source: str, held: ExitStack) -> FactsOfKernels:
    project.work_dir.mkdir(parents=True, exist_ok=True)
    return open_facts(project, source, open_toolkits(project, source, held))


def _expected_modules(project: Project, contents: ImageContents) -> tuple[str, ...] | None:
    if not project.file.is_file():
        return None
    driver = project.drivers.get(contents.labels.get("name", ""))
    return driver.recipe.module_names if driver else None


def _expected_signers(
    project: Project, contents: ImageContents, certificates: Sequence[Path]
) -> list[ExpectedSigner] | None:
    if certificates:
        algorithm = _algorithm_used(contents)
        return [ExpectedSigner(certificate=read_certificate(file), algorithm=algorithm) for file in certificates]
    named = [word for word in contents.labels.get(SIGNERS_LABEL, "").split(",") if word]
    if not named:
        return [] if contents.labels.get(SIGNED_LABEL) == "no" else None
    identities = read_named_identities(project.config, list(project.config.signers))
    known = {identity.certificate.fingerprint: identity.expected for identity in identities}
    if unknown := [fingerprint for fingerprint in named if fingerprint not in known]:
        raise UsageError(
            f"{contents.name} is signed by {unknown[0]}, which is no signer of versions.yaml",
            hint="give the certificate with --certificate",
        )
    return [known[fingerprint] for fingerprint in named]


def _algorithm_used(contents: ImageContents) -> str:
    """Return the digest algorithm of the image's first signature: a certificate given by hand says nothing of it."""
    placed, _ = place_modules((file.path, file.content or b"") for file in list_modules(contents))
    used = [entry.digest_algorithm for module in placed for entry in module.signed.signers]
    return used[0] if used else "sha256"


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
        contents = dataclasses.replace(read_image(original.id, LayerCache()), name=image)
        kernel = find_kernel(contents)
        facts = _facts_from_lock(project, kernel, held)
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
            expected=_expected_modules(project, contents),
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


def compare_kernels(project: Project, selector: Selector) -> dict[str, list[Verdict]]:
    """Judge, for each driver, every built image of the selection for every kernel of the selection.

    Raises:
        UsageError: nothing of the selection is built.
    """
    with ExitStack() as held:
        held.enter_context(hold_store())
        built = _read_built(project, selector)
        verdicts: dict[str, list[Verdict]] = {}
        facts = {source: open_source_facts(project, source, held) for source in {item.cell.source for item, _ in built}}
        for kernel, source in dict.fromkeys((item.cell.kernel, item.cell.source) for item, _ in built):
            known = facts[source].of(kernel)
            for item, modules in built:
                verdict = judge(modules, item.cell.kernel.raw, known)
                verdicts.setdefault(item.cell.driver, []).append(verdict)
    return verdicts


def compare_two(project: Project, selector: Selector, before: str, after: str) -> dict[str, list[Drift]]:
    """Return, for each driver, how the symbols that it uses differ between two kernels of the lock.

    Raises:
        UsageError: a kernel is not one, or the driver is built for neither of the two.
        LockFileError: a kernel is in no source of the lock.
    """
    kernels = [parse_kernel_version(before), parse_kernel_version(after)]
    with ExitStack() as held:
        held.enter_context(hold_store())
        facts = [_facts_from_lock(project, kernel, held) for kernel in kernels]
        built = [(item, modules) for item, modules in _read_built(project, selector) if item.cell.kernel in kernels]
        if not built:
            raise UsageError(f"no driver is built for {before} or {after}, so which symbols it uses is not known")
        return {item.cell.driver: find_drift(modules, *facts) for item, modules in reversed(built)}


def _read_built(project: Project, selector: Selector) -> list[tuple[Decision, list[PlacedModule]]]:
    planned = plan_project(project, selector, boot=NO_BOOTS)
    cache = LayerCache()
    built = []
    for decision in planned.plan.decisions:
        if decision.key and decision.key_image in planned.images:
            contents = read_image(decision.key_image, cache)
            placed, _ = place_modules((file.path, file.content or b"") for file in list_modules(contents))
            built.append((decision, placed))
    if not built:
        raise UsageError("none of these cells is built yet", hint="run 'nox -s build' with the same selection first")
    return built
