from __future__ import annotations

from dataclasses import replace

from fakes.cell_facts import DIGEST
from fakes.list_place import BOTH, REFUSED, list_item, list_of

from builder.publish.publishable import ImageNames
from builder.pullspec import parse_pullspec


def test_an_image_is_in_the_repository_of_its_names() -> None:
    names = ImageNames(own=("quay.test:5000/org/drv:1-amd64", "quay.test:5000/org/drv:1.0-amd64"), shared=("quay.test:5000/org/drv:1",))  # fmt: skip
    assert names.all == (*names.own, *names.shared)
    assert names.repository == "quay.test:5000/org/drv"
    assert names.image(DIGEST) == parse_pullspec(f"quay.test:5000/org/drv@{DIGEST}")


def test_the_key_of_a_list_is_that_of_its_members_in_any_order() -> None:
    one, other = list_item("amd64", key="1" * 64), list_item("arm64", key="2" * 64)
    key = list_of(one, other).key
    assert list_of(other, one).key == key
    assert len({key, list_of(one).key, list_of(one, replace(other, key="3" * 64)).key}) == 3


def test_a_list_with_a_member_of_unknown_inputs_has_no_key_and_says_why() -> None:
    assert BOTH.refused == ()
    refused = list_of(list_item("amd64"), REFUSED)
    assert refused.key == ""
    assert refused.refused == ("drv-1.0.0/6.1.0-9-arm64: there is no toolkit",)
