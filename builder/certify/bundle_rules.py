"""The rules that preflight's ValidateOperatorBundle has for a bundle. Pure.

Source: openshift-preflight 1.21, internal/bundle/bundle.go, which takes from operator-framework/api 0.45 the validators
of ClusterServiceVersions, of CRDs, of bundles, of removed APIs, OperatorHub (v2), standard capabilities and categories
(pkg/validation/internal/*.go). Only what ends with an error there is a rule here; warnings count for nothing. The
validation of CRDs is the API server's own code, and is not made again here. Words and forms are in ``bundle_words``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from builder.certify.bundle_words import (
    CAPABILITIES,
    CRD_KIND,
    CSV_KIND,
    ICON_TYPES,
    LONGEST_NAME,
    LOOKED_FOR,
    PACKAGE_ANNOTATION,
    VERSIONS_ANNOTATION,
    find_miswritten,
    find_unknown_categories,
    gone_in,
    is_alone_for_webhook,
    is_csv_name,
    is_looked_for,
    is_mail,
    is_semver,
    is_url,
)
from builder.errors import FormatError
from builder.foreign import read_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.certify.bundle_files import BundleFiles

_CRD_GROUP = "apiextensions.k8s.io"
MOST_PACKED = 1024**2
"""Bytes that a bundle may have, packed: it has to fit into one ConfigMap."""
# Kubernetes of the OpenShift after the named one: what that will not serve any more is refused before.
_KUBERNETES = {f"4.{minor}": (1, minor + 13) for minor in range(9, 24)}
_LATEST = (4, 22)
# Only of this removal the kinds are looked at that a ClusterServiceVersion names, too.
_OF_RESOURCES = 25
_PULLSPEC = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


def find_csv(bundle: BundleFiles) -> Mapping[str, Any] | None:
    """Return the bundle's ClusterServiceVersion; None if it has none, or several."""
    found = [item for item in bundle.objects.values() if item.get("kind") == CSV_KIND]
    return found[0] if len(found) == 1 else None


def find_load_problems(bundle: BundleFiles) -> Iterator[str]:
    """Yield why preflight cannot load the bundle, and each check of it ends with an error."""
    yield from bundle.problems
    csvs = [place for place, item in bundle.objects.items() if item.get("kind") == CSV_KIND]
    if len(csvs) > 1 or not (csvs or bundle.unread):  # what is not read may be one
        yield f"it has {len(csvs) or 'no'} ClusterServiceVersion{'s' if len(csvs) > 1 else ''}, and needs one"
    for place, item in bundle.objects.items():
        version = item.get("apiVersion")
        if item.get("kind") == CRD_KIND and version not in {f"{_CRD_GROUP}/v1", f"{_CRD_GROUP}/v1beta1"}:
            yield f"{place} is a CRD of version {str(version)[:80]}, which nobody knows"
    if (csv := find_csv(bundle)) is not None:
        yield from _find_wrong_kinds(csv)
    try:
        find_kubernetes(bundle.annotations)
    except FormatError as error:
        yield f"annotation {VERSIONS_ANNOTATION} {error.message}"


def _find_wrong_kinds(csv: Mapping[str, Any]) -> Iterator[str]:
    """Yield what Go would not take for what it stands for, of the fields that are looked at here."""
    for path, kind in (
        ("metadata", dict), ("metadata.name", str), ("metadata.annotations", dict), ("spec", dict),
        ("spec.displayName", str), ("spec.version", str), ("spec.minKubeVersion", str), ("spec.replaces", str),
        ("spec.provider", dict), ("spec.provider.name", str), ("spec.maintainers", list), ("spec.links", list),
        ("spec.icon", list), ("spec.installModes", list), ("spec.relatedImages", list),
        ("spec.webhookdefinitions", list), ("spec.customresourcedefinitions", dict),
        ("spec.customresourcedefinitions.owned", list), ("spec.apiservicedefinitions", dict),
        ("spec.apiservicedefinitions.owned", list), ("spec.install", dict), ("spec.install.strategy", str),
        ("spec.install.spec", dict), ("spec.install.spec.deployments", list),
        ("spec.install.spec.clusterPermissions", list), ("spec.install.spec.permissions", list),
    ):  # fmt: skip
        value = _at(csv, path)
        if value is not None and not isinstance(value, kind):
            yield f"{path} is no {_WORDS[kind]}"
        elif kind is list and not all(isinstance(item, dict) for item in value or ()):
            yield f"{path} holds something that is no mapping"
    for name, value in (_at(csv, "metadata.annotations") or {}).items() if not _is_odd(csv) else ():
        if not isinstance(value, str):
            yield f"metadata.annotations: {name} is no text"
    version = _at(csv, "spec.version")
    if isinstance(version, str) and version and not is_semver(version):
        yield f"spec.version {version[:80]!r} is no version such as 1.2.3"


_WORDS: dict[type, str] = {dict: "mapping", list: "list", str: "text"}


def _is_odd(csv: Mapping[str, Any]) -> bool:
    return not isinstance(_at(csv, "metadata.annotations") or {}, dict)


def _at(data: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path; None where something on the way is missing, or no mapping."""
    found: Any = data
    for word in path.split("."):
        found = found.get(word) if isinstance(found, dict) else None
    return found


def _text(data: Mapping[str, Any], key: str) -> str:
    return str(data.get(key) or "")


def texts_of(data: Mapping[str, Any], key: str) -> list[str]:
    """Return a list of texts; empty where there is something else."""
    found = data.get(key)
    return [str(item) for item in found] if isinstance(found, list) else []


def _items(data: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    found = _at(data, path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def annotations_of(csv: Mapping[str, Any]) -> Mapping[str, str]:
    found = _at(csv, "metadata.annotations")
    return found if isinstance(found, dict) else {}


def find_kubernetes(annotations: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the Kubernetes whose removed APIs count, by what a bundle says of OpenShift; None where it says nothing.

    Raises:
        FormatError: what it says is no version and no range of versions.
    """
    text = annotations.get(VERSIONS_ANNOTATION, "")
    if not isinstance(text, str):
        raise FormatError("is no text")
    if not text:
        return None
    words = re.sub("[v\"']", "", text)
    if len(words) < 2:  # noqa: PLR2004 - a single digit is refused, too
        raise FormatError(f"{text!r} is no version of OpenShift, such as v4.14 or v4.14-v4.18")
    if words.startswith("="):
        wanted = _minor(words[1:].split("=")[0], text)
    elif "-" not in words:
        named = _minor(words, text)
        wanted = max(named, _LATEST)
    else:
        last = words.split("-")[1]
        if not last:
            raise FormatError(f"{text[:80]!r} is a range without an end")
        wanted = _minor(last, text)
    return _KUBERNETES.get(f"{wanted[0]}.{wanted[1]}")


def _minor(text: str, whole: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d{1,9})(?:\.(\d{1,9}))?(?:\.\d{1,9})?\s*", text)
    if found is None:
        raise FormatError(f"{whole[:80]!r} is no version of OpenShift, such as v4.14 or v4.14-v4.18")
    return int(found[1]), int(found[2] or 0)


def find_violations(bundle: BundleFiles, csv: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rules that a bundle which can be loaded breaks."""
    yield from _check_names(bundle, csv)
    yield from _check_examples(csv)
    yield from _check_install_modes(csv)
    yield from _check_fields(csv)
    yield from _check_owned(bundle, csv)
    yield from _check_accounts(bundle, csv)
    yield from _check_images(csv)
    yield from _check_hub(csv)
    yield from _check_words(csv)
    yield from _check_removed(bundle, csv)
    if (size := bundle.packed_size) > MOST_PACKED:
        yield f"it has {size} bytes, packed; {MOST_PACKED} are the most"


def _check_names(bundle: BundleFiles, csv: Mapping[str, Any]) -> Iterator[str]:
    name = str(_at(csv, "metadata.name") or "")
    names = {"metadata.name": name, "spec.replaces": str(_at(csv, "spec.replaces") or "")}
    for path, text in names.items():
        if (text or path == "metadata.name") and not is_csv_name(text):
            yield f"{path} {text[:80]!r} is no name in small letters of at most {LONGEST_NAME} characters"
    if release := str(_at(csv, "spec.release") or ""):
        wanted = f"{bundle.annotations.get(PACKAGE_ANNOTATION, '')}-v{_at(csv, 'spec.version')}-{release}"
        if name != wanted:
            yield f"metadata.name is {name[:80]!r}, and with spec.release has to be {wanted[:160]!r}"
    yield from (f"annotation {key} is written {known}" for key, known in find_miswritten(annotations_of(csv)))


def _check_examples(csv: Mapping[str, Any]) -> Iterator[str]:
    annotations = annotations_of(csv)
    text = annotations.get("alm-examples", annotations.get("olm.examples"))
    crds = _items(csv, "spec.customresourcedefinitions.owned")
    provided = {_owned_key(item) for item in crds if "." in _text(item, "name")}
    services = _items(csv, "spec.apiservicedefinitions.owned")
    provided |= {(_text(item, "group"), _text(item, "version"), _text(item, "kind")) for item in services}
    if not annotations or text is None:  # then nothing of this is looked at
        return
    for item in crds:
        if "." not in _text(item, "name"):
            yield f"owned CRD {_text(item, 'name')[:80]!r} is not named PLURAL.GROUP"
    try:
        examples = read_value(text, "alm-examples") if text else []
    except FormatError as error:
        yield error.message
        return
    if not isinstance(examples, list) or not all(isinstance(item, dict) for item in examples):
        yield "alm-examples is no list of objects"
        return
    for item in examples:
        group, _, version = _text(item, "apiVersion").rpartition("/")
        if (group, version, _text(item, "kind")) not in provided:
            yield f"alm-examples has a {_text(item, 'kind')[:80]}, and the bundle provides no such kind"


def _check_install_modes(csv: Mapping[str, Any]) -> Iterator[str]:
    modes = {str(item.get("type", "")): item.get("supported") is True for item in _items(csv, "spec.installModes")}
    if not modes:
        yield "spec.installModes is missing"
        return
    if not any(modes.values()):
        yield "spec.installModes supports none"
    converts = any(item.get("conversionCRDs") for item in _items(csv, "spec.webhookdefinitions"))
    if converts and not is_alone_for_webhook(modes):
        yield "a webhook converts CRDs, so AllNamespaces has to be the only install mode that is supported"


def _check_fields(csv: Mapping[str, Any]) -> Iterator[str]:
    for path in ("apiVersion", "kind", "metadata", "spec", "spec.displayName", "spec.install", "spec.install.strategy"):
        if not _at(csv, path):
            yield f"{path} is missing"
    if _at(csv, "spec.install.spec") and not _at(csv, "spec.install.spec.deployments"):
        yield "spec.install.spec.deployments is missing"
    minimum = str(_at(csv, "spec.minKubeVersion") or "")
    if minimum.strip() and not is_semver(minimum):
        yield f"spec.minKubeVersion {minimum[:80]!r} is no version such as 1.27.0"
    if str(_at(csv, "spec.version") or "0.0.0") == "0.0.0":
        yield "spec.version is missing"


def _check_owned(bundle: BundleFiles, csv: Mapping[str, Any]) -> Iterator[str]:
    """Check that CRDs of the bundle and those that its CSV owns are the same, by group, version and kind."""
    there: list[tuple[str, str, str]] = []
    for item in bundle.objects.values():
        if item.get("kind") == CRD_KIND:
            group, kind = str(_at(item, "spec.group") or ""), str(_at(item, "spec.names.kind") or "")
            versions = [_text(version, "name") for version in _items(item, "spec.versions")]
            there += [(group, version, kind) for version in versions or [str(_at(item, "spec.version") or "")]]
    owned = {_owned_key(item) for item in _items(csv, "spec.customresourcedefinitions.owned")}
    for group, version, kind in sorted({key for key in there if there.count(key) > 1}):
        yield f"{kind} {version} of {group} is in it twice"
    for group, version, kind in sorted(owned - set(there)):
        yield f"the CSV owns {kind} {version} of {group}, and the bundle has no such CRD"
    known = {(group, kind) for group, version, kind in owned & set(there)}
    for group, version, kind in sorted(set(there) - owned):
        if (group, kind) not in known:
            yield f"it has a CRD {kind} {version} of {group}, which the CSV does not own"


def _owned_key(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return group, version and kind of a CRD that a CSV owns; one that has no group in its name counts as a group."""
    name = _text(item, "name")
    return name.partition(".")[2] if "." in name else name, _text(item, "version"), _text(item, "kind")


def _check_accounts(bundle: BundleFiles, csv: Mapping[str, Any]) -> Iterator[str]:
    used = {str(_at(item, "spec.template.spec.serviceAccountName") or "") for item in deployments_of(csv)}
    for place, item in bundle.objects.items():
        is_account = (item.get("kind"), item.get("apiVersion")) == ("ServiceAccount", "v1")
        if is_account and str(_at(item, "metadata.name") or "") in used:
            yield f"{place} is the account of a deployment, which Operator Lifecycle Manager makes itself"


def deployments_of(csv: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _items(csv, "spec.install.spec.deployments")


def related_images_of(csv: Mapping[str, Any]) -> list[str]:
    return [str(item.get("image") or "") for item in _items(csv, "spec.relatedImages")]


def containers_of(csv: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return all containers of the operator's deployments, those that run first included."""
    kinds = ("containers", "initContainers")
    return [
        item
        for deployment in deployments_of(csv)
        for kind in kinds
        for item in _items(deployment, f"spec.template.spec.{kind}")
    ]


def rules_of(csv: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the rules of ``clusterPermissions`` or ``permissions``."""
    return [rule for item in _items(csv, f"spec.install.spec.{name}") for rule in _items(item, "rules")]


def _check_images(csv: Mapping[str, Any]) -> Iterator[str]:
    for number, image in enumerate(related_images_of(csv)):
        if not _PULLSPEC.fullmatch(image):
            yield f"spec.relatedImages[{number}] {image[:120]!r} is no name of an image"


def _check_hub(csv: Mapping[str, Any]) -> Iterator[str]:
    if not str(_at(csv, "spec.provider.name") or "").strip():
        yield "spec.provider.name is missing"
    for item in _items(csv, "spec.maintainers"):
        name, mail = str(item.get("name") or ""), str(item.get("email") or "")
        if not name or not mail:
            yield "a maintainer lacks name or email"
        if mail and not is_mail(mail):
            yield f"{mail[:80]!r} is no address of a maintainer"
    for item in _items(csv, "spec.links"):
        name, url = str(item.get("name") or ""), str(item.get("url") or "")
        if not name or not url:
            yield "a link lacks name or url"
        if url and not is_url(url):
            yield f"link {url[:120]!r} is no address"
    yield from _check_icons(csv)


def _check_words(csv: Mapping[str, Any]) -> Iterator[str]:
    annotations = annotations_of(csv)
    if (capability := annotations.get("capabilities")) is not None and capability not in CAPABILITIES:
        yield f"annotation capabilities is {capability[:80]!r}, which is none of {', '.join(CAPABILITIES)}"
    if (categories := annotations.get("categories")) is not None:
        for category in find_unknown_categories(categories):
            yield f"annotation categories has {category[:80]!r}, which is no standard category"


def _check_icons(csv: Mapping[str, Any]) -> Iterator[str]:
    icons = _items(csv, "spec.icon")
    if len(icons) > 1:
        yield "spec.icon has more than one"
    for icon in icons[:1]:
        kind = str(icon.get("mediatype") or "")
        if not kind or not icon.get("base64data"):
            yield "spec.icon lacks base64data or mediatype"
        if kind and kind not in ICON_TYPES:
            yield f"spec.icon is {kind[:80]!r}, which is none of {', '.join(ICON_TYPES)}"


def _check_removed(bundle: BundleFiles, csv: Mapping[str, Any]) -> Iterator[str]:
    minimum = re.match(r"v?(\d{1,9})\.(\d{1,9})", str(_at(csv, "spec.minKubeVersion") or "").strip())
    least = (int(minimum[1]), int(minimum[2])) if minimum else (0, 0)
    newest = max(find_kubernetes(bundle.annotations) or (0, 0), least)
    resources: Sequence[Mapping[str, Any]] = [
        {"apiVersion": resource.get("version"), "kind": resource.get("kind")}
        for kind in ("owned", "required")
        for item in _items(csv, f"spec.customresourcedefinitions.{kind}")
        for resource in _items(item, "resources")
    ]
    for minor in LOOKED_FOR:
        if newest < (1, minor):
            continue
        for item in (*bundle.objects.values(), *(resources if minor == _OF_RESOURCES else ())):
            version, kind = str(item.get("apiVersion")), str(item.get("kind"))
            if is_looked_for(version, kind) and gone_in(version, kind) == minor:
                yield f"{kind} of {version} is gone from Kubernetes 1.{minor} on"
