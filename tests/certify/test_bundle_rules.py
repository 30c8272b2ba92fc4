"""Each rule that ValidateOperatorBundle has, broken alone: the words are ours, the conditions those of the source."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.bundle import CRD_FILE, CSV_FILE, IMAGE, annotate, make_good_bundle, put

from builder.certify.bundle_rules import find_csv, find_kubernetes, find_load_problems, find_violations
from builder.certify.bundle_words import CATEGORIES
from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.certify.bundle_files import BundleFiles


def _broken(bundle: BundleFiles) -> list[str]:
    assert list(find_load_problems(bundle)) == []
    csv = find_csv(bundle)
    assert csv is not None
    return list(find_violations(bundle, csv))


def test_a_good_bundle_breaks_nothing() -> None:
    assert _broken(make_good_bundle()) == []


_TWO = {"name": "drivers.drivers.example.com", "version": "v2", "kind": "Driver"}
_CONVERTS = [{"conversionCRDs": ["drivers.drivers.example.com"]}]
_ALL_MODES = [{"type": "AllNamespaces", "supported": True}, {"type": "OwnNamespace", "supported": True}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("metadata.name", "Demo"), "metadata.name 'Demo' is no name"),
        (put("metadata.name", "d" * 64), "is no name"),
        (put("metadata.name", None), "metadata.name '' is no name"),
        (put("spec.replaces", "Old"), "spec.replaces 'Old' is no name"),
        (put("spec.release", "r1"), "has to be 'demo-v1.0.0-r1'"),
        (annotate("olm.skiprange", "<1"), "olm.skiprange is written olm.skipRange"),
        (annotate("alm-examples", "[{]"), "alm-examples is not JSON"),
        (annotate("alm-examples", '{"kind": "Driver"}'), "no list of objects"),
        (annotate("alm-examples", '[{"apiVersion": "v1", "kind": "Secret"}]'), "alm-examples has a Secret"),
        (annotate("alm-examples", '[{"apiVersion": "drivers.example.com/v2", "kind": "Driver"}]'), "has a Driver"),
        (put("spec.installModes", None), "spec.installModes is missing"),
        (put("spec.installModes", [{"type": "AllNamespaces", "supported": False}]), "supports none"),
        (lambda csv: csv["spec"].update(webhookdefinitions=_CONVERTS, installModes=_ALL_MODES), "a webhook converts"),
        (put("spec.displayName", ""), "spec.displayName is missing"),
        (put("spec.install", {}), "spec.install is missing"),
        (put("spec.install.strategy", ""), "spec.install.strategy is missing"),
        (put("spec.install.spec.deployments", None), "spec.install.spec.deployments is missing"),
        (put("apiVersion", None), "apiVersion is missing"),
        (put("spec.minKubeVersion", "1.27"), "spec.minKubeVersion '1.27' is no version"),
        (put("spec.version", None), "spec.version is missing"),
        (put("spec.version", "0.0.0"), "spec.version is missing"),
        (put("spec.customresourcedefinitions", None), "has a CRD Driver v1 of drivers.example.com, which the CSV"),
        (lambda csv: csv["spec"]["customresourcedefinitions"]["owned"].append(_TWO), "owns Driver v2 of drivers.example.com"),
        (put("spec.relatedImages", [{"name": "x", "image": ""}]), "relatedImages[0] '' is no name of an image"),
        (put("spec.relatedImages", [{"name": "x", "image": "Quay.io/A:b c"}]), "is no name of an image"),
        (put("spec.provider", {"name": " "}), "spec.provider.name is missing"),
        (put("spec.maintainers", [{"name": "Jo"}]), "a maintainer lacks name or email"),
        (put("spec.maintainers", [{"name": "Jo", "email": "jo"}]), "'jo' is no address of a maintainer"),
        (put("spec.links", [{"name": "x"}]), "a link lacks name or url"),
        (put("spec.links", [{"name": "x", "url": "example.com"}]), "'example.com' is no address"),
        (put("spec.links", [{"name": "x", "url": "https://a b"}]), "is no address"),
        (put("spec.icon", [{"base64data": "A", "mediatype": "image/png"}, {}]), "spec.icon has more than one"),
        (put("spec.icon", [{"mediatype": "image/png"}]), "spec.icon lacks base64data or mediatype"),
        (put("spec.icon", [{"base64data": "A", "mediatype": "image/webp"}]), "'image/webp', which is none of"),
        (annotate("capabilities", "Level 5"), "capabilities is 'Level 5'"),
        (annotate("categories", "Storage,Drivers and plugins"), "has 'Drivers and plugins', which is no standard"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken(change: Callable[[dict[str, Any]], object], words: str) -> None:
    found = _broken(make_good_bundle(change))
    assert any(words in sentence for sentence in found), found
    of_no_group = ("spec.customresourcedefinitions", "spec.install")  # what hangs on it is broken, too
    assert len(found) == 1 or any(word in words for word in ("CRD Driver", *of_no_group)), found


@pytest.mark.parametrize(
    "change",
    [
        put("spec.minKubeVersion", None),
        put("spec.icon", None),
        put("spec.maintainers", None),
        put("spec.relatedImages", None),
        annotate("capabilities", None),
        annotate("categories", None),
        annotate("alm-examples", None),
        annotate("alm-examples", ""),
        put("spec.links", [{"name": "x", "url": "/path"}]),
        put("spec.replaces", "demo.v0.9.0"),
        put("spec.relatedImages", [{"name": "x", "image": "quay.io/a/b:1.0"}]),
        lambda csv: csv["spec"].update(webhookdefinitions=_CONVERTS),
        lambda csv: (csv["spec"].update(release="r1"), csv["metadata"].update(name="demo-v1.0.0-r1")),
    ],
)
def test_what_is_a_warning_or_nothing(change: Callable[[dict[str, Any]], object]) -> None:
    assert _broken(make_good_bundle(change)) == []


@pytest.mark.parametrize("category", CATEGORIES)
def test_standard_categories(category: str) -> None:
    assert _broken(make_good_bundle(annotate("categories", category))) == []


def _object(version: str, kind: str, **more: Any) -> bytes:
    return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": {"name": "operator"}, **more}).encode()


def test_an_account_that_olm_makes_itself() -> None:
    (found,) = _broken(make_good_bundle(more={"manifests/sa.yaml": _object("v1", "ServiceAccount")}))
    assert "manifests/sa.yaml is the account of a deployment" in found


def test_a_crd_twice_and_one_that_nobody_owns() -> None:
    other = yaml.safe_load(make_good_bundle().files[CRD_FILE])
    again = yaml.safe_dump(other).encode()
    assert "is in it twice" in _broken(make_good_bundle(more={"manifests/again.yaml": again}))[0]
    other["spec"]["names"]["kind"] = "Other"
    more = yaml.safe_dump(other).encode()
    assert "a CRD Other v1" in _broken(make_good_bundle(more={"manifests/other.yaml": more}))[0]


def test_a_further_version_of_an_owned_crd_needs_no_word() -> None:
    crd = yaml.safe_load(make_good_bundle().files[CRD_FILE])
    crd["spec"]["versions"].append({"name": "v1beta1"})
    assert _broken(make_good_bundle(more={CRD_FILE: yaml.safe_dump(crd).encode()})) == []


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("policy/v1beta1", "PodDisruptionBudget"),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler"),
        ("rbac.authorization.k8s.io/v1beta1", "Role"),
    ],
)
def test_apis_that_are_gone(version: str, kind: str) -> None:
    (found,) = _broken(make_good_bundle(more={"manifests/x.yaml": _object(version, kind)}))
    assert f"{kind} of {version} is gone from Kubernetes 1.2" in found
    old = {"com.redhat.openshift.versions": "=v4.9"}  # 1.22 comes after it; only what went by then is refused
    gone = _broken(
        make_good_bundle(
            put("spec.minKubeVersion", None), annotations=old, more={"manifests/x.yaml": _object(version, kind)}
        )
    )
    assert bool(gone) is version.startswith("rbac")


def test_a_resource_of_an_owned_crd_that_is_gone() -> None:
    resources = [{"name": "", "kind": "PodSecurityPolicy", "version": "policy/v1beta1"}]
    (found,) = _broken(make_good_bundle(put("spec.customresourcedefinitions.owned.0.resources", resources)))
    assert "PodSecurityPolicy" in found


def test_a_bundle_that_fits_into_no_config_map() -> None:
    noise = random.Random(1).randbytes(900_000).hex().encode()
    (found,) = _broken(make_good_bundle(more={"manifests/x.yaml": b"a: '" + noise[:1_000_000] + b"'",
                                              "manifests/y.yaml": b"a: '" + noise[1_000_000:] + b"'"}))  # fmt: skip
    assert "1048576 are the most" in found


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (None, {CSV_FILE: None}, "it has no ClusterServiceVersion"),
        (None, {"manifests/x.yaml": b"kind: ClusterServiceVersion"}, "it has 2 ClusterServiceVersions"),
        (None, {CRD_FILE: _object("apiextensions.k8s.io/v2", "CustomResourceDefinition")}, "which nobody knows"),
        (put("spec", "x"), {}, "spec is no mapping"),
        (put("metadata.annotations", []), {}, "metadata.annotations is no mapping"),
        (annotate("x", 5), {}, "metadata.annotations: x is no text"),
        (put("spec.version", "1.0"), {}, "'1.0' is no version such as"),
        (put("spec.version", 1.5), {}, "spec.version is no text"),
        (put("spec.relatedImages", ["x"]), {}, "spec.relatedImages holds something that is no mapping"),
        (put("spec.install.spec.deployments", {}), {}, "spec.install.spec.deployments is no list"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(
    change: Callable[[dict[str, Any]], object] | None, more: dict[str, bytes | None], words: str
) -> None:
    assert any(words in item for item in find_load_problems(make_good_bundle(change, more=more)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None), ("v4.14", (1, 35)), ("v4.23", (1, 36)), ("=v4.14", (1, 27)), ("v4.9-v4.12", (1, 25)), ('"v4.9"', (1, 35)),
        ("v5.0", None),
    ],
)  # fmt: skip
def test_the_kubernetes_that_counts(text: str, found: tuple[int, int] | None) -> None:
    assert find_kubernetes({"com.redhat.openshift.versions": text}) == found


@pytest.mark.parametrize("text", ["v4.12,v4.14", "v4.9-", "4", "latest", "=", 4.14, "v4.x", "v4." + "9" * 5000])
def test_what_is_no_version_of_openshift(text: object) -> None:
    bundle = make_good_bundle(annotations={"com.redhat.openshift.versions": text})
    assert any("com.redhat.openshift.versions" in item for item in find_load_problems(bundle))
    with pytest.raises(FormatError):
        find_kubernetes({"com.redhat.openshift.versions": text})


def test_names_of_images_that_go() -> None:
    for image in (IMAGE, "a", "localhost:5000/a/b", "quay.io/a/b:tag@sha256:" + "0" * 64):
        assert _broken(make_good_bundle(put("spec.relatedImages", [{"name": "x", "image": image}]))) == []
