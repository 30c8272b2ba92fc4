"""What is wrong with a module or an image: a stable code for programs, a sentence for people, and the place. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass

if TYPE_CHECKING:
    from collections.abc import Sequence


class Check(StrEnum):
    """Every check of the stages fit and sign, by the code of its failure."""

    MODULE_UNREADABLE = "module-unreadable"
    WRONG_CLASS = "wrong-class"
    WRONG_MACHINE = "wrong-machine"
    WRONG_ENDIANNESS = "wrong-endianness"
    NOT_RELOCATABLE = "not-relocatable"
    VERMAGIC_MISSING = "vermagic-missing"
    WRONG_KERNEL = "wrong-kernel"
    WRONG_VERMAGIC_FLAGS = "wrong-vermagic-flags"
    WRONG_FOLDER = "wrong-folder"
    IN_TREE_FLAG = "in-tree-flag"
    SYMBOL_MISSING = "symbol-missing"
    SYMBOL_WITHOUT_VERSION = "symbol-without-version"
    WRONG_SYMBOL_VERSION = "wrong-symbol-version"
    NAMESPACE_NOT_IMPORTED = "namespace-not-imported"
    GPL_ONLY_SYMBOL = "gpl-only-symbol"
    LICENSE_MISSING = "license-missing"
    DEPENDENCY_UNKNOWN = "dependency-unknown"
    DEPENDENCY_NOT_DECLARED = "dependency-not-declared"
    MODULE_MISSING = "module-missing"
    MODULE_UNEXPECTED = "module-unexpected"
    MODULE_TWICE = "module-twice"
    MODULE_BUILT_IN = "module-built-in"
    DUPLICATE_SYMBOL = "duplicate-symbol"
    NO_MODULES = "no-modules"
    MODULE_IS_LINK = "module-is-link"
    LAYERS_AMBIGUOUS = "layers-ambiguous"
    WRONG_ARCHITECTURE = "wrong-architecture"
    FIRMWARE_MISSING = "firmware-missing"
    DEPMOD_MISSING = "depmod-missing"
    DEPMOD_DIFFERS = "depmod-differs"
    TOOL_MISSING = "tool-missing"
    TOOL_CANNOT_RUN = "tool-cannot-run"
    UNREADABLE_BY_USER = "unreadable-by-user"
    LABEL_MISSING = "label-missing"
    WRONG_LABEL = "wrong-label"
    LICENSES_FOLDER_EMPTY = "licenses-folder-empty"
    TOO_MANY_LAYERS = "too-many-layers"
    PROHIBITED_PACKAGE = "prohibited-package"
    PACKAGES_UNREADABLE = "packages-unreadable"
    KERNEL_FILE = "kernel-file"
    SECRET_IN_LAYER = "secret-in-layer"  # noqa: S105 - a code
    SECRET_IN_SETTINGS = "secret-in-settings"  # noqa: S105 - a code
    SIGNATURE_UNREADABLE = "signature-unreadable"
    SIGNATURE_MISSING = "signature-missing"
    SIGNATURE_UNEXPECTED = "signature-unexpected"
    SIGNED_BY_OTHER = "signed-by-other"
    SIGNATURE_INVALID = "signature-invalid"
    WRONG_DIGEST_ALGORITHM = "wrong-digest-algorithm"

    @property
    def failure_class(self) -> FailureClass:
        return _CLASSES.get(self, FailureClass.FIT)


_CLASSES = {
    Check.SYMBOL_MISSING: FailureClass.UNRESOLVED_SYMBOL,
    Check.SIGNATURE_UNREADABLE: FailureClass.SIGN,
    Check.SIGNATURE_MISSING: FailureClass.SIGN,
    Check.SIGNATURE_UNEXPECTED: FailureClass.SIGN,
    Check.SIGNED_BY_OTHER: FailureClass.SIGN,
    Check.SIGNATURE_INVALID: FailureClass.SIGN,
    Check.WRONG_DIGEST_ALGORITHM: FailureClass.SIGN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check that failed. ``subject`` is a path in the image, or what else the sentence is about."""

    check: Check
    subject: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.check}: {self.subject}: {self.sentence}"


def raise_findings(findings: Sequence[Finding]) -> None:
    """Fail a cell if there are findings; the first one, in the order of the checks, is its cause.

    Raises:
        CellError: of the class of the first finding; the hint counts the others.
    """
    if not findings:
        return
    order = list(Check)
    first, *others = sorted(findings, key=lambda finding: order.index(finding.check))
    more = f"{len(others)} more: {'; '.join(str(finding) for finding in others[:5])}" if others else None
    raise CellError(
        first.check.failure_class,
        first.check,
        f"{first.subject}: {first.sentence}",
        location=first.subject,
        detail=first.sentence,
        hint=more,
    )
