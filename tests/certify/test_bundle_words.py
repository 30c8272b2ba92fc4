"""Words and forms that both judges of bundles take from one place."""

from __future__ import annotations

import pytest

from builder.certify.bundle_words import (
    CATEGORIES,
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


@pytest.mark.parametrize(
    ("version", "kind", "minor", "is_known_to_them"),
    [
        ("batch/v1beta1", "CronJob", 25, True),
        ("storage.k8s.io/v1beta1", "CSIDriver", 22, True),
        ("storage.k8s.io/v1beta1", "CSIStorageCapacity", 27, False),
        ("flowcontrol.apiserver.k8s.io/v1beta2", "FlowSchema", 29, False),
        ("extensions/v1beta1", "Ingress", 22, True),
        ("extensions/v1beta1", "DaemonSet", 22, False),
        ("batch/v1", "CronJob", None, False),
        ("batch/v1beta1", "Job", None, False),
    ],
)
def test_apis_that_are_gone(version: str, kind: str, minor: int | None, *, is_known_to_them: bool) -> None:
    assert gone_in(version, kind) == minor
    assert is_looked_for(version, kind) is is_known_to_them


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("demo.v1.0.0", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("Demo", False),
        ("a..b", False),
        ("-a", False),
        (5, False),
    ],
)
def test_names(text: object, *, is_one: bool) -> None:
    assert is_csv_name(text) is is_one


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1.2.3", True),
        ("1.2.3-rc.1+b", True),
        ("1.2", False),
        ("v1.2.3", False),
        ("01.2.3", False),
        ("1.2.3-01", False),
        (1.2, False),
    ],
)
def test_versions(text: object, *, is_one: bool) -> None:
    assert is_semver(text) is is_one


def test_addresses() -> None:
    assert [is_mail(text) for text in ("a@b.c", "A <a@b.c>", "nobody", "@", "")] == [True, True, False, False, False]
    assert [is_url(text) for text in ("https://a.b", "/path", "nowhere", "http://a:port", "a b:c")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_categories_and_annotations() -> None:
    assert list(find_unknown_categories("Storage, Graphics,,")) == ["Graphics", "", ""]
    assert list(find_unknown_categories(",".join(CATEGORIES))) == []
    assert list(find_miswritten(["olm.skiprange", "olm.skipRange", "other"])) == [("olm.skiprange", "olm.skipRange")]


@pytest.mark.parametrize(
    ("modes", "is_alone"),
    [
        ({"AllNamespaces": True, "OwnNamespace": False}, True), ({"AllNamespaces": True, "OwnNamespace": True}, False),
        ({"AllNamespaces": False}, False), ({"AllNamespaces": True}, True),
    ],
)  # fmt: skip
def test_the_only_mode_for_a_webhook_that_converts(modes: dict[str, bool], *, is_alone: bool) -> None:
    assert is_alone_for_webhook(modes) is is_alone
