"""Judges an operator's bundle by preflight's operator policy: each check with its exact condition, offline. Pure.

Source: openshift-preflight 1.21, internal/policy/operator/*.go and internal/csv/csv.go. What needs a cluster, Red Hat's
catalogue or the API server's own validation is named as not judged, and is never green.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from builder.certify.bundle_rules import (
    annotations_of,
    containers_of,
    find_csv,
    find_load_problems,
    find_violations,
    related_images_of,
    rules_of,
    texts_of,
)
from builder.certify.bundle_words import FEATURES, REQUIRED_FEATURES
from builder.certify.policies import CHECKS, Certification, CheckState, CheckVerdict, Policy, PolicyCheck
from builder.errors import FormatError
from builder.foreign import read_value
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from builder.certify.bundle_files import BundleFiles

_OPTIONAL = ("cnf", "cni", "csi")
_OLD_FEATURES = "operators.openshift.io/infrastructure-features"
_PINNED = re.compile(r".+@[a-zA-Z][a-zA-Z0-9]*:[0-9a-fA-F]{32,}")
_MOST_TOLD = 3
_LEFT_TO_PREFLIGHT = (
    "no rule that is known here is broken; left to preflight are the API server's own validation of CRDs, and fields "
    "of another kind than Go has"
)

_Answer = tuple[CheckState, str]


def judge_bundle(
    bundle: BundleFiles, subject: str, *, digest: str = "", arch: str = "", tags: Sequence[str] = ()
) -> Certification:
    """Return what each check of the operator policy says of a bundle."""
    broken = list(find_load_problems(bundle))
    csv = find_csv(bundle)
    checks = [_judge(check, bundle, csv, broken) for check in CHECKS[Policy.OPERATOR]]
    return Certification(
        subject=subject, digest=digest, arch=arch, policy=Policy.OPERATOR, because="it is a bundle", checks=checks,
        tags=tags,
    )  # fmt: skip


def _judge(
    check: PolicyCheck, bundle: BundleFiles, csv: Mapping[str, Any] | None, broken: Sequence[str]
) -> CheckVerdict:
    if bundle.unread and not broken:
        sentence = f"the bundle cannot be read here, perhaps by preflight: {bundle.unread[0]}"
        return CheckVerdict(check=check, state=CheckState.NOT_JUDGED, sentence=sentence)
    if broken or csv is None:
        return CheckVerdict(check=check, state=CheckState.ERROR, sentence=f"it cannot be loaded: {_tell(broken)}")
    judges: Mapping[PolicyCheck, Callable[[], _Answer]] = {
        PolicyCheck.DEPLOYABLE: partial(_deployable, bundle, csv),
        PolicyCheck.VALIDATE_BUNDLE: partial(_validate, bundle, csv),
        PolicyCheck.CERTIFIED_IMAGES: partial(_certified_images, csv),
        PolicyCheck.SCC_IN_CSV: partial(_scc_in_csv, csv),
        PolicyCheck.RELATED_IMAGES: partial(_related_images, csv),
        PolicyCheck.RESTRICTED_NETWORK: partial(_restricted_network, csv),
        PolicyCheck.REQUIRED_ANNOTATIONS: partial(_required_annotations, csv),
    }
    state, sentence = judges[check]()
    return CheckVerdict(check=check, state=state, sentence=sentence)


def _tell(problems: Sequence[str]) -> str:
    more = f"; and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
    return "; ".join(problems[:_MOST_TOLD]) + more


def _deployable(bundle: BundleFiles, csv: Mapping[str, Any]) -> _Answer:
    if problems := list(find_violations(bundle, csv)):
        return CheckState.ERROR, f"it is installed only if ValidateOperatorBundle passes: {_tell(problems)}"
    return (
        CheckState.NOT_JUDGED,
        "a cluster of OpenShift installs it from an index image: preflight check operator, or the hosted pipeline",
    )


def _validate(bundle: BundleFiles, csv: Mapping[str, Any]) -> _Answer:
    if problems := list(find_violations(bundle, csv)):
        return CheckState.FAILED, _tell(problems)
    return CheckState.NOT_JUDGED, _LEFT_TO_PREFLIGHT


def _certified_images(csv: Mapping[str, Any]) -> _Answer:
    images = dict.fromkeys([*related_images_of(csv), *(str(item.get("image") or "") for item in containers_of(csv))])
    loose = [image for image in images if image and not _PINNED.fullmatch(image)]
    if loose:
        return CheckState.FAILED, f"{loose[0]} is not named by digest" + _more(loose)
    if not any(images):
        return CheckState.FAILED, "it names no image"
    return CheckState.NOT_JUDGED, f"Red Hat's catalogue is asked for {count(len(images), 'digest')}"


def _more(items: Sequence[object]) -> str:
    return f" ({len(items)} such)" if len(items) > 1 else ""


def _scc_in_csv(csv: Mapping[str, Any]) -> _Answer:
    for rule in rules_of(csv, "clusterPermissions"):
        groups, resources = texts_of(rule, "apiGroups"), texts_of(rule, "resources")
        if "security.openshift.io" in groups and "securitycontextconstraints" in resources:
            names = texts_of(rule, "resourceNames")
            if len(names) > 1:
                return CheckState.ERROR, f"it asks for {len(names)} security context constraints, and one is the most"
            return CheckState.PASSED, f"it asks for {names[0]}" if names else "it names no security context constraint"
    return CheckState.PASSED, "it asks for no security context constraint"


def _related_images(csv: Mapping[str, Any]) -> _Answer:
    """Passes always; what is missing is a warning."""
    related = set(related_images_of(csv))
    used = dict.fromkeys(str(item.get("image") or "") for item in containers_of(csv))
    missing = [image for image in used if image and image not in related]
    if missing:
        return CheckState.PASSED, f"with a warning: {missing[0]} is not in relatedImages" + _more(missing)
    return CheckState.PASSED, f"{count(len(used), 'image')} of its deployments are in relatedImages"


def _restricted_network(csv: Mapping[str, Any]) -> _Answer:
    annotations = annotations_of(csv)
    if annotations.get(f"{FEATURES}/disconnected") != "true" and not _says_so_in_the_old_way(annotations):
        return CheckState.FAILED, "it does not say that it works without a network"
    images = related_images_of(csv)
    loose = [image for image in images if not _PINNED.fullmatch(image)]
    if not images or loose:
        return CheckState.FAILED, f"{loose[0]!r} is not named by digest" if loose else "it has no relatedImages"
    names = {str(item.get("name")) for container in containers_of(csv) for item in _environment(container)}
    passed_on = sorted(name for name in names if name.startswith("RELATED_IMAGE_"))
    if not passed_on:
        return CheckState.FAILED, "none of its containers has a variable RELATED_IMAGE_..."
    return CheckState.PASSED, f"images are named by digest, and handed on by {', '.join(passed_on[:_MOST_TOLD])}"


def _environment(container: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = container.get("env")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _says_so_in_the_old_way(annotations: Mapping[str, str]) -> bool:
    try:
        features = read_value(annotations.get(_OLD_FEATURES, "[]"), "it")
    except FormatError:
        return False
    is_list = isinstance(features, list) and all(isinstance(item, str) for item in features)
    return is_list and "disconnected" in {item.lower() for item in features}


def _required_annotations(csv: Mapping[str, Any]) -> _Answer:
    annotations = annotations_of(csv)
    missing = [name for name in REQUIRED_FEATURES if f"{FEATURES}/{name}" not in annotations]
    given = {name: annotations.get(f"{FEATURES}/{name}", "true") for name in (*REQUIRED_FEATURES, *_OPTIONAL)}
    wrong = [name for name, value in given.items() if value not in {"true", "false"}]
    if missing or wrong:
        told = [f"{name} is missing" for name in missing]
        told += [f"{name} is {annotations[f'{FEATURES}/{name}'][:40]!r}, and must be true or false" for name in wrong]
        return CheckState.FAILED, f"{FEATURES}/: {_tell(told)}"
    return CheckState.PASSED, f"{len(REQUIRED_FEATURES)} annotations {FEATURES}/... are true or false"
