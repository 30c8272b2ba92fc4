"""Proves one image, of this project or from anywhere: what the verb fit does."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from builder.build.equipment import open_facts, open_toolkits
from builder.build.prove import prove_image, read_image
from builder.errors import LockFileError, UsageError
from builder.image.contents import LayerCache
from builder.image.labels import (
    KERNEL_LABEL,
    MODULE_ROOT,
    SIGNED_LABEL,
    SIGNERS_LABEL,
)
from builder.kernel import parse_kernel_version
from builder.kmod.fit import ExpectedSigner
from builder.signing.certificates import read_certificate, read_named_identities
from builder.sources.kernel_files import read_kernel_facts
from builder.store.images import hold_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.build.prove import Proof
    from builder.image.contents import ImageContents
    from builder.kernel import KernelVersion
    from builder.kmod.kernel_facts import KernelFacts
    from builder.plan.project import Project
    from builder.sources.kernel_files import FactsOfKernels


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
            facts = facts_from_lock(project, kernel, held)
        return prove_image(
            contents,
            facts,
            expected=modules or expected_modules(project, contents),
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


def facts_from_lock(project: Project, kernel: KernelVersion, held: ExitStack) -> KernelFacts:
    return find_facts(project, kernel, held).of(kernel)


def find_facts(project: Project, kernel: KernelVersion, held: ExitStack) -> FactsOfKernels:
    """Return the facts of a kernel's source.

    Raises:
        LockFileError: no source of the lock has it.
    """
    for name, source in project.lock.sources.items():
        if kernel in source.kernels:
            return open_source_facts(project, name, held)
    raise LockFileError(
        f"no kernel source of versions.lock.yaml has kernel {kernel}",
        hint="give the kernel's files with --kernel-files, or run 'nox -s discover'",
    )


def open_source_facts(project: Project, source: str, held: ExitStack) -> FactsOfKernels:
    project.work_dir.mkdir(parents=True, exist_ok=True)
    return open_facts(project, source, open_toolkits(project, source, held))


def expected_modules(project: Project, contents: ImageContents) -> tuple[str, ...] | None:
    if not project.file.is_file():
        return None
    driver = project.drivers.get(contents.labels.get("name", ""))
    return driver.module_names if driver else None


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
    placed, _ = contents.modules
    used = [entry.digest_algorithm for module in placed for entry in module.signed.signers]
    return used[0] if used else "sha256"
