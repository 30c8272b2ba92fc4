"""Names and keys of component images."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from fakes.components import make_inputs, make_item

from builder.components.inputs import ComponentInputs, name_key_image
from builder.kernel import Arch


@pytest.mark.parametrize("field", [field.name for field in fields(ComponentInputs)])
def test_everything_that_goes_in_is_in_the_key(field: str) -> None:
    inputs = make_inputs()
    assert inputs.key == make_inputs().key
    assert replace(inputs, **{field: "other"}).key != inputs.key
    assert inputs.key_image == name_key_image(inputs.key) == f"localhost/kmodsmith/component:{inputs.key}"


def test_an_image_has_its_own_name_and_one_that_architectures_share() -> None:
    item = make_item(Arch.AARCH64, version="1.0+x~1")
    assert item.id == "plugin-1.0+x~1/aarch64"
    assert item.names[0] == f"{item.names[1]}-arm64"
    assert make_item(image="quay.test/org/plugin").names == (
        "quay.test/org/plugin:0.1.0-amd64", "quay.test/org/plugin:0.1.0",
    )  # fmt: skip
    assert make_item(name="other").names[1] == "localhost/other:0.1.0"
