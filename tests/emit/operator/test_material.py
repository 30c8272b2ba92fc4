"""What follows from what is known."""

from __future__ import annotations

import pytest
from fakes.operator_facts import OPERATOR_DIGEST, PLUGIN_DIGEST, component, operator_facts

from builder.errors import UsageError


def test_all_images_are_named_by_digest() -> None:
    assert operator_facts().images == {
        "kmod-operator": f"quay.test/org/operator@{OPERATOR_DIGEST}",
        "drv-plugin": f"quay.test/org/drv-plugin@{PLUGIN_DIGEST}",
    }


def test_a_maintainer_is_a_name_and_an_address() -> None:
    assert operator_facts().maintainer == {"name": "Example Corp", "email": "drivers@example.com"}
    nameless = component("operator", maintainer="<a@example.com>")
    assert operator_facts(component=nameless).maintainer["name"] == "Example Corp"


@pytest.mark.parametrize("text", ["Example Corp", "Example <no address>", "a@example.com"])
def test_a_maintainer_without_an_address_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="has no address, which a bundle must name"):
        _ = operator_facts(component=component("operator", maintainer=text)).maintainer


def test_the_title_is_the_vendor_s_or_that_of_the_image() -> None:
    assert operator_facts().display_name == "Operator of the sample drivers"
    assert operator_facts(settings={"display_name": "Mine"}).display_name == "Mine"
