"""Would these modules load on this kernel? Every question that the kernel's loader asks, asked before.

The kernel's side: kernel/module/main.c and kernel/module/version.c (vermagic, symbols, CRCs, namespaces, licences),
include/uapi/linux/elf-em.h (machines). Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.kernel import Arch
from builder.kmod.finding import Check, Finding
from builder.kmod.kernel_object import module_name, read_kernel_object
from builder.kmod.packing import unpack_module
from builder.kmod.signature import split_signature
from builder.module_words import ModuleWord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.kmod.kernel_facts import KernelFacts
    from builder.kmod.kernel_object import Export, KernelObject
    from builder.kmod.signature import Certificate, SignedModule, SignerEntry

# ELF class, machine and whether it is little-endian, of each architecture.
MACHINES = {
    Arch.X86_64: (64, 62, True),
    Arch.AARCH64: (64, 183, True),
    Arch.PPC64LE: (64, 21, True),
    Arch.S390X: (64, 22, False),
}
# Not an import, but compared, too: the layout of struct module itself.
_MODULE_LAYOUT = "module_layout"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedModule:
    """A module where it lies: path in the image, file content, and what was read from it."""

    path: str
    data: bytes
    signed: SignedModule
    object: KernelObject

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedSigner:
    """A certificate that must have signed, and the digest algorithm that its signature must use."""

    certificate: Certificate
    algorithm: str


def place_modules(files: Iterable[tuple[str, bytes]]) -> tuple[list[PlacedModule], list[Finding]]:
    """Read modules; what cannot be read is a finding, not an error.

    Args:
        files: path in the image and content of each.
    """
    placed: list[PlacedModule] = []
    findings: list[Finding] = []
    for path, data in files:
        try:
            plain = unpack_module(data, path)
        except FormatError as error:
            findings.append(Finding(check=Check.MODULE_UNREADABLE, subject=path, sentence=error.message))
            continue
        try:
            signed = split_signature(plain)
        except FormatError as error:
            findings.append(Finding(check=Check.SIGNATURE_UNREADABLE, subject=path, sentence=error.message))
            continue
        try:
            kernel_object = read_kernel_object(signed.content, path)
        except FormatError as error:
            findings.append(Finding(check=Check.MODULE_UNREADABLE, subject=path, sentence=error.message))
            continue
        placed.append(PlacedModule(path=path, data=data, signed=signed, object=kernel_object))
    return placed, findings


def check_modules(
    modules: Sequence[PlacedModule], kernel: KernelFacts, *, expected: Iterable[str] | None, compiled_for: str = ""
) -> list[Finding]:
    """Check all modules of an image against their kernel and against each other.

    Args:
        modules: the modules, with paths in the image.
        kernel: the kernel that they are for.
        expected: what must be there, and nothing else, as in ``module_words``; None where that is not known.
        compiled_for: the kernel version that they were compiled for, when that is deliberately another one. Kernels
            with symbol versions load such modules: the CRCs decide, not the version in vermagic.
    """
    findings = list(_check_names(modules, expected))
    siblings = {name: export for module in modules for name, export in module.object.exports.items()}
    owners: dict[str, str] = {}
    for module in modules:
        for name in module.object.exports:
            owners.setdefault(name, module.path)
    # A vendor may rename a module's file (dkms.conf, DEST_MODULE_NAME); both names count.
    names = {module_name(name) for module in modules for name in (module.path, module.object.name)}
    for module in modules:
        findings += _check_exports(module, kernel, owners, names)
        findings += _check_elf(module, kernel)
        findings += _check_vermagic(module, kernel, compiled_for)
        findings += _check_symbols(module, kernel, siblings)
        findings += _check_dependencies(module, kernel, siblings, names)
    return findings


def check_signatures(modules: Iterable[PlacedModule], signers: Sequence[ExpectedSigner]) -> list[Finding]:
    """Check that every module is signed by exactly the expected certificates, with their digest algorithms."""
    findings = []
    for module in modules:
        for check, sentence in _check_signature(module.signed, signers):
            findings.append(Finding(check=check, subject=module.path, sentence=sentence))
    return findings


def _check_signature(signed: SignedModule, signers: Sequence[ExpectedSigner]) -> Iterator[tuple[Check, str]]:
    entries = {(entry.issuer, entry.serial_number): entry for entry in signed.signers}
    wanted = {signer.certificate.identity: signer for signer in signers}
    subjects = " and ".join(signer.certificate.subject for signer in signers)
    if not entries and wanted:
        yield Check.SIGNATURE_MISSING, f"it is not signed; expected: {subjects}"
        return
    if entries and not wanted:
        yield Check.SIGNATURE_UNEXPECTED, "it is signed, although no signer is configured"
        return
    for _, serial_number in entries.keys() - wanted.keys():
        sentence = f"it is signed by a certificate with serial number {serial_number:x}, not by {subjects}"
        yield Check.SIGNED_BY_OTHER, sentence
    for identity in entries.keys() & wanted.keys():
        yield from _check_signer_entry(signed, entries[identity], wanted[identity])
    if entries.keys() & wanted.keys():
        for identity in wanted.keys() - entries.keys():
            yield Check.SIGNATURE_MISSING, f"it is not signed by {wanted[identity].certificate.subject}"


def _check_signer_entry(
    signed: SignedModule, entry: SignerEntry, signer: ExpectedSigner
) -> Iterator[tuple[Check, str]]:
    subject = signer.certificate.subject
    digest = signed.digest(entry.digest_algorithm)
    is_valid = signer.certificate.accepts(entry.signature, digest, entry.digest_algorithm)
    if not is_valid or entry.is_rsa != signer.certificate.is_rsa:
        sentence = f"its signature by {subject} does not verify: the module changed since, or another key signed it"
        yield Check.SIGNATURE_INVALID, sentence
    elif entry.digest_algorithm != signer.algorithm:
        yield Check.WRONG_DIGEST_ALGORITHM, f"its signature uses {entry.digest_algorithm}, not {signer.algorithm}"


def _check_names(modules: Sequence[PlacedModule], expected: Iterable[str] | None) -> Iterator[Finding]:
    found: dict[str, str] = {}
    for module in modules:
        name = module_name(module.path)
        if name in found:
            yield Finding(check=Check.MODULE_TWICE, subject=module.path, sentence=f"{found[name]} is the same module")
        found.setdefault(name, module.path)
    yield from _check_own_names(modules)
    if expected is None:
        return
    words = sorted({ModuleWord(text) for text in expected})
    for word in words:
        if not word.is_optional and not any(word.fits(name) for name in found):
            yield Finding(check=Check.MODULE_MISSING, subject=f"{word.text}.ko", sentence="it is not in the image")
    for name, path in sorted(found.items()):
        if not any(word.fits(name) for word in words):
            sentence = "no driver says that it makes this module"
            yield Finding(check=Check.MODULE_UNEXPECTED, subject=path, sentence=sentence)


def _check_own_names(modules: Sequence[PlacedModule]) -> Iterator[Finding]:
    """The kernel knows a module by the name inside of it, and takes a second one for one that is loaded already."""
    found: dict[str, str] = {}
    for module in modules:
        name = module_name(module.object.name)
        other = found.setdefault(name, module.path)
        if module_name(other) != module_name(module.path):
            sentence = f"it calls itself {name}, as {other} does, so only one of them can be loaded"
            yield _finding(Check.MODULE_TWICE, module, sentence)


def _check_exports(
    module: PlacedModule, kernel: KernelFacts, owners: Mapping[str, str], names: set[str]
) -> Iterator[Finding]:
    """Find what verify_exported_symbols() of kernel/module/main.c refuses: a symbol has one owner."""
    own = {module_name(module.path), module_name(module.object.name)}
    if built_in := own & kernel.built_in:
        sentence = f"{', '.join(sorted(built_in))} is built into {kernel.kernel}, so no module of that name is loaded"
        yield _finding(Check.MODULE_BUILT_IN, module, sentence)
    for name in sorted(module.object.exports):
        export = kernel.symbols.find(name)
        # A module of the kernel that the image replaces is not loaded beside it.
        is_kept = export is not None and (export.module == "vmlinux" or module_name(export.module) not in names)
        owner = f"{export.module} of the kernel" if export is not None and is_kept else owners[name]
        if owner != module.path:
            sentence = f"it exports {name}, as {owner} does, and the kernel refuses the second"
            yield _finding(Check.DUPLICATE_SYMBOL, module, sentence)


def _check_elf(module: PlacedModule, kernel: KernelFacts) -> Iterator[Finding]:
    bits, machine, is_little = MACHINES[kernel.kernel.arch]
    item = module.object
    if item.bits != bits:
        yield _finding(
            Check.WRONG_CLASS, module, f"it is a {item.bits}-bit object, {kernel.kernel.arch} needs {bits} bits"
        )
    if item.is_little != is_little:
        order = "little" if is_little else "big"
        yield _finding(Check.WRONG_ENDIANNESS, module, f"{kernel.kernel.arch} needs {order}-endian objects")
    if item.machine != machine:
        yield _finding(
            Check.WRONG_MACHINE, module, f"it is for ELF machine {item.machine}, {kernel.kernel.arch} is {machine}"
        )
    if not item.is_relocatable:
        yield _finding(Check.NOT_RELOCATABLE, module, "it is linked already, and kernels load relocatable objects only")


def _check_vermagic(module: PlacedModule, kernel: KernelFacts, compiled_for: str) -> Iterator[Finding]:
    vermagic = module.object.vermagic
    version = kernel.kernel.raw
    if module.object.first("intree"):
        yield _finding(Check.IN_TREE_FLAG, module, "it claims to come with the kernel (modinfo intree)")
    folder = module.path.partition("lib/modules/")[2].partition("/")[0]
    if folder != version:
        yield _finding(
            Check.WRONG_FOLDER, module, f"it must lie below opt/lib/modules/{version}/, where modprobe looks"
        )
    if not vermagic:
        yield _finding(Check.VERMAGIC_MISSING, module, "it has no vermagic, so no kernel loads it")
        return
    found, *flags = vermagic.split()
    if found != (compiled_for or version):
        yield _finding(Check.WRONG_KERNEL, module, f"it was compiled for {found}, not for {compiled_for or version}")
    elif found != version and not (kernel.has_versions and module.object.versions):
        yield _finding(Check.WRONG_KERNEL, module, f"without symbol versions only {found} loads it")
    wanted = kernel.vermagic.split()[1:]
    if flags != wanted:
        sentence = f"its vermagic says {' '.join(flags) or 'nothing'}, the kernel's {' '.join(wanted) or 'nothing'}"
        yield _finding(Check.WRONG_VERMAGIC_FLAGS, module, sentence)


def _check_symbols(module: PlacedModule, kernel: KernelFacts, siblings: Mapping[str, Export]) -> Iterator[Finding]:
    item = module.object
    if not item.first("license"):
        yield _finding(
            Check.LICENSE_MISSING, module, "it declares no licence; the kernel would treat it as proprietary"
        )
    for name in sorted(item.imports):
        export = find_export(name, kernel, siblings)
        if export is None:
            if not item.imports[name]:
                yield _finding(Check.SYMBOL_MISSING, module, f"it needs {name}, which {kernel.kernel} does not export")
            continue
        if export.is_gpl_only and not item.is_gpl_compatible:
            licence = item.first("license") or "none"
            yield _finding(
                Check.GPL_ONLY_SYMBOL, module, f"{name} is for GPL-compatible modules, its licence is {licence}"
            )
        if not _may_use_namespace(item, export.namespace):
            yield _finding(
                Check.NAMESPACE_NOT_IMPORTED,
                module,
                f"{name} is in namespace {export.namespace}, which it does not import",
            )
        if kernel.has_versions and name not in item.versions:
            yield _finding(
                Check.SYMBOL_WITHOUT_VERSION, module, f"it has no version for {name}, and the kernel demands one"
            )
    for difference in find_version_differences(item, kernel, siblings):
        yield _finding(Check.WRONG_SYMBOL_VERSION, module, str(difference))


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDifference:
    """A symbol whose type is not the one that a module was built against; both CRCs."""

    symbol: str
    module: int
    kernel: int

    def __str__(self) -> str:
        return f"{self.symbol} has version {self.kernel:#010x} in the kernel and {self.module:#010x} in the module"


def find_version_differences(
    item: KernelObject, kernel: KernelFacts, siblings: Mapping[str, Export]
) -> list[VersionDifference]:
    """Return the symbols of a module that the kernel has with another CRC; those it lacks are no difference."""
    if not kernel.has_versions:
        return []
    differences = []
    for name, crc in sorted(item.versions.items()):
        export = find_export(name, kernel, siblings)
        if export is not None and export.crc is not None and export.crc != crc:
            differences.append(VersionDifference(symbol=name, module=crc, kernel=export.crc))
    return differences


def find_export(name: str, kernel: KernelFacts, siblings: Mapping[str, Export]) -> Export | None:
    return siblings.get(name) or kernel.symbols.find(name)


def _may_use_namespace(item: KernelObject, namespace: str) -> bool:
    if not namespace or namespace in item.modinfo.get("import_ns", ()):
        return True
    if namespace.startswith("module:"):  # since 6.16: only the modules that the export names
        patterns = namespace.removeprefix("module:").split(",")
        return any(fnmatchcase(module_name(item.name), pattern.replace("-", "_")) for pattern in patterns)
    return False


def _check_dependencies(
    module: PlacedModule, kernel: KernelFacts, siblings: Mapping[str, Export], names: set[str]
) -> Iterator[Finding]:
    item = module.object
    declared = {name.replace("-", "_") for name in item.depends}
    for name in sorted(declared - names - kernel.in_tree):
        yield _finding(
            Check.DEPENDENCY_UNKNOWN, module, f"it depends on {name}, which is neither in the image nor in the kernel"
        )
    providers = {
        module_name(export.module)
        for name in item.imports
        if (export := find_export(name, kernel, siblings)) is not None and export.module != "vmlinux"
    }
    for name in sorted(providers - declared - {module_name(item.name)}):
        yield _finding(
            Check.DEPENDENCY_NOT_DECLARED,
            module,
            f"it uses symbols of {name} but does not depend on it, so modprobe would not load it first",
        )


def _finding(check: Check, module: PlacedModule, sentence: str) -> Finding:
    return Finding(check=check, subject=module.path, sentence=sentence)
