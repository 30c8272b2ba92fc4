"""The checks of openshift-preflight, in which of its policies each counts, and how a check of it ended. Pure.

Source: openshift-preflight 1.21, internal/engine/engine.go (which checks a policy has) and internal/policy/*/*.go
(level and condition of each). A check whose level is "optional" is run and logged, and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - dataclasses read annotations
from dataclasses import dataclass
from enum import StrEnum

PREFLIGHT = "openshift-preflight 1.21"
"""Whose conditions these are."""


class PolicyCheck(StrEnum):
    """A check, spelled as preflight spells it."""

    HAS_LICENSE = "HasLicense"
    HAS_UNIQUE_TAG = "HasUniqueTag"
    LAYER_COUNT = "LayerCountAcceptable"
    NO_PROHIBITED_PACKAGES = "HasNoProhibitedPackages"
    REQUIRED_LABELS = "HasRequiredLabel"
    NO_PROHIBITED_LABELS = "HasNoProhibitedLabels"
    RUN_AS_NON_ROOT = "RunAsNonRoot"
    MODIFIED_FILES = "HasModifiedFiles"
    BASED_ON_UBI = "BasedOnUbi"
    CONTAINER_NAME = "HasProhibitedContainerName"
    DEPLOYABLE = "DeployableByOLM"
    VALIDATE_BUNDLE = "ValidateOperatorBundle"
    CERTIFIED_IMAGES = "BundleImageRefsAreCertified"
    SCC_IN_CSV = "SecurityContextConstraintsInCSV"
    RELATED_IMAGES = "AllImageRefsInRelatedImages"
    RESTRICTED_NETWORK = "FollowsRestrictedNetworkEnablementGuidelines"
    REQUIRED_ANNOTATIONS = "RequiredAnnotations"


class Policy(StrEnum):
    """A policy; for images, the certification project says which one applies."""

    CONTAINER = "container"
    ROOT = "root"
    SCRATCH_NONROOT = "scratch-nonroot"
    SCRATCH_ROOT = "scratch-root"
    OPERATOR = "operator"


CONTAINER_POLICIES = (Policy.CONTAINER, Policy.ROOT, Policy.SCRATCH_NONROOT, Policy.SCRATCH_ROOT)

_ALL = (
    PolicyCheck.HAS_LICENSE, PolicyCheck.HAS_UNIQUE_TAG, PolicyCheck.LAYER_COUNT, PolicyCheck.NO_PROHIBITED_PACKAGES,
    PolicyCheck.REQUIRED_LABELS, PolicyCheck.NO_PROHIBITED_LABELS, PolicyCheck.RUN_AS_NON_ROOT,
    PolicyCheck.MODIFIED_FILES, PolicyCheck.BASED_ON_UBI, PolicyCheck.CONTAINER_NAME,
)  # fmt: skip
_WANT_RPMS = frozenset({PolicyCheck.NO_PROHIBITED_PACKAGES, PolicyCheck.MODIFIED_FILES, PolicyCheck.BASED_ON_UBI})
_WANT_A_USER = frozenset({PolicyCheck.RUN_AS_NON_ROOT})

CHECKS: dict[Policy, tuple[PolicyCheck, ...]] = {
    Policy.CONTAINER: _ALL,
    Policy.ROOT: tuple(check for check in _ALL if check not in _WANT_A_USER),
    Policy.SCRATCH_NONROOT: tuple(check for check in _ALL if check not in _WANT_RPMS),
    Policy.SCRATCH_ROOT: tuple(check for check in _ALL if check not in _WANT_RPMS | _WANT_A_USER),
    Policy.OPERATOR: (
        PolicyCheck.DEPLOYABLE, PolicyCheck.VALIDATE_BUNDLE, PolicyCheck.CERTIFIED_IMAGES, PolicyCheck.SCC_IN_CSV,
        PolicyCheck.RELATED_IMAGES, PolicyCheck.RESTRICTED_NETWORK, PolicyCheck.REQUIRED_ANNOTATIONS,
    ),
}  # fmt: skip
"""In the order in which preflight runs them."""

OPTIONAL = frozenset(
    [
        PolicyCheck.CERTIFIED_IMAGES,
        PolicyCheck.SCC_IN_CSV,
        PolicyCheck.RELATED_IMAGES,
        PolicyCheck.RESTRICTED_NETWORK,
    ]
)
"""Level "optional": run, logged, and neither in the results nor enforced."""


class CheckState(StrEnum):
    """How a check ended: preflight lists checks that passed, failed, or ended with an error, which counts as failed.

    ``NOT_JUDGED``: the answer is not on this machine, or not to be had without a program that is not here.
    """

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    NOT_JUDGED = "not-judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckVerdict:
    """What became of one check: ``sentence`` says what was seen, or who can tell."""

    check: PolicyCheck
    state: CheckState
    sentence: str

    @property
    def is_enforced(self) -> bool:
        return self.check not in OPTIONAL

    @property
    def is_refused(self) -> bool:
        """Tell whether an image or bundle fails by it."""
        return self.is_enforced and self.state in {CheckState.FAILED, CheckState.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certification:
    """An image or bundle under a policy.

    ``subject`` is its name, ``digest`` that of its manifest in registries, empty where it has none; ``arch`` as OCI
    spells it. ``because`` says why this policy was taken. ``tags`` are names that it is, or will be, published by.
    """

    subject: str
    digest: str
    arch: str
    policy: Policy
    because: str
    checks: Sequence[CheckVerdict]
    project: str = ""
    """Driver or component whose certification project it belongs to; empty where nobody says it."""
    tags: Sequence[str] = ()

    @property
    def is_refused(self) -> bool:
        return any(verdict.is_refused for verdict in self.checks)

    @property
    def unjudged(self) -> Sequence[CheckVerdict]:
        return [verdict for verdict in self.checks if verdict.state is CheckState.NOT_JUDGED]
