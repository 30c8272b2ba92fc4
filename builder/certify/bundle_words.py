"""The words that bundles of operators may use, and what counts as a name, a version, an address. Pure.

The one place for whatever both judge, ``bundle_rules`` (what preflight refuses) and ``emit/operator/*_rules.py`` (what
clusters, catalogs and certification refuse, and what is not meant). Sources: operator-framework/api 0.45
(pkg/validation/internal/*.go), openshift-preflight 1.21 (features), Kubernetes' deprecation guide (APIs that are gone).
"""

from __future__ import annotations

import re
from email.utils import parseaddr
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CSV_KIND, CRD_KIND = "ClusterServiceVersion", "CustomResourceDefinition"
CAPABILITIES = ("Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot")
CATEGORIES = (
    "AI/Machine Learning", "Application Runtime", "Big Data", "Cloud Provider", "Database", "Developer Tools",
    "Integration & Delivery", "Logging & Tracing", "Modernization & Migration", "Monitoring", "Networking",
    "Observability", "OpenShift Optional", "Security", "Storage", "Streaming & Messaging",
)  # fmt: skip
FEATURES = "features.operators.openshift.io"
REQUIRED_FEATURES = (
    "disconnected", "fips-compliant", "proxy-aware", "tls-profiles", "token-auth-aws", "token-auth-azure",
    "token-auth-gcp",
)  # fmt: skip
ICON_TYPES = ("image/gif", "image/jpeg", "image/png", "image/svg+xml")
VERSIONS_ANNOTATION = "com.redhat.openshift.versions"
PACKAGE_ANNOTATION = "operators.operatorframework.io.bundle.package.v1"
_CASED = ("olm.operatorGroup", "olm.operatorNamespace", "olm.targetNamespaces", "olm.providedAPIs", "olm.skipRange")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LONGEST_NAME = 63
"""The name of a ClusterServiceVersion becomes the value of a label."""
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
_MAIL = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")

# By apiVersion: the minor version of Kubernetes 1 that has a kind no more. Kinds that are named are those that
# operator-framework/api looks for; "" are all others.
_ROLES = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
_REVIEWS = ("LocalSubjectAccessReview", "SelfSubjectAccessReview", "SubjectAccessReview")
_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_STORAGE = ("CSIDriver", "CSINode", "StorageClass", "VolumeAttachment")
_GONE: Mapping[str, Mapping[str, int]] = {
    "admissionregistration.k8s.io/v1beta1": dict.fromkeys(_WEBHOOKS, 22),
    "apiextensions.k8s.io/v1beta1": {CRD_KIND: 22},
    "apiregistration.k8s.io/v1beta1": {"APIService": 22},
    "authentication.k8s.io/v1beta1": {"TokenReview": 22},
    "authorization.k8s.io/v1beta1": {**dict.fromkeys(_REVIEWS, 22), "": 22},
    "autoscaling/v2beta1": {"HorizontalPodAutoscaler": 25},
    "autoscaling/v2beta2": {"HorizontalPodAutoscaler": 26},
    "batch/v1beta1": {"CronJob": 25},
    "certificates.k8s.io/v1beta1": {"CertificateSigningRequest": 22},
    "coordination.k8s.io/v1beta1": {"Lease": 22},
    "discovery.k8s.io/v1beta1": {"EndpointSlice": 25},
    "events.k8s.io/v1beta1": {"Event": 25},
    "extensions/v1beta1": {"Ingress": 22, "": 22},
    "flowcontrol.apiserver.k8s.io/v1beta1": {"": 26},
    "flowcontrol.apiserver.k8s.io/v1beta2": {"": 29},
    "flowcontrol.apiserver.k8s.io/v1beta3": {"": 32},
    "networking.k8s.io/v1beta1": {"Ingress": 22, "IngressClass": 22},
    "node.k8s.io/v1beta1": {"RuntimeClass": 25},
    "policy/v1beta1": {"PodDisruptionBudget": 25, "PodSecurityPolicy": 25},
    "rbac.authorization.k8s.io/v1beta1": dict.fromkeys(_ROLES, 22),
    "scheduling.k8s.io/v1beta1": {"PriorityClass": 22},
    "storage.k8s.io/v1beta1": {**dict.fromkeys(_STORAGE, 22), "": 27},
}
LOOKED_FOR = (22, 25, 26)
"""Minor versions of Kubernetes 1 whose removals operator-framework/api looks for."""


def gone_in(version: str, kind: str) -> int | None:
    """Return the minor version of Kubernetes 1 that has a kind of an apiVersion no more; None where all have it."""
    kinds = _GONE.get(version, {})
    return kinds.get(kind, kinds.get(""))


def is_looked_for(version: str, kind: str) -> bool:
    """Tell whether operator-framework/api knows that this kind is gone."""
    return _GONE.get(version, {}).get(kind) in LOOKED_FOR


def find_miswritten(annotations: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield annotations that are written in other capitals than they have to be, and how they are written."""
    for name in annotations:
        for known in _CASED:
            if str(name).lower() == known.lower() and name != known:
                yield name, known


def is_csv_name(text: object) -> bool:
    """Tell whether a text can be the name of a ClusterServiceVersion."""
    return isinstance(text, str) and len(text) <= LONGEST_NAME and _SUBDOMAIN.fullmatch(text) is not None


def is_semver(text: object) -> bool:
    """Tell whether a text is a whole semantic version."""
    return isinstance(text, str) and _SEMVER.fullmatch(text) is not None


def is_mail(text: str) -> bool:
    """Tell whether a text is an address of mail, with or without a name."""
    return _MAIL.fullmatch(parseaddr(text)[1]) is not None


def is_url(text: str) -> bool:
    """Tell whether Go's url.ParseRequestURI takes a text: an address with a scheme, or a path from the root."""
    if any(letter <= " " or letter == "\x7f" for letter in text):
        return False
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def find_unknown_categories(said: str) -> Iterator[str]:
    """Yield the words of an annotation ``categories`` that are no standard category."""
    return (word.strip() for word in said.split(",") if word.strip() not in CATEGORIES)


def is_alone_for_webhook(modes: Mapping[str, bool]) -> bool:
    """Tell whether AllNamespaces is the only mode of installation that is supported, as webhooks want that convert."""
    return all(supported == (name == "AllNamespaces") for name, supported in modes.items())
