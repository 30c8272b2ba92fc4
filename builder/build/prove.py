"""Stage fit, twice: modules before anything is signed, and the final image as it would be pulled."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.evidence.records import FileRecord, ModuleRecord
from builder.image.contents import export_image, read_exported, read_oci_layout
from builder.image.contract import check_image
from builder.image.packed import pack_image
from builder.kmod.fit import check_modules, place_modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from builder.image.contents import ImageContents, LayerCache
    from builder.image.packed import Packing
    from builder.kmod.finding import Finding
    from builder.kmod.fit import ExpectedSigner, PlacedModule
    from builder.kmod.kernel_facts import KernelFacts
    from builder.store.result import CompileResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was looked at in an image, and what is wrong with it; nothing is, where it is proven."""

    image: str
    digest: str
    kernel: str
    modules: tuple[ModuleRecord, ...]
    firmware: tuple[FileRecord, ...]
    signers: tuple[str, ...]
    findings: tuple[Finding, ...]


def prove_result(
    result: CompileResult, kernel: KernelFacts, *, expected: Iterable[str] | None, compiled_for: str = ""
) -> list[Finding]:
    """Check the modules of a compile's result; returns what is wrong."""
    modules, findings = place_modules(result.modules())
    return findings + check_modules(modules, kernel, expected=expected, compiled_for=compiled_for)


def read_image(image: str, cache: LayerCache) -> ImageContents:
    """Read an image of the container store, or an OCI layout (``oci:FOLDER``).

    Raises:
        UsageError: there is no such image.
        FormatError: the image cannot be read.
    """
    if image.startswith("oci:"):
        return read_oci_layout(Path(image.removeprefix("oci:")), image, cache)
    with exported(image) as folder:
        return read_exported(folder, image, cache)


def read_packed(image: str, cache: LayerCache, packing: Packing) -> tuple[ImageContents, str]:
    """Read an image of the container store as it will be in registries, where it has another digest.

    Returns:
        It, and its digest in the store. Errors are those of ``read_image``.
    """
    with exported(image) as folder:
        return read_folder(folder, image, cache, packing)


def read_folder(folder: Path, image: str, cache: LayerCache, packing: Packing) -> tuple[ImageContents, str]:
    """Do the same with an image that lies in a folder (``dir:``); layers that are in the cache may be missing there."""
    contents = read_exported(folder, image, cache)
    return replace(contents, digest=pack_image(folder, packing).digest), contents.digest


@contextlib.contextmanager
def exported(image: str) -> Iterator[Path]:
    """Give a folder with an image of the container store, with plain layers; errors are ``export_image``'s."""
    with tempfile.TemporaryDirectory(prefix="image-") as scratch:
        folder = Path(scratch, "image")
        export_image(image, folder)
        yield folder


def prove_image(
    contents: ImageContents,
    kernel: KernelFacts,
    *,
    expected: Iterable[str] | None,
    signers: Sequence[ExpectedSigner] | None,
    compiled_for: str = "",
) -> Proof:
    """Check an image; arguments and errors are those of ``image_contract.check_image``."""
    modules, findings = check_image(contents, kernel, expected=expected, signers=signers, compiled_for=compiled_for)
    return Proof(
        image=contents.name,
        digest=contents.digest,
        kernel=kernel.kernel.raw,
        modules=tuple(_record(module) for module in modules),
        firmware=tuple(
            FileRecord(path=file.path, sha256=hashlib.sha256(file.content).hexdigest(), size=file.size)
            for file in contents.below("firmware")
            if file.content is not None
        ),
        signers=tuple(signer.certificate.fingerprint for signer in signers or ()),
        findings=tuple(findings),
    )


def _record(module: PlacedModule) -> ModuleRecord:
    item = module.object
    return ModuleRecord(
        name=module.path.rpartition("/")[2],
        sha256=module.sha256,
        size=len(module.data),
        vermagic=item.vermagic.strip(),
        imports=len(item.imports),
        depends=item.depends,
        firmware=item.modinfo.get("firmware", ()),
        aliases=item.modinfo.get("alias", ()),
        license=item.first("license"),
        version=item.first("version"),
        srcversion=item.first("srcversion"),
    )
