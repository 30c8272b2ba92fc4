"""What a ClusterServiceVersion has to say, and how. Pure.

Sources: operator-framework/api v0.45 (pkg/operators/v1alpha1: fields; pkg/validation/internal: what is refused), OLM v1
(modes of installation), Red Hat's certification (features of infrastructure).
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any

from builder.certify.bundle_words import (
    CAPABILITIES,
    CATEGORIES,
    FEATURES,
    REQUIRED_FEATURES,
    find_miswritten,
    find_unknown_categories,
    is_alone_for_webhook,
    is_csv_name,
    is_mail,
    is_semver,
    is_url,
)
from builder.emit.kmm.documents import as_mapping, numbered
from builder.emit.kmm.problem import Problem, warn
from builder.emit.operator.access_rules import check_rules
from builder.emit.operator.bundle_rules import owned_of
from builder.emit.operator.pod_rules import check_images, check_pod
from builder.errors import FormatError
from builder.foreign import read_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from builder.emit.kmm.documents import KubernetesObject
    from builder.emit.kmm.problem import Path

_SPEC = frozenset(
    [
        "annotations", "apiservicedefinitions", "cleanup", "customresourcedefinitions", "description", "displayName",
        "icon", "install", "installModes", "keywords", "labels", "links", "maintainers", "maturity", "minKubeVersion",
        "nativeAPIs", "provider", "relatedImages", "release", "replaces", "selector", "skips", "version",
        "webhookdefinitions",
    ]
)  # fmt: skip
_ADDRESS = re.compile(r"https?://[^\s/]+\S*")
_MODES = ("OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces")
_ANNOTATIONS = ("metadata", "annotations")


def check_csv(item: KubernetesObject, objects: Sequence[KubernetesObject] = ()) -> Iterator[Problem]:
    """Check a ClusterServiceVersion; ``objects`` are those of its bundle."""
    data = as_mapping(item.data)
    spec = as_mapping(data.get("spec"))
    if not spec:
        yield Problem(path=(), code="csv-spec", message="has no spec")
        return
    for name in spec:
        if name not in _SPEC:
            near = difflib.get_close_matches(name, _SPEC, n=1)
            meant = f": did you mean {near[0]!r}?" if near else ""
            yield Problem(path=("spec", name), code="unknown-field", message=f"there is no spec.{name}{meant}")
    yield from _check_name(item.name, spec)
    yield from _check_people(spec)
    yield from _check_modes(spec)
    yield from _check_annotations(item)
    yield from _check_owned_words(item)
    yield from _check_install(spec, objects)


def _check_name(name: str, spec: Mapping[str, Any]) -> Iterator[Problem]:
    path = ("metadata", "name")
    replaces = spec.get("replaces")
    for place, value in ((path, name), (("spec", "replaces"), replaces)):
        if value and not is_csv_name(value):
            words = f"{value!r:.100} is no name: small letters, digits, '.' and '-', 63 at most, as in values of labels"
            yield Problem(path=place, code="csv-name", message=words)
    if replaces and replaces == name:
        yield Problem(path=("spec", "replaces"), code="csv-name", message="it replaces itself")
    version = spec.get("version")
    if not is_semver(version):
        words = f"is {version!r:.60}, and has to be a semantic version in quotes, such as '1.4.0'"
        yield Problem(path=("spec", "version"), code="csv-version", message=words)
        return
    _, mark, said = name.partition(".v")
    if not mark or not is_semver(said):
        yield warn(path, "csv-name", f"{name!r:.100} is not NAME.vX.Y.Z, as catalogs expect")
    elif said != version:
        yield warn(path, "csv-name", f"it is called {name!r:.100}, and spec.version is {version}")


def _check_people(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Check what people read."""
    if not str(spec.get("displayName") or "").strip():
        yield Problem(path=("spec", "displayName"), code="csv-words", message="spec.displayName is absent")
    if not str(spec.get("description") or "").strip():
        yield warn(("spec", "description"), "csv-words", "spec.description is absent: catalogs have nothing to show")
    if not str(as_mapping(spec.get("provider")).get("name") or "").strip():
        yield Problem(path=("spec", "provider"), code="csv-words", message="spec.provider.name is absent")
    for name in ("icon", "keywords", "maintainers", "links", "maturity"):
        if not spec.get(name):
            yield warn(("spec", name), f"no-{name}", f"spec.{name} is absent")
    yield from _check_pairs(spec, "maintainers", "email", is_mail, "address of mail")
    yield from _check_pairs(spec, "links", "url", _is_on_the_web, "address")
    minimum = spec.get("minKubeVersion")
    if not minimum:
        words = "spec.minKubeVersion is absent: it is offered to clusters that are too old for it"
        yield warn(("spec", "minKubeVersion"), "min-kube-version", words)
    elif not is_semver(minimum):
        words = f"is {minimum!r:.60}, and has to be a whole version such as '1.27.0'"
        yield Problem(path=("spec", "minKubeVersion"), code="min-kube-version", message=words)


def _check_pairs(
    spec: Mapping[str, Any], word: str, second: str, is_one: Callable[[str], bool], what: str
) -> Iterator[Problem]:
    """Check a list whose entries have a name and something else."""
    for number, one in numbered(spec.get(word)):
        path, value = ("spec", word, number), one.get(second)
        if not one.get("name") or not value:
            yield Problem(path=path, code="csv-words", message=f"an entry of {word} has a name and a {second}")
        elif not (isinstance(value, str) and is_one(value)):
            yield Problem(path=(*path, second), code="csv-words", message=f"{value!r:.100} is no {what}")


def _is_on_the_web(text: str) -> bool:
    """Tell whether a browser gets there: catalogs take more, and show it all the same."""
    return is_url(text) and _ADDRESS.fullmatch(text) is not None


def _check_modes(spec: Mapping[str, Any]) -> Iterator[Problem]:
    path = ("spec", "installModes")
    modes = [(number, one.get("type"), one.get("supported")) for number, one in numbered(spec.get("installModes"))]
    if not modes:
        yield Problem(
            path=path, code="install-modes", message="spec.installModes is absent: it can be installed nowhere"
        )
        return
    names = [name for _, name, _ in modes]
    for number, name, supported in modes:
        if name not in _MODES:
            words = f"{name!r:.60} is no mode of installation: {', '.join(_MODES)}"
            yield Problem(path=(*path, number), code="install-modes", message=words)
        elif names.index(name) != number:
            yield Problem(path=(*path, number), code="install-modes", message=f"{name} is there twice")
        if not isinstance(supported, bool):
            words = f"supported is {supported!r:.60}, and has to be true or false"
            yield Problem(path=(*path, number), code="install-modes", message=words)
    good = {str(name) for _, name, supported in modes if supported is True}
    if not good:
        yield Problem(path=path, code="install-modes", message="no mode of installation is supported")
    elif "AllNamespaces" not in good:
        yield warn(path, "install-modes", "AllNamespaces is not supported, and OLM v1 installs in no other way")
    converts = any(one.get("conversionCRDs") for _, one in numbered(spec.get("webhookdefinitions")))
    if converts and not is_alone_for_webhook({str(name): supported is True for _, name, supported in modes}):
        words = "a webhook converts kinds, so AllNamespaces has to be the only mode that is supported"
        yield Problem(path=path, code="install-modes", message=words)


def _check_annotations(item: KubernetesObject) -> Iterator[Problem]:
    said = as_mapping(item.metadata.get("annotations"))
    for name, exact in find_miswritten(said):
        yield Problem(path=(*_ANNOTATIONS, name), code="annotation-case", message=f"it is written {exact!r}")
    if "olm.properties" in said:
        words = "properties belong into metadata/properties.yaml"
        yield warn((*_ANNOTATIONS, "olm.properties"), "properties", words)
    capabilities = said.get("capabilities")
    if capabilities is not None and capabilities not in CAPABILITIES:
        words = f"{capabilities!r:.60} is no level: {', '.join(CAPABILITIES)}"
        yield Problem(path=(*_ANNOTATIONS, "capabilities"), code="capabilities", message=words)
    for word in filter(None, find_unknown_categories(str(said.get("categories") or ""))):
        near = difflib.get_close_matches(word, CATEGORIES, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CATEGORIES)}"
        words = f"{word!r:.60} is no category of catalogs: {meant}"
        yield Problem(path=(*_ANNOTATIONS, "categories"), code="categories", message=words)
    for name in (f"{FEATURES}/{word}" for word in REQUIRED_FEATURES):
        if said.get(name) not in ("true", "false"):
            words = f"{name} is {said.get(name)!r:.60}, and certification wants 'true' or 'false', in quotes"
            yield warn((*_ANNOTATIONS, name), "features", words)
    yield from _check_examples(item, said)


def _check_examples(item: KubernetesObject, said: Mapping[str, Any]) -> Iterator[Problem]:
    path = (*_ANNOTATIONS, "alm-examples")
    if "alm-examples" not in said:
        yield warn(_ANNOTATIONS, "examples", "alm-examples is absent: consoles have no example of a kind")
        return
    try:
        found = read_value(str(said["alm-examples"]), "alm-examples")
    except FormatError as error:
        yield Problem(path=path, code="examples", message=error.message)
        return
    if not isinstance(found, list):
        yield Problem(path=path, code="examples", message=f"is a list of objects, and not {json.dumps(found)[:60]}")
        return
    owned = {_api_of(as_mapping(one)) for one in owned_of(item)}
    examples = {_example_of(as_mapping(one)) for one in found}
    for name in sorted(examples - owned):
        words = f"it has an example of {name or 'no kind'}, which the ClusterServiceVersion does not own"
        yield Problem(path=path, code="examples", message=words)
    for name in sorted(owned - examples):
        yield warn(path, "examples", f"there is no example of {name}")


def _api_of(owned: Mapping[str, Any]) -> str:
    _, _, group = str(owned.get("name")).partition(".")
    return f"{group}/{owned.get('version')} {owned.get('kind')}"


def _example_of(example: Mapping[str, Any]) -> str:
    return f"{example.get('apiVersion')} {example.get('kind')}" if example.get("kind") else ""


def _check_owned_words(item: KubernetesObject) -> Iterator[Problem]:
    for number, one in enumerate(owned_of(item)):
        for name in ("displayName", "description"):
            if not as_mapping(one).get(name):
                path = ("spec", "customresourcedefinitions", "owned", number)
                yield warn(path, "owned-words", f"{name} is absent: consoles have nothing to show")


def _check_install(spec: Mapping[str, Any], objects: Sequence[KubernetesObject]) -> Iterator[Problem]:
    path: Path = ("spec", "install")
    install = as_mapping(spec.get("install"))
    if install.get("strategy") != "deployment":
        words = f"spec.install.strategy is {install.get('strategy')!r:.60}, and there is no other than 'deployment'"
        yield Problem(path=(*path, "strategy") if install else path, code="install", message=words)
    inner = as_mapping(install.get("spec"))
    path = (*path, "spec")
    deployments = list(numbered(inner.get("deployments")))
    if not deployments:
        yield Problem(path=path, code="install", message="there is no deployment: nothing is run")
    accounts: dict[str, Path] = {}
    for number, one in deployments:
        place = (*path, "deployments", number)
        template = as_mapping(as_mapping(one.get("spec")).get("template"))
        pod = as_mapping(template.get("spec"))
        accounts.setdefault(str(pod.get("serviceAccountName") or ""), (*place, "spec", "template", "spec"))
        yield from _check_selector(one, place)
        yield from check_pod(template, (*place, "spec", "template"))
    yield from check_images(spec, [(one, (*path, "deployments", number)) for number, one in deployments])
    yield from _check_accounts(inner, path, accounts)
    yield from _check_shared_accounts(accounts, objects)


def _check_selector(deployment: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    spec = as_mapping(deployment.get("spec"))
    chosen = as_mapping(as_mapping(spec.get("selector")).get("matchLabels"))
    labels = as_mapping(as_mapping(as_mapping(spec.get("template")).get("metadata")).get("labels"))
    if not chosen and not as_mapping(spec.get("selector")).get("matchExpressions"):
        yield Problem(path=(*path, "spec"), code="selector", message="the deployment has no selector")
    elif not chosen.items() <= labels.items():
        words = "the labels of its template are not those that it selects"
        yield Problem(path=(*path, "spec", "selector"), code="selector", message=words)


def _check_accounts(install: Mapping[str, Any], path: Path, accounts: Mapping[str, Path]) -> Iterator[Problem]:
    """Check rights, and that those who have them are those who run."""
    named: set[str] = set()
    for word in ("clusterPermissions", "permissions"):
        for number, one in numbered(install.get(word)):
            place = (*path, word, number)
            name = str(one.get("serviceAccountName") or "")
            named.add(name)
            if name not in accounts:
                words = f"the account {name!r:.60} has rights, and no deployment runs as it"
                yield warn((*place, "serviceAccountName"), "account", words)
            rules = one.get("rules")
            if not isinstance(rules, list) or not rules:
                yield Problem(path=place, code="rights", message="has no rules")
                continue
            yield from check_rules(rules, (*place, "rules"), is_cluster=word == "clusterPermissions")
    for name, place in accounts.items():
        if name not in named:
            words = f"its pods run as {name or 'default'!r:.60}, which has no permissions here"
            yield warn(place, "account", words)


def _check_shared_accounts(accounts: Mapping[str, Path], objects: Sequence[KubernetesObject]) -> Iterator[Problem]:
    for item in objects:
        if item.kind == "ServiceAccount" and item.name in accounts:
            words = f"the bundle has a ServiceAccount {item.name}, and OLM makes one of that name itself"
            yield Problem(path=accounts[item.name], code="account-twice", message=words)
